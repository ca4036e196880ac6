/* SPDX-License-Identifier: Apache-2.0 */
/* roost_disk.c - roost disk create, ls, rm, attach, grow */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/why.h"
#include "prog/number.h"
#include "prog/roost.h"
#include "prog/roost_table.h"

/* Paths are the daemon's to open, wherever it runs: say all of them. */
static int set_path(json_t *request, const char *key, const char *path)
{
	char whole[PATH_MAX];
	char cwd[PATH_MAX / 2];

	if (*path == '/' || strstr(path, "://"))
		return json_object_set_new(request, key, json_string(path));
	if (!getcwd(cwd, sizeof(cwd)) ||
	    snprintf(whole, sizeof(whole), "%s/%s", cwd, path) >=
		    (int)sizeof(whole))
		return -1;
	return json_object_set_new(request, key, json_string(whole));
}

int verb_disk_create(struct roost *roost)
{
	static const char *const texts[] = {"image", "serial", "cache"};
	static const char *const paths[] = {"file", "overlay", "boot",
					    "vhost-user"};
	static const char *const flags[] = {"ephemeral", "ro"};
	json_t *request = json_pack("{s:s, s:s}", "op", "disk-add", "name",
				    roost->words[0]);
	int err = request ? 0 : -1;

	if (!roost_value(roost, "image") && !roost_value(roost, "file")) {
		roost_say("say of what: --image NAME, or --file FILE");
		json_decref(request);
		return ROOST_USAGE;
	}
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (roost_value(roost, texts[i]))
			err |= json_object_set_new(
				request, texts[i],
				json_string(roost_value(roost, texts[i])));
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (roost_value(roost, paths[i]))
			err |= set_path(request, paths[i],
					roost_value(roost, paths[i]));
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (roost_value(roost, flags[i]))
			err |= json_object_set_new(request, flags[i],
						   json_true());
	if (roost_value(roost, "size"))
		err |= json_object_set_new(
			request, "size",
			json_string(roost_value(roost, "size")));
	if (err) {
		json_decref(request);
		request = NULL;
	}
	return roost_do(roost, request);
}

static const char *kind_of(const json_t *disk)
{
	if (roost_flag(disk, "ephemeral"))
		return "ephemeral";
	if (*roost_text(disk, "overlay"))
		return "overlay";
	return roost_flag(disk, "ro") ? "read-only" : "direct";
}

int verb_disk_ls(struct roost *roost)
{
	struct table table = {0};
	json_t *answer = NULL, *disk;
	size_t i;
	int code =
		roost_ask(roost, json_pack("{s:s}", "op", "disk-ls"), &answer);

	if (code)
		return code;
	if (roost->is_json)
		return roost_print_json(answer);
	table_row(&table, 6, "NAME", "STATE", "CLIENTS", "SIZE", "KIND", "OF");
	json_array_foreach(json_object_get(answer, "disks"), i, disk)
	{
		char size[NUMBER_TEXT_MAX], clients[24];

		(void)snprintf(clients, sizeof(clients), "%llu",
			       roost_number(disk, "clients"));
		table_row(&table, 6, roost_text(disk, "name"),
			  roost_text(disk, "state"), clients,
			  number_print(roost_number(disk, "size"), size),
			  kind_of(disk),
			  *roost_text(disk, "image")
				  ? roost_text(disk, "image")
				  : roost_text(disk, "file"));
	}
	table_print(&table);
	json_array_foreach(json_object_get(answer, "disks"), i, disk)
	{
		if (*roost_text(disk, "why"))
			printf("%s: %s\n", roost_text(disk, "name"),
			       roost_text(disk, "why"));
	}
	json_decref(answer);
	return ROOST_OK;
}

int verb_disk_rm(struct roost *roost)
{
	return roost_do(roost,
			json_pack("{s:s, s:s, s:b, s:b}", "op", "disk-rm",
				  "name", roost->words[0], "keep",
				  roost_value(roost, "keep") != NULL, "force",
				  roost_value(roost, "force") != NULL));
}

int verb_disk_grow(struct roost *roost)
{
	struct why w = {0};
	uint64_t size = 0;

	if (number_size(roost->words[1], &size, &w) < 0) {
		roost_say("%s", w.text);
		return ROOST_USAGE;
	}
	return roost_do(roost,
			json_pack("{s:s, s:s, s:I}", "op", "disk-grow", "name",
				  roost->words[0], "size", (json_int_t)size));
}

