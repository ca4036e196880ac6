/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2_image.c - read and check an overlay's metadata, once, at open */
#include "store/qcow2_image.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/why.h"
#include "store/qcow2.h"
#include "wire/bytes.h"

int qcow2_pread(int fd, void *buf, size_t len, uint64_t at)
{
	for (size_t did = 0; did < len;) {
		ssize_t n = pread(fd, (char *)buf + did, len - did,
				  (off_t)(at + did));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EBADMSG;
		did += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int qcow2_pwrite(int fd, const void *buf, size_t len, uint64_t at)
{
	for (size_t did = 0; did < len;) {
		ssize_t n = pwrite(fd, (const char *)buf + did, len - did,
				   (off_t)(at + did));

		if (n < 0 && errno != EINTR)
			return -errno;
		did += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int read_header(int fd, struct qcow2_header *ret, struct why *w)
{
	uint8_t bytes[QCOW2_HEADER_SIZE];
	ssize_t n = pread(fd, bytes, sizeof(bytes), 0);

	if (n < 0)
		return why(w, -errno, "read");
	return qcow2_header_parse(bytes, (size_t)n, ret, w);
}

int qcow2_info(const char *path, struct qcow2_header *ret, struct why *w)
{
	CLEANUP(cleanup_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	int err;

	if (fd < 0)
		return why(w, -errno, "%s", path);
	err = read_header(fd, ret, w);
	return err < 0 ? why_in(w, err, "%s", path) : 0;
}

static int check_l1(int fd, unsigned nchunks, uint8_t *table, struct why *w)
{
	int err = qcow2_pread(fd, table, nchunks * 8ul, QCOW2_L1);

	if (err < 0)
		return why(w, err, "L1 table");
	for (unsigned i = 0; i < nchunks; i++)
		if (get_be64(table + i * 8ul) != (qcow2_l2(i) | QCOW2_COPIED))
			return why(w, -EOPNOTSUPP,
				   "another program has moved its tables; to "
				   "use its contents, import it "
				   "(qemu-img convert -O raw)");
	return 0;
}

static int load_l2(int fd, unsigned chunk, uint8_t *table, uint64_t *bits,
		   struct why *w)
{
	uint64_t first = (uint64_t)chunk * QCOW2_CHUNK_CLUSTERS;
	int err = qcow2_pread(fd, table, QCOW2_CLUSTER, qcow2_l2(chunk));

	if (err < 0)
		return why(w, err, "L2 table %u", chunk);
	for (unsigned i = 0; i < QCOW2_CHUNK_CLUSTERS; i++) {
		uint64_t b;

		err = qcow2_entry_parse(first + i,
					table + (size_t)i * QCOW2_ENTRY, &b);
		if (err == -EOPNOTSUPP)
			return why(w, err,
				   "another program has moved data in it (a "
				   "discard does that); to use its contents, "
				   "import it (qemu-img convert -O raw)");
		if (err < 0)
			return why(w, err, "L2 table %u, entry %u is damaged",
				   chunk, i);
		/* Untouched pages of zeroes take no memory. */
		if (b)
			bits[first + i] = b;
	}
	return 0;
}

static int load(struct qcow2_image *image, struct why *w)
{
	CLEANUP(cleanup_free) uint8_t *table = malloc(QCOW2_CLUSTER);
	unsigned nchunks;
	struct stat st;
	int err;

	if (!table)
		return -ENOMEM;
	err = read_header(image->fd, &image->header, w);
	if (err < 0)
		return err;
	nchunks = qcow2_chunks(image->header.size);
	assert(nchunks); /* no header of size 0 is read */
	if (fstat(image->fd, &st) < 0)
		return why(w, -errno, "stat");
	if ((uint64_t)st.st_size < qcow2_file_size(nchunks))
		return why(w, -EBADMSG, "its end is missing");
	image->nclusters = (uint64_t)nchunks * QCOW2_CHUNK_CLUSTERS;
	image->bits = calloc(image->nclusters, sizeof(*image->bits));
	if (!image->bits)
		return why(w, -ENOMEM, "bitmaps");
	err = check_l1(image->fd, nchunks, table, w);
	for (unsigned i = 0; !err && i < nchunks; i++)
		err = load_l2(image->fd, i, table, image->bits, w);
	return err;
}

int qcow2_image_load(const char *path, struct qcow2_image *ret, struct why *w)
{
	struct qcow2_image image = {
		.fd = open(path, O_RDWR | O_CLOEXEC),
		.path = strdup(path),
	};
	int err;

	if (image.fd < 0)
		err = why(w, -errno, "open");
	else if (!image.path)
		err = -ENOMEM;
	else
		err = load(&image, w);
	if (err < 0) {
		qcow2_image_release(&image);
		return why_in(w, err, "%s", path);
	}
	*ret = image;
	return 0;
}

void qcow2_image_release(struct qcow2_image *image)
{
	if (image->fd >= 0)
		(void)close(image->fd);
	free(image->path);
	free(image->bits);
	*image = (struct qcow2_image){.fd = -1};
}

int qcow2_image_put_bits(const struct qcow2_image *image, uint64_t cluster,
			 uint64_t bits)
{
	uint8_t bytes[8];

	put_be64(bytes, bits);
	return qcow2_pwrite(image->fd, bytes, sizeof(bytes),
			    qcow2_entry_at(cluster) + 8);
}

int qcow2_image_claim(struct qcow2_image *image)
{
	uint8_t bytes[8];
	int err;

	if (image->header.is_untouched)
		return 0;
	/* All other bits there are of features that we do not keep up. */
	put_be64(bytes, QCOW2_AUTOCLEAR_OURS);
	err = qcow2_pwrite(image->fd, bytes, sizeof(bytes), QCOW2_AT_AUTOCLEAR);
	if (!err)
		image->header.is_untouched = true;
	return err;
}
