/* SPDX-License-Identifier: Apache-2.0 */
/* slow.h - a layer that takes its time, to be put under the one on trial */
#ifndef STORE_SLOW_H
#define STORE_SLOW_H

#include <stdint.h>

struct blk;
struct loop;

#define SLOW_HANG UINT64_MAX /* a delay that does not end */

/**
 * slow_new() - wrap a layer
 * @loop:	where it is used
 * @below:	the layer to wrap; owned by the new layer from success on
 * @delay_ns:	from when a request comes until it is handed down; any number
 *		of them wait at a time. With 0 it is handed down in a later
 *		turn of the loop, so none ends before blk_submit() returns.
 * @ret:	on success the layer: blk_free() it. Untouched on failure.
 *
 * Return: 0; -ENOMEM, and then @below is still the caller's.
 */
int slow_new(struct loop *loop, struct blk *below, uint64_t delay_ns,
	     struct blk **ret) __attribute__((warn_unused_result));

/**
 * slow_set_delay() - from now on; also of the requests that wait
 * @slow:	of slow_new()
 * @delay_ns:	SLOW_HANG: none is handed down until this is called again
 */
void slow_set_delay(struct blk *slow, uint64_t delay_ns);

/** slow_waiting() - how many requests wait */
unsigned slow_waiting(const struct blk *slow);

#endif
