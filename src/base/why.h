/* SPDX-License-Identifier: Apache-2.0 */
/*
 * why.h - the text that goes with an error, collected on its way up
 *
 * The function where it went wrong writes what and why; each caller puts
 * before it what it was doing: "start vm7: open disk: /srv/a.img: Permission
 * denied". The number travels as the return value; a struct why only explains.
 */
#ifndef BASE_WHY_H
#define BASE_WHY_H

#define WHY_MAX 512 /* bytes with the final 0; longer text loses its end */

/** struct why - start as {0}; wherever one is taken, NULL is fine */
struct why {
	char text[WHY_MAX];
};

/**
 * why() - begin the text; what was in it is lost
 * @err:	negative errno whose text is put after "@fmt: "; 0 for none
 *
 * Return: @err, so that a function can end in return why(...)
 */
int why(struct why *w, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** why_in() - put "@fmt: " before the text. Return: @err. */
int why_in(struct why *w, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
