/*
 * ingest.h
 *		What the processes of this library share: the launcher, the scanner, the feeds' workers.
 */
#ifndef INGEST_H
#define INGEST_H

#include "postgres.h"

#include "feed/feed.h"
#include "postmaster/bgworker.h"

/* feed_row.c: magic.feed as seen by workers; all of it inside a transaction of the caller */
typedef struct FeedRow
{
	Feed *feed;
	FeedPosition position;
	TransactionId xmin; /* of magic.feed's row: unchanged = nothing to read again */
	bool resting;		/* magic.feed_rest has a row */
} FeedRow;

extern const FeedApi *feed_api(void);
extern void ingest_library_mismatch(void) pg_attribute_noreturn();
extern bool feed_extension_exists(void);
extern bool feed_row_load(int32 feed_id, FeedRow *row);
extern bool feed_row_changed(int32 feed_id, TransactionId xmin);
extern void feed_position_advance(int32 feed_id, int64 ts);
extern void feed_rest_write(int32 feed_id, const char *state, const FeedErrorInfo *error);

/* slot.c: what a worker publishes */
extern FeedSlot *slot_attach(int index);
extern void slot_set_exit(FeedSlot *slot, FeedExit how, TimestampTz retry_at);
extern void slot_set_state(FeedSlot *slot, FeedState state, const char *detail);
extern void slot_set_error(FeedSlot *slot, const FeedErrorInfo *error);
extern TimestampTz slot_count_failure(FeedSlot *slot);
extern void slot_count_success(FeedSlot *slot);
extern void slot_set_stats(FeedSlot *slot, const FeedStats *stats);

/* Back-off after n failures in a row: 1 s, 2 s, 4 s ... 1 min. */
extern int64 backoff_us(uint32 failures);

/* process.c */
extern void ingest_process_start(bool scanner);
extern void ingest_pin_settings(const char *application_name);

/* launcher.c */
extern BackgroundWorkerHandle *launcher_start_process(const char *library, const char *function,
													  const char *name, Datum arg, char extra);
extern bool launcher_handle_is_gone(BackgroundWorkerHandle *handle);
extern bool launcher_database_exists(Oid database);
extern int launcher_keep_dropped(Oid *databases, int n);

/* compactors.c: the launcher's part in compaction */
extern void compactors_set_latch(Latch *latch);
extern TimestampTz compactors_serve(void);
extern void compactors_note_database(void);
extern void compactors_forget_dropped(void);

extern PGDLLEXPORT void magic_launcher_main(Datum arg);
extern PGDLLEXPORT void magic_scanner_main(Datum arg);
extern PGDLLEXPORT void magic_worker_main(Datum arg);

#endif /* INGEST_H */
