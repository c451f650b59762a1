/*
 * delta_log.c
 *		Shared memory that tells who has read a delete block's deltas what came after.
 *
 * A delete block has a log (several blocks may share one): notes of the last transactions that wrote or
 * removed deltas of it. A note has its place in the log when its transaction ends. So a backend that keeps
 * a bitmap of the block's dead rows and the position up to which it knows the log can follow it row by
 * row, without the metadata tables (delete_cache.c).
 *
 * A note is begun before its delta is written, hence before anyone can see that. It is ended, and counted
 * by the log's position, after its transaction has become visible to all and before its row locks are
 * released, or after it was aborted. From this follows
 *
 *		- who has got a row's lock and knows the log up to its position now knows every deletion of the row
 *		  but his own;
 *		- a transaction that a snapshot sees has a note that is ended, or that is found among those in
 *		  progress by who looks after the snapshot was taken.
 *
 * Notes in progress are kept as well, as many as there is room for; those without room are counted and
 * taken to concern every row. A prepared transaction's notes stay in progress until the server stops, and
 * after that nothing tells of them: completions_read() covers for it.
 *
 * The rows of a note are those of one delta, if they are few; else it says to read the deltas anew. A merge
 * has rows neither added nor taken away for who knows them: it drops deletions that are older than every
 * snapshot when their rows have become holes, and nobody asks for these again but to hear that they are dead.
 * Who merges himself may read the deltas without the dropped ones, though, before he is rolled back.
 */
#include "engine/engine_int.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/memutils.h"

#define DELTA_LOGS 1024
#define NOTES_ENDED DELTA_LOG_NOTES
#define NOTES_RUNNING DELTA_LOG_RUNNING

typedef struct DeltaLog
{
	slock_t mutex;
	pg_atomic_uint64 begun; /* notes; written under the mutex */
	pg_atomic_uint64 ended; /* of these */
	uint32 nrunning;
	uint32 without_room;
	DeltaNote running[NOTES_RUNNING];
	DeltaNote notes[NOTES_ENDED]; /* number n of the ended ones is in place n modulo their number */
} DeltaLog;

/* A note of this transaction. */
typedef struct OwnNote
{
	DeltaNote note;
	SubTransactionId subid;
	bool has_room; /* it is among those in progress */
} OwnNote;

static DeltaLog *logs;

static OwnNote *own_notes; /* in TopTransactionContext */
static int own_count;
static int own_room;

/* How many deltas this transaction has written or removed, by log. */
static uint32 own_writes[DELTA_LOGS];

/* This transaction has merged, perhaps in a subtransaction that was aborted. */
static bool own_merge;

Size
delta_log_shmem_size(void)
{
	return mul_size(sizeof(DeltaLog), DELTA_LOGS);
}

/* Called with AddinShmemInitLock held. */
void
delta_log_shmem_startup(void)
{
	bool found;

	logs = ShmemInitStruct("magic delta logs", delta_log_shmem_size(), &found);
	if (found)
		return;
	memset(logs, 0, delta_log_shmem_size());
	for (int i = 0; i < DELTA_LOGS; i++)
	{
		SpinLockInit(&logs[i].mutex);
		pg_atomic_init_u64(&logs[i].begun, 0);
		pg_atomic_init_u64(&logs[i].ended, 0);
	}
}

static int
log_of(uint64 storage, uint64 block)
{
	return (int) (hash_combine64(storage, murmurhash32((uint32) block ^ (uint32) (block >> 32))) %
				  DELTA_LOGS);
}

static inline bool
note_is_of(const DeltaNote *note, uint64 storage, uint64 block)
{
	return note->storage == storage && note->block == block && note->database == MyDatabaseId;
}

/* May the note concern the row? */
static inline bool
note_concerns(const DeltaNote *note, uint64 storage, uint64 block, uint16 offset)
{
	if (!note_is_of(note, storage, block))
		return false;
	if (note->n == DELTA_NOTE_REREAD)
		return true;
	for (int i = 0; i < note->n; i++)
		if (note->offsets[i] == offset)
			return true;
	return false;
}

static inline bool
same_note(const DeltaNote *a, const DeltaNote *b)
{
	return memcmp(a, b, sizeof(DeltaNote)) == 0;
}

