/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - one line per event on standard error, subject first
 *
 * Programs log; libraries return errors. A library room uses log_debug() only.
 * Under systemd (JOURNAL_STREAM set) lines carry the "<N>" level prefix of
 * sd-daemon(3); elsewhere they carry the program's name. All keep errno and
 * may be called from any thread.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

/* As syslog(3) numbers them. */
enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/** log_setup() - @program is kept, not copied; lines above @most are dropped */
void log_setup(const char *program, enum log_level most);

/** log_line() - "subject: text"; @subject as "vm7/disk0", or NULL for none */
void log_line(enum log_level level, const char *subject, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(subject, ...) log_line(LOG_LEVEL_ERROR, subject, __VA_ARGS__)
#define log_warning(subject, ...)                                              \
	log_line(LOG_LEVEL_WARNING, subject, __VA_ARGS__)
#define log_info(subject, ...)	log_line(LOG_LEVEL_INFO, subject, __VA_ARGS__)
#define log_debug(subject, ...) log_line(LOG_LEVEL_DEBUG, subject, __VA_ARGS__)

/**
 * struct log_limit - of lines that a guest or a peer can cause; start as {0}
 *
 * log_limit_pass() says whether to write the line now: at most one each
 * interval; the ones between are counted.
 */
struct log_limit {
	uint64_t next_ns;
	uint64_t held; /* lines held back since the last one written */
};

#define LOG_LIMIT_INTERVAL_S 10

bool log_limit_pass(struct log_limit *limit);

#endif
