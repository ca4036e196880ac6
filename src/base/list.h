/* SPDX-License-Identifier: Apache-2.0 */
/* list.h - doubly linked list of members embedded in their structs */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/array.h"

/* A head, or a member. A member not in a list points at itself. */
struct list {
	struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_is_empty(const struct list *head)
{
	return head->next == head;
}

/** list_add_tail() - put @l, in no list, before @head: last of the list */
static inline void list_add_tail(struct list *head, struct list *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

/** list_add() - put @l, in no list, after @head: first of the list */
static inline void list_add(struct list *head, struct list *l)
{
	list_add_tail(head->next, l);
}

/** list_del() - take @l out of its list, if it is in one */
static inline void list_del(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

/** list_splice() - move all members of @from to the end of @to */
static inline void list_splice(struct list *to, struct list *from)
{
	if (list_is_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_first(head, type, member) container_of((head)->next, type, member)

/* Safe against list_del() of the member at hand, and no other. */
#define list_for_each(pos, tmp, head)                                          \
	for ((pos) = (head)->next, (tmp) = (pos)->next; (pos) != (head);       \
	     (pos) = (tmp), (tmp) = (pos)->next)

#endif
