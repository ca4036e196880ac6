/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roost_run.c - roost run: a VM on a disk of ours, and what its boot did
 *
 *	1. a disk: of the daemon, if IMAGE is a name that it knows; else of a
 *	   daemon of our own that ends with the VM
 *	2. QEMU on it, with the terminal as its serial console
 *	3. the disk goes, which writes what was learned; then the sums
 *
 * Counters of an image are since the daemon's start, so those from before are
 * taken off.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/why.h"
#include "boot/map.h"
#include "prog/number.h"
#include "prog/roost.h"
#include "prog/roost_qemu.h"
#include "prog/socket.h"

#define DAEMON_WAIT_MS 10000
#define SAVE_WAIT_MS   60000
#define DISK_NAME      "run"

/**
 * struct run - a VM and what it stands on
 * @daemon:	our own, or 0
 * @dir:	of our sockets; removed at the end
 * @address:	of the image, as its counters are known by
 * @before:	the image's counters before; NULL: there were none
 */
struct run {
	struct roost *roost;
	pid_t daemon;
	char dir[32];
	char disk[64];
	char nbd[128], vhost[256], control[128];
	char *address;
	json_t *before;
};

static json_t *image_stats(struct run *run)
{
	json_t *answer = NULL, *image, *found = NULL;
	size_t i;

	if (roost_ask(run->roost, json_pack("{s:s}", "op", "boot-ls"), &answer))
		return NULL;
	json_array_foreach(json_object_get(answer, "images"), i, image)
	{
		if (!strcmp(roost_text(image, "address"), run->address))
			found = json_incref(image);
	}
	json_decref(answer);
	return found;
}

/* ---- a daemon of our own ---- */

/* Beside this program, in the sbin beside its bin, or in the PATH. */
static void find_daemon(char path[static PATH_MAX])
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n < 0 ? 0 : n] = 0;
	slash = strrchr(self, '/');
	if (slash) {
		*slash = 0;
		(void)snprintf(path, PATH_MAX, "%.4000s/roost-blkd", self);
		if (!access(path, X_OK))
			return;
		(void)snprintf(path, PATH_MAX, "%.4000s/../sbin/roost-blkd",
			       self);
		if (!access(path, X_OK))
			return;
	}
	(void)snprintf(path, PATH_MAX, "roost-blkd");
}

static void put_doubled(FILE *out, const char *text)
{
	for (; *text; text++)
		fprintf(out, *text == ',' ? ",," : "%c", *text);
}

/* The --disk of our daemon. free() it. */
static char *disk_argument(struct run *run)
{
	const char *overlay = roost_value(run->roost, "overlay");
	const char *boot = roost_value(run->roost, "boot");
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	fprintf(out, "%s=", DISK_NAME);
	put_doubled(out, run->address);
	fprintf(out, ",cache=on");
	fprintf(out, overlay ? ",overlay=" : ",ephemeral");
	if (overlay)
		put_doubled(out, overlay);
	if (boot) {
		fprintf(out, ",boot=");
		put_doubled(out, boot);
	}
	if (roost_value(run->roost, "vhost-user"))
		fprintf(out, ",vhost-user=%s", run->vhost);
	return fclose(out) ? (free(text), NULL) : text;
}

static int start_daemon(struct run *run)
{
	CLEANUP(cleanup_free) char *disk = disk_argument(run);
	const char *size = roost_value(run->roost, "cache-size");
	char path[PATH_MAX], listen[160];

	(void)snprintf(listen, sizeof(listen), "unix:%s", run->nbd);
	find_daemon(path);
	if (!disk)
		return ROOST_FAILED;
	if (roost_value(run->roost, "dry-run")) {
		printf("%s --foreground --listen %s --control %s --disk %s\n",
		       path, listen, run->control, disk);
		return ROOST_OK;
	}
	(void)fflush(NULL);
	run->daemon = fork();
	if (run->daemon < 0) {
		run->daemon = 0;
		roost_say("fork: %s", strerror(errno));
		return ROOST_FAILED;
	}
	if (!run->daemon) {
		(void)setsid(); /* the terminal's ^C is the guest's */
		(void)execlp(path, path, "--foreground", "--listen", listen,
			     "--control", run->control, "--disk", disk,
			     "--cache-size", size ? size : "1G", "--log-level",
			     "warning", (char *)NULL);
		roost_say("%s: %s", path, strerror(errno));
		_exit(127);
	}
	for (int ms = 0; ms < DAEMON_WAIT_MS; ms += 5) {
		int fd = -1, status;

		if (waitpid(run->daemon, &status, WNOHANG) == run->daemon) {
			run->daemon = 0; /* it has said why */
			return ROOST_FAILED;
		}
		if (!socket_connect_unix(run->control, &fd)) {
			(void)close(fd);
			return ROOST_OK;
		}
		(void)usleep(5000);
	}
	roost_say("the block daemon does not start");
	return ROOST_FAILED;
}

