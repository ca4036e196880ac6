/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_flush.c - rounds: the data of the file, then the bits of that data
 *
 *	begin		what is dirty is noted	-> data is flushed
 *	data_synced	no bits: end		-> pages are written
 *	pages		all written		-> pages are flushed
 *	end
 *
 * All flushes that come while a round goes on share the next one.
 */
#include <errno.h>
#include <stdlib.h>

#include "store/qcow2_layer.h"

static void round_end(struct overlay *o)
{
	struct round *round = &o->round;
	struct list *pos, *tmp;

	if (round->has_bits)
		bits_end(&o->bits, round->is_data_synced, !round->err);
	round->step = NULL;
	list_for_each(pos, tmp, &o->flushing)
	{
		struct job *job = container_of(pos, struct job, list);

		if (!job->err)
			job->err = round->err;
		job_ready(job);
	}
	/* These had no slot for their bits. If the round failed there will be
	 * none for them. */
	list_for_each(pos, tmp, &o->slotless)
	{
		struct job *job = container_of(pos, struct job, list);

		if (!job->err)
			job->err = round->err;
		job_ready(job);
	}
	round_kick(o);
}

static void flush_done(struct blk_req *req, int res)
{
	struct round *round = container_of(req, struct round, req);
	struct overlay *o = container_of(round, struct overlay, round);

	overlay_enter(o);
	if (res < 0)
		round->err = res;
	round->is_ready = true;
	overlay_leave(o);
}

static void flush_file(struct overlay *o, void (*next)(struct overlay *))
{
	o->round.step = next;
	if (o->flags & QCOW2_EPHEMERAL) { /* no power loss to outlive */
		o->round.is_ready = true;
		return;
	}
	o->round.req = (struct blk_req){.op = BLK_FLUSH, .done = flush_done};
	blk_submit(o->file, &o->round.req);
}

static void page_done(struct blk_req *req, int res)
{
	struct round_page *page = (struct round_page *)req;
	struct overlay *o = page->overlay;

	overlay_enter(o);
	if (res < 0)
		o->round.err = res;
	for (unsigned i = 0; i < ROUND_PAGES; i++)
		if (o->round.pages[i] == page)
			o->round.is_busy[i] = false;
	o->round.in_flight--;
	o->round.is_ready = true;
	overlay_leave(o);
}

static struct round_page *free_page(struct overlay *o)
{
	struct round *round = &o->round;

	for (unsigned i = 0; i < ROUND_PAGES; i++) {
		if (round->is_busy[i])
			continue;
		if (!round->pages[i])
			round->pages[i] = calloc(1, sizeof(*round->pages[i]));
		if (!round->pages[i])
			break;
		round->is_busy[i] = true;
		return round->pages[i];
	}
	return NULL;
}

static void write_pages(struct overlay *o)
{
	struct round *round = &o->round;

	while (!round->err && round->page < o->bits.nwriting) {
		struct round_page *page = free_page(o);
		uint64_t offset;

		if (!page && !round->in_flight)
			round->err = -ENOMEM;
		if (!page)
			break;
		(void)bits_page(&o->bits, &round->page, page->bytes, &offset);
		page->overlay = o;
		page->iov = (struct iovec){page->bytes, sizeof(page->bytes)};
		page->req = (struct blk_req){
			.op = BLK_WRITE,
			.offset = offset,
			.len = sizeof(page->bytes),
			.iov = &page->iov,
			.niov = 1,
			.done = page_done,
		};
		round->in_flight++;
		blk_submit(o->file, &page->req);
	}
	if (round->in_flight)
		return;
	round->is_ready = false; /* set by parts that ended at once */
	if (round->err)
		round_end(o);
	else
		flush_file(o, round_end);
}

static void data_synced(struct overlay *o)
{
	struct round *round = &o->round;

	if (round->err) {
		/* The kernel reports a lost write once, and then forgets it.
		 * So no later flush can promise anything for that data. */
		o->broken = round->err;
		round_end(o);
		return;
	}
	round->is_data_synced = true;
	if (!round->has_bits) {
		round_end(o);
		return;
	}
	o->stats.rounds++;
	round->step = write_pages;
	write_pages(o);
}

void round_kick(struct overlay *o)
{
	struct round *round = &o->round;

	if (round->step ||
	    (list_is_empty(&o->to_flush) && list_is_empty(&o->slotless)))
		return;
	list_splice(&o->flushing, &o->to_flush);
	round->err = o->broken;
	round->is_data_synced = false;
	round->page = 0;
	round->has_bits = false;
	if (o->broken) {
		round->step = round_end;
		round->is_ready = true;
		return;
	}
	o->is_unsynced = false;
	round->has_bits = bits_begin(&o->bits);
	flush_file(o, data_synced);
}

bool job_flush(struct job *job)
{
	struct overlay *o = job->overlay;

	job->step = job_end;
	job_park(job, &o->to_flush);
	round_kick(o);
	return false;
}

bool qcow2_start_flush(struct overlay *o, struct blk_req *req)
{
	bool is_clean = !o->is_unsynced && !o->bits.ndirty && !o->broken;
	struct job *job;

	if ((is_clean && !o->round.step) || (o->flags & QCOW2_EPHEMERAL)) {
		blk_end(req, 0);
		return true;
	}
	job = job_new(o, req, job_flush);
	/* Nothing has ended since this round began: it will do. */
	if (job && is_clean) {
		job->step = job_end;
		(void)job_park(job, &o->flushing);
	}
	return job;
}
