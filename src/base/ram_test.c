/* SPDX-License-Identifier: Apache-2.0 */
/* ram_test.c - ranges inside, across and outside of a guest's memory */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/ram.h"
#include "base/ram_guard.h"

#define K 1024ull

static struct ram ram;
static int fd;

static gpa_t at(uint64_t a)
{
	return (gpa_t){a};
}

static void maps_what_there_is_and_no_more(void)
{
	int dir = open("/", O_RDONLY | O_CLOEXEC);

	ram_init(&ram);
	assert(ram_map(&ram, at(0), 0, fd, 0) == -EINVAL);
	assert(ram_map(&ram, at(0), 65 * K, fd, 0) == -EINVAL);
	assert(ram_map(&ram, at(0), 32 * K, fd, 33 * K) == -EINVAL);
	assert(ram_map(&ram, at(0), 8 * K, fd, UINT64_MAX - 4 * K) == -EINVAL);
	assert(ram_map(&ram, at(UINT64_MAX - 4 * K), 8 * K, fd, 0) == -EINVAL);
	assert(ram_map(&ram, at(0), 4 * K, dir, 0) == -EINVAL);
	assert(ram_map(&ram, at(0), 4 * K, -1, 0) == -EBADF);
	assert(ram.nregions == 0);

	/* Out of order, and the last page of all; an offset within a page. */
	assert(ram_map(&ram, at(64 * K), 16 * K, fd, 16 * K) == 0);
	assert(ram_map(&ram, at(0), 16 * K, fd, 0) == 0);
	assert(ram_map(&ram, at(16 * K), 16 * K, fd, 33 * K) == 0);
	assert(ram_map(&ram, at(UINT64_MAX - 4 * K + 1), 4 * K, fd, 0) == 0);
	assert(ram.nregions == 4);

	assert(ram_map(&ram, at(15 * K), 2 * K, fd, 0) == -EEXIST);
	assert(ram_map(&ram, at(0), 128 * K, fd, 0) == -EEXIST);
	assert(ram_map(&ram, at(60 * K), 8 * K, fd, 0) == -EEXIST);
	assert(ram_map(&ram, at(UINT64_MAX - 8 * K), 5 * K, fd, 0) == -EEXIST);
	close(dir);
}

static void reads_what_was_written(void)
{
	char in[100], out[100] = "";
	struct iovec iov[2];

	memset(in, 'x', sizeof(in));
	assert(ram_write(&ram, at(16 * K - 50), in, sizeof(in)) == 0);
	assert(ram_read(&ram, at(16 * K - 50), out, sizeof(out)) == 0);
	assert(!memcmp(in, out, sizeof(in)));

	/* In the descriptor it is in two places. */
	assert(pread(fd, out, 50, 16 * K - 50) == 50 && !memcmp(in, out, 50));
	assert(pread(fd, out, 50, 33 * K) == 50 && !memcmp(in, out, 50));

	assert(ram_iov(&ram, at(16 * K - 50), 100, iov, 2) == 2);
	assert(iov[0].iov_len == 50 && iov[1].iov_len == 50);
	assert(ram_iov(&ram, at(16 * K - 50), 100, iov, 1) == -E2BIG);
	assert(ram_iov(&ram, at(16 * K - 50), 50, iov, 1) == 1);
	assert(ram_iov(&ram, at(0), 32 * K, iov, 2) == 2);
	assert(ram_iov(&ram, at(999 * K), 0, iov, 0) == 0);
	assert(ram_iov(&ram, at(UINT64_MAX), 1, iov, 1) == 1);
}

