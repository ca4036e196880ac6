/* SPDX-License-Identifier: Apache-2.0 */
/* roost_status.c - roost status, top, metrics, log-level, quit */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "prog/number.h"
#include "prog/roost.h"
#include "prog/roost_table.h"

#define TOP_INTERVAL_S 2

int verb_upgrade(struct roost *roost)
{
	return roost_do(roost, json_pack("{s:s}", "op", "upgrade"));
}

int verb_quit(struct roost *roost)
{
	return roost_do(roost, json_pack("{s:s}", "op", "quit"));
}

int verb_log_level(struct roost *roost)
{
	return roost_do(roost, json_pack("{s:s, s:s}", "op", "log-level",
					 "level", roost->words[0]));
}

int verb_metrics(struct roost *roost)
{
	json_t *answer = NULL;
	int code =
		roost_ask(roost, json_pack("{s:s}", "op", "metrics"), &answer);

	if (code)
		return code;
	if (roost->is_json)
		return roost_print_json(answer);
	fputs(roost_text(answer, "text"), stdout);
	json_decref(answer);
	return ROOST_OK;
}

static void print_status(const json_t *s)
{
	char used[NUMBER_TEXT_MAX], all[NUMBER_TEXT_MAX], boot[NUMBER_TEXT_MAX];
	unsigned long long up = (unsigned long long)json_real_value(
		json_object_get(s, "uptime_s"));

	printf("roost-blkd %s, pid %llu, up %llu:%02llu:%02llu\n",
	       roost_text(s, "version"), roost_number(s, "pid"), up / 3600,
	       up / 60 % 60, up % 60);
	printf("disks    %llu, %llu failed; %llu clients\n",
	       roost_number(s, "disks"), roost_number(s, "disks_failed"),
	       roost_number(s, "clients"));
	printf("cache    %s of %s, %s of it for boots\n",
	       number_print(roost_number(s, "cache_used_bytes"), used),
	       number_print(roost_number(s, "cache_ram_bytes"), all),
	       number_print(roost_number(s, "cache_boot_bytes"), boot));
	printf("NBD      %llu reads, %s; %llu writes, %s; %llu errors\n",
	       roost_number(s, "reads"),
	       number_print(roost_number(s, "read_bytes"), used),
	       roost_number(s, "writes"),
	       number_print(roost_number(s, "written_bytes"), all),
	       roost_number(s, "errors"));
}

int verb_status(struct roost *roost)
{
	json_t *answer = NULL;
	int code =
		roost_ask(roost, json_pack("{s:s}", "op", "status"), &answer);

	if (code)
		return code;
	if (roost->is_json)
		return roost_print_json(answer);
	print_status(answer);
	json_decref(answer);
	return ROOST_OK;
}

static unsigned long long percent(unsigned long long part,
				  unsigned long long whole)
{
	return whole ? part * 100 / whole : 0;
}

static const char *doing(const json_t *image)
{
	if (roost_flag(image, "is_prefetching"))
		return "prefetching";
	if (roost_flag(image, "is_recording"))
		return "recording";
	return roost_flag(image, "is_saving") ? "saving" : "-";
}

static void print_images(const json_t *images)
{
	struct table table = {0};
	const json_t *image;
	size_t i;

	if (!json_array_size(images))
		return;
	printf("\n");
	table_row(&table, 8, "IMAGE", "DISKS", "READS", "HITS", "STORE",
		  "PREFETCHED", "USED", "DOES");
	json_array_foreach(images, i, image)
	{
		char disks[24], reads[24], hits[24], store[24], used[24],
			size[NUMBER_TEXT_MAX];

		(void)snprintf(disks, sizeof(disks), "%llu",
			       roost_number(image, "handles"));
		(void)snprintf(reads, sizeof(reads), "%llu",
			       roost_number(image, "reads"));
		(void)snprintf(hits, sizeof(hits), "%llu%%",
			       percent(roost_number(image, "hits"),
				       roost_number(image, "reads")));
		(void)snprintf(
			store, sizeof(store), "%llu",
			roost_number(image, "demand_requests") +
				roost_number(image, "prefetch_requests"));
		(void)snprintf(
			used, sizeof(used), "%llu%%",
			percent(roost_number(image, "used_bytes"),
				roost_number(image, "prefetched_bytes")));
		table_row(&table, 8, roost_text(image, "name"), disks, reads,
			  hits, store,
			  number_print(roost_number(image, "prefetched_bytes"),
				       size),
			  used, doing(image));
	}
	table_print(&table);
}

