/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2_fmt.c - qcow2 headers and L2 entries, written and checked */
#include "wire/qcow2_fmt.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/why.h"
#include "wire/bytes.h"

#define MAGIC	     0x514649fbu /* "QFI\xfb" */
#define VERSION	     3u
#define CLUSTER_BITS 17u
#define HEADER_LEN   112u
#define HEADER_MIN   104u

#define INCOMPAT_DIRTY	     (1ull << 0)
#define INCOMPAT_CORRUPT     (1ull << 1)
#define INCOMPAT_EXTENDED_L2 (1ull << 4)

#define EXT_END		   0u
#define EXT_BACKING_FORMAT 0xe2792acau
#define EXT_FEATURE_NAMES  0x6803f857u
#define EXT_BITMAPS	   0x23852875u
#define EXT_OURS	   0x524f5354u /* "ROST" */

/* Our extension: the layout's number, 4 bytes of 0, the id. */
#define OURS_LEN    (8u + QCOW2_ID_SIZE)
#define OURS_LAYOUT 1u

#define NAME_LEN 48u /* of a feature name table's entry */

#define IMPORT "; to use its contents, import it (qemu-img convert -O raw)"

static_assert(QCOW2_CLUSTER == 1u << CLUSTER_BITS, "one cluster size");
static_assert(QCOW2_CHUNK_CLUSTERS * QCOW2_ENTRY == QCOW2_CLUSTER, "L2");
static_assert(QCOW2_CHUNKS_MAX * 8 == QCOW2_CLUSTER, "L1");

struct feature {
	uint8_t kind; /* 0 incompatible, 2 autoclear */
	uint8_t bit;
	const char *name;
};

/* What a QEMU that does not know one of them says to its user. */
static const struct feature features[] = {
	{0, 0, "dirty bit"},
	{0, 1, "corrupt bit"},
	{0, 4, "extended L2 entries"},
	{2, 47, "roost: written by nobody else"},
};

static uint8_t *put_ext(uint8_t *at, uint32_t type, const void *data,
			size_t len)
{
	put_be32(at, type);
	put_be32(at + 4, (uint32_t)len);
	if (len)
		memcpy(at + 8, data, len);
	return at + 8 + round_up(len, 8);
}

void qcow2_header_encode(const struct qcow2_header *header,
			 uint8_t bytes[static QCOW2_HEADER_SIZE])
{
	uint8_t ours[OURS_LEN] = {0};
	uint8_t names[ARRAY_SIZE(features) * NAME_LEN] = {0};
	size_t len = strlen(header->backing);
	uint8_t *at = bytes + HEADER_LEN;

	assert(len < QCOW2_BACKING_MAX);
	memset(bytes, 0, QCOW2_HEADER_SIZE);
	put_be32(bytes, MAGIC);
	put_be32(bytes + 4, VERSION);
	put_be32(bytes + 20, CLUSTER_BITS);
	put_be64(bytes + QCOW2_AT_SIZE, header->size);
	put_be32(bytes + QCOW2_AT_L1_SIZE, qcow2_chunks(header->size));
	put_be64(bytes + 40, QCOW2_L1);
	put_be64(bytes + QCOW2_AT_REFCOUNT_TABLE, header->refcount_table);
	put_be32(bytes + 56, 1); /* clusters of the refcount table */
	put_be64(bytes + 72, INCOMPAT_EXTENDED_L2);
	put_be64(bytes + QCOW2_AT_AUTOCLEAR,
		 header->is_untouched ? QCOW2_AUTOCLEAR_OURS : 0);
	put_be32(bytes + 96, 0); /* refcount order: 1 << 0 bits */
	put_be32(bytes + 100, HEADER_LEN);

	if (len)
		at = put_ext(at, EXT_BACKING_FORMAT, "raw", 3);
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		names[i * NAME_LEN] = features[i].kind;
		names[i * NAME_LEN + 1] = features[i].bit;
		memcpy(&names[i * NAME_LEN + 2], features[i].name,
		       strlen(features[i].name));
	}
	at = put_ext(at, EXT_FEATURE_NAMES, names, sizeof(names));
	put_be32(ours, OURS_LAYOUT);
	memcpy(ours + 8, header->id, QCOW2_ID_SIZE);
	at = put_ext(at, EXT_OURS, ours, sizeof(ours));
	at = put_ext(at, EXT_END, NULL, 0);
	if (len) {
		put_be64(bytes + 8, (uint64_t)(at - bytes));
		put_be32(bytes + 16, (uint32_t)len);
		memcpy(at, header->backing, len);
	}
}

static int parse_backing(const uint8_t *bytes, size_t len, char *backing,
			 struct why *w)
{
	uint64_t at = get_be64(bytes + 8);
	uint32_t n = get_be32(bytes + 16);

	backing[0] = '\0';
	if (!at)
		return 0;
	if (!n || n >= QCOW2_BACKING_MAX || at > len || n > len - at ||
	    memchr(bytes + at, 0, n))
		return why(w, -EBADMSG, "its base's name is damaged");
	memcpy(backing, bytes + at, n);
	backing[n] = '\0';
	return 0;
}

