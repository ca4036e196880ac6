/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_device.c - the messages of a vhost-user front-end, one by one
 *
 * The front-end is hostile: an index is below the number of queues, an address
 * in the memory it gave, a descriptor as long as it says, or it is hung up on.
 */
#include "serve/vhost_device.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"

#define BIT(n) (1ull << (n))

#define PROTOCOL_FEATURES                                                      \
	(BIT(VHOST_USER_PROTOCOL_MQ) | BIT(VHOST_USER_PROTOCOL_LOG_SHMFD) |    \
	 BIT(VHOST_USER_PROTOCOL_REPLY_ACK) |                                  \
	 BIT(VHOST_USER_PROTOCOL_BACKEND_REQ) |                                \
	 BIT(VHOST_USER_PROTOCOL_CONFIG) |                                     \
	 BIT(VHOST_USER_PROTOCOL_INFLIGHT_SHMFD) |                             \
	 BIT(VHOST_USER_PROTOCOL_RESET_DEVICE) |                               \
	 BIT(VHOST_USER_PROTOCOL_MEM_SLOTS) | BIT(VHOST_USER_PROTOCOL_STATUS))

/* Bits of vhost's own among virtio's features */
#define VHOST_FEATURES                                                         \
	(BIT(VHOST_USER_F_PROTOCOL_FEATURES) | BIT(VHOST_USER_F_LOG_ALL))

#define STATUS_NEEDS_RESET 64u /* virtio's device status */

static void on_queue_idle(struct vhost_queue *q)
{
	struct vhost_ring *ring = container_of(q, struct vhost_ring, queue);
	struct vhost_device *dev;

	/* Back to the first ring, then to the device around it. */
	ring -= ring->index;
	dev = container_of(ring, struct vhost_device, rings[0]);
	if (dev->is_paused && vhost_device_is_idle(dev))
		dev->on_idle(dev);
}

void vhost_device_init(struct vhost_device *dev, struct loop *loop,
		       struct blk *blk, bool is_read_only, const char *serial,
		       uint16_t nqueues, void (*on_idle)(struct vhost_device *))
{
	assert(nqueues && nqueues <= VHOST_QUEUES_MAX);
	*dev = (struct vhost_device){
		.on_idle = on_idle,
		.nqueues = nqueues,
		.backend_fd = -1,
	};
	virtio_blk_init(&dev->blk, blk, is_read_only, serial, nqueues);
	vhost_memory_init(&dev->mem);
	pool_init(&dev->pool, sizeof(struct vhost_req),
		  (size_t)nqueues * VIRTQ_SIZE_MAX);
	for (uint16_t i = 0; i < nqueues; i++) {
		dev->rings[i].index = i;
		vhost_queue_init(&dev->rings[i].queue, loop, &dev->blk,
				 &dev->pool, &dev->mem.ram, &dev->stats,
				 on_queue_idle);
	}
}

void vhost_device_pause(struct vhost_device *dev)
{
	dev->is_paused = true;
	for (unsigned i = 0; i < dev->nqueues; i++)
		vhost_queue_pause(&dev->rings[i].queue);
}

bool vhost_device_is_idle(const struct vhost_device *dev)
{
	if (!dev->is_paused)
		return false;
	for (unsigned i = 0; i < dev->nqueues; i++)
		if (!vhost_queue_is_idle(&dev->rings[i].queue))
			return false;
	return true;
}

static void resume(struct vhost_device *dev)
{
	dev->is_paused = false;
	for (unsigned i = 0; i < dev->nqueues; i++)
		if (dev->rings[i].is_enabled || !dev->has_protocol_features)
			vhost_queue_resume(&dev->rings[i].queue);
}

static void set_fd(int *to, int fd)
{
	if (*to >= 0)
		(void)close(*to);
	*to = fd;
}

static void stop_ring(struct vhost_ring *ring)
{
	vhost_queue_stop(&ring->queue);
	vhost_queue_set_kick(&ring->queue, -1);
	vhost_queue_set_call(&ring->queue, -1);
}

static void stop_rings(struct vhost_device *dev)
{
	for (unsigned i = 0; i < dev->nqueues; i++) {
		stop_ring(&dev->rings[i]);
		dev->rings[i].is_enabled = false;
	}
}

