/* SPDX-License-Identifier: Apache-2.0 */
/* boot_place_test.c - what map and segment of an image are called, and where */
#undef NDEBUG
#include "prog/boot_place.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void is_at(const char *address, const char *disk_dir,
		  const char *own_dir, const char *dir, const char *name)
{
	struct boot_place place = {0};

	assert(!boot_place_find(address, disk_dir, own_dir, &place));
	if (strncmp(place.name, name, strlen(name)))
		fprintf(stderr, "%s: %s\n", address, place.name);
	assert(!strncmp(place.name, name, strlen(name)));
	if (dir)
		assert(place.dir && !strcmp(place.dir, dir));
	else
		assert(!place.dir);
	boot_place_release(&place);
}

static void a_local_image_has_its_files_beside_it(void)
{
	is_at("/tmp/a.raw", NULL, "/own", "/tmp", "a.raw");
	is_at("file:///tmp/a%20b.raw", NULL, "/own", "/tmp", "a_20b.raw");
	is_at("a.raw", NULL, "/own", ".", "a.raw");
}

static void another_has_them_where_it_is_told_to(void)
{
	is_at("nbd://h/x/a.raw?y=z/b", "/d", "/own", "/d", "a.raw");
	is_at("nbd+unix:///a.raw?socket=/s", "/d", NULL, "/d", "a.raw");
	is_at("https://h/i/a.raw?sig=1", NULL, "/own", "/own", "a.raw-");
	is_at("http://h/a.raw", NULL, NULL, NULL, "a.raw");
}

static void an_image_without_a_name_gets_one(void)
{
	is_at("nbd+unix:///?socket=/s", "/d", NULL, "/d", "image-");
	is_at("nbd://host", "/d", NULL, "/d", "image-");
	is_at("http://host/..", "/d", NULL, "/d", "image-");
	is_at("http://host/x/%2e%2e%2f", "/d", NULL, "/d", "_2e");
}

int main(void)
{
	a_local_image_has_its_files_beside_it();
	another_has_them_where_it_is_told_to();
	an_image_without_a_name_gets_one();
	assert(boot_is_network("nbd://h/a") && !boot_is_network("/tmp/a"));
	return 0;
}
