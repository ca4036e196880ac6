/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2_side.c - one page of header, then the slots */
#include "store/qcow2_side.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/why.h"
#include "store/qcow2_image.h"

#define MAGIC	  "ROOSTDRT"
#define VERSION	  1u
#define BOOT_SIZE 40u
#define BOOT_ID	  "/proc/sys/kernel/random/boot_id"

struct head {
	char magic[8];
	uint32_t version;
	uint32_t nslots;
	uint8_t id[QCOW2_ID_SIZE];
	char boot[BOOT_SIZE];
};

struct side {
	union {
		struct head head;
		uint8_t page[4096];
	};
	struct qcow2_side_slot slots[QCOW2_SIDE_SLOTS];
};

static_assert(sizeof(struct qcow2_side_slot) == 16, "two numbers");
static_assert(sizeof(struct side) == 4096 + QCOW2_SIDE_SLOTS * 16ul, "packed");

/* What the head of a side file of @image says that holds now. */
static int make_head(const struct qcow2_image *image, struct head *ret)
{
	struct head head = {.version = VERSION, .nslots = QCOW2_SIDE_SLOTS};
	CLEANUP(cleanup_fd) int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (read(fd, head.boot, sizeof(head.boot)) <= 0)
		return -EIO;
	memcpy(head.magic, MAGIC, sizeof(head.magic));
	memcpy(head.id, image->header.id, sizeof(head.id));
	*ret = head;
	return 0;
}

static int side_path(const struct qcow2_image *image, char path[PATH_MAX])
{
	int n = snprintf(path, PATH_MAX, "%s.dirty", image->path);

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static struct side *map(int fd)
{
	void *side = mmap(NULL, sizeof(struct side), PROT_READ | PROT_WRITE,
			  MAP_SHARED, fd, 0);

	return side == MAP_FAILED ? NULL : side;
}

static int apply(struct qcow2_image *image, const struct side *side,
		 struct why *w)
{
	/* First the data, which its bits must not be ahead of. */
	if (fdatasync(image->fd) < 0)
		return why(w, -errno, "flush");
	for (unsigned i = 0; i < QCOW2_SIDE_SLOTS; i++) {
		uint64_t cluster = side->slots[i].cluster;
		uint64_t bits = side->slots[i].bits;
		int err;

		if (!cluster)
			continue;
		if (cluster > image->nclusters || !qcow2_is_bitmap(bits))
			return why(w, -EBADMSG, "%s.dirty is damaged",
				   image->path);
		err = qcow2_image_put_bits(image, cluster - 1, bits);
		if (err < 0)
			return why(w, err, "L2 table");
		image->bits[cluster - 1] = bits;
	}
	return fdatasync(image->fd) < 0 ? why(w, -errno, "flush") : 0;
}

int qcow2_side_recover(struct qcow2_image *image, struct why *w)
{
	char path[PATH_MAX];
	struct head head;
	struct stat st;
	struct side *side = NULL;
	int fd, err;

	err = side_path(image, path);
	if (err < 0)
		return why(w, err, "%s.dirty", image->path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : why(w, -errno, "%s", path);
	err = make_head(image, &head);
	if (err < 0) {
		err = why(w, err, BOOT_ID);
	} else if (image->header.is_untouched && !fstat(fd, &st) &&
		   st.st_size >= (off_t)sizeof(*side)) {
		side = map(fd);
		if (!side)
			err = why(w, -errno, "%s", path);
		else if (!memcmp(&side->head, &head, sizeof(head)))
			err = apply(image, side, w);
	}
	if (side)
		(void)munmap(side, sizeof(*side));
	(void)close(fd);
	if (!err && unlink(path) < 0)
		err = why(w, -errno, "%s", path);
	return err;
}

int qcow2_side_create(const struct qcow2_image *image,
		      struct qcow2_side_slot **ret)
{
	char path[PATH_MAX];
	struct head head;
	struct side *side = NULL;
	int fd, err;

	err = side_path(image, path);
	if (!err)
		err = make_head(image, &head);
	if (err < 0)
		return err;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	err = -posix_fallocate(fd, 0, sizeof(*side));
	if (!err) {
		side = map(fd);
		if (!side)
			err = -errno;
	}
	(void)close(fd);
	if (err < 0) {
		(void)unlink(path);
		return err;
	}
	assert(side);
	side->head = head;
	*ret = side->slots;
	return 0;
}

void qcow2_side_remove(const struct qcow2_image *image,
		       struct qcow2_side_slot *slots)
{
	char path[PATH_MAX];

	if (!slots)
		return;
	(void)munmap((char *)slots - offsetof(struct side, slots),
		     sizeof(struct side));
	if (!side_path(image, path))
		(void)unlink(path);
}
