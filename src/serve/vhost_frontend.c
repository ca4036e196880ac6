/* SPDX-License-Identifier: Apache-2.0 */
/* vhost_frontend.c - blocking, in the order in which QEMU says things */
#include "serve/vhost_frontend.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "device/virtio_blk.h"

#define MEM_USER    0x7f0000000000ull /* where we say that the memory is */
#define RINGS_BYTES (64u * 1024) /* of one queue, at the end of the memory */

int vhost_frontend_init(struct vhost_frontend *f, uint64_t mem_len)
{
	*f = (struct vhost_frontend){
		.fd = -1,
		.inflight_fd = -1,
		.mem_len = mem_len,
		.region = {.len = mem_len, .user = MEM_USER},
	};
	f->mem_fd = memfd_create("guest", MFD_CLOEXEC);
	if (f->mem_fd < 0 || ftruncate(f->mem_fd, (off_t)mem_len) < 0)
		return -errno;
	f->mem = mmap(NULL, mem_len, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_POPULATE, f->mem_fd, 0);
	if (f->mem == MAP_FAILED)
		return -errno;
	for (unsigned i = 0; i < VHOST_FRONTEND_QUEUES; i++) {
		f->q[i].kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		f->q[i].call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	return 0;
}

int vhost_frontend_connect(struct vhost_frontend *f, const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.sun_path, path, strlen(path) + 1);
	f->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (f->fd < 0 || connect(f->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	return 0;
}

void vhost_frontend_hang_up(struct vhost_frontend *f)
{
	if (f->fd >= 0)
		(void)close(f->fd);
	f->fd = -1;
}

void vhost_frontend_release(struct vhost_frontend *f)
{
	vhost_frontend_hang_up(f);
	for (unsigned i = 0; i < VHOST_FRONTEND_QUEUES; i++) {
		(void)close(f->q[i].kick);
		(void)close(f->q[i].call);
	}
	(void)munmap(f->mem, f->mem_len);
	(void)close(f->mem_fd);
	if (f->inflight_fd >= 0)
		(void)close(f->inflight_fd);
}

int vhost_frontend_send(struct vhost_frontend *f,
			const struct vhost_user_msg *msg, const int *fds,
			unsigned nfds)
{
	uint8_t bytes[VHOST_USER_HEAD_LEN + VHOST_USER_PAYLOAD_MAX];
	struct iovec iov = {
		.iov_base = bytes,
		.iov_len = vhost_user_msg_write(msg, bytes),
	};
	union {
		char bytes[CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (nfds) {
		struct cmsghdr *c = &control.align;

		m.msg_control = control.bytes;
		m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	if (sendmsg(f->fd, &m, MSG_NOSIGNAL) != (ssize_t)iov.iov_len)
		return -errno;
	return 0;
}

static int receive(struct vhost_frontend *f, uint8_t *to, size_t len, int *fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;

	for (size_t got = 0; got < len;) {
		struct iovec iov = {.iov_base = to + got, .iov_len = len - got};
		struct msghdr m = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.bytes,
			.msg_controllen = sizeof(control.bytes),
		};
		ssize_t n = recvmsg(f->fd, &m, MSG_CMSG_CLOEXEC);
		struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

		if (n <= 0)
			return -ECONNRESET;
		if (c && c->cmsg_type == SCM_RIGHTS) {
			int came;

			memcpy(&came, CMSG_DATA(c), sizeof(came));
			if (fd)
				*fd = came;
			else
				(void)close(came);
		}
		got += (size_t)n;
	}
	return 0;
}

int vhost_frontend_receive(struct vhost_frontend *f, struct vhost_user_msg *ret,
			   int *fd)
{
	uint8_t bytes[VHOST_USER_PAYLOAD_MAX];
	struct vhost_user_head head;
	int err;

	if (fd)
		*fd = -1;
	err = receive(f, bytes, VHOST_USER_HEAD_LEN, fd);
	if (!err)
		err = vhost_user_head_parse(bytes, &head);
	if (!err)
		err = receive(f, bytes, head.len, fd);
	if (!err)
		err = vhost_user_msg_parse(&head, bytes, ret);
	return err;
}

int vhost_frontend_ask(struct vhost_frontend *f, struct vhost_user_msg *msg,
		       const int *fds, unsigned nfds)
{
	uint32_t request = msg->request;
	int err = vhost_frontend_send(f, msg, fds, nfds);

	if (!err)
		err = vhost_frontend_receive(f, msg, NULL);
	if (!err &&
	    (msg->request != request || !(msg->flags & VHOST_USER_REPLY)))
		err = -EBADMSG;
	return err;
}

static int get(struct vhost_frontend *f, uint32_t request, uint64_t *ret)
{
	struct vhost_user_msg msg = {.request = request};
	int err = vhost_frontend_ask(f, &msg, NULL, 0);

	if (!err)
		*ret = msg.u64;
	return err;
}

static int set(struct vhost_frontend *f, uint32_t request, uint64_t v)
{
	struct vhost_user_msg msg = {.request = request, .u64 = v};

	return vhost_frontend_send(f, &msg, NULL, 0);
}

static int set_state(struct vhost_frontend *f, uint32_t request, unsigned i,
		     uint32_t num)
{
	struct vhost_user_msg msg = {
		.request = request,
		.state = {.index = i, .num = num},
	};

	return vhost_frontend_send(f, &msg, NULL, 0);
}

static int set_fd(struct vhost_frontend *f, uint32_t request, unsigned i,
		  int fd)
{
	struct vhost_user_msg msg = {.request = request, .u64 = i};

	return vhost_frontend_send(f, &msg, &fd, 1);
}

static int negotiate(struct vhost_frontend *f, uint64_t features)
{
	uint64_t mine = 1ull << VHOST_USER_PROTOCOL_MQ |
			1ull << VHOST_USER_PROTOCOL_REPLY_ACK |
			1ull << VHOST_USER_PROTOCOL_CONFIG |
			1ull << VHOST_USER_PROTOCOL_INFLIGHT_SHMFD;
	int err = get(f, VHOST_USER_GET_FEATURES, &f->features);

	if (!err)
		err = get(f, VHOST_USER_GET_PROTOCOL_FEATURES,
			  &f->protocol_features);
	f->protocol_features &= mine;
	if (!err)
		err = set(f, VHOST_USER_SET_PROTOCOL_FEATURES,
			  f->protocol_features);
	if (!err)
		err = set(f, VHOST_USER_SET_OWNER, 0);
	if (!err)
		err = set(f, VHOST_USER_SET_FEATURES,
			  (f->features & features) |
				  1ull << VHOST_USER_F_PROTOCOL_FEATURES);
	return err;
}

static int share_inflight(struct vhost_frontend *f, unsigned nqueues,
			  uint16_t size)
{
	struct vhost_user_msg msg;
	int err;

	if (!(f->protocol_features >> VHOST_USER_PROTOCOL_INFLIGHT_SHMFD & 1))
		return 0;
	if (f->inflight_fd < 0) {
		msg = (struct vhost_user_msg){
			.request = VHOST_USER_GET_INFLIGHT_FD,
			.inflight = {.nqueues = (uint16_t)nqueues,
				     .queue_size = size},
		};
		err = vhost_frontend_send(f, &msg, NULL, 0);
		if (!err)
			err = vhost_frontend_receive(f, &f->inflight,
						     &f->inflight_fd);
		if (err < 0)
			return err;
		if (f->inflight_fd < 0)
			return -EBADMSG;
	}
	msg = f->inflight;
	msg.request = VHOST_USER_SET_INFLIGHT_FD;
	msg.flags = 0;
	return vhost_frontend_send(f, &msg, &f->inflight_fd, 1);
}

static int start_queue(struct vhost_frontend *f, unsigned i, uint16_t base)
{
	const struct virtq_layout *l = &f->q[i].driver.layout;
	struct vhost_user_msg addr = {
		.request = VHOST_USER_SET_VRING_ADDR,
		.addr =
			{
				.index = i,
				.desc = MEM_USER + l->desc.a,
				.avail = MEM_USER + l->avail.a,
				.used = MEM_USER + l->used.a,
			},
	};
	int err = set_state(f, VHOST_USER_SET_VRING_NUM, i, l->size);

	if (!err)
		err = set_state(f, VHOST_USER_SET_VRING_BASE, i, base);
	if (!err)
		err = vhost_frontend_send(f, &addr, NULL, 0);
	if (!err)
		err = set_fd(f, VHOST_USER_SET_VRING_KICK, i, f->q[i].kick);
	if (!err)
		err = set_fd(f, VHOST_USER_SET_VRING_CALL, i, f->q[i].call);
	if (!err)
		err = set_state(f, VHOST_USER_SET_VRING_ENABLE, i, 1);
	return err;
}

/* The used ring's index: what QEMU takes as the base after a hang-up. */
static uint16_t used_idx(const struct virtq_driver *d)
{
	uint16_t v;

	memcpy(&v, d->mem + d->layout.used.a + 2, sizeof(v));
	return v;
}

int vhost_frontend_start(struct vhost_frontend *f, unsigned nqueues,
			 uint16_t size, uint64_t features)
{
	struct vhost_user_msg mem = {
		.request = VHOST_USER_SET_MEM_TABLE,
		.mem = {.n = 1, .at = {f->region}},
	};
	uint64_t done;
	int err = negotiate(f, features);

	if (!err)
		err = share_inflight(f, nqueues, size);
	if (!err)
		err = vhost_frontend_send(f, &mem, &f->mem_fd, 1);
	for (unsigned i = 0; i < nqueues && !err; i++) {
		if (i >= f->nqueues)
			virtq_driver_init(
				&f->q[i].driver, f->mem,
				f->mem_len - (i + 1) * RINGS_BYTES, size,
				features >> VIRTIO_RING_EVENT_IDX & 1);
		err = start_queue(f, i, used_idx(&f->q[i].driver));
	}
	if (nqueues > f->nqueues)
		f->nqueues = nqueues;
	/* Its answer says that all before it were liked. */
	return err ? err : get(f, VHOST_USER_GET_FEATURES, &done);
}

int vhost_frontend_stop_queue(struct vhost_frontend *f, unsigned i)
{
	struct vhost_user_msg msg = {
		.request = VHOST_USER_GET_VRING_BASE,
		.state = {.index = i},
	};
	int err = vhost_frontend_ask(f, &msg, NULL, 0);

	return err < 0 ? err : (int)msg.state.num;
}

void vhost_frontend_kick(struct vhost_frontend *f, unsigned i)
{
	static const uint64_t one = 1;

	(void)!write(f->q[i].kick, &one, sizeof(one));
}

int vhost_frontend_wait(struct vhost_frontend *f, unsigned i, int timeout_ms)
{
	struct pollfd p = {.fd = f->q[i].call, .events = POLLIN};
	uint64_t n;

	if (poll(&p, 1, timeout_ms) <= 0)
		return -ETIMEDOUT;
	(void)!read(f->q[i].call, &n, sizeof(n));
	return 0;
}
