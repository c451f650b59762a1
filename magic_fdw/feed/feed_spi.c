/*
 * feed_spi.c
 *		Reaching the tables of feeds on behalf of a caller who has no rights on them.
 *
 * All statements run by these functions are constants of this library with qualified names.
 */
#include "feed/feed_internal.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

/* An error needs no feed_spi_end: abort restores the user, the settings and SPI. */
void
feed_spi_begin(FeedSpi *spi)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	GetUserIdAndSecContext(&spi->user, &spi->sec_context);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, spi->sec_context | SECURITY_LOCAL_USERID_CHANGE);
	spi->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

void
feed_spi_end(FeedSpi *spi)
{
	AtEOXact_GUC(true, spi->guc_level);
	SetUserIdAndSecContext(spi->user, spi->sec_context);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
}

/* Runs one statement; returns the number of rows it gave or changed. */
int
feed_spi_execute(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls,
				 bool read_only)
{
	int result = SPI_execute_with_args(sql, nargs, types, values, nulls, read_only, 0);

	if (result < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(result));
	return (int) SPI_processed;
}

/*
 * The id of the named feed, its row locked until the transaction ends; an error if there is none.
 * Called between feed_spi_begin and feed_spi_end.
 */
int32
feed_lock_row(const char *name)
{
	Oid types[1] = {TEXTOID};
	Datum values[1] = {CStringGetTextDatum(name)};
	bool isnull;

	if (feed_spi_execute("SELECT id FROM magic.feed WHERE name = $1 FOR UPDATE", 1, types, values,
						 NULL, false) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("feed \"%s\" does not exist", name),
				 errhint("SELECT name FROM magic.feeds lists the feeds.")));
	return DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}