/* A disk's speed since the look before, whose answer is @before. */
static unsigned long long since(const json_t *before, const json_t *disk,
				const char *key)
{
	unsigned long long now = roost_number(disk, key);
	const json_t *was;
	size_t i;

	json_array_foreach(before, i, was)
	{
		if (!strcmp(roost_text(was, "name"), roost_text(disk, "name")))
			return now >= roost_number(was, key)
				       ? now - roost_number(was, key)
				       : now;
	}
	return 0;
}

static void print_disks(const json_t *before, const json_t *disks,
			double interval_s)
{
	struct table table = {0};
	const json_t *disk;
	size_t i;

	printf("\n");
	table_row(&table, 7, "DISK", "STATE", "CLIENTS", "READS/S", "READ/S",
		  "WRITES/S", "WRITTEN/S");
	json_array_foreach(disks, i, disk)
	{
		static const char *const keys[] = {"reads", "read_bytes",
						   "writes", "written_bytes"};
		char clients[24], rate[2][24], speed[2][NUMBER_TEXT_MAX];

		(void)snprintf(clients, sizeof(clients), "%llu",
			       roost_number(disk, "clients"));
		for (int k = 0; k < 2; k++) {
			(void)snprintf(
				rate[k], sizeof(rate[k]), "%.0f",
				(double)since(before, disk, keys[2 * k]) /
					interval_s);
			(void)number_print(
				(uint64_t)((double)since(before, disk,
							 keys[2 * k + 1]) /
					   interval_s),
				speed[k]);
		}
		table_row(&table, 7, roost_text(disk, "name"),
			  roost_text(disk, "state"), clients, rate[0], speed[0],
			  rate[1], speed[1]);
	}
	table_print(&table);
}

int verb_top(struct roost *roost)
{
	const char *count = roost_value(roost, "count");
	const char *interval = roost_value(roost, "interval");
	double interval_s = interval ? strtod(interval, NULL) : TOP_INTERVAL_S;
	long looks = count ? strtol(count, NULL, 10) : 0;
	bool is_terminal = isatty(STDOUT_FILENO);
	json_t *before = NULL;
	int code = ROOST_OK;

	if (interval_s < 0.1 || interval_s > 3600 || looks < 0) {
		roost_say(
			"--interval is 0.1 to 3600 seconds, --count a number");
		return ROOST_USAGE;
	}
	for (long i = 0; !code && (!looks || i < looks); i++) {
		json_t *status = NULL, *disks = NULL, *boots = NULL;

		if (i)
			(void)usleep((useconds_t)(interval_s * 1e6));
		code = roost_ask(roost, json_pack("{s:s}", "op", "status"),
				 &status);
		if (!code)
			code = roost_ask(roost,
					 json_pack("{s:s}", "op", "disk-ls"),
					 &disks);
		if (!code)
			code = roost_ask(roost,
					 json_pack("{s:s}", "op", "boot-ls"),
					 &boots);
		if (!code && roost->is_json) {
			(void)roost_print_json(json_pack(
				"{s:O, s:O, s:O}", "status", status, "disks",
				json_object_get(disks, "disks"), "images",
				json_object_get(boots, "images")));
		} else if (!code) {
			if (is_terminal)
				printf("\033[H\033[J");
			print_status(status);
			print_disks(json_object_get(before, "disks"),
				    json_object_get(disks, "disks"),
				    interval_s);
			print_images(json_object_get(boots, "images"));
			if (!is_terminal)
				printf("\n");
		}
		(void)fflush(stdout);
		json_decref(before);
		before = disks;
		json_decref(status);
		json_decref(boots);
	}
	json_decref(before);
	return code;
}
