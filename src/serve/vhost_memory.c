/* SPDX-License-Identifier: Apache-2.0 */
/* vhost_memory.c - map what the front-end shares, as far as it is there */
#include "serve/vhost_memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/ram_guard.h"

/* Of guest memory up to 2^46 bytes: more than a machine has. */
#define LOG_LEN_MAX (1ull << 31)

int vhost_shared_map(struct vhost_shared *shared, int fd, uint64_t offset,
		     uint64_t len)
{
	struct stat st;
	uint64_t end;
	void *at;

	if (!len || offset % 4096 || __builtin_add_overflow(offset, len, &end))
		return -EINVAL;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || end > (uint64_t)st.st_size ||
	    !ram_map_unit(fd))
		return -EINVAL;
	at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		  (off_t)offset);
	if (at == MAP_FAILED)
		return -errno;
	if (ram_guard_add(at, len) < 0) {
		(void)munmap(at, len);
		return -ENOSPC;
	}
	shared->at = at;
	shared->len = len;
	return 0;
}

void vhost_shared_unmap(struct vhost_shared *shared)
{
	if (shared->at) {
		ram_guard_remove(shared->at);
		(void)munmap(shared->at, shared->len);
	}
	*shared = (struct vhost_shared){0};
}

void vhost_memory_init(struct vhost_memory *mem)
{
	*mem = (struct vhost_memory){0};
	ram_init(&mem->ram);
}

void vhost_memory_clear(struct vhost_memory *mem)
{
	bool is_logging = mem->ram.log;

	ram_release(&mem->ram);
	mem->nregions = 0;
	vhost_memory_log(mem, is_logging);
}

void vhost_memory_release(struct vhost_memory *mem)
{
	vhost_memory_log(mem, false);
	vhost_memory_clear(mem);
	vhost_shared_unmap(&mem->log);
}

int vhost_memory_add(struct vhost_memory *mem,
		     const struct vhost_user_region *region, int fd)
{
	uint64_t end;
	int err;

	if (__builtin_add_overflow(region->user, region->len, &end))
		return -EINVAL;
	err = ram_map(&mem->ram, (gpa_t){region->guest}, region->len, fd,
		      region->offset);
	if (err < 0)
		return err;
	mem->regions[mem->nregions++] = *region;
	return 0;
}

int vhost_memory_remove(struct vhost_memory *mem,
			const struct vhost_user_region *region)
{
	for (unsigned i = 0; i < mem->nregions; i++) {
		struct vhost_user_region *r = &mem->regions[i];

		if (r->guest != region->guest || r->user != region->user ||
		    r->len != region->len)
			continue;
		(void)ram_unmap(&mem->ram, (gpa_t){r->guest}, r->len);
		mem->nregions--;
		memmove(r, r + 1, (mem->nregions - i) * sizeof(*r));
		return 0;
	}
	return -ENOENT;
}

int vhost_memory_find(const struct vhost_memory *mem, uint64_t user, gpa_t *ret)
{
	for (unsigned i = 0; i < mem->nregions; i++) {
		const struct vhost_user_region *r = &mem->regions[i];

		if (user < r->user || user - r->user >= r->len)
			continue;
		*ret = (gpa_t){r->guest + (user - r->user)};
		return 0;
	}
	return -EFAULT;
}

int vhost_memory_set_log(struct vhost_memory *mem, int fd, uint64_t offset,
			 uint64_t len)
{
	struct vhost_shared log = {0};
	bool is_logging = mem->ram.log;
	int err;

	if (len > LOG_LEN_MAX)
		return -EINVAL;
	err = vhost_shared_map(&log, fd, offset, len);
	if (err < 0)
		return err;
	vhost_shared_unmap(&mem->log);
	mem->log = log;
	vhost_memory_log(mem, is_logging);
	return 0;
}

void vhost_memory_log(struct vhost_memory *mem, bool is_on)
{
	mem->ram.log = is_on ? mem->log.at : NULL;
	mem->ram.log_len = mem->log.len;
}
