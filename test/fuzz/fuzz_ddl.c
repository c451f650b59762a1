/*
 * The DDL parser takes any bytes: it refuses them with a position inside the text, or gives a tree
 * that can be read and described.  The first byte chooses the dialect and the arena's limit.
 *
 * sources: test/unit/ddl/print.c ingest_worker/ddl/ddl_*.c ingest_worker/decode/arena.c
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ddl/ddl.h"
#include "unit/ddl/print.h"

static void
require(int condition)
{
	if (!condition)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *null;
	Arena *arena;
	DdlStatement *stmt;
	DdlError error;
	char line[100];

	if (null == NULL)
		null = fopen("/dev/null", "w");
	if (size == 0)
		return 0;
	arena = arena_create(data[0] & 4 ? 20000 : DDL_ARENA_LIMIT);
	stmt = ddl_parse((const char *) data + 1, size - 1, (DdlDialect) ((data[0] & 3) % 3), arena,
					 &error);
	if (stmt != NULL)
	{
		size_t room = data[0] >> 3 < sizeof(line) ? data[0] >> 3 : sizeof(line);

		require(error.code == DDL_OK);
		ddl_print(null, stmt, (data[0] & 8) != 0);
		ddl_describe(stmt, line, sizeof(line));
		require(strlen(line) < sizeof(line));
		memset(line, 'x', sizeof(line));
		ddl_describe(stmt, line, room);
		require(room == 0 ? line[0] == 'x' : strlen(line) < room);
	}
	else
	{
		require(error.code != DDL_OK && error.message[0] != '\0');
		require(error.offset <= size - 1 && error.line >= 1 && error.column >= 1);
		require(strlen(error.token) < sizeof(error.token));
		require(error.code != DDL_ERROR_MEMORY || (data[0] & 4));
	}
	arena_destroy(arena);
	return 0;
}