static int use_own_daemon(struct run *run)
{
	char *whole = NULL;

	if (!strstr(run->address, "://")) {
		whole = realpath(run->address, NULL);
		if (!whole) {
			roost_say("%s: %s", run->address, strerror(errno));
			return ROOST_NOT_FOUND;
		}
		free(run->address);
		run->address = whole;
	}
	(void)snprintf(run->dir, sizeof(run->dir), "/tmp/roost-run-XXXXXX");
	if (!mkdtemp(run->dir)) {
		roost_say("%s: %s", run->dir, strerror(errno));
		return ROOST_FAILED;
	}
	(void)snprintf(run->disk, sizeof(run->disk), DISK_NAME);
	(void)snprintf(run->nbd, sizeof(run->nbd), "%s/nbd", run->dir);
	(void)snprintf(run->vhost, sizeof(run->vhost), "%s/vhost", run->dir);
	(void)snprintf(run->control, sizeof(run->control), "%s/control",
		       run->dir);
	run->roost->control = run->control;
	return start_daemon(run);
}

/* ---- the daemon that is there ---- */

static int use_daemon(struct run *run, const json_t *image)
{
	const char *overlay = roost_value(run->roost, "overlay");
	json_t *status = NULL, *request;
	const char *socket;
	int code;

	free(run->address);
	run->address = strdup(roost_text(image, "address"));
	if (!run->address)
		return ROOST_FAILED;
	(void)snprintf(run->disk, sizeof(run->disk), DISK_NAME "-%d", getpid());
	code = roost_ask(run->roost, json_pack("{s:s}", "op", "status"),
			 &status);
	if (code)
		return code;
	socket = json_string_value(
		json_array_get(json_object_get(status, "nbd_sockets"), 0));
	(void)snprintf(run->nbd, sizeof(run->nbd), "%s", socket ? socket : "");
	(void)snprintf(run->vhost, sizeof(run->vhost), "%s.%s", run->nbd,
		       run->disk);
	json_decref(status);
	if (!socket) {
		roost_say("the daemon listens at no unix socket");
		return ROOST_FAILED;
	}
	run->before = image_stats(run);
	request = json_pack("{s:s, s:s, s:s, s:s}", "op", "disk-add", "name",
			    run->disk, "image", roost_text(image, "name"),
			    "cache", "on");
	if (request && overlay)
		(void)json_object_set_new(request, "overlay",
					  json_string(overlay));
	else if (request)
		(void)json_object_set_new(request, "ephemeral", json_true());
	if (request && roost_value(run->roost, "vhost-user"))
		(void)json_object_set_new(request, "vhost-user",
					  json_string(run->vhost));
	if (roost_value(run->roost, "dry-run")) {
		json_decref(request);
		return ROOST_OK;
	}
	return roost_do(run->roost, request);
}

/* A name without a slash is an image's, if there is a daemon to know it. */
static int make_disk(struct run *run)
{
	json_t *answer = NULL, *image, *found = NULL;
	size_t i;
	int code, fd = -1;

	if (strchr(run->address, '/') || !access(run->address, F_OK))
		return use_own_daemon(run);
	if (socket_connect_unix(run->roost->control, &fd) < 0) {
		roost_say("there is no file %s, and no daemon at %s that may "
			  "know an image of that name",
			  run->address, run->roost->control);
		return ROOST_NO_DAEMON;
	}
	(void)close(fd);
	code = roost_ask(run->roost, json_pack("{s:s}", "op", "image-ls"),
			 &answer);
	if (code)
		return code;
	json_array_foreach(json_object_get(answer, "images"), i, image)
	{
		if (!strcmp(roost_text(image, "name"), run->address))
			found = image;
	}
	if (found) {
		code = use_daemon(run, found);
	} else {
		roost_say("there is no image '%s': roost image ls",
			  run->address);
		code = ROOST_NOT_FOUND;
	}
	json_decref(answer);
	return code;
}

/* ---- the end ---- */

static void remove_disk(struct run *run)
{
	json_t *answer = NULL;

	if (!roost_ask(run->roost,
		       json_pack("{s:s, s:s, s:b, s:b}", "op", "disk-rm",
				 "name", run->disk, "force", 1, "keep", 1),
		       &answer))
		json_decref(answer);
}

