/* SPDX-License-Identifier: Apache-2.0 */
/* refuse.h - an operator's slip: the text says all, "Invalid argument" adds
 * nothing */
#ifndef PROG_REFUSE_H
#define PROG_REFUSE_H

#include <errno.h>

#include "base/why.h"

/* As why(), without a number's text at the end. Value: -EINVAL. */
#define refuse(w, ...) (why((w), 0, __VA_ARGS__) - EINVAL)

#endif
