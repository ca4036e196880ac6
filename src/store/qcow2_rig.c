/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2_rig.c - a disk for tests that fails, reorders and forgets */
#undef NDEBUG
#include "store/qcow2_rig.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/qcow2_image.h"
#include "store/qcow2_layer.h"
#include "store/qcow2_side.h"

#define LOST_MAX 100000

static uint64_t state = 1;
static char folder[PATH_MAX];

void rig_seed(uint64_t seed)
{
	state = seed * 2654435761u + 1;
}

unsigned rig_seeds(void)
{
	const char *seeds = getenv("QCOW2_SEEDS");

	return seeds ? (unsigned)strtoul(seeds, NULL, 10) : 1;
}

uint64_t rig_random(uint64_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (state >> 33) % n;
}

const char *rig_tmp(void)
{
	const char *base = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";

	(void)snprintf(folder, sizeof(folder), "%s/qcow2-test-XXXXXX", base);
	assert(mkdtemp(folder));
	return folder;
}

void rig_tmp_remove(void)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;

	assert(dir);
	while ((entry = readdir(dir)))
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	(void)closedir(dir);
	assert(rmdir(folder) == 0);
}

/* The stretches of @from that hold data, from @at to @end, into @to. */
static void copy_range(int from, int to, uint64_t at, uint64_t end)
{
	static char buf[1 << 20];

	while (at < end) {
		off_t data = lseek(from, (off_t)at, SEEK_DATA);
		ssize_t n;

		if (data < 0 || (uint64_t)data >= end)
			break;
		at = (uint64_t)data;
		n = pread(from, buf, min_u64(sizeof(buf), end - at), (off_t)at);
		assert(n > 0);
		assert(pwrite(to, buf, (size_t)n, (off_t)at) == n);
		at += (uint64_t)n;
	}
}

static void punch(int fd, uint64_t at, uint64_t len)
{
	assert(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)at, (off_t)len));
}

void rig_copy(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct stat st;

	assert(in >= 0 && out >= 0 && !fstat(in, &st));
	assert(!ftruncate(out, st.st_size));
	copy_range(in, out, 0, (uint64_t)st.st_size);
	(void)close(in);
	(void)close(out);
}

/* What @at to @at + @len is now in @from, holes too. */
static void mirror(int from, int to, uint64_t at, uint64_t len)
{
	punch(to, at, len);
	copy_range(from, to, at, at + len);
}

static void note_lost(struct rig_disk *disk, uint64_t at, uint64_t len)
{
	if (!disk->is_volatile)
		return;
	assert(disk->nlost < LOST_MAX);
	disk->lost[disk->nlost].at = at;
	disk->lost[disk->nlost++].len = len;
}

void rig_disk_lose(struct rig_disk *disk, const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct stat st;

	assert(fd >= 0 && !fstat(disk->stable, &st));
	assert(!ftruncate(fd, st.st_size));
	copy_range(disk->stable, fd, 0, (uint64_t)st.st_size);
	/* Each sector has reached the medium, or has not. */
	for (unsigned i = 0; i < disk->nlost; i++) {
		uint64_t len = disk->lost[i].len;
		uint64_t piece = len > 16384 ? 4096 : 512;

		for (uint64_t at = 0; at < len; at += piece)
			if (rig_random(2))
				mirror(disk->fd, fd, disk->lost[i].at + at,
				       min_u64(piece, len - at));
	}
	(void)close(fd);
}