void vhost_device_reset(struct vhost_device *dev)
{
	assert(vhost_device_is_idle(dev));
	stop_rings(dev);
	for (unsigned i = 0; i < dev->nqueues; i++) {
		struct vhost_ring *ring = &dev->rings[i];

		vhost_queue_set_err(&ring->queue, -1);
		ring->size = 0;
		ring->base = 0;
		ring->has_addr = false;
	}
	vhost_memory_release(&dev->mem);
	vhost_shared_unmap(&dev->inflight);
	set_fd(&dev->backend_fd, -1);
	virtio_blk_reset(&dev->blk);
	dev->protocol_features = 0;
	dev->has_protocol_features = false;
	dev->status = 0;
	dev->is_paused = false;
}

void vhost_device_release(struct vhost_device *dev)
{
	pool_release(&dev->pool);
}

bool vhost_device_must_wait(const struct vhost_device *dev,
			    const struct vhost_user_msg *msg)
{
	(void)dev;
	switch (msg->request) {
	case VHOST_USER_SET_FEATURES:
	case VHOST_USER_RESET_OWNER:
	case VHOST_USER_SET_MEM_TABLE:
	case VHOST_USER_SET_LOG_BASE:
	case VHOST_USER_SET_VRING_NUM:
	case VHOST_USER_SET_VRING_ADDR:
	case VHOST_USER_SET_VRING_BASE:
	case VHOST_USER_GET_VRING_BASE:
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_ENABLE:
	case VHOST_USER_SET_INFLIGHT_FD:
	case VHOST_USER_RESET_DEVICE:
	case VHOST_USER_ADD_MEM_REG:
	case VHOST_USER_REM_MEM_REG:
		return true;
	case VHOST_USER_SET_STATUS:
		return !msg->u64;
	default:
		return false;
	}
}

static int layout_of(const struct vhost_device *dev,
		     const struct vhost_ring *ring, struct virtq_layout *l)
{
	uint64_t f = dev->blk.negotiated;

	*l = (struct virtq_layout){
		.size = ring->size,
		.base = ring->base,
		.has_event_idx = f >> VIRTIO_RING_EVENT_IDX & 1,
		.has_indirect = f >> VIRTIO_RING_INDIRECT & 1,
	};
	if (vhost_memory_find(&dev->mem, ring->desc, &l->desc) < 0 ||
	    vhost_memory_find(&dev->mem, ring->avail, &l->avail) < 0 ||
	    vhost_memory_find(&dev->mem, ring->used, &l->used) < 0)
		return -EFAULT;
	return 0;
}

static int start_ring(struct vhost_device *dev, struct vhost_ring *ring)
{
	struct virtq_layout layout;
	uint8_t *inflight = NULL;
	int err;

	if (!ring->has_addr)
		return -EINVAL;
	err = layout_of(dev, ring, &layout);
	if (err < 0)
		return err;
	if (dev->inflight.at && ring->size == dev->inflight_queue_size &&
	    ring->index < dev->inflight_nqueues)
		inflight = (uint8_t *)dev->inflight.at +
			   ring->index * vhost_inflight_len(ring->size);
	return vhost_queue_start(&ring->queue, &layout, inflight);
}

/* The memory has changed under the rings that are started. */
static int move_rings(struct vhost_device *dev)
{
	for (unsigned i = 0; i < dev->nqueues; i++) {
		struct vhost_ring *ring = &dev->rings[i];
		struct vhost_queue *q = &ring->queue;
		int err;

		if (!vhost_queue_is_started(q))
			continue;
		/* The user's addresses may mean others of the guest's now. */
		err = layout_of(dev, ring, &q->vq.layout);
		if (!err)
			err = virtq_move(&q->vq);
		if (err < 0)
			return err;
	}
	return 0;
}

static int set_mem_table(struct vhost_device *dev,
			 const struct vhost_user_msg *msg, const int *fds,
			 unsigned nfds)
{
	if (nfds != msg->mem.n)
		return -EINVAL;
	vhost_memory_clear(&dev->mem);
	for (unsigned i = 0; i < nfds; i++) {
		int err = vhost_memory_add(&dev->mem, &msg->mem.at[i], fds[i]);

		if (err < 0)
			return err;
	}
	return move_rings(dev);
}

static int remove_region(struct vhost_device *dev,
			 const struct vhost_user_region *region)
{
	int err = vhost_memory_remove(&dev->mem, region);

	return err < 0 ? err : move_rings(dev);
}

static int inflight_len(const struct vhost_device *dev,
			const struct vhost_user_msg *msg, uint64_t *ret)
{
	uint16_t n = msg->inflight.nqueues, size = msg->inflight.queue_size;

	if (!n || n > dev->nqueues || !size || size > VIRTQ_SIZE_MAX)
		return -EINVAL;
	*ret = n * vhost_inflight_len(size);
	return 0;
}

