/* SPDX-License-Identifier: Apache-2.0 */
/* number.h - sizes and switches as people write them */
#ifndef PROG_NUMBER_H
#define PROG_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct why;

/**
 * number_size() - "4096", "64K", "1.5G": bytes
 *
 * K, M, G and T are powers of 1024; a B or iB after them changes nothing.
 *
 * Return: 0; -EINVAL, and @why says what a size looks like.
 */
int number_size(const char *text, uint64_t *ret, struct why *why)
	__attribute__((warn_unused_result));

/** number_switch() - on, off, yes, no, true, false, 1, 0 */
int number_switch(const char *text, bool *ret, struct why *why)
	__attribute__((warn_unused_result));

#define NUMBER_TEXT_MAX 16 /* bytes that number_print() needs */

/** number_print() - bytes for people: "1.5 GiB". Return: @text. */
const char *number_print(uint64_t bytes, char text[static NUMBER_TEXT_MAX]);

#endif
