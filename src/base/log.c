/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - format a line whole, write it with one write(2) */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_MAX_BYTES 1024

static const char *program_name = "roost";
static enum log_level most_level = LOG_LEVEL_INFO;
static bool is_journal;

void log_setup(const char *program, enum log_level most)
{
	program_name = program;
	most_level = most;
	is_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_line(enum log_level level, const char *subject, const char *fmt, ...)
{
	int saved = errno; /* first: nothing above may change it */
	char line[LINE_MAX_BYTES];
	va_list ap;
	int n;

	if (level > most_level)
		return;
	if (is_journal)
		n = snprintf(line, sizeof(line), "<%d>", level);
	else
		n = snprintf(line, sizeof(line), "%s: ", program_name);
	if (subject)
		n += snprintf(line + n, sizeof(line) - (size_t)n,
			      "%.200s: ", subject);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 1)
		n = sizeof(line) - 1;
	/* Text of others may be in it: a line stays one line. */
	for (int i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ')
			line[i] = ' ';
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n) < 0) {
		/* Nowhere is left to say so. */
	}
	errno = saved;
}

bool log_limit_pass(struct log_limit *limit)
{
	uint64_t now = clock_ns();

	if (now < limit->next_ns) {
		limit->held++;
		return false;
	}
	limit->next_ns = now + LOG_LIMIT_INTERVAL_S * NS_PER_S;
	limit->held = 0;
	return true;
}