/* A comma in a value of QEMU's is written twice. */
static void print_qemu(const char *text)
{
	for (; *text; text++)
		printf(*text == ',' ? ",," : "%c", *text);
}

static void print_xml(const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '&':
			printf("&amp;");
			break;
		case '<':
			printf("&lt;");
			break;
		case '\'':
			printf("&apos;");
			break;
		default:
			putchar(*text);
		}
}

static void attach_nbd(const json_t *disk, const char *socket)
{
	const char *name = roost_text(disk, "name");
	const char *serial =
		*roost_text(disk, "serial") ? roost_text(disk, "serial") : name;
	const char *ro = roost_flag(disk, "ro") ? "on" : "off";

	printf("# QEMU, over NBD:\n"
	       "-blockdev driver=nbd,node-name=%s,server.type=unix,"
	       "server.path=",
	       name);
	print_qemu(socket);
	printf(",export=%s,read-only=%s,discard=unmap,reconnect-delay=60 \\\n"
	       "-device virtio-blk-pci,drive=%s,serial=",
	       name, ro, name);
	print_qemu(serial);
	printf("\n\n# libvirt, over NBD:\n"
	       "<disk type='network' device='disk'>\n"
	       "  <driver name='qemu' type='raw' discard='unmap'/>\n"
	       "  <source protocol='nbd' name='%s'>\n"
	       "    <host transport='unix' socket='",
	       name);
	print_xml(socket);
	printf("'/>\n  </source>\n  <target dev='vda' bus='virtio'/>\n"
	       "  <serial>");
	print_xml(serial);
	printf("</serial>\n%s</disk>\n",
	       roost_flag(disk, "ro") ? "  <readonly/>\n" : "");
}

static void attach_vhost(const json_t *disk, const char *socket)
{
	printf("# QEMU, over vhost-user-blk (the guest's memory must be "
	       "shared):\n"
	       "-object memory-backend-memfd,id=mem,size=1G,share=on "
	       "-machine memory-backend=mem \\\n"
	       "-chardev socket,id=%s,path=",
	       roost_text(disk, "name"));
	print_qemu(socket);
	printf(",reconnect=1 -device vhost-user-blk-pci,chardev=%s\n\n"
	       "# libvirt, over vhost-user-blk:\n"
	       "<memoryBacking><source type='memfd'/><access mode='shared'/>"
	       "</memoryBacking>\n"
	       "<disk type='vhostuser' device='disk'>\n"
	       "  <driver name='qemu' type='raw'/>\n"
	       "  <source type='unix' path='",
	       roost_text(disk, "name"));
	print_xml(socket);
	printf("'>\n    <reconnect enabled='yes' timeout='1'/>\n"
	       "  </source>\n  <target dev='vda' bus='virtio'/>\n</disk>\n");
}

static json_t *find(json_t *list, const char *name)
{
	json_t *object;
	size_t i;

	json_array_foreach(list, i, object)
	{
		if (!strcmp(roost_text(object, "name"), name))
			return object;
	}
	return NULL;
}

int verb_disk_attach(struct roost *roost)
{
	json_t *answer = NULL, *status = NULL, *disk;
	const char *socket;
	int code =
		roost_ask(roost, json_pack("{s:s}", "op", "disk-ls"), &answer);

	if (!code)
		code = roost_ask(roost, json_pack("{s:s}", "op", "status"),
				 &status);
	if (code) {
		json_decref(answer);
		return code;
	}
	disk = find(json_object_get(answer, "disks"), roost->words[0]);
	socket = json_string_value(
		json_array_get(json_object_get(status, "nbd_sockets"), 0));
	if (!disk) {
		roost_say("there is no disk '%s': roost disk ls",
			  roost->words[0]);
		code = ROOST_NOT_FOUND;
	} else if (roost->is_json) {
		(void)json_object_set(disk, "nbd_sockets",
				      json_object_get(status, "nbd_sockets"));
		(void)roost_print_json(json_incref(disk));
	} else {
		if (socket)
			attach_nbd(disk, socket);
		if (socket && *roost_text(disk, "vhost-user"))
			printf("\n");
		if (*roost_text(disk, "vhost-user"))
			attach_vhost(disk, roost_text(disk, "vhost-user"));
		if (!socket && !*roost_text(disk, "vhost-user")) {
			roost_say("the daemon listens at no unix socket: start "
				  "it with --listen unix:PATH, or give the "
				  "disk --vhost-user PATH");
			code = ROOST_FAILED;
		}
	}
	json_decref(answer);
	json_decref(status);
	return code;
}