static void stop_daemon(struct run *run)
{
	json_t *answer = NULL;
	int status;

	if (run->daemon) {
		if (roost_ask(run->roost, json_pack("{s:s}", "op", "quit"),
			      &answer))
			(void)kill(run->daemon, SIGTERM);
		json_decref(answer);
		while (waitpid(run->daemon, &status, 0) < 0 && errno == EINTR)
			continue;
	}
	if (*run->dir)
		(void)rmdir(run->dir);
}

/* What the boot added to a counter. */
static unsigned long long gain(const struct run *run, const json_t *after,
			       const char *key)
{
	unsigned long long was = roost_number(run->before, key);
	unsigned long long is = roost_number(after, key);

	return is > was ? is - was : 0;
}

static void print_sums(const struct run *run, const json_t *after,
		       double seconds)
{
	char text[4][NUMBER_TEXT_MAX];
	unsigned long long prefetched = gain(run, after, "prefetched_bytes");
	double blocked =
		json_real_value(json_object_get(after, "blocked_s")) -
		json_real_value(json_object_get(run->before, "blocked_s"));

	printf("\nroost: the VM ran %.1f s and read %s of the image in %llu "
	       "reads:\n"
	       "  %llu from memory, %llu waited for what was on its way, %llu "
	       "asked the store; blocked %.2f s in all\n"
	       "  store: %llu requests on demand, %s; %llu for the boot "
	       "segment, %s\n",
	       seconds, number_print(gain(run, after, "read_bytes"), text[0]),
	       gain(run, after, "reads"), gain(run, after, "hits"),
	       gain(run, after, "waits"), gain(run, after, "misses"), blocked,
	       gain(run, after, "demand_requests"),
	       number_print(gain(run, after, "demand_bytes"), text[1]),
	       gain(run, after, "prefetch_requests"),
	       number_print(gain(run, after, "prefetch_bytes"), text[2]));
	if (prefetched)
		printf("  prefetched %s, of which %llu%% were used\n",
		       number_print(prefetched, text[3]),
		       gain(run, after, "used_bytes") * 100 / prefetched);
	if (roost_number(after, "map_blocks"))
		printf("  the next boot will find %s prepared, learned from "
		       "%llu boot%s (this one ended: %s)\n",
		       number_print(roost_number(after, "map_blocks") *
					    BOOT_BLOCK,
				    text[3]),
		       roost_number(after, "map_boots"),
		       roost_number(after, "map_boots") == 1 ? "" : "s",
		       *roost_text(after, "boot_end")
			       ? roost_text(after, "boot_end")
			       : "not yet");
	else
		printf("  nothing was learned for the next boot (this one "
		       "ended: %s)\n",
		       *roost_text(after, "boot_end")
			       ? roost_text(after, "boot_end")
			       : "it is not recorded");
}

static void report(struct run *run, double seconds)
{
	json_t *after = NULL;

	/* The disk has gone, so what was learned is being written. */
	for (int ms = 0; ms < SAVE_WAIT_MS; ms += 20) {
		json_decref(after);
		after = image_stats(run);
		if (!roost_flag(after, "is_saving"))
			break;
		(void)usleep(20000);
	}
	if (!after)
		return;
	if (run->roost->is_json)
		(void)roost_print_json(json_pack("{s:f, s:O, s:O*}", "seconds",
						 seconds, "after", after,
						 "before", run->before));
	else
		print_sums(run, after, seconds);
	json_decref(after);
}

int verb_run(struct roost *roost)
{
	struct run run = {.roost = roost, .address = strdup(roost->words[0])};
	bool is_dry = roost_value(roost, "dry-run") != NULL;
	struct qemu qemu;
	uint64_t start;
	int code, exit_code = ROOST_FAILED;

	if (!run.address)
		return ROOST_FAILED;
	code = make_disk(&run);
	if (!code) {
		qemu = (struct qemu){
			.roost = roost,
			.disk = run.disk,
			.nbd = run.nbd,
			.vhost = roost_value(roost, "vhost-user") ? run.vhost
								  : NULL,
		};
		start = clock_ns();
		exit_code = qemu_run(&qemu);
		if (!is_dry) {
			remove_disk(&run);
			report(&run, (double)(clock_ns() - start) / NS_PER_S);
		}
	}
	stop_daemon(&run);
	json_decref(run.before);
	free(run.address);
	return code ? code : exit_code;
}
