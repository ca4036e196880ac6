/* SPDX-License-Identifier: Apache-2.0 */
/* config_file.c - read the configuration file, and say where it is wrong */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "prog/config.h"
#include "prog/refuse.h"
#include "prog/suggest.h"
#include "wire/ini_fmt.h"

/* Keys that a file cannot have: they are about how this process is started. */
static const char *const not_in_file[] = {"disk", "stdio", "foreground"};

static bool is_text(struct ini_text t, const char *text)
{
	return t.len == strlen(text) && !memcmp(t.at, text, t.len);
}

static int set_daemon(struct config *config, const char *key, const char *value,
		      struct why *w)
{
	for (size_t i = 0; i < ARRAY_SIZE(not_in_file); i++)
		if (!strcmp(key, not_in_file[i]))
			return refuse(w, "'%s' is for the command line%s", key,
				      i ? "" : "; write [disk NAME]");
	/* A switch alone is one on the command line only. */
	if (!*value)
		return refuse(w, "%s: a value is missing", key);
	return config_set(config, key, value, w);
}

static int begin_store(struct config *config, const char *name, struct why *w)
{
	struct config_store *more;
	int err = disk_name_check(name, w);

	if (err < 0)
		return why_in(w, err, "store '%.64s'", name);
	for (size_t i = 0; i < config->nstores; i++)
		if (!strcmp(config->stores[i].name, name))
			return refuse(w, "there are two stores called '%s'",
				      name);
	more = reallocarray(config->stores, config->nstores + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	config->stores = more;
	more[config->nstores] = (struct config_store){.name = strdup(name)};
	if (!more[config->nstores].name)
		return -ENOMEM;
	config->nstores++;
	return 0;
}

static int set_store(struct config *config, const char *key, const char *value,
		     struct why *w)
{
	struct config_store *store = &config->stores[config->nstores - 1];

	if (strcmp(key, "address"))
		return refuse(w, "unknown key '%.32s': a store has address",
			      key);
	if (!*value || store->address)
		return refuse(w, "address is %s",
			      *value ? "given twice" : "empty");
	store->address = strdup(value);
	return store->address ? 0 : -ENOMEM;
}

/* What a section lacks shows only at its end. */
static int end_section(struct config *config, const char *kind,
		       struct disk_spec *disk, struct why *w)
{
	int err = 0;

	if (!strcmp(kind, "disk")) {
		err = disk_spec_check(disk, w);
		if (!err)
			err = config_add_disk(config, disk, w);
	}
	if (!strcmp(kind, "store") &&
	    !config->stores[config->nstores - 1].address)
		err = refuse(w, "store '%s' needs address =",
			     config->stores[config->nstores - 1].name);
	return err;
}

static int begin_section(struct config *config, const char *kind,
			 const char *name, struct disk_spec *disk,
			 struct why *w)
{
	static const char *const kinds[] = {"daemon", "store", "disk"};
	struct suggest meant = {.word = kind};
	char text[SUGGEST_TEXT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		suggest_offer(&meant, kinds[i]);
	if (!strcmp(kind, "daemon"))
		return *name ? refuse(w, "[daemon] takes no name") : 0;
	if (strcmp(kind, "store") && strcmp(kind, "disk"))
		return refuse(w, "unknown section '%.32s'%s", kind,
			      suggest_text(&meant, text));
	if (!*name)
		return refuse(w, "write [%s NAME]", kind);
	if (!strcmp(kind, "store"))
		return begin_store(config, name, w);
	return disk_spec_set(disk, "name", name, w);
}

static int read_items(struct config *config, struct ini *ini,
		      struct disk_spec *disk, unsigned *line, struct why *w)
{
	char kind[INI_LINE_MAX + 1] = "", name[INI_LINE_MAX + 1];
	struct ini_item item;
	unsigned section_line = 0;
	int more, err;

	while ((more = ini_next(ini, &item)) == 1) {
		char key[INI_LINE_MAX + 1], value[INI_LINE_MAX + 1];

		*line = item.line;
		if (item.type == INI_SECTION) {
			*line = section_line;
			err = end_section(config, kind, disk, w);
			if (err < 0)
				return err;
			*line = section_line = item.line;
			(void)snprintf(kind, sizeof(kind), "%.*s",
				       (int)item.kind.len, item.kind.at);
			(void)snprintf(name, sizeof(name), "%.*s",
				       (int)item.name.len, item.name.at);
			err = begin_section(config, kind, name, disk, w);
			if (err < 0)
				return err;
			continue;
		}
		(void)snprintf(key, sizeof(key), "%.*s", (int)item.key.len,
			       item.key.at);
		(void)snprintf(value, sizeof(value), "%.*s",
			       (int)item.value.len, item.value.at);
		if (is_text(item.kind, "daemon"))
			err = set_daemon(config, key, value, w);
		else if (is_text(item.kind, "store"))
			err = set_store(config, key, value, w);
		else
			err = disk_spec_set(disk, key, value, w);
		if (err < 0)
			return err;
	}
	*line = ini->line;
	if (more < 0)
		return refuse(w, "%s", ini->problem);
	*line = section_line;
	return end_section(config, kind, disk, w);
}

int config_read(struct config *config, const char *path, const void *text,
		size_t len, struct why *w)
{
	struct disk_spec disk = {0};
	struct ini ini;
	unsigned line = 0;
	int err;

	ini_init(&ini, text, len);
	err = read_items(config, &ini, &disk, &line, w);
	disk_spec_release(&disk);
	return err < 0 ? why_in(w, err, "%s:%u", path, line) : 0;
}

int config_load(struct config *config, const char *path, struct why *w)
{
	CLEANUP(cleanup_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	CLEANUP(cleanup_free) char *text = malloc(INI_FILE_MAX + 1);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return why(w, -errno, "%s", path);
	if (!text)
		return -ENOMEM;
	while (len <= INI_FILE_MAX &&
	       (n = read(fd, text + len, INI_FILE_MAX + 1 - len)) != 0) {
		if (n < 0)
			return why(w, -errno, "%s", path);
		len += (size_t)n;
	}
	if (len > INI_FILE_MAX)
		return refuse(w, "%s: larger than a configuration can be",
			      path);
	return config_read(config, path, text, len, w);
}
