/* SPDX-License-Identifier: Apache-2.0 */
/* ram.c - the table of a guest's memory; every range is checked here */
#include "base/ram.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/array.h"
#include "base/ram_guard.h"

void ram_init(struct ram *ram)
{
	*ram = (struct ram){0};
}

static void unmap(struct ram_region *region)
{
	ram_guard_remove(region->map);
	(void)munmap(region->map, region->map_len);
}

void ram_release(struct ram *ram)
{
	for (unsigned i = 0; i < ram->nregions; i++)
		unmap(&ram->regions[i]);
	ram_init(ram);
}

/* The first region that ends above @at: the one @at is in, if any is. */
static unsigned find(const struct ram *ram, uint64_t at)
{
	unsigned low = 0, high = ram->nregions;

	while (low < high) {
		unsigned mid = (low + high) / 2;
		const struct ram_region *r = &ram->regions[mid];

		/* No region wraps: ram_map() sees to it. */
		if (r->at + (r->len - 1) < at)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint64_t ram_map_unit(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return 4096;
	switch (fs.f_type) {
	case FUSE_SUPER_MAGIC:
	case NFS_SUPER_MAGIC:
		return 0;
	case HUGETLBFS_MAGIC:
		return max_u64(4096, (uint64_t)fs.f_bsize);
	default:
		return 4096;
	}
}

int ram_map(struct ram *ram, gpa_t at, uint64_t len, int fd, uint64_t offset)
{
	struct ram_region region = {.at = at.a, .len = len};
	uint64_t end, unit, skip;
	struct stat st;
	unsigned i;

	if (!len || at.a > UINT64_MAX - (len - 1))
		return -EINVAL;
	if (__builtin_add_overflow(offset, len, &end) || end > INT64_MAX)
		return -EINVAL;
	if (ram->nregions == RAM_REGIONS_MAX)
		return -ENOSPC;
	i = find(ram, at.a);
	if (i < ram->nregions && ram->regions[i].at <= at.a + (len - 1))
		return -EEXIST;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* Past the end of the file there is SIGBUS, not memory. It may still
	 * be cut short later: for that there is ram_guard.h. */
	if (!S_ISREG(st.st_mode) || end > (uint64_t)st.st_size)
		return -EINVAL;
	unit = ram_map_unit(fd);
	if (!unit)
		return -EINVAL;

	skip = offset & (unit - 1);
	region.map_len = round_up(len + skip, unit);
	region.map =
		mmap(NULL, region.map_len, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_NORESERVE, fd, (off_t)(offset - skip));
	if (region.map == MAP_FAILED)
		return -errno;
	if (ram_guard_add(region.map, region.map_len) < 0) {
		(void)munmap(region.map, region.map_len);
		return -ENOSPC;
	}
	/* A core of ours must not hold, nor wait for, a guest's memory. */
	(void)madvise(region.map, region.map_len, MADV_DONTDUMP);
	region.host = (uint8_t *)region.map + skip;

	memmove(&ram->regions[i + 1], &ram->regions[i],
		(ram->nregions - i) * sizeof(region));
	ram->regions[i] = region;
	ram->nregions++;
	return 0;
}

int ram_unmap(struct ram *ram, gpa_t at, uint64_t len)
{
	unsigned i = find(ram, at.a);
	struct ram_region *r = &ram->regions[i];

	if (i == ram->nregions || r->at != at.a || r->len != len)
		return -ENOENT;
	unmap(r);
	ram->nregions--;
	memmove(r, r + 1, (ram->nregions - i) * sizeof(*r));
	return 0;
}

int ram_iov(const struct ram *ram, gpa_t at, uint64_t len, struct iovec *iov,
	    int max)
{
	int n = 0;

	if (!len)
		return 0;
	if (at.a > UINT64_MAX - (len - 1))
		return -EFAULT;
	for (unsigned i = find(ram, at.a); len; i++) {
		const struct ram_region *r = &ram->regions[i];
		uint64_t off, here;

		if (i == ram->nregions || at.a < r->at)
			return -EFAULT;
		if (n == max)
			return -E2BIG;
		off = at.a - r->at;
		here = min_u64(len, r->len - off);
		iov[n++] = (struct iovec){
			.iov_base = r->host + off,
			.iov_len = here,
		};
		at.a += here;
		len -= here;
	}
	return n;
}

/*
 * Ranges of one access are short: a header, a status, a ring's entry. One in
 * more parts than this is of no driver.
 */
#define COPY_PARTS_MAX 4

int ram_read(const struct ram *ram, gpa_t at, void *to, size_t len)
{
	struct iovec iov[COPY_PARTS_MAX];
	int n = ram_iov(ram, at, len, iov, COPY_PARTS_MAX);
	uint8_t *p = to;

	if (n < 0)
		return -EFAULT;
	for (int i = 0; i < n; p += iov[i++].iov_len)
		memcpy(p, iov[i].iov_base, iov[i].iov_len);
	/* The copy is what counts from here: it is not to be read again. */
	__atomic_signal_fence(__ATOMIC_ACQ_REL);
	return 0;
}

int ram_write(const struct ram *ram, gpa_t at, const void *from, size_t len)
{
	struct iovec iov[COPY_PARTS_MAX];
	int n = ram_iov(ram, at, len, iov, COPY_PARTS_MAX);
	const uint8_t *p = from;

	if (n < 0)
		return -EFAULT;
	for (int i = 0; i < n; p += iov[i++].iov_len)
		memcpy(iov[i].iov_base, p, iov[i].iov_len);
	ram_dirty_gpa(ram, at, len);
	return 0;
}

void ram_dirty_gpa(const struct ram *ram, gpa_t at, uint64_t len)
{
	uint64_t last;

	if (!ram->log || !len)
		return;
	if (__builtin_add_overflow(at.a, len - 1, &last))
		return;
	for (uint64_t page = at.a / RAM_LOG_PAGE; page <= last / RAM_LOG_PAGE;
	     page++) {
		if (page / 8 >= ram->log_len)
			return;
		/* The other side takes bits away meanwhile. */
		__atomic_fetch_or(&ram->log[page / 8],
				  (uint8_t)(1u << page % 8), __ATOMIC_SEQ_CST);
	}
}

void ram_dirty(const struct ram *ram, const void *at, uint64_t len)
{
	uintptr_t p = (uintptr_t)at;

	if (!ram->log)
		return;
	for (unsigned i = 0; i < ram->nregions; i++) {
		const struct ram_region *r = &ram->regions[i];
		uintptr_t host = (uintptr_t)r->host;

		if (p < host || p - host >= r->len)
			continue;
		ram_dirty_gpa(ram, (gpa_t){r->at + (p - host)}, len);
		return;
	}
}