static void refuses_what_is_outside(void)
{
	static const struct {
		uint64_t at, len;
	} bad[] = {
		{32 * K, 1},
		{32 * K - 1, 2},
		{0, 33 * K},
		{0, UINT64_MAX},
		{64 * K - 1, 2},
		{UINT64_MAX, 2},
		{UINT64_MAX - 8 * K, 1},
		{UINT64_MAX - 10, UINT64_MAX},
		{1, UINT64_MAX},
	};
	struct iovec iov[8];
	char c[2];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert(ram_iov(&ram, at(bad[i].at), bad[i].len, iov, 8) ==
		       -EFAULT);
	assert(ram_read(&ram, at(32 * K - 1), c, 2) == -EFAULT);
	assert(ram_write(&ram, at(UINT64_MAX), c, 2) == -EFAULT);
}

static void notes_what_is_dirty(void)
{
	uint8_t log[2] = {0};
	struct iovec iov;

	ram.log = log;
	ram.log_len = sizeof(log);
	assert(ram_write(&ram, at(4 * K - 1), "ab", 2) == 0);
	assert(log[0] == 3 && log[1] == 0);
	assert(ram_iov(&ram, at(16 * K), 8 * K, &iov, 1) == 1);
	ram_dirty(&ram, iov.iov_base, iov.iov_len);
	assert(log[0] == (3 | 1 << 4 | 1 << 5) && log[1] == 0);
	ram_dirty_gpa(&ram, at(60 * K), 1000 * K); /* past the log */
	assert(log[1] == 1 << 7);
	ram_dirty_gpa(&ram, at(UINT64_MAX), 2);
	ram_dirty(&ram, log, 1); /* not of the guest */
	ram.log = NULL;
}

static void unmaps_just_what_was_mapped(void)
{
	struct iovec iov;

	assert(ram_unmap(&ram, at(16 * K), 15 * K) == -ENOENT);
	assert(ram_unmap(&ram, at(17 * K), 15 * K) == -ENOENT);
	assert(ram_unmap(&ram, at(16 * K), 16 * K) == 0);
	assert(ram_unmap(&ram, at(16 * K), 16 * K) == -ENOENT);
	assert(ram_unmap(&ram, at(200 * K), 4 * K) == -ENOENT);
	assert(ram_iov(&ram, at(16 * K), 1, &iov, 1) == -EFAULT);
	assert(ram_iov(&ram, at(16 * K - 1), 1, &iov, 1) == 1);
	ram_release(&ram);
	assert(ram_iov(&ram, at(0), 1, &iov, 1) == -EFAULT);
}

static void holds_so_many_and_no_more(void)
{
	for (unsigned i = 0; i < RAM_REGIONS_MAX; i++)
		assert(ram_map(&ram, at(i * 8 * K), 4 * K, fd, 0) == 0);
	assert(ram_map(&ram, at(8000 * K), 4 * K, fd, 0) == -ENOSPC);
	ram_release(&ram);
}

static void outlives_memory_that_is_taken_away(void)
{
	int cut = memfd_create("cut", MFD_CLOEXEC);
	unsigned hits = ram_guard_hits();
	char c[2] = "xy";

	assert(ftruncate(cut, 64 * K) == 0);
	assert(ram_map(&ram, at(0), 64 * K, cut, 0) == 0);
	assert(ram_write(&ram, at(40 * K), c, 2) == 0);
	assert(ftruncate(cut, 0) == 0);
	assert(ram_read(&ram, at(40 * K), c, 2) == 0 && !c[0] && !c[1]);
	assert(ram_write(&ram, at(63 * K), "ab", 2) == 0);
	assert(ram_read(&ram, at(63 * K), c, 2) == 0 && c[0] == 'a');
	assert(ram_guard_hits() == hits + 1);
	ram_release(&ram);
	close(cut);
}

int main(void)
{
	fd = memfd_create("guest", MFD_CLOEXEC);
	assert(fd >= 0 && ftruncate(fd, 64 * K) == 0);
	maps_what_there_is_and_no_more();
	reads_what_was_written();
	refuses_what_is_outside();
	notes_what_is_dirty();
	unmaps_just_what_was_mapped();
	holds_so_many_and_no_more();
	outlives_memory_that_is_taken_away();
	close(fd);
	return 0;
}
