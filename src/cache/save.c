/* SPDX-License-Identifier: Apache-2.0 */
/*
 * save.c - extent by extent: gather its blocks from the cache, pack, write
 *
 *	worker	merge the record into the map, lay out the next segment; create
 *		NAME.bootseg-ID.tmp in the image's boot_dir
 *	loop	read the blocks of an extent through the cache   <-+
 *	worker	pack it, write it behind the last one		 --+
 *	worker	write the segment's header, fdatasync, rename to
 *NAME.bootseg-ID; write NAME.bootmap.tmp, fdatasync, rename; fsync the
 *directory
 *
 * The rename of the map is the moment at which the new pair counts: it names
 * its segment, which has its final name and content by then. A kill at any
 * time before leaves the old pair. The segment before this one is kept, as
 * other hosts may be reading it; older ones are removed.
 */
#include "cache/save.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/work.h"
#include "boot/extent_codec.h"
#include "boot/layout.h"
#include "boot/map_fmt.h"
#include "cache/image.h"

/* A segment is written anew when more than this of a boot was not in it. */
#define NEWS_PERCENT 1u
/* ... and for the first boots in any case, until it is clear what varies. */
#define BOOTS_TO_LEARN 3u

struct save {
	struct work work;
	struct image *image;
	struct boot_map *map; /* the new one, once laid out; owned */
	struct boot_map *old; /* a copy of the one before, or NULL */
	struct recorder_touch *touches; /* of this boot; owned */
	uint32_t ntouches;
	bool is_needless; /* what is there serves as well */
	uint32_t extent; /* at hand */
	int res;
	struct why why;

	/* The worker's. */
	int dir; /* boot_dir */
	int fd; /* the segment's, or -1 */
	char *segment_name, *map_name, *tmp_name;
	uint64_t end; /* of what is written */

	/* The gathering. */
	uint8_t *raw, *packed; /* BOOT_EXTENT_BYTES each */
	uint32_t nleft; /* reads that have not ended, and one while starting */
	struct blk_req req[BOOT_EXTENT_BLOCKS];
	struct iovec iov[BOOT_EXTENT_BLOCKS];
};

static void save_free(struct save *save)
{
	boot_map_free(save->map);
	boot_map_free(save->old);
	free(save->touches);
	if (save->fd >= 0) {
		(void)close(save->fd);
		(void)unlinkat(save->dir, save->tmp_name, 0);
	}
	if (save->dir >= 0)
		(void)close(save->dir);
	free(save->segment_name);
	free(save->map_name);
	free(save->tmp_name);
	free(save->raw);
	free(save->packed);
	free(save);
}

static void finish(struct save *save)
{
	struct image *image = save->image;

	if (save->is_needless) {
		log_debug(image->name, "boot segment is as good as it was");
	} else if (save->res < 0) {
		log_warning(image->name, "boot segment is not written: %s",
			    save->why.text);
	} else {
		log_info(image->name,
			 "boot segment written: %" PRIu32 " blocks of 4 KiB in "
			 "%" PRIu64 " bytes, boot %" PRIu32,
			 save->map->nblocks, save->map->segment_size,
			 save->map->boots);
		boot_map_free(image->map);
		image->map = take_ptr(&save->map);
	}
	image->save = NULL;
	save_free(save);
	image_put(image);
}

