/* SPDX-License-Identifier: Apache-2.0 */
/* roost_table.h - rows of text in columns that are as wide as they need */
#ifndef PROG_ROOST_TABLE_H
#define PROG_ROOST_TABLE_H

#include <stddef.h>

#define TABLE_COLUMNS_MAX 12

/** struct table - start as {0} */
struct table {
	char ***rows; /* of @ncolumns texts each; owned */
	size_t nrows;
	int ncolumns;
};

/** table_row() - @ncolumns texts, which are copied; the first row is the head
 */
void table_row(struct table *table, int ncolumns, ...);

/** table_print() - on standard output, and let go of it */
void table_print(struct table *table);

#endif
