/* SPDX-License-Identifier: Apache-2.0 */
/* disk_spec.c - one table of a disk's keys, for three ways to write them */
#include "prog/disk_spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/why.h"
#include "prog/number.h"
#include "prog/refuse.h"
#include "prog/suggest.h"

enum key_type { KEY_TEXT, KEY_FLAG, KEY_SWITCH, KEY_SIZE };

struct key {
	const char *name;
	enum key_type type;
	size_t at; /* offset in struct disk_spec */
};

#define KEY(name, type, member)                                                \
	{                                                                      \
		name, type, offsetof(struct disk_spec, member)                 \
	}

static const struct key keys[] = {
	KEY("name", KEY_TEXT, name),
	KEY("file", KEY_TEXT, file),
	KEY("format", KEY_TEXT, format),
	KEY("image", KEY_TEXT, image),
	KEY("overlay", KEY_TEXT, overlay),
	KEY("boot", KEY_TEXT, boot),
	KEY("serial", KEY_TEXT, serial),
	KEY("vhost-user", KEY_TEXT, vhost_user),
	KEY("size", KEY_SIZE, size),
	KEY("ro", KEY_FLAG, is_ro),
	KEY("ephemeral", KEY_FLAG, is_ephemeral),
	KEY("cache", KEY_SWITCH, cache),
	KEY("record", KEY_SWITCH, record),
	KEY("prefetch", KEY_SWITCH, prefetch),
	KEY("compress", KEY_SWITCH, compress),
};

static char **text_of(const struct disk_spec *spec, const struct key *key)
{
	return (char **)(uintptr_t)((const char *)spec + key->at);
}

static bool *flag_of(const struct disk_spec *spec, const struct key *key)
{
	return (bool *)(uintptr_t)((const char *)spec + key->at);
}

static enum disk_switch *switch_of(const struct disk_spec *spec,
				   const struct key *key)
{
	return (enum disk_switch *)(uintptr_t)((const char *)spec + key->at);
}

static uint64_t *size_of(const struct disk_spec *spec, const struct key *key)
{
	return (uint64_t *)(uintptr_t)((const char *)spec + key->at);
}

void disk_spec_release(struct disk_spec *spec)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i].type == KEY_TEXT)
			free(*text_of(spec, &keys[i]));
	*spec = (struct disk_spec){0};
}

int disk_name_check(const char *name, struct why *w)
{
	size_t n = strlen(name);

	if (!n || n > DISK_NAME_MAX || *name == '.' || *name == '-')
		goto bad;
	for (; *name; name++)
		if (!(*name >= 'a' && *name <= 'z') &&
		    !(*name >= 'A' && *name <= 'Z') &&
		    !(*name >= '0' && *name <= '9') && !strchr("._-", *name))
			goto bad;
	return 0;
bad:
	return refuse(w,
		      "a name has 1 to %d letters, digits or . _ - "
		      "and does not begin with . or -",
		      DISK_NAME_MAX);
}

static int set_text(char **text, const struct key *key, const char *value,
		    struct why *w)
{
	size_t n = value ? strlen(value) : 0;

	if (!n)
		return refuse(w, "%s needs a value", key->name);
	if (n > DISK_ADDRESS_MAX)
		return refuse(w, "%s is too long", key->name);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)value[i] < ' ')
			return refuse(w, "%s has a control character",
				      key->name);
	if (*text)
		return why(w, -EEXIST, "%s is given twice", key->name);
	*text = strdup(value);
	return *text ? 0 : -ENOMEM;
}

int disk_spec_set(struct disk_spec *spec, const char *name, const char *value,
		  struct why *w)
{
	struct suggest meant = {.word = name};
	char text[SUGGEST_TEXT_MAX];
	bool is_on = true;
	int err;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct key *key = &keys[i];

		suggest_offer(&meant, key->name);
		if (strcmp(key->name, name))
			continue;
		switch (key->type) {
		case KEY_TEXT:
			return set_text(text_of(spec, key), key, value, w);
		case KEY_SIZE:
			err = number_size(value ? value : "",
					  size_of(spec, key), w);
			return err < 0 ? why_in(w, err, "%s", name) : 0;
		case KEY_FLAG:
		case KEY_SWITCH:
			err = value ? number_switch(value, &is_on, w) : 0;
			if (err < 0)
				return why_in(w, err, "%s", name);
			if (key->type == KEY_FLAG)
				*flag_of(spec, key) = is_on;
			else
				*switch_of(spec, key) =
					is_on ? DISK_ON : DISK_OFF;
			return 0;
		}
	}
	(void)why(w, 0, "unknown key '%.32s'%s", name,
		  suggest_text(&meant, text));
	return -ENOKEY;
}

