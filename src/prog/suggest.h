/* SPDX-License-Identifier: Apache-2.0 */
/* suggest.h - "did you mean": the known word nearest to one mistyped */
#ifndef PROG_SUGGEST_H
#define PROG_SUGGEST_H

#include <stddef.h>

/**
 * struct suggest - start as {.word = what was typed}
 * @best:	the nearest of the words offered so far, borrowed; NULL if all
 *		are too far off to be meant
 */
struct suggest {
	const char *word;
	const char *best;
	unsigned distance;
};

/** suggest_offer() - this is a word that it could have been */
void suggest_offer(struct suggest *s, const char *known);

#define SUGGEST_TEXT_MAX 64

/** suggest_text() - " (did you mean 'x'?)", or "". Return: @text. */
const char *suggest_text(const struct suggest *s,
			 char text[static SUGGEST_TEXT_MAX]);

#endif
