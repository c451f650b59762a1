/*
 * A parsed DDL statement as text, every field that is set, for golden files and for comparing two
 * trees.
 */
#ifndef DDL_PRINT_H
#define DDL_PRINT_H

#include <stdbool.h>
#include <stdio.h>

#include "ddl/ddl.h"

/*
 * normal: expressions are printed without blanks, back quotes, charset introducers and case, so
 * that the client's and TiDB's own spelling of a statement print the same.
 */
extern void ddl_print(FILE *out, const DdlStatement *stmt, bool normal);

#endif
