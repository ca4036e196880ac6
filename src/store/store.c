/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - which kind of store an address means */
#include "store/store.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/why.h"
#include "store/file.h"

/**
 * struct kind - a kind of store
 * @scheme:	what its addresses begin with, "://" left out
 * @skip_scheme: @open is given what comes after "SCHEME://"
 * @open:	as store_open()
 */
struct kind {
	const char *scheme;
	int skip_scheme;
	int (*open)(struct loop *loop, const char *address, unsigned flags,
		    struct store_version *version, struct blk **ret,
		    struct why *why);
};

static const struct kind kinds[] = {
	{"file", 1, file_open},
};

int store_open(struct loop *loop, const char *address, unsigned flags,
	       struct store_version *version, struct blk **ret, struct why *w)
{
	const char *sep = strstr(address, "://");

	if (!*address)
		return why(w, -EINVAL, "empty address");
	if (!sep || *address == '/' || *address == '.')
		return file_open(loop, address, flags, version, ret, w);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t n = strlen(kinds[i].scheme);

		if ((size_t)(sep - address) != n ||
		    strncasecmp(address, kinds[i].scheme, n) != 0)
			continue;
		return kinds[i].open(loop,
				     kinds[i].skip_scheme ? sep + 3 : address,
				     flags, version, ret, w);
	}
	return why(w, -EINVAL, "%s: no store is addressed like this", address);
}
