/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_image.h - an overlay's file and what was read of it at open
 *
 * All here blocks. The data path reads and writes through a struct blk of the
 * same file; this has a descriptor of its own for what is done at open, at
 * close and when growing.
 */
#ifndef STORE_QCOW2_IMAGE_H
#define STORE_QCOW2_IMAGE_H

#include "wire/qcow2_fmt.h"

struct why;

/**
 * struct qcow2_image - hold it by value, qcow2_image_load() it
 * @fd:		the file, for reading and writing
 * @path:	owned copy
 * @header:	as in the file
 * @nclusters:	of the guest's disk; of whole chunks, so that each has bits
 * @bits:	the bitmap of each cluster, as after all that has ended; owned
 */
struct qcow2_image {
	int fd;
	char *path;
	struct qcow2_header header;
	uint64_t nclusters;
	uint64_t *bits;
};

/** qcow2_image_load() - open and check; the file is locked by the caller */
int qcow2_image_load(const char *path, struct qcow2_image *ret, struct why *why)
	__attribute__((warn_unused_result));

/** qcow2_image_release() - close and free; fine on a {.fd = -1} */
void qcow2_image_release(struct qcow2_image *image);

/** qcow2_image_put_bits() - write one cluster's bitmap into the file */
int qcow2_image_put_bits(const struct qcow2_image *image, uint64_t cluster,
			 uint64_t bits) __attribute__((warn_unused_result));

/** qcow2_image_claim() - say in the file that we are the last who wrote */
int qcow2_image_claim(struct qcow2_image *image)
	__attribute__((warn_unused_result));

/* The whole of @len bytes, or an error; -EBADMSG: the file is shorter. */
int qcow2_pread(int fd, void *buf, size_t len, uint64_t at)
	__attribute__((warn_unused_result));
int qcow2_pwrite(int fd, const void *buf, size_t len, uint64_t at)
	__attribute__((warn_unused_result));

#endif
