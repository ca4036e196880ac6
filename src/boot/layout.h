/* SPDX-License-Identifier: Apache-2.0 */
/* layout.h - merge a boot into what is known, and lay out the next segment */
#ifndef BOOT_LAYOUT_H
#define BOOT_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "boot/map.h"
#include "boot/recorder.h"

/**
 * boot_layout() - the map that the next boot should have
 * @identity:	of the image; copied
 * @old:	the map until now, of the same image; NULL: there was none
 * @touches:	the boot's first reads, in order of time
 * @count:	how many
 * @ret:	on success a map without segment (segment_id 0, extents with
 *		nothing but their number): boot_map_free() it
 *
 * A block goes to the main batches if at least 80 % of the boots remembered
 * (BOOT_HISTORY, this one included) read it, to the tail if 20 % or this one
 * did; else it is dropped. A batch is 1 MiB of first reads, more in very large
 * sets; inside a batch blocks are in image order. Blocks that this boot did not
 * read keep their place among the others of their old batch.
 *
 * Holes between runs are not bridged: the segment is packed, so a hole costs no
 * request, and what would fill it is waste.
 *
 * Return: 0; -ENODATA if nothing is left to prefetch; -ENOMEM.
 */
int boot_layout(const struct boot_identity *identity,
		const struct boot_map *old,
		const struct recorder_touch *touches, uint32_t count,
		struct boot_map **ret) __attribute__((warn_unused_result));

/**
 * boot_layout_is_partial() - did a boot read less than half of what is known?
 * @old:	NULL: nothing is known, so it did not
 *
 * A disk that was closed (BOOT_CLOSED) after so few reads belonged to a boot
 * that was cut short, however long it took: do not merge it, as a guest that
 * fails again and again would unlearn the rest. A boot that settled, or was
 * marked, is a boot.
 */
bool boot_layout_is_partial(const struct boot_map *old,
			    const struct recorder_touch *touches,
			    uint32_t count);

#endif
