/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blkd_stack.c - which layer stands on which
 *
 * Each of the three ends on a worker and comes back to the loop, so that done
 * is never called from inside the call that began it.
 */
#include "prog/blkd_stack.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "prog/blkd.h"
#include "prog/blkd_overlay.h"
#include "prog/config.h"
#include "prog/disk_spec.h"
#include "store/qcow2.h"
#include "store/store.h"

static_assert(STORE_VERSION_MAX == BOOT_VERSION_MAX,
	      "a version fits into an identity");

void stack_init(struct stack *stack, struct blkd *blkd,
		const struct disk_spec *spec, void (*done)(struct stack *))
{
	*stack = (struct stack){.blkd = blkd, .spec = spec, .done = done};
}

void stack_release(struct stack *stack)
{
	assert(!stack->top && !stack->base);
	free(stack->overlay);
	boot_place_release(&stack->boot);
}

int stack_store_open(struct loop *loop, const char *address,
		     char version[static BOOT_VERSION_MAX], struct blk **ret,
		     struct why *w)
{
	struct store_version v = {0};
	int err = store_open(loop, address, 0, &v, ret, w);

	if (!err)
		memcpy(version, v.text, BOOT_VERSION_MAX);
	return err;
}

static void begin(struct stack *stack, void (*run)(struct work *),
		  void (*done)(struct work *))
{
	stack->work.run = run;
	stack->work.done = done;
	work_start(stack->blkd->workers, &stack->work);
}

/* ---- probe ---- */

/* The image under this disk is never written by it. */
static bool leaves_file_alone(const struct disk_spec *spec)
{
	return spec->is_ro || spec->overlay || spec->is_ephemeral;
}

static int open_file(struct stack *stack, struct blk **ret)
{
	const struct disk_spec *spec = stack->spec;

	return store_open(stack->blkd->loop, spec->file,
			  leaves_file_alone(spec) ? 0 : STORE_WRITE, NULL, ret,
			  &stack->why);
}

static void take_shape(struct stack *stack, const struct blk *blk)
{
	stack->size = blk->size;
	stack->block = stack->is_cached ? 1 : blk->block;
	stack->can = blk->can;
	if (stack->is_cached)
		stack->can |= BLK_CAN_CACHE;
}

static int probe(struct stack *stack)
{
	const struct disk_spec *spec = stack->spec;
	const struct config *config = stack->blkd->config;
	int err;

	stack->is_network = boot_is_network(spec->file);
	stack->is_cached = leaves_file_alone(spec) && spec->cache != DISK_OFF &&
			   (spec->cache == DISK_ON || stack->is_network);
	err = overlay_path(spec, config, &stack->overlay);
	if (err < 0)
		return err;
	stack->is_plain = !stack->is_cached && !stack->overlay;
	if (stack->is_cached)
		err = boot_place_find(spec->file, spec->boot, config->boot,
				      &stack->boot);
	if (!err && !overlay_is_all(spec)) {
		err = open_file(stack, &stack->base);
		if (!err)
			take_shape(stack, stack->base);
	}
	if (!err && stack->overlay)
		err = overlay_probe(stack->overlay, spec, stack->size,
				    &stack->size, &stack->why);
	if (!err && stack->overlay) {
		stack->block = stack->block > OVERLAY_BLOCK ? stack->block
							    : OVERLAY_BLOCK;
		stack->can = OVERLAY_CAN;
	}
	return err;
}

static void run_probe(struct work *work)
{
	struct stack *stack = container_of(work, struct stack, work);

	stack->why = (struct why){0};
	stack->err = probe(stack);
	if (stack->err < 0) {
		free(take_ptr(&stack->overlay));
		boot_place_release(&stack->boot);
	}
}

static void probed(struct work *work)
{
	struct stack *stack = container_of(work, struct stack, work);

	if (!stack->err && stack->is_plain)
		stack->top = take_ptr(&stack->base);
	stack->base = blk_free(stack->base);
	stack->done(stack);
}

void stack_probe(struct stack *stack)
{
	begin(stack, run_probe, probed);
}

/* ---- open ---- */

static void run_open(struct work *work)
{
	struct stack *stack = container_of(work, struct stack, work);

	if (!stack->err && !stack->base && !overlay_is_all(stack->spec))
		stack->err = open_file(stack, &stack->base);
	if (!stack->err && stack->overlay)
		stack->err = overlay_open(stack->blkd->loop, stack->overlay,
					  stack->spec, stack->size,
					  stack->is_resumed, &stack->base,
					  &stack->top, &stack->why);
}

static void opened(struct work *work)
{
	struct stack *stack = container_of(work, struct stack, work);

	if (!stack->err && !stack->top)
		stack->top = take_ptr(&stack->base);
	if (stack->err < 0) {
		stack->base = blk_free(stack->base);
		stack->handle = NULL;
	}
	stack->done(stack);
}

static void cache_opened(struct cache_opening *opening, int res,
			 struct blk *handle, const struct why *w)
{
	struct stack *stack = container_of(opening, struct stack, opening);

	stack->err = res;
	if (w)
		stack->why = *w;
	stack->base = stack->handle = handle;
	begin(stack, run_open, opened);
}

void stack_open(struct stack *stack)
{
	const struct disk_spec *spec = stack->spec;
	struct cache_image_options options = {
		.name = stack->boot.name,
		.address = spec->file,
		.boot_dir = stack->boot.dir,
		.is_network = stack->is_network,
		.no_record = spec->record == DISK_OFF,
		.no_prefetch = spec->prefetch == DISK_OFF,
		.compress = spec->compress == DISK_ON ? 1 : 0,
	};

	assert(!stack->top);
	stack->err = 0;
	stack->why = (struct why){0};
	if (!stack->is_cached) {
		begin(stack, run_open, opened);
		return;
	}
	stack->opening.is_resumed = stack->is_resumed;
	stack->opening.done = cache_opened;
	cache_open(stack->blkd->cache, &options, &stack->opening);
}

/* ---- close ---- */

static void run_nothing(struct work *work)
{
	(void)work;
}

static void closed(struct work *work)
{
	struct stack *stack = container_of(work, struct stack, work);

	stack->handle = NULL;
	stack->top = blk_free(stack->top);
	stack->done(stack);
}

static void flushed(struct blk_req *req, int res)
{
	struct stack *stack = container_of(req, struct stack, flush);

	/* Those who needed their writes to last have flushed themselves. */
	(void)res;
	begin(stack, run_nothing, closed);
}

void stack_close(struct stack *stack)
{
	stack->err = 0;
	if (!stack->overlay || !stack->top) {
		begin(stack, run_nothing, closed);
		return;
	}
	if (stack->spec->is_ephemeral && stack->blkd->is_upgrading)
		qcow2_keep(stack->top); /* the next process goes on with it */
	/* The free of an overlay would otherwise do it, and block the loop. */
	stack->flush = (struct blk_req){.op = BLK_FLUSH, .done = flushed};
	blk_submit(stack->top, &stack->flush);
}
