/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ram_guard.c - the handler of SIGBUS
 *
 * A slot is free (at is 0), or names a mapping. The length is stored before
 * the address and the address is what counts, so the handler never sees half
 * of one. A mapping is not removed while somebody touches it, so what the
 * handler finds stays.
 */
#include "base/ram_guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

static struct {
	_Atomic uintptr_t at;
	_Atomic size_t len;
} slots[RAM_GUARD_MAX];
static _Atomic unsigned used; /* slots from here on were never in use */
static _Atomic unsigned hits;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* to change slots */

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t fault = (uintptr_t)info->si_addr;
	unsigned n = used;

	(void)context;
	for (unsigned i = 0; i < n; i++) {
		uintptr_t at = slots[i].at;
		size_t len = slots[i].len;

		if (!at || fault < at || fault - at >= len)
			continue;
		if (mmap((void *)at, len, PROT_READ | PROT_WRITE,
			 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS |
				 MAP_NORESERVE,
			 -1, 0) == MAP_FAILED)
			break;
		hits++;
		return;
	}
	/* Not one of these: die of it, at the same place. */
	(void)signal(sig, SIG_DFL);
}

static void set_handler(void)
{
	struct sigaction action = {
		.sa_sigaction = on_sigbus,
		.sa_flags = SA_SIGINFO | SA_RESTART,
	};

	(void)sigemptyset(&action.sa_mask);
	(void)sigaction(SIGBUS, &action, NULL);
}

int ram_guard_add(void *at, size_t len)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int err = -ENOSPC;

	(void)pthread_once(&once, set_handler);
	(void)pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < RAM_GUARD_MAX; i++) {
		if (slots[i].at)
			continue;
		slots[i].len = len;
		slots[i].at = (uintptr_t)at;
		if (i >= used)
			used = i + 1;
		err = 0;
		break;
	}
	(void)pthread_mutex_unlock(&lock);
	return err;
}

void ram_guard_remove(void *at)
{
	(void)pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < used; i++) {
		if (slots[i].at != (uintptr_t)at)
			continue;
		slots[i].at = 0;
		break;
	}
	(void)pthread_mutex_unlock(&lock);
}

unsigned ram_guard_hits(void)
{
	return hits;
}
