/* SPDX-License-Identifier: Apache-2.0 */
/* roost_qemu.c - the command line of QEMU, and waiting for its end */
#include "prog/roost_qemu.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/why.h"
#include "prog/number.h"
#include "prog/roost.h"

#define PROGRAM	      "qemu-system-x86_64"
#define MEMORY	      "1G"
#define CPUS	      "2"
#define ARGUMENTS_MAX 256

/** struct arguments - texts are owned; ends with NULL */
struct arguments {
	char *texts[ARGUMENTS_MAX + 1];
	int count;
};

static void add(struct arguments *args, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void add(struct arguments *args, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	if (args->count == ARGUMENTS_MAX)
		return;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (text)
		args->texts[args->count++] = text;
}

/*
 * A /dev/kvm may be there without the processor's help, where a guest's kernel
 * runs far slower than under TCG; so ask the processor.
 */
static bool has_kvm(void)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[8192];
	bool has = false;

	if (!file)
		return false;
	while (!has && fgets(line, sizeof(line), file))
		has = !strncmp(line, "flags", 5) &&
		      (strstr(line, " vmx ") || strstr(line, " svm "));
	(void)fclose(file);
	return has && !access("/dev/kvm", R_OK | W_OK);
}

static int machine(const struct qemu *qemu, struct arguments *args)
{
	const char *memory = roost_value(qemu->roost, "memory");
	const char *cpus = roost_value(qemu->roost, "cpus");
	struct why w = {0};
	uint64_t bytes = 0;

	if (number_size(memory ? memory : MEMORY, &bytes, &w) < 0) {
		roost_say("--memory: %s", w.text);
		return ROOST_USAGE;
	}
	add(args, "-machine");
	add(args, "q35,accel=%s%s", has_kvm() ? "kvm" : "tcg",
	    qemu->vhost ? ",memory-backend=mem" : "");
	add(args, "-cpu");
	add(args, "%s", has_kvm() ? "host" : "qemu64,+rdrand");
	add(args, "-m");
	add(args, "%llu", (unsigned long long)(bytes / MIB));
	if (qemu->vhost) {
		add(args, "-object");
		add(args, "memory-backend-memfd,id=mem,size=%lluM,share=on",
		    (unsigned long long)(bytes / MIB));
	}
	add(args, "-smp");
	add(args, "%s", cpus ? cpus : CPUS);
	add(args, "-display");
	add(args, "none");
	add(args, "-serial");
	add(args, "mon:stdio");
	add(args, "-no-reboot");
	return ROOST_OK;
}

static void disk(const struct qemu *qemu, struct arguments *args)
{
	if (qemu->vhost) {
		add(args, "-chardev");
		add(args, "socket,id=disk,path=%s,reconnect=1", qemu->vhost);
		add(args, "-device");
		add(args, "vhost-user-blk-pci,chardev=disk");
		return;
	}
	add(args, "-blockdev");
	add(args,
	    "driver=nbd,node-name=disk,server.type=unix,server.path=%s,"
	    "export=%s,discard=unmap",
	    qemu->nbd, qemu->disk);
	add(args, "-device");
	add(args, "virtio-blk-pci,drive=disk,serial=%s", qemu->disk);
}

static void kernel(const struct qemu *qemu, struct arguments *args)
{
	const char *image = roost_value(qemu->roost, "kernel");
	const char *initrd = roost_value(qemu->roost, "initrd");
	const char *append = roost_value(qemu->roost, "append");

	if (!image)
		return;
	add(args, "-kernel");
	add(args, "%s", image);
	if (initrd) {
		add(args, "-initrd");
		add(args, "%s", initrd);
	}
	add(args, "-append");
	add(args, "%s", append ? append : "root=/dev/vda console=ttyS0");
}

static int wait_for(pid_t pid)
{
	int status;

	/* ^C goes to the guest, by QEMU; we stay to count. */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGQUIT, SIG_IGN);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return ROOST_FAILED;
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGQUIT, SIG_DFL);
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return ROOST_OK;
	if (WIFSIGNALED(status))
		roost_say("QEMU was ended by signal %d", WTERMSIG(status));
	return ROOST_FAILED;
}

static int execute(struct arguments *args)
{
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	if (pid < 0) {
		roost_say("fork: %s", strerror(errno));
		return ROOST_FAILED;
	}
	if (!pid) {
		(void)execvp(args->texts[0], args->texts);
		roost_say(PROGRAM ": %s: apt-get install qemu-system-x86",
			  strerror(errno));
		_exit(127);
	}
	return wait_for(pid);
}

static void print(const struct arguments *args)
{
	for (int i = 0; i < args->count; i++)
		printf(strpbrk(args->texts[i], " $&'\"\\") ? "%s'%s'" : "%s%s",
		       i ? " " : "", args->texts[i]);
	printf("\n");
}

int qemu_run(const struct qemu *qemu)
{
	struct arguments args = {.count = 0};
	int code;

	add(&args, PROGRAM);
	code = machine(qemu, &args);
	disk(qemu, &args);
	kernel(qemu, &args);
	for (int i = 0; i < qemu->roost->nrest; i++)
		add(&args, "%s", qemu->roost->rest[i]);
	if (roost_value(qemu->roost, "append") &&
	    !roost_value(qemu->roost, "kernel")) {
		roost_say("--append is for --kernel");
		code = ROOST_USAGE;
	}
	if (!code && roost_value(qemu->roost, "dry-run"))
		print(&args);
	else if (!code)
		code = execute(&args);
	for (int i = 0; i < args.count; i++)
		free(args.texts[i]);
	return code;
}
