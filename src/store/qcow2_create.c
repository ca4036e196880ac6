/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_create.c - write an overlay's metadata: all of it at creation, the
 * added part when it grows
 *
 * Creating: everything is written under PATH.new, and named PATH at the end.
 *
 * Growing: the new chunks' tables lie where nothing points yet. The counts of
 * the new clusters go, with all others, into the second place of the refcount
 * table and blocks (or the first, if the second is in use). Then one write of
 * one sector, the header's, makes all of it true at once: the size, the number
 * of L1 entries, and which refcount table counts.
 */
#include "store/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/why.h"
#include "store/file_lock.h"
#include "store/qcow2_image.h"
#include "store/qcow2_side.h"
#include "wire/bytes.h"

/* Bits of 1 in a refcount block: clusters that it counts. */
#define BLOCK_COUNTS (QCOW2_CLUSTER * 8)

static unsigned groups(unsigned nchunks)
{
	return (unsigned)div_up(nchunks, QCOW2_GROUP_CHUNKS);
}

/* Clear the count of the cluster at @at in @block, if it counts that one. */
static void uncount(uint8_t *block, uint64_t first, uint64_t at)
{
	uint64_t i = at / QCOW2_CLUSTER - first;

	if (at / QCOW2_CLUSTER >= first && i < BLOCK_COUNTS)
		block[i / 8] &= (uint8_t) ~(1u << i % 8);
}

/* The refcount table and blocks of a file of @nchunks chunks, in the places
 * @which; those in the other places are not counted. */
static int write_refcounts(int fd, unsigned nchunks, unsigned which)
{
	CLEANUP(cleanup_free) uint8_t *block = malloc(QCOW2_CLUSTER);
	CLEANUP(cleanup_free) uint8_t *table = calloc(1, QCOW2_CLUSTER);
	uint64_t end = qcow2_file_size(nchunks) / QCOW2_CLUSTER;
	int err;

	if (!block || !table)
		return -ENOMEM;
	for (unsigned g = 0; g < groups(nchunks); g++) {
		uint64_t first = g * BLOCK_COUNTS;
		uint64_t n =
			end > first ? min_u64(end - first, BLOCK_COUNTS) : 0;

		memset(block, 0, QCOW2_CLUSTER);
		memset(block, 0xff, n / 8);
		if (n % 8)
			block[n / 8] = (uint8_t)((1u << n % 8) - 1);
		uncount(block, first, qcow2_refcount_table(!which));
		for (unsigned i = 0; i < groups(nchunks); i++)
			uncount(block, first, qcow2_refcount_block(i, !which));
		err = qcow2_pwrite(fd, block, QCOW2_CLUSTER,
				   qcow2_refcount_block(g, which));
		if (err < 0)
			return err;
		put_be64(table + g * 8ul, qcow2_refcount_block(g, which));
	}
	return qcow2_pwrite(fd, table, QCOW2_CLUSTER,
			    qcow2_refcount_table(which));
}

/* Chunks from @from on, with nothing written in them; or all zeroes. */
static int write_chunks(int fd, unsigned from, unsigned to, uint64_t bits)
{
	CLEANUP(cleanup_free) uint8_t *table = malloc(QCOW2_CLUSTER);
	uint8_t l1[8];
	int err;

	if (!table)
		return -ENOMEM;
	for (unsigned chunk = from; chunk < to; chunk++) {
		for (unsigned i = 0; i < QCOW2_CHUNK_CLUSTERS; i++)
			qcow2_entry_encode(
				(uint64_t)chunk * QCOW2_CHUNK_CLUSTERS + i,
				bits, table + (size_t)i * QCOW2_ENTRY);
		err = qcow2_pwrite(fd, table, QCOW2_CLUSTER, qcow2_l2(chunk));
		if (err < 0)
			return err;
		put_be64(l1, qcow2_l2(chunk) | QCOW2_COPIED);
		err = qcow2_pwrite(fd, l1, sizeof(l1), QCOW2_L1 + chunk * 8ul);
		if (err < 0)
			return err;
	}
	return 0;
}

static int write_image(int fd, uint64_t size, const char *backing)
{
	struct qcow2_header header = {
		.size = size,
		.refcount_table = qcow2_refcount_table(0),
		.is_untouched = true,
	};
	uint8_t bytes[QCOW2_HEADER_SIZE];
	unsigned nchunks = qcow2_chunks(size);
	int err;

	if (getrandom(header.id, sizeof(header.id), 0) != sizeof(header.id))
		return -EIO;
	memcpy(header.backing, backing, strlen(backing));
	qcow2_header_encode(&header, bytes);
	if (ftruncate(fd, 0) < 0 ||
	    ftruncate(fd, (off_t)qcow2_file_size(nchunks)) < 0)
		return -errno;
	err = qcow2_pwrite(fd, bytes, sizeof(bytes), 0);
	if (!err)
		err = write_refcounts(fd, nchunks, 0);
	if (!err)
		err = write_chunks(fd, 0, nchunks, 0);
	if (!err && fdatasync(fd) < 0)
		err = -errno;
	return err;
}

static int sync_folder(const char *path)
{
	char copy[PATH_MAX];
	int fd, err = 0;

	(void)snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0 && errno != EINVAL)
		err = -errno;
	(void)close(fd);
	return err;
}

/* Name @from @to, which must not be there: also where there is no
 * RENAME_NOREPLACE (NFS). */
static int name(const char *from, const char *to)
{
	if (!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE))
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (link(from, to) < 0)
		return -errno;
	(void)unlink(from);
	return 0;
}

