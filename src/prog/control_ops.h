/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_ops.h - what the daemon can be asked; the functions of control_ops[]
 *
 * Each is the run() of a struct control_op. They are spread over files by what
 * they are about: control_disk.c, control_grow.c,
 * control_image.c, control_boot.c, control_daemon.c.
 */
#ifndef PROG_CONTROL_OPS_H
#define PROG_CONTROL_OPS_H

#include <jansson.h>
#include <stdbool.h>

struct control_conn;
struct disk;
struct why;

void op_disk_add(struct control_conn *conn, const json_t *request);
void op_disk_rm(struct control_conn *conn, const json_t *request);
void op_disk_grow(struct control_conn *conn, const json_t *request);
void op_disk_ls(struct control_conn *conn, const json_t *request);

void op_store_add(struct control_conn *conn, const json_t *request);
void op_store_rm(struct control_conn *conn, const json_t *request);
void op_store_ls(struct control_conn *conn, const json_t *request);
void op_image_add(struct control_conn *conn, const json_t *request);
void op_image_rm(struct control_conn *conn, const json_t *request);
void op_image_ls(struct control_conn *conn, const json_t *request);

void op_boot_ls(struct control_conn *conn, const json_t *request);
void op_boot_mark_done(struct control_conn *conn, const json_t *request);

void op_metrics(struct control_conn *conn, const json_t *request);
void op_status(struct control_conn *conn, const json_t *request);
void op_log_level(struct control_conn *conn, const json_t *request);
void op_quit(struct control_conn *conn, const json_t *request);
void op_upgrade(struct control_conn *conn, const json_t *request);

/**
 * request_text() - a text of @request
 * @ret:	lent by @request
 *
 * Return: 0; -EINVAL: there is none, it is empty, or has a 0 in it.
 */
int request_text(const json_t *request, const char *key, const char **ret,
		 struct why *why) __attribute__((warn_unused_result));

/** request_flag() - a switch of @request, false where it is not there */
bool request_flag(const json_t *request, const char *key);

/** save_and_answer() - write the state file, then answer {"ok": true} */
void save_and_answer(struct control_conn *conn);

/** disk_to_json() - what disk-ls tells of a disk; NULL: no memory */
json_t *disk_to_json(const struct disk *disk);

#endif
