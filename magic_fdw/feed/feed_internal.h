/*
 * feed_internal.h
 *		What the files of feed/ share among themselves.
 */
#ifndef FEED_INTERNAL_H
#define FEED_INTERNAL_H

#include "postgres.h"

#include "executor/spi.h"

#include "feed/feed.h"

/* feed.c */
extern FeedShared *feed_shared(void);
extern const char *feed_state_name(FeedState state);
extern FeedSlot *feed_find_slot(Oid database, int32 feed_id);
extern void feed_request_scan(Oid database);
extern void feed_wake_at_commit(int32 feed_id);

/* feed_hold.c */
extern void feed_hold_init(void);
extern void feed_hold(Oid database, int32 feed_id);
extern bool feed_is_held(Oid database, int32 feed_id);
extern void feed_release_holds(void);

/* feed_uri.c */
extern FeedUri *feed_parse_uri(const char *uri);
extern const char *feed_nearest_name(const char *name, const char *const *candidates, int n);

/* feed_file.c */
extern void feed_file_init(void);
extern void feed_check_file_directory(const char *directory);
extern char *feed_file_skip(const char *directory, const char *position, int n);

/*
 * feed_spi.c: the tables of feeds are reached as the bootstrap superuser, with an empty search path
 * for the caller to exploit; who may call is decided by EXECUTE on the SQL functions.
 */
typedef struct FeedSpi
{
	Oid user;
	int sec_context;
	int guc_level;
} FeedSpi;

extern void feed_spi_begin(FeedSpi *spi);
extern void feed_spi_end(FeedSpi *spi);
extern int feed_spi_execute(const char *sql, int nargs, Oid *types, Datum *values,
							const char *nulls, bool read_only);
extern int32 feed_lock_row(const char *name);

/* feed_options.c */
extern void feed_check_stop_ts(int32 id, int64 stop_ts);

#endif /* FEED_INTERNAL_H */