/* Sets the rows of a note from a delta's bytes. */
static void
note_rows(DeltaNote *note, const uint8 *entries, int length)
{
	const uint8 *p = entries;
	DeltaCursor cursor = {0};
	DeltaEntry entry;

	note->n = 0;
	while (delta_next(&p, entries + length, &cursor, &entry))
	{
		if (note->n == DELTA_NOTE_ROWS)
		{
			note->n = DELTA_NOTE_REREAD;
			return;
		}
		note->fates[note->n] = delta_fate(&entry);
		note->offsets[note->n++] = entry.offset;
	}
}

static OwnNote *
add_own_note(void)
{
	if (own_count == own_room)
	{
		if (own_notes == NULL)
		{
			own_notes = MemoryContextAlloc(TopTransactionContext, sizeof(OwnNote) * 8);
			own_room = 8;
		}
		else
		{
			own_notes = repalloc_huge(own_notes, sizeof(OwnNote) * own_room * 2);
			own_room *= 2;
		}
	}
	return &own_notes[own_count];
}

/* Publishes a note with these entries' rows, or with none (NULL). */
static void
begin_note(uint64 storage, uint64 block, const uint8 *entries, int length)
{
	DeltaLog *log = &logs[log_of(storage, block)];
	OwnNote *own = add_own_note();

	memset(own, 0, sizeof(*own));
	own->subid = GetCurrentSubTransactionId();
	own->note.storage = storage;
	own->note.block = block;
	own->note.database = MyDatabaseId;
	own->note.xid = GetCurrentTransactionId();
	if (entries != NULL)
		note_rows(&own->note, entries, length);

	SpinLockAcquire(&log->mutex);
	own->has_room = log->nrunning < NOTES_RUNNING;
	if (own->has_room)
		log->running[log->nrunning++] = own->note;
	else
		log->without_room++;
	pg_atomic_write_u64(&log->begun, pg_atomic_read_u64(&log->begun) + 1);
	SpinLockRelease(&log->mutex);
	own_count++;
}

/* This transaction's last note, if it is of the block and of the current subtransaction; else NULL. */
static OwnNote *
last_note_of(uint64 storage, uint64 block)
{
	OwnNote *own = own_count > 0 ? &own_notes[own_count - 1] : NULL;

	return own != NULL && own->subid == GetCurrentSubTransactionId() &&
				   note_is_of(&own->note, storage, block)
			   ? own
			   : NULL;
}

/*
 * The current subtransaction is about to write a delta with these entries. The notes of one subtransaction in
 * one block that follow each other become one.
 */
void
delta_log_begin(uint64 storage, uint64 block, const uint8 *entries, int length)
{
	int i = log_of(storage, block);
	DeltaLog *log = &logs[i];
	OwnNote *own = last_note_of(storage, block);

	own_writes[i]++;
	if (own == NULL)
	{
		begin_note(storage, block, entries, length);
		return;
	}
	if (own->note.n == DELTA_NOTE_REREAD)
		return;
	SpinLockAcquire(&log->mutex);
	for (uint32 r = 0; own->has_room && r < log->nrunning; r++)
		if (same_note(&log->running[r], &own->note))
		{
			log->running[r].n = DELTA_NOTE_REREAD;
			break;
		}
	SpinLockRelease(&log->mutex);
	own->note.n = DELTA_NOTE_REREAD;
}

/*
 * The current subtransaction is about to remove deltas that are older than every snapshot, or to write what
 * they say anew: the note names no row.
 */
void
delta_log_begin_merge(uint64 storage, uint64 block)
{
	own_writes[log_of(storage, block)]++;
	own_merge = true;
	if (last_note_of(storage, block) == NULL)
		begin_note(storage, block, NULL, 0);
}

static void
end_note(const OwnNote *own, bool committed)
{
	int i = log_of(own->note.storage, own->note.block);
	DeltaLog *log = &logs[i];
	uint64 position;
	DeltaNote *note;

	own_writes[i] = 0;
	SpinLockAcquire(&log->mutex);
	if (!own->has_room)
		log->without_room--;
	for (uint32 r = 0; own->has_room && r < log->nrunning; r++)
		if (same_note(&log->running[r], &own->note))
		{
			log->running[r] = log->running[--log->nrunning];
			break;
		}
	position = pg_atomic_read_u64(&log->ended);
	note = &log->notes[position % NOTES_ENDED];
	*note = own->note;
	if (!committed)
		note->n = 0;
	pg_atomic_write_u64(&log->ended, position + 1);
	SpinLockRelease(&log->mutex);
}

