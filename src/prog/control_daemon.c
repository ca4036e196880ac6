/* SPDX-License-Identifier: Apache-2.0 */
/* control_daemon.c - the table of requests, and those about the daemon */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/why.h"
#include "cache/cache.h"
#include "prog/blkd.h"
#include "prog/blkd_disk.h"
#include "prog/blkd_door.h"
#include "prog/config.h"
#include "prog/control.h"
#include "prog/control_ops.h"
#include "prog/refuse.h"
#include "prog/registry.h"
#include "prog/upgrade.h"
#include "serve/nbd.h"

/* One per line: */
/* clang-format off */
const struct control_op control_ops[] = {
	{"disk-add", op_disk_add},
	{"disk-rm", op_disk_rm},
	{"disk-ls", op_disk_ls},
	{"store-add", op_store_add},
	{"store-rm", op_store_rm},
	{"store-ls", op_store_ls},
	{"image-add", op_image_add},
	{"image-rm", op_image_rm},
	{"image-ls", op_image_ls},
	{"disk-grow", op_disk_grow},
	{"boot-ls", op_boot_ls},
	{"boot-mark-done", op_boot_mark_done},
	{"metrics", op_metrics},
	{"status", op_status},
	{"log-level", op_log_level},
	{"quit", op_quit},
	{"upgrade", op_upgrade},
	{NULL, NULL},
};
/* clang-format on */

int request_text(const json_t *request, const char *key, const char **ret,
		 struct why *w)
{
	const json_t *value = json_object_get(request, key);
	const char *text = json_string_value(value);

	if (!text || !*text || strlen(text) != json_string_length(value))
		return refuse(w, "the request needs a text '%s'", key);
	*ret = text;
	return 0;
}

bool request_flag(const json_t *request, const char *key)
{
	return json_is_true(json_object_get(request, key));
}

struct saving {
	struct registry_save save;
	struct control_conn *conn;
};

static void saved(struct registry_save *save, int err, struct why *w)
{
	struct saving *saving = container_of(save, struct saving, save);
	struct control_conn *conn = saving->conn;

	free(saving);
	if (err < 0) {
		(void)why_in(w, err,
			     "it is done, but will not survive a restart");
		control_fail(conn, err, w);
		return;
	}
	control_answer(conn, NULL);
}

void save_and_answer(struct control_conn *conn)
{
	struct blkd *blkd = control_blkd(conn);
	struct saving *saving = malloc(sizeof(*saving));

	if (!saving) {
		control_fail(conn, -ENOMEM, NULL);
		return;
	}
	*saving = (struct saving){.save.done = saved, .conn = conn};
	registry_save(blkd->registry, blkd->workers, &saving->save);
}

void op_status(struct control_conn *conn, const json_t *request)
{
	struct blkd *blkd = control_blkd(conn);
	const struct nbd_stats *stats = nbd_server_stats(blkd->nbd);
	struct cache_totals totals = cache_totals(blkd->cache);
	struct list *at, *next;
	int disks = 0, failed = 0;

	(void)request;
	list_for_each(at, next, &blkd->disks)
	{
		disks++;
		failed += container_of(at, struct disk, list)->state ==
			  DISK_FAILED;
	}
	control_answer(
		conn,
		json_pack("{s:s, s:i, s:f, s:i, s:i, s:i, s:I, s:I, s:I, s:I, "
			  "s:I, s:I, s:I, s:I, s:o}",
			  "version", ROOST_VERSION, "pid", (int)getpid(),
			  "uptime_s",
			  /* to the ms:
			     NOLINTNEXTLINE(bugprone-integer-division) */
			  (double)((clock_ns() - blkd->start_ns) / NS_PER_MS) /
				  1000,
			  "disks", disks, "disks_failed", failed, "clients",
			  (int)stats->clients, "reads",
			  (json_int_t)stats->reads, "read_bytes",
			  (json_int_t)stats->read_bytes, "writes",
			  (json_int_t)stats->writes, "written_bytes",
			  (json_int_t)stats->written_bytes, "errors",
			  (json_int_t)stats->errors, "cache_ram_bytes",
			  (json_int_t)totals.ram_bytes, "cache_used_bytes",
			  (json_int_t)totals.used_bytes, "cache_boot_bytes",
			  (json_int_t)totals.boot_bytes, "nbd_sockets",
			  doors_paths(blkd)));
}

void op_log_level(struct control_conn *conn, const json_t *request)
{
	struct blkd *blkd = control_blkd(conn);
	const char *text = NULL;
	struct why w = {0};
	int err = request_text(request, "level", &text, &w);

	if (!err)
		err = config_log_level(text, &blkd->config->log_level, &w);
	if (err < 0) {
		control_fail(conn, err, &w);
		return;
	}
	log_setup("roost-blkd", blkd->config->log_level);
	control_answer(conn, NULL);
}

void op_quit(struct control_conn *conn, const json_t *request)
{
	struct blkd *blkd = control_blkd(conn);

	(void)request;
	control_answer(conn, NULL);
	blkd_end(blkd);
}

void op_upgrade(struct control_conn *conn, const json_t *request)
{
	struct why w = {0};
	int err = upgrade_begin(control_blkd(conn), &w);

	(void)request;
	if (err < 0)
		control_fail(conn, err, &w);
	else
		control_answer(conn, NULL);
}
