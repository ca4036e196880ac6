/* SPDX-License-Identifier: Apache-2.0 */
/* blkd.c - the start, the turns and the end of the daemon */
#include "prog/blkd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/blk.h"
#include "base/clock.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/why.h"
#include "base/work.h"
#include "cache/cache.h"
#include "prog/background.h"
#include "prog/blkd_confine.h"
#include "prog/blkd_disk.h"
#include "prog/blkd_door.h"
#include "prog/blkd_scrape.h"
#include "prog/config.h"
#include "prog/control.h"
#include "prog/disk_spec.h"
#include "prog/inherit.h"
#include "prog/registry.h"
#include "prog/sd.h"
#include "prog/upgrade.h"
#include "serve/nbd.h"
#include "store/store.h"

/**
 * struct start - the disks named at start, until they are all open
 * @waiting:	disks that are still opening
 */
struct start {
	struct blkd *blkd;
	unsigned waiting;
};

struct signals {
	struct loop_op op;
	struct blkd *blkd;
	struct signalfd_siginfo info;
	int fd;
	bool is_reading;
};

/* ---- the end ---- */

static void on_drained(void *owner)
{
	struct blkd *blkd = owner;

	blkd->is_drained = true;
	loop_defer(blkd->loop, &blkd->end_task);
}

static void on_cache_stopped(void *arg)
{
	struct blkd *blkd = arg;

	blkd->is_cache_stopped = true;
	loop_defer(blkd->loop, &blkd->end_task);
}

/* Runs whenever something has ended; stops the loop when all has. */
static void end_step(struct loop_task *task)
{
	struct blkd *blkd = container_of(task, struct blkd, end_task);
	struct list *at, *next;

	if (!blkd->is_drained)
		return;
	if (list_is_empty(&blkd->disks) && !blkd->is_cache_stopping) {
		blkd->is_cache_stopping = true;
		cache_stop(blkd->cache, on_cache_stopped, blkd);
	}
	if (blkd->is_cache_stopped && control_is_idle(blkd->control)) {
		loop_timer_cancel(&blkd->end_timer);
		loop_stop(blkd->loop);
		return;
	}
	list_for_each(at, next, &blkd->disks)
	{
		struct disk *disk = container_of(at, struct disk, list);

		if (disk->state != DISK_REMOVING)
			disk_remove(disk, NULL, NULL);
	}
}

static void end_too_late(struct loop_timer *timer)
{
	struct blkd *blkd = container_of(timer, struct blkd, end_timer);

	log_error(NULL,
		  "requests did not end within %d s: a store hangs; "
		  "ending without them",
		  CONFIG_DRAIN_MS / 1000);
	/* This lets go of all that the kernel and the workers hold. */
	if (blkd->is_upgrading)
		upgrade_exec(blkd);
	/* The kernel and the workers still hold buffers of ours: there is no
	 * orderly way out. */
	_exit(1);
}

void blkd_end(struct blkd *blkd)
{
	if (blkd->is_ending)
		return;
	blkd->is_ending = true;
	if (!blkd->is_upgrading)
		sd_notify("STOPPING=1");
	control_stop(blkd->control);
	loop_timer_set(blkd->loop, &blkd->end_timer,
		       clock_ns() + CONFIG_DRAIN_MS * NS_PER_MS);
	nbd_server_stop(blkd->nbd, on_drained, blkd);
}

/* ---- signals ---- */

static void read_signal(struct signals *signals)
{
	assert(signals->blkd); /* as of signals_make() */
	signals->is_reading = true;
	io_uring_prep_read(loop_sqe(signals->blkd->loop, &signals->op),
			   signals->fd, &signals->info, sizeof(signals->info),
			   0);
}

static void act(struct blkd *blkd, uint32_t signo)
{
	struct why w = {0};

	log_debug(NULL, "signal %u", signo);
	if (signo == SIGHUP)
		return;
	if (signo != SIGUSR2) {
		blkd->is_upgrading = false; /* there is to be no successor */
		blkd_end(blkd);
	} else if (upgrade_begin(blkd, &w) < 0) {
		log_error(NULL, "no upgrade: %s", w.text);
	}
}

static void on_signal(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct signals *signals = container_of(op, struct signals, op);

	(void)cqe_flags;
	signals->is_reading = false;
	if (res == -ECANCELED)
		return;
	if (res == sizeof(signals->info))
		act(signals->blkd, signals->info.ssi_signo);
	read_signal(signals);
}