int disk_spec_check(const struct disk_spec *spec, struct why *w)
{
	int err;

	if (!spec->name)
		return refuse(w, "a disk needs a name");
	err = disk_name_check(spec->name, w);
	if (err < 0)
		return why_in(w, err, "disk '%.64s'", spec->name);
	if (!spec->file)
		return refuse(w, "disk '%s' needs file=", spec->name);
	if (spec->overlay && spec->is_ro)
		return refuse(w,
			      "disk '%s': ro and overlay= exclude each other",
			      spec->name);
	if (spec->is_ephemeral && spec->is_ro)
		return refuse(w,
			      "disk '%s': ro and ephemeral exclude each other",
			      spec->name);
	if (spec->format && strcmp(spec->format, "raw") &&
	    strcmp(spec->format, "qcow2"))
		return refuse(w, "disk '%s': format is raw or qcow2",
			      spec->name);
	if (spec->size &&
	    (spec->is_ro ||
	     (!spec->overlay && !spec->is_ephemeral && !spec->image &&
	      !(spec->format && !strcmp(spec->format, "qcow2")))))
		return refuse(w,
			      "disk '%s': size= is of an overlay to be made: "
			      "give overlay= or ephemeral",
			      spec->name);
	return 0;
}

/*
 * Cut the next part off *@at, which is owned and changed: commas are halved.
 * NULL at the end.
 */
static char *next_part(char **at)
{
	char *part = *at, *to = *at, *from = *at;

	if (!part)
		return NULL;
	for (; *from; *to++ = *from++) {
		if (*from != ',')
			continue;
		if (from[1] != ',')
			break;
		from++;
	}
	*at = *from ? from + 1 : NULL;
	*to = 0;
	return part;
}

static int parse_parts(char *text, struct disk_spec *spec, struct why *w)
{
	char *part = next_part(&text);
	char *eq = strchr(part, '=');
	int err;

	if (!eq || eq == part)
		return refuse(w, "NAME=FILE is missing before the first comma");
	*eq = 0;
	err = disk_name_check(part, w);
	if (err < 0)
		return why_in(w, err, "'%.64s' before the =", part);
	err = disk_spec_set(spec, "name", part, w);
	if (!err)
		err = disk_spec_set(spec, "file", eq + 1, w);
	while (!err && (part = next_part(&text))) {
		eq = strchr(part, '=');
		if (eq)
			*eq = 0;
		err = disk_spec_set(spec, part, eq ? eq + 1 : NULL, w);
	}
	return err ? err : disk_spec_check(spec, w);
}

int disk_spec_parse(const char *text, struct disk_spec *ret, struct why *w)
{
	CLEANUP(cleanup_free) char *copy = strdup(text);
	int err = copy ? parse_parts(copy, ret, w) : -ENOMEM;

	if (err < 0)
		disk_spec_release(ret);
	return err;
}

static int set_from_json(struct disk_spec *spec, const char *key,
			 const json_t *value, struct why *w)
{
	char number[24];

	switch (json_typeof(value)) {
	case JSON_STRING:
		/* A 0 inside would cut it short unseen. */
		if (strlen(json_string_value(value)) !=
		    json_string_length(value))
			break;
		return disk_spec_set(spec, key, json_string_value(value), w);
	case JSON_TRUE:
		return disk_spec_set(spec, key, "on", w);
	case JSON_FALSE:
		return disk_spec_set(spec, key, "off", w);
	case JSON_INTEGER:
		(void)snprintf(number, sizeof(number), "%lld",
			       (long long)json_integer_value(value));
		return disk_spec_set(spec, key, number, w);
	case JSON_NULL:
		return 0;
	default:
		break;
	}
	return refuse(w, "%.32s: an object or a list, or a 0 in a text", key);
}

int disk_spec_from_json(const json_t *object, struct disk_spec *ret,
			struct why *w)
{
	const char *key;
	json_t *value;
	int err = 0;

	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		if (!strcmp(key, "op"))
			continue;
		err = set_from_json(ret, key, value, w);
		if (err < 0)
			break;
	}
	if (!err)
		err = disk_spec_check(ret, w);
	if (err < 0)
		disk_spec_release(ret);
	return err;
}

json_t *disk_spec_to_json(const struct disk_spec *spec)
{
	json_t *object = json_object();
	int err = object ? 0 : -1;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct key *key = &keys[i];
		json_t *value = NULL;

		if (key->type == KEY_TEXT && *text_of(spec, key))
			value = json_string(*text_of(spec, key));
		else if (key->type == KEY_SIZE && *size_of(spec, key))
			value = json_integer((json_int_t)*size_of(spec, key));
		else if (key->type == KEY_FLAG && *flag_of(spec, key))
			value = json_true();
		else if (key->type == KEY_SWITCH &&
			 *switch_of(spec, key) != DISK_AUTO)
			value = json_boolean(*switch_of(spec, key) == DISK_ON);
		else
			continue;
		err |= json_object_set_new(object, key->name, value);
	}
	if (err) {
		json_decref(object);
		return NULL;
	}
	return object;
}
