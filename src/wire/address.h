/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address.h - take apart the address of a store
 *
 * An address is a path, or "SCHEME://REST" with lists of options "KEY=VALUE",
 * joined by '&', behind '?' or '#'. Ours stand among those of others, so ours
 * are taken out and the rest is left as it was.
 */
#ifndef WIRE_ADDRESS_H
#define WIRE_ADDRESS_H

#include <stddef.h>
#include <stdint.h>

#define ADDRESS_MAX	   4096u /* bytes with the final 0 */
#define ADDRESS_SCHEME_MAX 16u /* likewise */

/**
 * address_scheme() - of @address, in lower case
 * @ret:	filled; empty if @address is a path
 *
 * Return: 0; -EBADMSG: something else stands before the "://".
 */
int address_scheme(const char *address, char ret[static ADDRESS_SCHEME_MAX])
	__attribute__((warn_unused_result));

/**
 * address_path() - the path that a file:// address means
 * @ret:	filled: %XX are decoded
 *
 * Return: 0; -EBADMSG: not of this host, bad %XX, or too long.
 */
int address_path(const char *address, char ret[static ADDRESS_MAX])
	__attribute__((warn_unused_result));

/**
 * address_take() - take an option out of @address
 * @address:	changed if it has the option
 * @mark:	'?' or '#': which list
 * @key:	letters only
 * @ret:	@size bytes; on 1 the value, %XX decoded
 *
 * Return: 1; 0: no such option; -EBADMSG: bad %XX, or too long.
 */
int address_take(char *address, char mark, const char *key, char *ret,
		 size_t size) __attribute__((warn_unused_result));

/**
 * address_take_number() - likewise, a decimal from @min to @max
 * @ret:	left as it is if there is no such option
 *
 * Return: 0; -EBADMSG: not such a number.
 */
int address_take_number(char *address, char mark, const char *key, uint64_t min,
			uint64_t max, uint64_t *ret)
	__attribute__((warn_unused_result));

/**
 * address_public() - what may be shown to anybody: no user, password, query
 * @ret:	filled with "SCHEME://HOST/PATH"; cut if it is too long
 */
void address_public(const char *address, char *ret, size_t size);

#endif