/*
 * The top-level transaction is over for all others and still holds its row locks, or was aborted. Does
 * not allocate.
 */
void
delta_log_end(bool committed)
{
	for (int i = 0; i < own_count; i++)
		end_note(&own_notes[i], committed && own_notes[i].subid != InvalidSubTransactionId);
	own_notes = NULL;
	own_count = own_room = 0;
	own_merge = false;
}

/* The transaction is prepared: its notes stay in progress. */
void
delta_log_prepared(void)
{
	for (int i = 0; i < own_count; i++)
		own_writes[log_of(own_notes[i].note.storage, own_notes[i].note.block)] = 0;
	own_notes = NULL;
	own_count = own_room = 0;
	own_merge = false;
}

/* What an aborted subtransaction wrote will not come true; a committed one's is its parent's. */
void
delta_log_subtransaction_ends(SubTransactionId subid, SubTransactionId parent, bool aborted)
{
	for (int i = own_count - 1; i >= 0; i--)
		if (own_notes[i].subid == subid)
			own_notes[i].subid = aborted ? InvalidSubTransactionId : parent;
}

/* How many deltas of the block's log this transaction has written or removed. */
uint32
delta_log_own_writes(uint64 storage, uint64 block)
{
	return own_writes[log_of(storage, block)];
}

/* Has this transaction merged? Its older snapshots, and an aborted subtransaction's parent, do not see that. */
bool
delta_log_own_merge(void)
{
	return own_merge;
}

/* The position of a block's log: so many notes are ended. */
uint64
delta_log_position(uint64 storage, uint64 block)
{
	uint64 position = pg_atomic_read_u64(&logs[log_of(storage, block)].ended);

	pg_read_barrier();
	return position;
}

/*
 * Reads a block's log from *position on, which moves to its end; `notes` gets the block's, `*n` of them.
 * False if they are not there any more, or if one of them says to read the deltas anew. *touched, unless
 * NULL, says whether a note in progress may concern the row at the offset; this transaction's own do.
 */
bool
delta_log_read(uint64 storage, uint64 block, uint16 offset, uint64 *position, DeltaNote *notes,
			   int *n, bool *touched)
{
	DeltaLog *log = &logs[log_of(storage, block)];
	uint64 from = *position;
	uint64 ended = pg_atomic_read_u64(&log->ended);
	bool complete;

	*n = 0;
	pg_read_barrier();
	if (ended == from && (touched == NULL || pg_atomic_read_u64(&log->begun) == ended))
	{
		/* as many had been ended as were begun later than that */
		if (touched != NULL)
			*touched = false;
		pg_read_barrier();
		return true;
	}
	SpinLockAcquire(&log->mutex);
	ended = pg_atomic_read_u64(&log->ended);
	complete = ended - from <= NOTES_ENDED;
	for (uint64 i = from; complete && i < ended; i++)
	{
		const DeltaNote *note = &log->notes[i % NOTES_ENDED];

		if (!note_is_of(note, storage, block) || note->n == 0)
			continue;
		if (note->n == DELTA_NOTE_REREAD)
			complete = false;
		else
			notes[(*n)++] = *note;
	}
	if (touched != NULL)
	{
		*touched = log->without_room > 0;
		for (uint32 r = 0; r < log->nrunning && !*touched; r++)
			*touched = note_concerns(&log->running[r], storage, block, offset);
	}
	SpinLockRelease(&log->mutex);
	*position = ended;
	return complete;
}

/*
 * The transactions (or subtransactions) whose notes in progress may concern the row, this one's too: at most
 * DELTA_LOG_RUNNING. -1 if there are others.
 */
int
delta_log_running(uint64 storage, uint64 block, uint16 offset, TransactionId *xids)
{
	DeltaLog *log = &logs[log_of(storage, block)];
	uint64 ended = pg_atomic_read_u64(&log->ended);
	int n = 0;

	pg_read_barrier();
	if (pg_atomic_read_u64(&log->begun) == ended)
		return 0;
	SpinLockAcquire(&log->mutex);
	for (uint32 r = 0; r < log->nrunning; r++)
		if (note_concerns(&log->running[r], storage, block, offset))
			xids[n++] = log->running[r].xid;
	if (log->without_room > 0)
		n = -1;
	SpinLockRelease(&log->mutex);
	return n;
}
