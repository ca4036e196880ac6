/* SPDX-License-Identifier: Apache-2.0 */
/* blkd_gate_test.c - requests wait, pass and fail, and each ends once */
#undef NDEBUG
#include "prog/blkd_gate.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

#include "store/faulty.h"
#include "store/mem.h"

#define SIZE 65536u

struct one {
	struct blk_req req;
	struct iovec iov;
	char bytes[512];
	int ends, res;
};

static void on_done(struct blk_req *req, int res)
{
	struct one *one = req->owner;

	one->ends++;
	one->res = res;
}

static void read_one(struct gate *gate, struct one *one)
{
	*one = (struct one){.ends = 0};
	one->iov = (struct iovec){one->bytes, sizeof(one->bytes)};
	one->req = (struct blk_req){
		.op = BLK_READ,
		.len = sizeof(one->bytes),
		.iov = &one->iov,
		.niov = 1,
		.done = on_done,
		.owner = one,
	};
	blk_submit(&gate->blk, &one->req);
}

static void what_waits_passes_when_it_opens(void)
{
	struct blk *mem = NULL;
	struct gate gate;
	struct one a, b, c;

	assert(!mem_new(SIZE, 512, &mem));
	gate_init(&gate, SIZE, 512, mem->can);
	read_one(&gate, &a);
	read_one(&gate, &b);
	assert(!a.ends && !b.ends);
	assert(!gate_open(&gate, mem));
	assert(a.ends == 1 && !a.res && b.ends == 1 && !b.res);
	read_one(&gate, &c);
	assert(c.ends == 1 && !c.res);
	gate_shut(&gate);
	read_one(&gate, &a);
	assert(!a.ends);
	gate_fail(&gate);
	assert(a.ends == 1 && a.res == -EIO);
	blk_free(mem);
}

static void a_fault_below_reaches_its_request(void)
{
	for (unsigned nth = 1; nth <= 4; nth++) {
		struct blk *mem = NULL, *faulty = NULL;
		struct gate gate;
		struct one ones[3];

		assert(!mem_new(SIZE, 512, &mem));
		assert(!faulty_new(mem, nth, -ENXIO, &faulty));
		gate_init(&gate, SIZE, 512, faulty->can);
		read_one(&gate, &ones[0]);
		read_one(&gate, &ones[1]);
		assert(!gate_open(&gate, faulty));
		read_one(&gate, &ones[2]);
		for (unsigned i = 0; i < 3; i++) {
			assert(ones[i].ends == 1);
			assert(ones[i].res == (i + 1 == nth ? -ENXIO : 0));
		}
		blk_free(faulty);
	}
}

static void refuses_layers_of_another_shape(void)
{
	struct blk *mem = NULL;
	struct gate gate;
	struct one a;

	assert(!mem_new(SIZE, 512, &mem));
	gate_init(&gate, SIZE * 2, 512, 0);
	assert(gate_open(&gate, mem) == -ESTALE);
	gate_init(&gate, SIZE, 1, 0);
	assert(gate_open(&gate, mem) == -ESTALE);
	gate_init(&gate, SIZE, 4096, BLK_CAN_WRITE);
	mem->can &= ~BLK_CAN_WRITE;
	assert(gate_open(&gate, mem) == -ESTALE);
	gate_fail(&gate);
	gate_init(&gate, SIZE, 512, 0);
	gate_fail(&gate);
	read_one(&gate, &a);
	assert(a.ends == 1 && a.res == -EIO);
	assert(!gate_open(&gate, mem));
	read_one(&gate, &a);
	assert(a.ends == 1 && !a.res);
	blk_free(mem);
}

int main(void)
{
	what_waits_passes_when_it_opens();
	a_fault_below_reaches_its_request();
	refuses_layers_of_another_shape();
	return 0;
}