/* The extensions: ours has to be there, and a base has to be raw. */
static int parse_extensions(struct bytes b, struct qcow2_header *header,
			    struct why *w)
{
	bool has_ours = false, is_raw = false;

	for (;;) {
		uint32_t type = bytes_be32(&b), len = bytes_be32(&b);
		const uint8_t *data;

		if (b.is_bad || type == EXT_END)
			break;
		if (len > b.left)
			return why(w, -EBADMSG, "its header is damaged");
		data = bytes_take(&b, len);
		(void)bytes_take(&b, -len & 7);
		if (type == EXT_BACKING_FORMAT)
			is_raw = len == 3 && !memcmp(data, "raw", 3);
		if (type == EXT_BITMAPS)
			return why(w, -EOPNOTSUPP,
				   "has dirty bitmaps; remove them: "
				   "qemu-img bitmap --remove");
		if (type != EXT_OURS)
			continue;
		has_ours = len == OURS_LEN && get_be32(data) == OURS_LAYOUT;
		if (has_ours)
			memcpy(header->id, data + 8, QCOW2_ID_SIZE);
	}
	if (!has_ours)
		return why(w, -EOPNOTSUPP,
			   "a qcow2 image that was not made by roost" IMPORT);
	if (header->backing[0] && !is_raw)
		return why(w, -EOPNOTSUPP,
			   "its base is not declared raw; if it is: "
			   "qemu-img rebase -u -F raw -b BASE");
	return 0;
}

static int parse_features(const uint8_t *bytes, struct why *w)
{
	uint64_t incompatible = get_be64(bytes + 72);

	if (incompatible & INCOMPAT_CORRUPT)
		return why(w, -EOPNOTSUPP,
			   "marked as corrupt; see qemu-img check -r all");
	if (incompatible & INCOMPAT_DIRTY)
		return why(w, -EOPNOTSUPP,
			   "was not closed by the program that wrote it last; "
			   "run qemu-img check -r all");
	if (get_be32(bytes + 32))
		return why(w, -EOPNOTSUPP, "encrypted" IMPORT);
	if (get_be32(bytes + 60))
		return why(w, -EOPNOTSUPP,
			   "has snapshots; delete them: qemu-img snapshot -d");
	if (incompatible != INCOMPAT_EXTENDED_L2 ||
	    get_be32(bytes + 20) != CLUSTER_BITS)
		return why(w, -EOPNOTSUPP,
			   "a qcow2 image that was not made by roost" IMPORT);
	return 0;
}

int qcow2_header_parse(const uint8_t *bytes, size_t len,
		       struct qcow2_header *ret, struct why *w)
{
	struct qcow2_header header = {0};
	uint32_t header_len;
	int err;

	if (len < HEADER_MIN || get_be32(bytes) != MAGIC)
		return why(w, -EBADMSG, "not a qcow2 image");
	if (get_be32(bytes + 4) != VERSION)
		return why(w, -EOPNOTSUPP,
			   "a qcow2 image that was not made by roost" IMPORT);
	header_len = get_be32(bytes + 100);
	if (header_len < HEADER_MIN || header_len % 8 || header_len > len)
		return why(w, -EBADMSG, "its header is damaged");
	err = parse_features(bytes, w);
	if (err < 0)
		return err;
	err = parse_backing(bytes, len, header.backing, w);
	if (err < 0)
		return err;
	err = parse_extensions((struct bytes){.at = bytes + header_len,
					      .left = len - header_len},
			       &header, w);
	if (err < 0)
		return err;

	header.size = get_be64(bytes + QCOW2_AT_SIZE);
	header.refcount_table = get_be64(bytes + QCOW2_AT_REFCOUNT_TABLE);
	header.is_untouched =
		get_be64(bytes + QCOW2_AT_AUTOCLEAR) & QCOW2_AUTOCLEAR_OURS;
	if (!header.size || header.size % QCOW2_SECTOR ||
	    header.size > QCOW2_SIZE_MAX)
		return why(w, -EBADMSG, "its size is damaged");
	if (get_be32(bytes + QCOW2_AT_L1_SIZE) != qcow2_chunks(header.size) ||
	    get_be64(bytes + 40) != QCOW2_L1)
		return why(w, -EOPNOTSUPP,
			   "another program has resized it" IMPORT);
	*ret = header;
	return 0;
}

void qcow2_entry_encode(uint64_t cluster, uint64_t bitmap,
			uint8_t entry[static QCOW2_ENTRY])
{
	put_be64(entry, qcow2_place(cluster * QCOW2_CLUSTER) | QCOW2_COPIED);
	put_be64(entry + 8, bitmap);
}

int qcow2_entry_parse(uint64_t cluster, const uint8_t entry[static QCOW2_ENTRY],
		      uint64_t *bitmap)
{
	uint64_t bits = get_be64(entry + 8);

	if (get_be64(entry) !=
	    (qcow2_place(cluster * QCOW2_CLUSTER) | QCOW2_COPIED))
		return -EOPNOTSUPP;
	if (!qcow2_is_bitmap(bits))
		return -EBADMSG;
	*bitmap = bits;
	return 0;
}
