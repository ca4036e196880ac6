/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blkd_metrics.h - all counters of the daemon, as Prometheus reads them
 *
 * roost-blkd(8) has each name with its meaning; bytes are bytes, times are
 * seconds, what ends in _total only grows.
 */
#ifndef PROG_BLKD_METRICS_H
#define PROG_BLKD_METRICS_H

#include <stddef.h>

struct blkd;

/**
 * metrics_text() - in the text format 0.0.4
 * @ret_len:	bytes without the final 0
 *
 * Return: free() it; NULL without memory.
 */
char *metrics_text(const struct blkd *blkd, size_t *ret_len);

#endif
