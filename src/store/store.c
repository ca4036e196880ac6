/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - which kind of store an address means */
#include "store/store.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/why.h"
#include "store/file.h"
#include "store/http.h"
#include "store/nbd_store.h"
#include "wire/address.h"

/**
 * struct kind - a kind of store
 * @scheme:	what its addresses begin with
 * @open:	as store_open()
 */
struct kind {
	const char *scheme;
	int (*open)(struct loop *loop, const char *address, unsigned flags,
		    struct store_version *version, struct blk **ret,
		    struct why *why);
};

static int open_file(struct loop *loop, const char *address, unsigned flags,
		     struct store_version *version, struct blk **ret,
		     struct why *w)
{
	char path[ADDRESS_MAX];

	if (address_path(address, path) < 0)
		return why(w, -EINVAL, "%s: want file:///PATH", address);
	return file_open(loop, path, flags, version, ret, w);
}

static const struct kind kinds[] = {
	{"file", open_file},	{"nbd", nbd_open},	 {"nbds", nbd_open},
	{"nbd+unix", nbd_open}, {"nbds+unix", nbd_open}, {"http", http_open},
	{"https", http_open},
};

int store_open(struct loop *loop, const char *address, unsigned flags,
	       struct store_version *version, struct blk **ret, struct why *w)
{
	char scheme[ADDRESS_SCHEME_MAX];

	if (!*address)
		return why(w, -EINVAL, "empty address");
	if (address_scheme(address, scheme) < 0)
		return why(w, -EINVAL, "%s: bad address", address);
	if (!*scheme)
		return file_open(loop, address, flags, version, ret, w);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(scheme, kinds[i].scheme))
			return kinds[i].open(loop, address, flags, version, ret,
					     w);
	return why(w, -EINVAL, "%s: no store is addressed like this", address);
}