static int do_req(struct rig_disk *disk, struct blk_req *req)
{
	uint64_t at = req->offset;
	ssize_t n;

	disk->nreqs[req->op]++;
	if (disk->fail_nth &&
	    (disk->fail_op == BLK_OP_MAX || disk->fail_op == req->op) &&
	    --disk->fail_nth == 0)
		return disk->fail_err;
	switch (req->op) {
	case BLK_READ:
		n = preadv(disk->fd, req->iov, req->niov, (off_t)at);
		return n == (ssize_t)req->len ? 0 : -EIO;
	case BLK_WRITE:
		n = pwritev(disk->fd, req->iov, req->niov, (off_t)at);
		if (req->flags & BLK_FUA)
			mirror(disk->fd, disk->stable, at, req->len);
		else
			note_lost(disk, at, req->len);
		return n == (ssize_t)req->len ? 0 : -EIO;
	case BLK_DISCARD:
	case BLK_ZERO:
		punch(disk->fd, at, req->len);
		note_lost(disk, at, req->len);
		return 0;
	case BLK_FLUSH:
		for (unsigned i = 0; i < disk->nlost; i++)
			mirror(disk->fd, disk->stable, disk->lost[i].at,
			       disk->lost[i].len);
		disk->nlost = 0;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static void rig_submit(struct blk *blk, struct blk_req *req)
{
	struct rig_disk *disk = (struct rig_disk *)blk;

	if (!disk->is_held) {
		blk_end(req, do_req(disk, req));
		return;
	}
	assert(disk->nheld < RIG_HELD_MAX);
	disk->held[disk->nheld].is_done = false;
	disk->held[disk->nheld++].req = req;
}

bool rig_disk_step(struct rig_disk *disk)
{
	struct blk_req *req;
	unsigned i;
	int res;

	if (!disk->nheld)
		return false;
	i = (unsigned)rig_random(disk->nheld);
	req = disk->held[i].req;
	if (!disk->held[i].is_done) {
		disk->held[i].res = do_req(disk, req);
		disk->held[i].is_done = true;
		if (rig_random(2)) /* nobody has heard of it yet */
			return true;
	}
	res = disk->held[i].res;
	disk->held[i] = disk->held[--disk->nheld];
	blk_end(req, res);
	return true;
}

static void rig_free(struct blk *blk)
{
	struct rig_disk *disk = (struct rig_disk *)blk;

	assert(!disk->nheld);
	(void)close(disk->fd);
	if (disk->stable >= 0)
		(void)close(disk->stable);
	free(disk->lost);
	free(disk);
}

static const struct blk_ops rig_ops = {
	.name = "rig",
	.submit = rig_submit,
	.free = rig_free,
};

struct rig_disk *rig_disk_new(const char *path)
{
	struct rig_disk *disk = calloc(1, sizeof(*disk));
	char stable[PATH_MAX];
	struct stat st;

	assert(disk);
	disk->fd = open(path, O_RDWR | O_CLOEXEC);
	assert(disk->fd >= 0 && !fstat(disk->fd, &st));
	(void)snprintf(stable, sizeof(stable), "%s.stable", path);
	rig_copy(path, stable);
	disk->stable = open(stable, O_RDWR | O_CLOEXEC);
	assert(disk->stable >= 0);
	disk->lost = calloc(LOST_MAX, sizeof(*disk->lost));
	assert(disk->lost);
	disk->blk = (struct blk){
		.ops = &rig_ops,
		.size = (uint64_t)st.st_size,
		.block = 1,
		.can = BLK_CAN_WRITE | BLK_CAN_DISCARD | BLK_CAN_ZERO,
	};
	return disk;
}

/* A sparse file: as memory a base of some GiB would be too large where malloc
 * fills what it gives (MALLOC_PERTURB_). */
struct blk *rig_base_new(uint64_t size, uint64_t at, uint64_t len)
{
	char path[PATH_MAX + 16];
	uint8_t *bytes = malloc(len + 1);
	int fd;

	assert(bytes);
	memset(bytes, 'b', len);
	(void)snprintf(path, sizeof(path), "%s/base.raw", folder);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert(fd >= 0 && !ftruncate(fd, (off_t)size));
	assert(!qcow2_pwrite(fd, bytes, len, at));
	(void)close(fd);
	free(bytes);
	return &rig_disk_new(path)->blk;
}

struct blk *rig_open(const char *path, struct blk *disk, struct blk *backing,
		     bool has_side)
{
	struct qcow2_image image = {.fd = -1};
	struct qcow2_side_slot *side = NULL;
	struct blk *blk = NULL;

	assert(qcow2_image_load(path, &image, NULL) == 0);
	assert(qcow2_side_recover(&image, NULL) == 0);
	assert(qcow2_image_claim(&image) == 0);
	if (has_side)
		assert(qcow2_side_create(&image, &side) == 0);
	assert(qcow2_layer_new(&image, side, 0, disk, backing, &blk) == 0);
	return blk;
}