/* Before any thread is made: they inherit the mask. */
static int signals_make(struct signals *signals, struct blkd *blkd)
{
	sigset_t mask;

	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGTERM);
	(void)sigaddset(&mask, SIGINT);
	(void)sigaddset(&mask, SIGHUP);
	(void)sigaddset(&mask, SIGUSR2);
	if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return -errno;
	(void)signal(SIGPIPE, SIG_IGN);
	signals->op.done = on_signal;
	signals->blkd = blkd;
	signals->fd = signalfd(-1, &mask, SFD_CLOEXEC);
	return signals->fd < 0 ? -errno : 0;
}

static void signals_free(struct signals *signals)
{
	if (signals->is_reading)
		loop_cancel(signals->blkd->loop, &signals->op);
	while (signals->is_reading)
		if (loop_turn(signals->blkd->loop) < 0)
			break;
	cleanup_fd(&signals->fd);
}

/* ---- the start ---- */

static int write_pid(const char *path, struct why *w)
{
	FILE *file = fopen(path, "we");
	int n;

	if (!file)
		return why(w, -errno, "%s", path);
	n = fprintf(file, "%d\n", getpid());
	if (fclose(file) || n < 0)
		return why(w, -EIO, "%s", path);
	return 0;
}

static int begin_serving(struct blkd *blkd, struct why *w)
{
	struct list *at, *next;
	unsigned count = 0;
	int err = doors_open(blkd, w);

	list_for_each(at, next, &blkd->disks)
	{
		count++;
	}
	if (!err && blkd->config->pid_file)
		err = write_pid(blkd->config->pid_file, w);
	if (err < 0)
		return err;
	blkd->is_serving = true;
	inherit_clients(blkd->nbd);
	inherit_end();
	sd_notify("READY=1");
	log_info(NULL, "serving %u disk%s after %.1f ms", count,
		 count == 1 ? "" : "s",
		 (double)(clock_ns() - blkd->start_ns) / NS_PER_MS);
	background_ready();
	return 0;
}

static void on_opened(struct disk *disk, void *owner)
{
	struct start *start = owner;
	struct blkd *blkd = start->blkd;
	struct why w = {0};

	start->waiting--;
	if (disk->stack.err < 0 && disk->stack.err != -ECANCELED) {
		log_error(disk->spec.name, "%s", disk->stack.why.text);
		if (!disk->is_kept) {
			blkd->exit_code = 1;
			blkd_end(blkd);
		}
	}
	if (start->waiting || blkd->is_ending)
		return;
	if (begin_serving(blkd, &w) < 0) {
		log_error(NULL, "%s", w.text);
		blkd->exit_code = 1;
		blkd_end(blkd);
	}
}

/* What the state file and the configuration name is tried until it works. */
static int open_kept(struct blkd *blkd, struct start *start, struct why *w)
{
	json_t *object;
	size_t i;

	json_array_foreach(registry_list(blkd->registry, REGISTRY_DISKS), i,
			   object)
	{
		struct disk_spec spec = {0};
		int err = disk_spec_from_json(object, &spec, w);

		if (!err)
			err = disk_add(blkd, &spec, true, on_opened, start,
				       NULL, w);
		disk_spec_release(&spec);
		if (err < 0)
			return why_in(w, err, "%s", blkd->config->state);
		start->waiting++;
	}
	return 0;
}

/* The cache's file is made anew: what was in it is not believed. */
static int add_file_tier(struct blkd *blkd, struct why *w)
{
	const char *path = blkd->config->cache_file;
	CLEANUP(cleanup_fd)
	int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	struct blk *file = NULL;
	int err;

	if (fd < 0 || ftruncate(fd, (off_t)blkd->config->cache_file_size) < 0)
		return why(w, -errno, "cache-file %s", path);
	err = store_open(blkd->loop, path, STORE_WRITE | STORE_DIRECT, NULL,
			 &file, w);
	if (!err) {
		err = cache_add_file_tier(blkd->cache, file);
		if (err < 0) {
			(void)why(w, err, "cache-file %s", path);
			blk_free(file);
		}
	}
	return err < 0 ? why_in(w, err, "cache-file") : 0;
}

static int add_stores(struct blkd *blkd)
{
	const struct config *config = blkd->config;

	for (size_t i = 0; i < config->nstores; i++) {
		int err = registry_put(blkd->registry, REGISTRY_STORES,
				       json_pack("{s:s, s:s, s:b}", "name",
						 config->stores[i].name,
						 "address",
						 config->stores[i].address,
						 "is_configured", 1));

		if (err < 0)
			return err;
	}
	return 0;
}

static int open_disks(struct blkd *blkd, struct start *start, struct why *w)
{
	struct config *config = blkd->config;
	int err;

	start->blkd = blkd;
	for (size_t i = 0; i < config->ndisks; i++) {
		start->waiting++;
		err = disk_add(blkd, &config->disks[i], false, on_opened, start,
			       NULL, w);
		if (err < 0)
			return err;
	}
	err = open_kept(blkd, start, w);
	if (err < 0)
		return err;
	return start->waiting ? 0 : begin_serving(blkd, w);
}

