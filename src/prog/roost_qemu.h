/* SPDX-License-Identifier: Apache-2.0 */
/* roost_qemu.h - Debian's QEMU on a disk of ours */
#ifndef PROG_ROOST_QEMU_H
#define PROG_ROOST_QEMU_H

struct roost;

/**
 * struct qemu - what to run
 * @roost:	the verb's options, and further arguments for QEMU
 * @disk:	name of the NBD export
 * @nbd:	path of the NBD socket
 * @vhost:	path of the vhost-user socket; NULL: use NBD
 */
struct qemu {
	const struct roost *roost;
	const char *disk, *nbd, *vhost;
};

/**
 * qemu_run() - run it, with the terminal as the guest's serial console
 *
 * With --dry-run the command is printed instead.
 *
 * Return: ROOST_OK when QEMU ended well; ROOST_FAILED; ROOST_USAGE.
 */
int qemu_run(const struct qemu *qemu);

#endif
