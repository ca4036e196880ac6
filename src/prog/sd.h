/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sd.h - the two things a service manager says to us and we say to it
 *
 * The protocols of sd_listen_fds(3) and sd_notify(3), which are made to be
 * spoken without libsystemd: it would cost more memory than the daemon has.
 */
#ifndef PROG_SD_H
#define PROG_SD_H

#define SD_FIRST_FD 3
#define SD_FDS_MAX  64
#define SD_NAME_MAX 63 /* bytes */

/**
 * sd_listen_fds() - how many sockets were handed over, from SD_FIRST_FD on
 *
 * They are set close-on-exec, and the environment is cleared of them.
 *
 * Return: 0 if none are for this process.
 */
int sd_listen_fds(void);

/** sd_fd_name() - what the unit calls socket @i, or "". Lent. */
const char *sd_fd_name(int i);

/** sd_fd_of() - what the unit calls socket @fd, which may be a duplicate of one
 * that was handed over; NULL: it is none. Lent. */
const char *sd_fd_of(int fd);

/** sd_notify() - say "READY=1" and so on, if somebody listens */
void sd_notify(const char *text);

#endif