static void on_idle(void *owner)
{
	struct blkd *blkd = owner;

	if (blkd->config->is_stdio)
		blkd_end(blkd);
}

static int make_creds(struct blkd *blkd, struct why *w)
{
	const struct config *config = blkd->config;

	if (config->tls_psk)
		return nbd_creds_new_psk(config->tls_psk, &blkd->creds, w);
	if (config->tls_certs)
		return nbd_creds_new_x509(config->tls_certs, config->tls_verify,
					  &blkd->creds, w);
	return 0;
}

static int make_server(struct blkd *blkd, struct why *w)
{
	struct nbd_conf conf = {
		.on_idle = on_idle,
		.owner = blkd,
	};
	int err = make_creds(blkd, w);

	if (err < 0)
		return err;
	if (blkd->config->tls == CONFIG_TLS_ON)
		conf.tls = NBD_TLS_ALLOWED;
	if (blkd->config->tls == CONFIG_TLS_REQUIRE)
		conf.tls = NBD_TLS_REQUIRED;
	conf.creds = blkd->creds;
	err = nbd_server_new(blkd->loop, &conf, &blkd->nbd);
	if (err == -EINVAL)
		return why(w, 0, "TLS needs --tls-psk or --tls-certs"), err;
	return err < 0 ? why(w, err, "NBD server") : 0;
}

static int serve(struct blkd *blkd, struct why *w)
{
	struct signals signals = {.fd = -1};
	struct start start = {0};
	int err;

	err = signals_make(&signals, blkd);
	if (!err)
		err = doors_make(blkd, w);
	if (!err && blkd->config->user)
		err = confine_user(blkd->config->user, w);
	if (!err && !blkd->config->no_seccomp && !inherit_is_confined())
		err = confine_calls(w);
	if (!err)
		err = loop_new(&blkd->loop, w);
	if (!err)
		err = workers_new(blkd->loop, BLKD_WORKERS, &blkd->workers, w);
	if (!err)
		err = cache_new(blkd->loop, blkd->workers,
				blkd->config->cache_size, stack_store_open,
				&blkd->cache, w);
	if (!err && blkd->config->cache_file)
		err = add_file_tier(blkd, w);
	if (!err) {
		inherit_cache(blkd->cache);
		err = registry_load(blkd->config->state, &blkd->registry, w);
	}
	if (!err && !blkd->config->state)
		inherit_registry(blkd->registry, blkd->config);
	if (!err)
		err = add_stores(blkd);
	if (!err && (blkd->config->control || blkd->control_fd >= 0))
		err = control_new(blkd, blkd->config->control,
				  take_fd(&blkd->control_fd), &blkd->control,
				  w);
	if (!err && blkd->config->metrics)
		err = scrape_new(blkd, blkd->config->metrics, &blkd->scrape, w);
	if (!err)
		err = make_server(blkd, w);
	if (!err) {
		read_signal(&signals);
		err = open_disks(blkd, &start, w);
		if (err < 0) { /* some may be open: the orderly way out */
			log_error(NULL, "%s", w->text);
			blkd->exit_code = 1;
			blkd_end(blkd);
			err = 0;
		}
		if (!err)
			err = loop_run(blkd->loop);
	}
	signals_free(&signals);
	return err;
}

int blkd_run(struct config *config)
{
	struct blkd blkd = {
		.config = config,
		.control_fd = -1,
		.start_ns = clock_ns(),
	};
	struct why w = {0};

	list_init(&blkd.disks);
	list_init(&blkd.doors);
	loop_task_init(&blkd.end_task, end_step);
	loop_timer_init(&blkd.end_timer, end_too_late);
	if (serve(&blkd, &w) < 0) {
		log_error(NULL, "%s", w.text);
		blkd.exit_code = 1;
	}
	control_free(blkd.control);
	scrape_free(blkd.scrape);
	cleanup_fd(&blkd.control_fd);
	loop_task_cancel(&blkd.end_task);
	doors_free(&blkd);
	if (config->pid_file && blkd.is_serving && !blkd.is_upgrading)
		(void)unlink(config->pid_file);
	nbd_server_free(blkd.nbd);
	nbd_creds_free(blkd.creds);
	if (blkd.is_upgrading)
		upgrade_keep_cache(&blkd);
	cache_free(blkd.cache);
	registry_free(blkd.registry);
	workers_free(blkd.workers);
	loop_free(blkd.loop);
	if (!blkd.is_upgrading)
		return blkd.exit_code;
	upgrade_exec(&blkd);
	return 1;
}
