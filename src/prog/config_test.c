/* SPDX-License-Identifier: Apache-2.0 */
/* config_test.c - settings from a file and from the command line */
#undef NDEBUG
#include "prog/config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/why.h"
#include "prog/blkd_options.h"
#include "prog/number.h"

static int read_text(struct config *config, const char *text, struct why *w)
{
	config_init(config);
	return config_read(config, "blkd.conf", text, strlen(text), w);
}

static void reads_all_sections(void)
{
	struct config config;

	assert(!read_text(&config,
			  "[daemon]\n"
			  "listen = unix:/run/x\nlisten = tcp:[::1]:99\n"
			  "cache-size = 4G\nlog-level = debug\n"
			  "[store main]\naddress = /srv/images\n"
			  "[disk a]\nfile = /srv/a,b.raw\nro = yes\n"
			  "[disk b]\nfile = nbd://h/b\noverlay = /o\n",
			  NULL));
	assert(config.nlistens == 2 && config.cache_size == 4ull << 30);
	assert(!strcmp(config.listens[0].path, "/run/x"));
	assert(!strcmp(config.listens[1].host, "::1"));
	assert(!strcmp(config.listens[1].port, "99"));
	assert(config.log_level == LOG_LEVEL_DEBUG);
	assert(config.nstores == 1);
	assert(!strcmp(config.stores[0].address, "/srv/images"));
	assert(config.ndisks == 2 && config.disks[0].is_ro);
	assert(!strcmp(config.disks[0].file, "/srv/a,b.raw"));
	assert(config_find_disk(&config, "b") == &config.disks[1]);
	assert(!config_find_disk(&config, "c"));
	config_release(&config);
}

static void a_wrong_line_is_named(void)
{
	static const struct {
		const char *text, *message;
	} bad[] = {
		{"[disk a]\nfile = x\ncach = on\n",
		 "blkd.conf:3: unknown key 'cach' (did you mean 'cache'?)"},
		{"[daemon]\ncache-sise = 1\n",
		 "blkd.conf:2: unknown key 'cache-sise' (did you mean "
		 "'cache-size'?)"},
		{"[daemno]\n", "blkd.conf:1: unknown section 'daemno' (did you "
			       "mean 'daemon'?)"},
		{"x = 1\n", "blkd.conf:1: a key before"},
		{"[disk]\n", "blkd.conf:1: write [disk NAME]"},
		{"[disk a]\nro = on\n[daemon]\n",
		 "blkd.conf:1: disk 'a' needs file="},
		{"\n[disk a]\nro = on\n", "blkd.conf:2: disk 'a' needs file="},
		{"[store s]\n", "blkd.conf:1: store 's' needs address"},
		{"[store s]\naddress=/x\n[store s]\n",
		 "blkd.conf:3: there are"},
		{"[disk a]\nfile=x\n[disk a]\nfile=x\n",
		 "blkd.conf:3: there are two disks"},
		{"[daemon]\nforeground = on\n", "for the command line"},
		{"[daemon]\ndisk = a=b\n", "write [disk NAME]"},
		{"[daemon]\ncache-size = much\n", "blkd.conf:2: cache-size: "},
		{"[daemon]\nlisten =\n", "blkd.conf:2: listen: a value"},
		{"[daemon]\nlisten = udp:x\n", "write unix:PATH"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct config config;
		struct why w = {0};

		assert(read_text(&config, bad[i].text, &w) < 0);
		if (!strstr(w.text, bad[i].message))
			fprintf(stderr, "%s\n", w.text);
		assert(strstr(w.text, bad[i].message));
		config_release(&config);
	}
}

#define OPTIONS(config, w, ...)                                                \
	options(config, w, (const char *[]){"roost-blkd", __VA_ARGS__, NULL})

static int options(struct config *config, struct why *w, const char **argv)
{
	char *args[16];
	int argc = 0;

	for (; argv[argc]; argc++)
		args[argc] = (char *)(uintptr_t)argv[argc];
	config_init(config);
	return blkd_options(argc, args, config, w);
}

static void reads_a_command_line(void)
{
	struct config config;

	assert(!OPTIONS(&config, NULL, "--foreground", "--listen=unix:/s",
			"--disk", "a=/x,ro", "--cache-size", "64M", "--listen",
			"vhost-user:/v,disk=a"));
	assert(config.is_foreground && config.nlistens == 2);
	assert(config.listens[1].kind == LISTEN_VHOST_USER);
	assert(!strcmp(config.listens[1].disk, "a"));
	assert(config.cache_size == 64u << 20 && config.ndisks == 1);
	config_release(&config);
}

static void a_wrong_command_line_is_explained(void)
{
	struct config config;
	struct why w = {0};

	assert(OPTIONS(&config, &w, "--forground") == -ENOKEY);
	assert(strstr(w.text, "did you mean 'foreground'"));
	config_release(&config);
	assert(OPTIONS(&config, &w, "--listen") == -EINVAL);
	assert(strstr(w.text, "listen: a value is missing"));
	config_release(&config);
	assert(OPTIONS(&config, &w, "a.raw") == -EINVAL);
	assert(strstr(w.text, "--disk NAME=FILE"));
	config_release(&config);
	assert(OPTIONS(&config, &w, "--config", "/nowhere/x") == -ENOENT);
	assert(strstr(w.text, "/nowhere/x: No such file"));
	config_release(&config);
	assert(OPTIONS(&config, &w, "--disk", "a=/x", "--disk", "a=/y") ==
	       -EINVAL);
	config_release(&config);
}

static void refuses_addresses(void)
{
	static const char *const bad[] = {
		"",	   "unix:",	   "tcp:",	 "tcp::10809",
		"tcp:h:x", "tcp:h:70000",  "tcp:::1:99", "tcp:[::1]99",
		"tcp:[",   "vhost-user:",  "tcp:h:",	 "vhost-user:/s,dsk=a",
		"/x",	   "vhost-user:,", "tcp:h:-1",	 "vhost-user:/s,disk=",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct listen_spec spec = {0};

		assert(listen_spec_parse(bad[i], &spec, NULL) == -EINVAL);
		assert(!spec.path && !spec.host);
	}
}

static void sizes_are_read_and_printed(void)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"0", 0},
		{"4096", 4096},
		{"64K", 65536},
		{"1.5G", 3u << 29},
		{"2GiB", 2ull << 30},
		{"1MB", 1 << 20},
		{"15E", 15ull << 60},
		{"0.5k", 512},
	};
	static const char *const bad[] = {
		"",    "G",    "-1",  "1.",  "1.x",
		"1 ",  "1KK",  "0x1", "1.5", "99999999999999999999",
		"16E", "1Ki5",
	};
	char text[NUMBER_TEXT_MAX];
	uint64_t bytes = 7;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert(!number_size(good[i].text, &bytes, NULL));
		assert(bytes == good[i].bytes);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert(number_size(bad[i], &bytes, NULL) == -EINVAL);
	assert(!strcmp(number_print(0, text), "0 B"));
	assert(!strcmp(number_print(1536, text), "1.5 KiB"));
	assert(!strcmp(number_print(1 << 30, text), "1 GiB"));
	assert(!strcmp(number_print(UINT64_MAX, text), "16 EiB"));
}

int main(void)
{
	reads_all_sections();
	a_wrong_line_is_named();
	reads_a_command_line();
	a_wrong_command_line_is_explained();
	refuses_addresses();
	sizes_are_read_and_printed();
	return 0;
}