static int get_inflight(const struct vhost_device *dev,
			const struct vhost_user_msg *msg,
			struct vhost_user_msg *reply, int *reply_fd)
{
	CLEANUP(cleanup_fd) int fd = -1;
	uint64_t len;
	int err = inflight_len(dev, msg, &len);

	if (err < 0)
		return err;
	fd = memfd_create("vhost-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)len) < 0)
		return -errno;
	(void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	reply->inflight.len = len;
	reply->inflight.offset = 0;
	reply->inflight.nqueues = msg->inflight.nqueues;
	reply->inflight.queue_size = msg->inflight.queue_size;
	*reply_fd = take_fd(&fd);
	return 1;
}

static int set_inflight(struct vhost_device *dev,
			const struct vhost_user_msg *msg, const int *fds,
			unsigned nfds)
{
	struct vhost_shared map = {0};
	uint64_t len;
	int err = inflight_len(dev, msg, &len);

	if (err < 0)
		return err;
	if (nfds != 1 || msg->inflight.len < len)
		return -EINVAL;
	for (unsigned i = 0; i < dev->nqueues; i++)
		if (vhost_queue_is_started(&dev->rings[i].queue))
			return -EBUSY;
	err = vhost_shared_map(&map, fds[0], msg->inflight.offset, len);
	if (err < 0)
		return err;
	vhost_shared_unmap(&dev->inflight);
	dev->inflight = map;
	dev->inflight_nqueues = msg->inflight.nqueues;
	dev->inflight_queue_size = msg->inflight.queue_size;
	return 0;
}

static int set_log(struct vhost_device *dev, const struct vhost_user_msg *msg,
		   const int *fds, unsigned nfds)
{
	if (nfds != 1)
		return -EINVAL;
	return vhost_memory_set_log(&dev->mem, fds[0], msg->log.offset,
				    msg->log.len);
}

static int set_features(struct vhost_device *dev, uint64_t features)
{
	int err =
		virtio_blk_set_features(&dev->blk, features & ~VHOST_FEATURES);

	if (err < 0)
		return err;
	dev->has_protocol_features =
		features >> VHOST_USER_F_PROTOCOL_FEATURES & 1;
	vhost_memory_log(&dev->mem, features >> VHOST_USER_F_LOG_ALL & 1);
	return 0;
}

static int set_protocol_features(struct vhost_device *dev, uint64_t features)
{
	if (features & ~PROTOCOL_FEATURES)
		return -EINVAL;
	dev->protocol_features = features;
	return 0;
}

static int get_config(const struct vhost_device *dev,
		      const struct vhost_user_msg *msg,
		      struct vhost_user_msg *reply)
{
	uint8_t all[VHOST_USER_CONFIG_MAX] = {0};
	uint32_t offset = msg->config.offset, len = msg->config.len;

	reply->config.offset = offset;
	reply->config.flags = msg->config.flags;
	reply->config.len = 0; /* refused, unless: */
	if (len > sizeof(all) || offset > sizeof(all) - len)
		return 1;
	virtio_blk_config(&dev->blk, all);
	reply->config.len = len;
	memcpy(reply->config.bytes, all + offset, len);
	return 1;
}

static int set_config(struct vhost_device *dev,
		      const struct vhost_user_msg *msg)
{
	/* A migrated guest's: what it has there was ours at the other end. */
	if (msg->config.flags & VHOST_USER_CONFIG_LIVE)
		return 0;
	return virtio_blk_write_config(&dev->blk, msg->config.offset,
				       msg->config.bytes, msg->config.len);
}

static int set_addr(struct vhost_device *dev, const struct vhost_user_msg *msg)
{
	struct vhost_ring *ring = &dev->rings[msg->addr.index];

	ring->desc = msg->addr.desc;
	ring->avail = msg->addr.avail;
	ring->used = msg->addr.used;
	ring->has_addr = true;
	/* A running ring may be told to log; it may not move. */
	return move_rings(dev);
}

/*
 * An eventfd, or another that has no place in a file system. What is written
 * to these does no harm; a pipe whose reader has gone would be a SIGPIPE.
 */
static bool is_anonymous(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && !(st.st_mode & S_IFMT);
}

/* The one descriptor of kick, call and err; *@ret is -1 for none. */
static int take_vring_fd(const struct vhost_user_msg *msg, int *fds,
			 unsigned nfds, int *ret)
{
	bool has_none = msg->u64 & VHOST_USER_VRING_NO_FD;

	if (nfds != (has_none ? 0 : 1))
		return -EINVAL;
	if (!has_none && !is_anonymous(fds[0]))
		return -EINVAL;
	*ret = has_none ? -1 : take_fd(&fds[0]);
	return 0;
}

static int set_kick(struct vhost_device *dev, const struct vhost_user_msg *msg,
		    int *fds, unsigned nfds)
{
	struct vhost_ring *ring =
		&dev->rings[msg->u64 & VHOST_USER_VRING_INDEX];
	int fd, err = take_vring_fd(msg, fds, nfds, &fd);

	if (err < 0)
		return err;
	if (fd < 0) /* to be polled for ever: not by us */
		return -EOPNOTSUPP;
	vhost_queue_set_kick(&ring->queue, fd);
	if (vhost_queue_is_started(&ring->queue))
		return 0;
	return start_ring(dev, ring);
}

static int set_call_or_err(struct vhost_device *dev,
			   const struct vhost_user_msg *msg, int *fds,
			   unsigned nfds)
{
	struct vhost_queue *q =
		&dev->rings[msg->u64 & VHOST_USER_VRING_INDEX].queue;
	int fd, err = take_vring_fd(msg, fds, nfds, &fd);

	if (err < 0)
		return err;
	if (msg->request == VHOST_USER_SET_VRING_CALL)
		vhost_queue_set_call(q, fd);
	else
		vhost_queue_set_err(q, fd);
	return 0;
}

static int get_base(struct vhost_device *dev, const struct vhost_user_msg *msg,
		    struct vhost_user_msg *reply)
{
	struct vhost_ring *ring = &dev->rings[msg->state.index];

	if (vhost_queue_is_started(&ring->queue))
		ring->base = ring->queue.vq.next_avail;
	stop_ring(ring);
	reply->state.index = msg->state.index;
	reply->state.num = ring->base;
	return 1;
}

static int set_num(struct vhost_ring *ring, uint32_t num)
{
	if (!num || num > VIRTQ_SIZE_MAX || (num & (num - 1)))
		return -EINVAL;
	if (vhost_queue_is_started(&ring->queue))
		return -EBUSY;
	ring->size = (uint16_t)num;
	return 0;
}

static int set_base(struct vhost_ring *ring, uint32_t num)
{
	if (num > UINT16_MAX)
		return -EINVAL;
	if (vhost_queue_is_started(&ring->queue))
		return -EBUSY;
	ring->base = (uint16_t)num;
	return 0;
}

static uint8_t status_of(const struct vhost_device *dev)
{
	uint8_t status = dev->status;

	for (unsigned i = 0; i < dev->nqueues; i++)
		if (dev->rings[i].queue.vq.state == VIRTQ_BROKEN)
			status |= STATUS_NEEDS_RESET;
	return status;
}

static int set_status(struct vhost_device *dev, uint64_t status)
{
	dev->status = (uint8_t)status;
	if (!status)
		stop_rings(dev);
	return 0;
}

/* Whether the queue that @msg names is there. */
static bool names_a_queue(const struct vhost_device *dev,
			  const struct vhost_user_msg *msg)
{
	switch (msg->request) {
	case VHOST_USER_SET_VRING_NUM:
	case VHOST_USER_SET_VRING_BASE:
	case VHOST_USER_GET_VRING_BASE:
	case VHOST_USER_SET_VRING_ENABLE:
		return msg->state.index < dev->nqueues;
	case VHOST_USER_SET_VRING_ADDR:
		return msg->addr.index < dev->nqueues;
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_CALL:
	case VHOST_USER_SET_VRING_ERR:
		return (msg->u64 & VHOST_USER_VRING_INDEX) < dev->nqueues;
	default:
		return true;
	}
}

static int handle(struct vhost_device *dev, const struct vhost_user_msg *msg,
		  int *fds, unsigned nfds, struct vhost_user_msg *reply,
		  int *reply_fd)
{
	if (!names_a_queue(dev, msg))
		return -EINVAL;
	switch (msg->request) {
	case VHOST_USER_GET_FEATURES:
		reply->u64 = dev->blk.features | VHOST_FEATURES;
		return 1;
	case VHOST_USER_SET_FEATURES:
		return set_features(dev, msg->u64);
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		reply->u64 = PROTOCOL_FEATURES;
		return 1;
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		return set_protocol_features(dev, msg->u64);
	case VHOST_USER_GET_QUEUE_NUM:
		reply->u64 = dev->nqueues;
		return 1;
	case VHOST_USER_SET_OWNER:
	case VHOST_USER_SET_LOG_FD: /* it need not be told */
		return 0;
	case VHOST_USER_RESET_OWNER:
	case VHOST_USER_RESET_DEVICE:
		stop_rings(dev);
		virtio_blk_reset(&dev->blk);
		dev->status = 0;
		return 0;
	case VHOST_USER_SET_MEM_TABLE:
		return set_mem_table(dev, msg, fds, nfds);
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		reply->u64 = RAM_REGIONS_MAX;
		return 1;
	case VHOST_USER_ADD_MEM_REG:
		if (nfds != 1)
			return -EINVAL;
		return vhost_memory_add(&dev->mem, &msg->region, fds[0]);
	case VHOST_USER_REM_MEM_REG:
		return remove_region(dev, &msg->region);
	case VHOST_USER_SET_LOG_BASE:
		reply->u64 = 0;
		return set_log(dev, msg, fds, nfds) < 0 ? -EINVAL : 1;
	case VHOST_USER_SET_VRING_NUM:
		return set_num(&dev->rings[msg->state.index], msg->state.num);
	case VHOST_USER_SET_VRING_BASE:
		return set_base(&dev->rings[msg->state.index], msg->state.num);
	case VHOST_USER_GET_VRING_BASE:
		return get_base(dev, msg, reply);
	case VHOST_USER_SET_VRING_ADDR:
		return set_addr(dev, msg);
	case VHOST_USER_SET_VRING_KICK:
		return set_kick(dev, msg, fds, nfds);
	case VHOST_USER_SET_VRING_CALL:
	case VHOST_USER_SET_VRING_ERR:
		return set_call_or_err(dev, msg, fds, nfds);
	case VHOST_USER_SET_VRING_ENABLE:
		dev->rings[msg->state.index].is_enabled = msg->state.num;
		return 0;
	case VHOST_USER_SET_BACKEND_REQ_FD:
		if (nfds != 1)
			return -EINVAL;
		set_fd(&dev->backend_fd, take_fd(&fds[0]));
		return 0;
	case VHOST_USER_GET_CONFIG:
		return get_config(dev, msg, reply);
	case VHOST_USER_SET_CONFIG:
		return set_config(dev, msg);
	case VHOST_USER_GET_INFLIGHT_FD:
		return get_inflight(dev, msg, reply, reply_fd);
	case VHOST_USER_SET_INFLIGHT_FD:
		return set_inflight(dev, msg, fds, nfds);
	case VHOST_USER_SET_STATUS:
		return set_status(dev, msg->u64);
	case VHOST_USER_GET_STATUS:
		reply->u64 = status_of(dev);
		return 1;
	default:
		return -EOPNOTSUPP;
	}
}

int vhost_device_message(struct vhost_device *dev,
			 const struct vhost_user_msg *msg, int *fds,
			 unsigned nfds, struct vhost_user_msg *reply,
			 int *reply_fd)
{
	bool wants_ack =
		msg->flags & VHOST_USER_NEED_REPLY &&
		dev->protocol_features & BIT(VHOST_USER_PROTOCOL_REPLY_ACK);
	int res;

	assert(!vhost_device_must_wait(dev, msg) || vhost_device_is_idle(dev));
	*reply = (struct vhost_user_msg){
		.request = msg->request,
		.flags = VHOST_USER_REPLY,
	};
	res = handle(dev, msg, fds, nfds, reply, reply_fd);
	/* A refusal of the memory is one that the front-end can live with:
	 * QEMU fails the hot-plug. Others leave us with half a device. */
	if (res < 0 && !(wants_ack && msg->request == VHOST_USER_ADD_MEM_REG))
		return res;
	if (dev->is_paused)
		resume(dev);
	if (res == 1 || !wants_ack)
		return res;
	reply->u64 = res < 0;
	return 1;
}

void vhost_device_tell_config(struct vhost_device *dev)
{
	uint8_t bytes[VHOST_USER_HEAD_LEN];

	if (dev->backend_fd < 0)
		return;
	vhost_user_head_write(VHOST_USER_BACKEND_CONFIG_CHANGE, bytes);
	/* A front-end that does not listen will ask when it is restarted. */
	(void)!send(dev->backend_fd, bytes, sizeof(bytes),
		    MSG_DONTWAIT | MSG_NOSIGNAL);
}
