/* SPDX-License-Identifier: Apache-2.0 */
/* blkd_stack.c - which layer stands on which; read it from the bottom up */
#include "prog/blkd_stack.h"

#include <errno.h>
#include <stddef.h>

#include "base/blk.h"
#include "base/why.h"
#include "prog/blkd.h"
#include "prog/disk_spec.h"

/* Is the image under this disk never written by it? */
static bool leaves_image_alone(const struct disk_spec *spec)
{
	return spec->is_ro || spec->overlay || spec->is_ephemeral;
}

int stack_open(struct blkd *blkd, const struct disk_spec *spec,
	       struct stack *stack, struct why *w)
{
	unsigned flags = leaves_image_alone(spec) ? 0 : STORE_WRITE;

	return store_open(blkd->loop, spec->file, flags, &stack->version,
			  &stack->store, w);
}

int stack_join(struct blkd *blkd, const struct disk_spec *spec,
	       struct stack *stack, struct why *w)
{
	(void)blkd;
	(void)spec;
	(void)w;
	stack->top = stack->store;
	return 0;
}

void stack_close(struct stack *stack)
{
	blk_free(stack->store);
	*stack = (struct stack){0};
}
