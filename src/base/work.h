/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work.h - blocking work, done on other threads, that ends on the loop
 *
 * For the control path: opening and connecting, reading a small file, fsync,
 * compressing. The data path does not come here.
 */
#ifndef BASE_WORK_H
#define BASE_WORK_H

#include "base/list.h"

struct loop;
struct why;
struct workers;

/**
 * struct work - a member of its owner's struct
 * @run:	called on some worker thread; touches nothing of the loop
 * @done:	called on the loop's thread afterwards; may free the owner
 */
struct work {
	struct list list;
	void (*run)(struct work *work);
	void (*done)(struct work *work);
};

/** workers_new() - start @nthreads threads that serve @loop; 0 or -errno */
int workers_new(struct loop *loop, unsigned nthreads, struct workers **ret,
		struct why *why) __attribute__((warn_unused_result));

/** workers_free() - all work has ended. Return: NULL. */
struct workers *workers_free(struct workers *workers);

/** work_start() - on the loop's thread; @work's functions are set */
void work_start(struct workers *workers, struct work *work);

#endif