static int write_all(int fd, const void *bytes, size_t len, uint64_t offset)
{
	const char *at = bytes;

	while (len) {
		ssize_t n = pwrite(fd, at, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

/* Blocks of @map's main batches that @old does not have. */
static uint32_t news(const struct boot_map *map, const struct boot_map *old)
{
	uint32_t blocks[BOOT_EXTENT_BLOCKS], n, rank, count = 0;

	for (uint32_t i = 0; i < map->nextents; i++) {
		n = boot_map_extent_blocks(map, i);
		boot_map_blocks(map, i * BOOT_EXTENT_BLOCKS, n, blocks);
		for (uint32_t k = 0; k < n; k++)
			count += !boot_map_find(old, blocks[k], &rank);
	}
	return count;
}

static bool is_worth_it(const struct boot_map *map, const struct boot_map *old)
{
	return !old || old->boots < BOOTS_TO_LEARN ||
	       news(map, old) > map->nblocks * (uint64_t)NEWS_PERCENT / 100;
}

/* Lay out the new map and name its segment. */
static int lay_out(struct save *save)
{
	struct image *image = save->image;
	int res = boot_layout(&image->identity, save->old, save->touches,
			      save->ntouches, &save->map);

	if (res == -ENODATA || (!res && !is_worth_it(save->map, save->old))) {
		save->is_needless = true;
		return -ENODATA;
	}
	if (res < 0)
		return why(&save->why, res, "layout");
	do {
		if (getrandom(&save->map->segment_id,
			      sizeof(save->map->segment_id), 0) < 0)
			return why(&save->why, -errno, "getrandom");
	} while (!save->map->segment_id);
	save->map_name = boot_map_name(image->name);
	save->segment_name =
		boot_segment_name(image->name, save->map->segment_id);
	if (save->segment_name &&
	    asprintf(&save->tmp_name, "%s.tmp", save->segment_name) < 0)
		save->tmp_name = NULL;
	save->raw = malloc(BOOT_EXTENT_BYTES);
	save->packed = malloc(BOOT_EXTENT_BYTES);
	if (!save->map_name || !save->tmp_name || !save->raw || !save->packed)
		return why(&save->why, -ENOMEM, "layout");
	return 0;
}

static void run_create(struct work *work)
{
	struct save *save = container_of(work, struct save, work);
	struct image *image = save->image;

	save->res = lay_out(save);
	if (save->res < 0)
		return;
	save->dir = open(image->boot_dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (save->dir < 0) {
		save->res = why(&save->why, -errno, "%s", image->boot_dir);
		return;
	}
	save->fd = openat(save->dir, save->tmp_name,
			  O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
	if (save->fd < 0)
		save->res = why(&save->why, -errno, "create %s/%s",
				image->boot_dir, save->tmp_name);
	save->end = SEGMENT_FMT_HEADER;
}

static void run_pack(struct work *work)
{
	struct save *save = container_of(work, struct save, work);
	struct boot_extent *extent = &save->map->extents[save->extent];
	size_t len = (size_t)boot_map_extent_blocks(save->map, save->extent) *
		     BOOT_BLOCK;

	extent_pack(save->raw, len, save->image->level, save->packed, extent);
	extent->offset = save->end;
	save->res =
		write_all(save->fd, save->packed, extent->stored, save->end);
	if (save->res < 0)
		(void)why(&save->why, save->res, "write %s/%s",
			  save->image->boot_dir, save->tmp_name);
	/* Extents begin at whole blocks, for reads past the page cache. */
	save->end = round_up(save->end + extent->stored, BOOT_BLOCK);
}

/* Remove segments of this image but for the new one and the one before it. */
static void remove_older(struct save *save)
{
	CLEANUP(cleanup_free)
	char *old = save->old ? boot_segment_name(save->image->name,
						  save->old->segment_id)
			      : NULL;
	size_t stem = strlen(save->map_name) - strlen("map"); /* "NAME.boot" */
	int fd = dup(save->dir);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	rewinddir(dir);
	while ((entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (!strncmp(name, save->segment_name, stem) &&
		    !strncmp(name + stem, "seg-", 4) &&
		    strcmp(name, save->segment_name) != 0 &&
		    !(old && !strcmp(name, old)))
			(void)unlinkat(save->dir, name, 0);
	}
	(void)closedir(dir);
}

/* Give @from, written whole at @fd, its name. */
static int put_in_place(struct save *save, int fd, const char *from,
			const char *to)
{
	if (fdatasync(fd) < 0)
		return why(&save->why, -errno, "fdatasync %s", from);
	if (renameat(save->dir, from, save->dir, to) < 0)
		return why(&save->why, -errno, "rename %s to %s", from, to);
	return 0;
}

static int write_map(struct save *save)
{
	CLEANUP(cleanup_free) void *bytes = NULL;
	CLEANUP(cleanup_free) char *tmp = NULL;
	CLEANUP(cleanup_fd) int fd = -1;
	size_t len = 0;
	int res;

	if (asprintf(&tmp, "%s.tmp", save->map_name) < 0)
		return why(&save->why, -ENOMEM, "boot map");
	res = map_fmt_encode(save->map, &bytes, &len);
	if (res < 0)
		return why(&save->why, res, "boot map");
	fd = openat(save->dir, tmp, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC,
		    0644);
	if (fd < 0)
		return why(&save->why, -errno, "create %s", tmp);
	res = write_all(fd, bytes, len, 0);
	if (res < 0)
		(void)why(&save->why, res, "write %s", tmp);
	else
		res = put_in_place(save, fd, tmp, save->map_name);
	if (res < 0)
		(void)unlinkat(save->dir, tmp, 0);
	return res;
}

static int write_pair(struct save *save)
{
	uint8_t header[SEGMENT_FMT_HEADER];
	int res;

	save->map->segment_size = save->end;
	save->map->created_s = (uint64_t)time(NULL);
	segment_fmt_encode(save->map, header);
	res = write_all(save->fd, header, sizeof(header), 0);
	if (!res && ftruncate(save->fd, (off_t)save->end) < 0)
		res = -errno; /* the last extent's padding */
	if (res < 0)
		return why(&save->why, res, "write %s", save->tmp_name);
	res = put_in_place(save, save->fd, save->tmp_name, save->segment_name);
	if (res < 0)
		return res;
	(void)close(take_fd(&save->fd)); /* from here on it is no tmp file */
	res = write_map(save);
	if (res < 0) {
		(void)unlinkat(save->dir, save->segment_name, 0);
		return res;
	}
	if (fsync(save->dir) < 0)
		return why(&save->why, -errno, "fsync %s",
			   save->image->boot_dir);
	return 0;
}

static void run_finish(struct work *work)
{
	struct save *save = container_of(work, struct save, work);

	save->res = write_pair(save);
	if (!save->res)
		remove_older(save);
}

static void start_work(struct save *save, void (*run)(struct work *),
		       void (*done)(struct work *))
{
	save->work.run = run;
	save->work.done = done;
	work_start(save->image->cache->workers, &save->work);
}

static void done_finish(struct work *work)
{
	finish(container_of(work, struct save, work));
}

static void gather(struct save *save);

static void done_step(struct work *work)
{
	struct save *save = container_of(work, struct save, work);

	if (work->run == run_pack)
		save->extent++;
	if (save->res < 0)
		finish(save);
	else if (save->extent < save->map->nextents)
		gather(save);
	else
		start_work(save, run_finish, done_finish);
}

static void gathered(struct save *save)
{
	if (save->res < 0) {
		(void)why(&save->why, save->res, "read the image");
		finish(save);
		return;
	}
	start_work(save, run_pack, done_step);
}

static void gather_done(struct blk_req *req, int res)
{
	struct save *save = req->owner;

	if (res < 0)
		save->res = res;
	if (--save->nleft == 0)
		gathered(save);
}

/* Read the extent's blocks, as many requests as there are runs of them. */
static void gather(struct save *save)
{
	uint32_t n = boot_map_extent_blocks(save->map, save->extent);
	uint32_t blocks[BOOT_EXTENT_BLOCKS];
	uint32_t nreqs = 0, run;

	boot_map_blocks(save->map, save->extent * BOOT_EXTENT_BLOCKS, n,
			blocks);
	for (uint32_t i = 0; i < n; i += run) {
		uint64_t offset = (uint64_t)blocks[i] * BOOT_BLOCK;
		uint8_t *at = save->raw + (size_t)i * BOOT_BLOCK;
		uint64_t len;

		for (run = 1; i + run < n; run++)
			if (blocks[i + run] != blocks[i] + run)
				break;
		/* The image may end inside its last block. */
		len = min_u64((uint64_t)run * BOOT_BLOCK,
			      save->image->store->size - offset);
		memset(at + len, 0, (size_t)run * BOOT_BLOCK - len);
		save->iov[nreqs] = (struct iovec){at, len};
		save->req[nreqs] = (struct blk_req){
			.op = BLK_READ,
			.flags = BLK_LOW,
			.offset = offset,
			.len = len,
			.iov = &save->iov[nreqs],
			.niov = 1,
			.done = gather_done,
			.owner = save,
		};
		nreqs++;
	}
	save->nleft = nreqs + 1;
	for (uint32_t i = 0; i < nreqs; i++)
		blk_submit(&save->image->inner.blk, &save->req[i]);
	if (--save->nleft == 0)
		gathered(save);
}

static struct save *save_new(struct image *image,
			     const struct recorder_touch *touches,
			     uint32_t count)
{
	struct save *save = calloc(1, sizeof(*save));

	if (!save)
		return NULL;
	save->dir = save->fd = -1;
	save->image = image;
	save->ntouches = count;
	save->touches = calloc(count + 1, sizeof(*touches));
	if (image->map)
		save->old = boot_map_copy(image->map);
	if (!save->touches || (image->map && !save->old)) {
		save_free(save);
		return NULL;
	}
	memcpy(save->touches, touches, count * sizeof(*touches));
	return save;
}

void save_start(struct image *image, const struct recorder *recorder,
		enum boot_end end)
{
	uint32_t count;
	const struct recorder_touch *touches =
		recorder_touches(recorder, &count);

	assert(!image->save);
	if (end == BOOT_CLOSED &&
	    boot_layout_is_partial(image->map, touches, count))
		return;
	image->save = save_new(image, touches, count);
	if (!image->save) {
		log_warning(image->name,
			    "boot segment is not written: out of memory");
		return;
	}
	image_get(image);
	start_work(image->save, run_create, done_step);
}
