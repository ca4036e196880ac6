/* SPDX-License-Identifier: Apache-2.0 */
/* suggest.c - edits between two words: letters added, lost, changed, swapped */
#include "prog/suggest.h"

#include <stdio.h>
#include <string.h>

#define WORD_MAX 32

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Damerau's distance, of neighbours swapped at most once. */
static unsigned edits(const char *a, size_t na, const char *b, size_t nb)
{
	unsigned d[WORD_MAX + 1][WORD_MAX + 1];

	for (size_t i = 0; i <= na; i++)
		d[i][0] = (unsigned)i;
	for (size_t j = 0; j <= nb; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= na; i++)
		for (size_t j = 1; j <= nb; j++) {
			unsigned cost = a[i - 1] != b[j - 1];

			d[i][j] = least(d[i - 1][j - 1] + cost,
					least(d[i - 1][j], d[i][j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1])
				d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
		}
	return d[na][nb];
}

void suggest_offer(struct suggest *s, const char *known)
{
	size_t na = strlen(s->word), nb = strlen(known);
	unsigned d;

	if (na > WORD_MAX || nb > WORD_MAX)
		return;
	d = edits(s->word, na, known, nb);
	/* Further than a third of the word is another word. */
	if (d > 1 + nb / 3 || d >= nb || (s->best && d >= s->distance))
		return;
	s->best = known;
	s->distance = d;
}

const char *suggest_text(const struct suggest *s,
			 char text[static SUGGEST_TEXT_MAX])
{
	text[0] = 0;
	if (s->best)
		(void)snprintf(text, SUGGEST_TEXT_MAX, " (did you mean '%s'?)",
			       s->best);
	return text;
}