static int check_size(uint64_t size, struct why *w)
{
	if (!size || size % QCOW2_SECTOR || size > QCOW2_SIZE_MAX)
		return why(w, -EINVAL,
			   "a size is a multiple of %u, at most %llu TiB",
			   QCOW2_SECTOR, QCOW2_SIZE_MAX / (1024 * GIB));
	return 0;
}

int qcow2_create(const char *path, uint64_t size, const char *backing,
		 struct why *w)
{
	char tmp[PATH_MAX];
	int fd, err = check_size(size, w);

	if (err < 0)
		return why_in(w, err, "%s", path);
	if (!backing)
		backing = "";
	if (strlen(backing) >= QCOW2_BACKING_MAX)
		return why(w, -EINVAL, "%s: its base's name is too long", path);
	if ((size_t)snprintf(tmp, sizeof(tmp), "%s.new", path) >= sizeof(tmp))
		return why(w, -ENAMETOOLONG, "%s", path);
	if (!access(path, F_OK))
		return why(w, -EEXIST, "%s", path);

	fd = open(tmp, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return why(w, -errno, "%s", tmp);
	/* A .new that a killed one has left is used again, unless it is not
	 * left: two who make the same image at a time. */
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		err = -errno == -EWOULDBLOCK ? -EBUSY : -errno;
		(void)close(fd);
		return why(w, err, "%s", tmp);
	}
	err = write_image(fd, size, backing);
	if (!err)
		err = name(tmp, path);
	if (err < 0)
		(void)unlink(tmp);
	(void)close(fd);
	if (!err)
		err = sync_folder(path);
	return err < 0 ? why(w, err, "%s", path) : 0;
}

/* What is behind the old end of the last chunk shall read as zeroes, also if
 * the base has something there. */
static int zero_tail(const struct qcow2_image *image)
{
	uint64_t size = image->header.size;
	uint64_t end = round_up(size, QCOW2_CHUNK);
	unsigned within = (unsigned)(size % QCOW2_CLUSTER / QCOW2_SUB);
	uint64_t cluster = size / QCOW2_CLUSTER;
	int err = 0;

	if (size % QCOW2_SUB && !((image->bits[cluster] >> within |
				   image->bits[cluster] >> within >> 32) &
				  1))
		return -EOPNOTSUPP;
	within += size % QCOW2_SUB != 0;
	for (; !err && cluster * QCOW2_CLUSTER < end; cluster++, within = 0) {
		uint64_t bits = image->bits[cluster], keep;

		if (within == QCOW2_SUBS)
			continue;
		keep = (1ull << within) - 1;
		keep |= keep << 32;
		bits = (bits & keep) |
		       (~keep & 0xffffffff00000000ull); /* zeroes */
		if (bits != image->bits[cluster])
			err = qcow2_image_put_bits(image, cluster, bits);
	}
	return err;
}

static int grow(const struct qcow2_image *image, uint64_t size, struct why *w)
{
	const struct qcow2_header *header = &image->header;
	unsigned from = qcow2_chunks(header->size), to = qcow2_chunks(size);
	unsigned which = header->refcount_table == qcow2_refcount_table(0);
	uint64_t zeroes = header->backing[0] ? 0xffffffff00000000ull : 0;
	uint8_t sector[QCOW2_SECTOR];
	int err = qcow2_pread(image->fd, sector, sizeof(sector), 0);

	if (err < 0)
		return why(w, err, "header");
	if (header->refcount_table != qcow2_refcount_table(!which))
		return why(w, -EOPNOTSUPP,
			   "another program has moved its tables");
	if (zeroes) {
		err = zero_tail(image);
		if (err == -EOPNOTSUPP)
			return why(w, err,
				   "its old size is no multiple of 4 KiB");
		if (err < 0)
			return why(w, err, "L2 table");
	}
	if (from != to) {
		if (ftruncate(image->fd, (off_t)qcow2_file_size(to)) < 0)
			return why(w, -errno, "file");
		err = write_chunks(image->fd, from, to, zeroes);
		if (!err)
			err = write_refcounts(image->fd, to, which);
		if (err < 0)
			return why(w, err, "metadata");
		put_be64(sector + QCOW2_AT_REFCOUNT_TABLE,
			 qcow2_refcount_table(which));
	}
	if (fdatasync(image->fd) < 0)
		return why(w, -errno, "metadata");
	put_be64(sector + QCOW2_AT_SIZE, size);
	put_be32(sector + QCOW2_AT_L1_SIZE, to);
	err = qcow2_pwrite(image->fd, sector, sizeof(sector), 0);
	if (!err && fdatasync(image->fd) < 0)
		err = -errno;
	return err < 0 ? why(w, err, "header") : 0;
}

int qcow2_grow(const char *path, uint64_t size, struct why *w)
{
	struct qcow2_image image = {.fd = -1};
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int err;

	if (fd < 0)
		return why(w, -errno, "%s", path);
	err = file_lock(fd);
	if (err < 0)
		err = why(w, err, "%s", path);
	else
		err = qcow2_image_load(path, &image, w);
	if (!err)
		err = qcow2_side_recover(&image, w);
	if (!err) {
		if (size < image.header.size)
			err = why(w, -EINVAL, "a disk cannot shrink");
		else if (size > image.header.size)
			err = check_size(size, w);
		if (!err && size > image.header.size)
			err = grow(&image, size, w);
		if (err < 0)
			(void)why_in(w, err, "%s", path);
	}
	qcow2_image_release(&image);
	(void)close(fd);
	return err;
}
