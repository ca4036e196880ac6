/* SPDX-License-Identifier: Apache-2.0 */
/*
 * save.h - writes the boot segment and the map that the next boot will use
 *
 * A save has a count in image->users and frees itself at its end;
 * image->save is NULL from then on.
 */
#ifndef CACHE_SAVE_H
#define CACHE_SAVE_H

#include "boot/recorder.h"

struct image;

/**
 * save_start() - merge what @recorder noted into the image's map, and write
 * @recorder:	borrowed until return
 * @end:	why the boot ended; one that was closed half-way is not saved
 *
 * Does nothing where the segment that is there serves as well. A failure is
 * logged; the old pair of map and segment stays.
 */
void save_start(struct image *image, const struct recorder *recorder,
		enum boot_end end);

#endif
