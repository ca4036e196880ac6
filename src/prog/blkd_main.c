/* SPDX-License-Identifier: Apache-2.0 */
/* blkd_main.c - roost-blkd: read the command line, go to the background, run */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/why.h"
#include "prog/background.h"
#include "prog/blkd.h"
#include "prog/blkd_options.h"
#include "prog/config.h"
#include "prog/inherit.h"
#include "prog/upgrade.h"

#define EXIT_USAGE 2
/* Larger buffers (an extent's, a long read's) go back to the kernel when they
 * are freed; by default glibc keeps what a prefetch took for ever. */
#define MMAP_BYTES (256 << 10)

int main(int argc, char **argv)
{
	struct config config;
	struct why w = {0};
	int err, code;

	(void)mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
	log_setup("roost-blkd", LOG_LEVEL_INFO);
	upgrade_init(argc, argv);
	inherit_load();
	config_init(&config);
	err = blkd_options(argc, argv, &config, &w);
	if (err < 0)
		log_error(NULL, "%s", *w.text ? w.text : strerror(-err));
	if (err) {
		config_release(&config);
		return err < 0 ? EXIT_USAGE : 0;
	}
	log_setup("roost-blkd", config.log_level);
	err = 0;
	if (!config.is_foreground && !config.is_stdio && !inherit_is_there())
		err = background_begin(&w);
	if (err < 0)
		log_error(NULL, "%s", w.text);
	code = err < 0 ? 1 : blkd_run(&config);
	config_release(&config);
	return code;
}
