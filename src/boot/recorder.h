/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recorder.h - notes which blocks a boot reads first and when, and finds out
 * when the boot is over
 *
 * One boot of one guest: made when its disk is opened, fed with each read that
 * reaches the golden image (what the guest wrote itself is not learned), ended
 * by the first of the reasons below. It does no I/O and looks at no clock: the
 * caller says what time it is.
 */
#ifndef BOOT_RECORDER_H
#define BOOT_RECORDER_H

#include <stdbool.h>
#include <stdint.h>

struct recorder;

enum boot_end {
	BOOT_GOES_ON,
	BOOT_MARKED, /* the guest or an operator said so */
	BOOT_SETTLED, /* few new blocks for a while */
	BOOT_TOO_LONG, /* the cap of time */
	BOOT_TOO_BIG, /* the cap of bytes */
	BOOT_CLOSED, /* the disk was closed: the VM has stopped */
	BOOT_DIED, /* closed or reset too early to be a boot */
	BOOT_END_MAX
};

/** boot_end_name() - for people: "settled" */
const char *boot_end_name(enum boot_end end);

/** struct recorder_limits - when a boot is over; recorder_default_limits */
struct recorder_limits {
	uint64_t min_ns; /* before this nothing settles, and a close is a death
			  */
	uint64_t max_ns; /* BOOT_TOO_LONG */
	uint64_t max_bytes; /* BOOT_TOO_BIG */
	uint64_t settle_ns; /* over this the rate is measured; it must stay low
			       for 4 times this, and up to 6 times in a boot
			       that took long so far, as boots pause */
	uint32_t settle_percent; /* of the peak rate of new blocks */
};

extern const struct recorder_limits recorder_default_limits;

/**
 * recorder_new() - begin a fresh record
 * @image_size:	bytes
 * @limits:	copied
 * @now_ns:	clock_ns(): the opening of the disk. The time of a block counts
 *		from the first read, as QEMU may take its time before it.
 * @ret:	on success owned by the caller: recorder_free() it
 *
 * Return: 0; -EFBIG for an image of more than 2^32 blocks; -ENOMEM.
 */
int recorder_new(uint64_t image_size, const struct recorder_limits *limits,
		 uint64_t now_ns, struct recorder **ret)
	__attribute__((warn_unused_result));

struct recorder *recorder_free(struct recorder *recorder);

/**
 * recorder_read() - the guest reads @len bytes at @offset of the image
 *
 * Cheap for blocks that are noted already: a test of bits. Short of memory, a
 * block is not noted: a record is never wrong, only poorer.
 */
void recorder_read(struct recorder *recorder, uint64_t offset, uint64_t len,
		   uint64_t now_ns);

/**
 * recorder_check() - has the boot ended? Call it about once a second.
 *
 * Return: BOOT_GOES_ON, or why it ended; the same from then on.
 */
enum boot_end recorder_check(struct recorder *recorder, uint64_t now_ns);

/**
 * recorder_end() - the boot ends now, if it has not yet
 * @end:	BOOT_MARKED or BOOT_CLOSED; a close before limits.min_ns, or
 *with next to nothing read, becomes BOOT_DIED. Not looked at if the boot has
 *ended.
 *
 * Return: why it ended.
 */
enum boot_end recorder_end(struct recorder *recorder, enum boot_end end,
			   uint64_t now_ns);

/** struct recorder_touch - first read of a block, in order of time */
struct recorder_touch {
	uint32_t block;
	uint32_t at_ms;
};

/**
 * recorder_touches() - what was noted so far, in order
 * @ret_count:	how many
 *
 * Return: lent until the next call for this recorder.
 */
const struct recorder_touch *recorder_touches(const struct recorder *recorder,
					      uint32_t *ret_count);

#endif
