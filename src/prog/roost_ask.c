/* SPDX-License-Identifier: Apache-2.0 */
/* roost_ask.c - requests to the daemon, and what verbs print with */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "prog/roost.h"
#include "prog/socket.h"

#define ANSWER_MAX (64u << 20) /* bytes */

void roost_say(const char *fmt, ...)
{
	va_list ap;

	(void)fflush(stdout);
	fputs("roost: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

const char *roost_value(const struct roost *roost, const char *option)
{
	for (int i = 0; i < ROOST_OPTIONS_MAX; i++) {
		const char *name = roost->verb->options[i].name;

		if (name && !strcmp(name, option))
			return roost->values[i];
	}
	return NULL;
}

const char *roost_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

unsigned long long roost_number(const json_t *object, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(object, key));

	return n < 0 ? 0 : (unsigned long long)n;
}

bool roost_flag(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

int roost_print_json(json_t *answer)
{
	(void)json_dumpf(answer, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(answer);
	return ROOST_OK;
}

static int connect_daemon(struct roost *roost)
{
	int err;

	if (roost->fd >= 0)
		return ROOST_OK;
	err = socket_connect_unix(roost->control, &roost->fd);
	if (!err)
		return ROOST_OK;
	if (err == -EACCES)
		roost_say("%s: Permission denied: become root, or a member of "
			  "the socket's group",
			  roost->control);
	else
		roost_say("no daemon at %s (%s): start it with systemctl start "
			  "roost-blkd, or name another socket with --control",
			  roost->control, strerror(-err));
	return ROOST_NO_DAEMON;
}

static int send_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* A line from the daemon, without its end; NULL if it hung up. */
static char *receive_line(int fd)
{
	CLEANUP(cleanup_free) char *text = NULL;
	size_t len = 0, size = 0;

	for (;;) {
		ssize_t n;
		char *more;

		if (len + 1 >= size) {
			size = size ? size * 2 : 65536;
			more = size > ANSWER_MAX ? NULL : realloc(text, size);
			if (!more)
				return NULL;
			text = more;
		}
		n = recv(fd, text + len, size - 1 - len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return NULL;
		len += (size_t)n;
		/* One request is open, so one line comes, and nothing after. */
		if (text[len - 1] == '\n') {
			text[len - 1] = 0;
			return take_ptr(&text);
		}
	}
}

static int exit_of(const char *code)
{
	if (!strcmp(code, "ENOENT"))
		return ROOST_NOT_FOUND;
	if (!strcmp(code, "EBUSY") || !strcmp(code, "EEXIST"))
		return ROOST_IN_USE;
	return ROOST_FAILED;
}

int roost_ask(struct roost *roost, json_t *request, json_t **ret)
{
	CLEANUP(cleanup_free) char *text = NULL;
	CLEANUP(cleanup_free) char *line = NULL;
	json_t *answer;
	int err = connect_daemon(roost), code;

	if (!err && request)
		text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	if (err)
		return err;
	if (!text) {
		roost_say("out of memory");
		return ROOST_FAILED;
	}
	text[strlen(text)] = '\n'; /* in place of the final 0 */
	if (!send_all(roost->fd, text, strcspn(text, "\n") + 1))
		line = receive_line(roost->fd);
	answer = line ? json_loads(line, 0, NULL) : NULL;
	if (!answer) {
		roost_say("the daemon hung up: journalctl -u roost-blkd may "
			  "tell why");
		return ROOST_FAILED;
	}
	if (roost_flag(answer, "ok")) {
		(void)json_object_del(answer, "ok");
		*ret = answer;
		return ROOST_OK;
	}
	roost_say("%s", roost_text(answer, "error"));
	code = exit_of(roost_text(answer, "code"));
	json_decref(answer);
	return code;
}

int roost_do(struct roost *roost, json_t *request)
{
	json_t *answer = NULL;
	int code = roost_ask(roost, request, &answer);

	if (code)
		return code;
	if (roost->is_json)
		return roost_print_json(answer);
	json_decref(answer);
	return ROOST_OK;
}
