/* SPDX-License-Identifier: Apache-2.0 */
/* disk_spec_test.c - a disk from the command line and from JSON */
#undef NDEBUG
#include "prog/disk_spec.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/why.h"

static void reads_a_disk_with_its_keys(void)
{
	struct disk_spec spec = {0};

	assert(!disk_spec_parse("a=/srv/a.raw", &spec, NULL));
	assert(!strcmp(spec.name, "a") && !strcmp(spec.file, "/srv/a.raw"));
	assert(!spec.is_ro && spec.cache == DISK_AUTO);
	disk_spec_release(&spec);

	assert(!disk_spec_parse("vm7=nbd+unix:///x?socket=/s,overlay=/o.qcow2,"
				"cache=off,record,size=1.5G,serial=x7",
				&spec, NULL));
	assert(!strcmp(spec.file, "nbd+unix:///x?socket=/s"));
	assert(!strcmp(spec.overlay, "/o.qcow2") && !strcmp(spec.serial, "x7"));
	assert(spec.cache == DISK_OFF && spec.record == DISK_ON);
	assert(spec.prefetch == DISK_AUTO && spec.size == 3ull << 29);
	disk_spec_release(&spec);
}

static void a_doubled_comma_is_a_comma(void)
{
	struct disk_spec spec = {0};

	assert(!disk_spec_parse("a=/x,,y,,,,z,ro", &spec, NULL));
	assert(!strcmp(spec.file, "/x,y,,z") && spec.is_ro);
	disk_spec_release(&spec);
	assert(!disk_spec_parse("a=/x,,,ro=off", &spec, NULL));
	assert(!strcmp(spec.file, "/x,") && !spec.is_ro);
	disk_spec_release(&spec);
}

static void refuses(const char *text, int err, const char *because)
{
	struct disk_spec spec = {0}, empty = {0};
	struct why w = {0};
	int got = disk_spec_parse(text, &spec, &w);

	if (got != err || !strstr(w.text, because))
		fprintf(stderr, "%s: %d, %s\n", text, got, w.text);
	assert(got == err && strstr(w.text, because));
	assert(!memcmp(&spec, &empty, sizeof(spec)));
}

static void refuses_what_makes_no_sense(void)
{
	refuses("", -EINVAL, "NAME=FILE");
	refuses("/srv/a.raw", -EINVAL, "NAME=FILE");
	refuses("=x", -EINVAL, "NAME=FILE");
	refuses("a=", -EINVAL, "needs a value");
	refuses("a b=x", -EINVAL, "a name has");
	refuses("../a=x", -EINVAL, "a name has");
	refuses("nbd://h/x?a=b", -EINVAL, "a name has");
	refuses("a=x,cach=on", -ENOKEY, "did you mean 'cache'");
	refuses("a=x,qqqqqqqqqq", -ENOKEY, "unknown key");
	refuses("a=x,", -ENOKEY, "unknown key ''");
	refuses("a=x,ro,overlay=y", -EINVAL, "exclude");
	refuses("a=x,ro,ephemeral", -EINVAL, "exclude");
	refuses("a=x,ro=maybe", -EINVAL, "neither on nor off");
	refuses("a=x,serial=1,serial=2", -EEXIST, "twice");
	refuses("a=x,file=y", -EEXIST, "twice");
	refuses("a=x,format=vmdk", -EINVAL, "raw or qcow2");
	refuses("a=x,size=1G", -EINVAL, "overlay");
	refuses("a=x,size=12X,ephemeral", -EINVAL, "no size");
	refuses("a=x,serial=\x01", -EINVAL, "control");
}

static void json_says_the_same(void)
{
	struct disk_spec spec = {0}, again = {0};
	json_t *object;
	char *first, *second;

	assert(!disk_spec_parse("a=/x,,y,overlay=/o,cache=off,record=on,"
				"size=8M,ephemeral",
				&spec, NULL));
	object = disk_spec_to_json(&spec);
	assert(object);
	first = json_dumps(object, JSON_SORT_KEYS);
	assert(!disk_spec_from_json(object, &again, NULL));
	json_decref(object);
	assert(again.cache == DISK_OFF && again.size == 8u << 20);
	object = disk_spec_to_json(&again);
	second = json_dumps(object, JSON_SORT_KEYS);
	assert(!strcmp(first, second));
	free(first);
	free(second);
	json_decref(object);
	disk_spec_release(&spec);
	disk_spec_release(&again);
}

static void json_of_others_is_checked(void)
{
	static const char *const bad[] = {
		"{}",
		"{\"name\": \"a\"}",
		"{\"name\": \"a\", \"file\": 7.5}",
		"{\"name\": \"a\", \"file\": []}",
		"{\"name\": \"a\", \"file\": \"x\\u0000y\"}",
		"{\"name\": \"a\", \"file\": \"x\", \"nmae\": 1}",
		"{\"name\": \"a/b\", \"file\": \"x\"}",
		"{\"name\": \"a\", \"file\": \"x\", \"size\": -1}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_t *object = json_loads(bad[i], JSON_ALLOW_NUL, NULL);
		struct disk_spec spec = {0};
		struct why w = {0};

		assert(object);
		assert(disk_spec_from_json(object, &spec, &w) < 0);
		assert(*w.text && !spec.name);
		json_decref(object);
	}
}

int main(void)
{
	reads_a_disk_with_its_keys();
	a_doubled_comma_is_a_comma();
	refuses_what_makes_no_sense();
	json_says_the_same();
	json_of_others_is_checked();
	return 0;
}
