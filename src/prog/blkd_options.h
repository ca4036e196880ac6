/* SPDX-License-Identifier: Apache-2.0 */
/* blkd_options.h - the command line of roost-blkd */
#ifndef PROG_BLKD_OPTIONS_H
#define PROG_BLKD_OPTIONS_H

struct config;
struct why;

/**
 * blkd_options() - read the command line into @config
 * @config:	config_init() it before
 *
 * Return: 0: go on; 1: --help or --version has been answered; -EINVAL or what
 * a file could not be read for: @why says which.
 */
int blkd_options(int argc, char **argv, struct config *config, struct why *why)
	__attribute__((warn_unused_result));

#endif
