/* SPDX-License-Identifier: Apache-2.0 */
/*
 * background.h - leave the terminal, but not before there is something to use
 *
 * The parent waits until the child serves, or has failed, and ends with what
 * came of it; so a script can use the daemon on its next line.
 */
#ifndef PROG_BACKGROUND_H
#define PROG_BACKGROUND_H

struct why;

/** background_begin() - fork; returns in the child only. Before any thread. */
int background_begin(struct why *why) __attribute__((warn_unused_result));

/**
 * background_ready() - let the parent end with 0, and let go of the terminal
 *
 * Does nothing if there was no background_begin(). A child that ends without
 * has failed, and the parent says so by its exit code, 1.
 */
void background_ready(void);

#endif
