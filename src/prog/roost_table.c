/* SPDX-License-Identifier: Apache-2.0 */
/* roost_table.c - rows of text in columns that are as wide as they need */
#include "prog/roost_table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void table_row(struct table *table, int ncolumns, ...)
{
	char ***rows = reallocarray(table->rows, table->nrows + 1,
				    sizeof(*table->rows));
	va_list ap;

	assert(ncolumns <= TABLE_COLUMNS_MAX);
	if (!rows)
		return; /* a row less: there is nothing to be done here */
	table->rows = rows;
	table->ncolumns = ncolumns;
	rows[table->nrows] = calloc((size_t)ncolumns, sizeof(char *));
	if (!rows[table->nrows])
		return;
	va_start(ap, ncolumns);
	for (int i = 0; i < ncolumns; i++)
		rows[table->nrows][i] = strdup(va_arg(ap, const char *));
	va_end(ap);
	table->nrows++;
}

void table_print(struct table *table)
{
	int width[TABLE_COLUMNS_MAX] = {0};

	for (size_t i = 0; i < table->nrows; i++)
		for (int j = 0; j < table->ncolumns; j++) {
			const char *text = table->rows[i][j];
			int n = text ? (int)strlen(text) : 0;

			if (n > width[j])
				width[j] = n;
		}
	for (size_t i = 0; i < table->nrows; i++) {
		for (int j = 0; j < table->ncolumns; j++) {
			const char *text = table->rows[i][j];

			/* No blanks at the end of a line. */
			printf("%s%-*s", j ? "  " : "",
			       j + 1 < table->ncolumns ? width[j] : 0,
			       text ? text : "");
			free(table->rows[i][j]);
		}
		putchar('\n');
		free(table->rows[i]);
	}
	free(table->rows);
	*table = (struct table){0};
}
