/*
 * window.c
 *		Windows: the images of one table since the last write, folded by key.
 *
 * Events come in order (commit TS, position). Each key has a slot that says what the events so far
 * amount to:
 *
 *		del		an image whose key must be deleted from the table, or -1
 *		ins		the image that the row has now, or -1 = no row
 *
 *				no slot yet		ins >= 0				ins = -1
 *	insert		-, new			conflict; ins = new		ins = new
 *	update		old, new		ins = new				missing; ins = new
 *	delete		old, -			ins = -1				missing
 *
 * An insert and a delete after it leave neither image. The write then looks for the key all the same:
 * a row found there was in the insert's way, which is counted as a conflict; the row goes.
 *
 * An update that changes the key is a delete of the old and an insert of the new key. So whatever
 * order insert, delete, insert or a swap of keys among rows had, the write deletes every key
 * that was there before and inserts every row that is there after: no conflict can arise
 * between rows of one window.
 *
 * Without a key the whole image is the key, and a slot counts: inserts minus deletes of equal
 * images. The write deletes or inserts as many rows.
 *
 * Images are columns of Datums in the vectors that the Magic API takes; they are only appended. A
 * superseded image is waste until the window is written.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/sortsupport.h"
#include "utils/typcache.h"

#include "apply/apply_int.h"

typedef struct WindowSlot
{
	int32 del;
	int32 ins;
	int32 gone;	 /* an image inserted and deleted since, valid if neither of these is */
	int32 count; /* without a key: inserts minus deletes */
} WindowSlot;

typedef struct WindowEntry
{
	uint32 hash;
	int32 row; /* an image with this key */
	int32 slot;
	char status;
} WindowEntry;

typedef struct VectorType
{
	bool byval;
	int16 len;
} VectorType;

struct entries_hash;

struct Window
{
	int nvectors;
	MagicVector *vectors;
	VectorType *types;
	int capacity;
	int nrows;
	int nkeys; /* vectors that identify: the key's, or all */
	int *key_vectors;
	bool keyed;
	bool integer_key; /* one key column that is an integer by value */
	struct entries_hash *entries;
	int nslots;
	int slots_capacity;
	WindowSlot *slots; /* in order of first touch */
	int64 min_ts;
	int64 max_ts;
};

static bool rows_equal(Window *window, int32 a, int32 b);

#define SH_PREFIX entries
#define SH_ELEMENT_TYPE WindowEntry
#define SH_KEY_TYPE int32
#define SH_KEY row
#define SH_HASH_KEY(tb, key) 0 /* always given by the caller */
#define SH_EQUAL(tb, a, b) rows_equal((Window *) (tb)->private_data, a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static bool
rows_equal(Window *window, int32 a, int32 b)
{
	for (int i = 0; i < window->nkeys; i++)
	{
		int v = window->key_vectors[i];
		MagicVector *vector = &window->vectors[v];

		if (vector->nulls[a] != vector->nulls[b])
			return false;
		if (vector->nulls[a])
			continue;
		if (window->types[v].byval)
		{
			if (vector->values[a] != vector->values[b])
				return false;
		}
		else if (!datum_image_eq(vector->values[a], vector->values[b], false, window->types[v].len))
			return false;
	}
	return true;
}

/* The finaliser of MurmurHash3 for 64 bits. */
static inline uint32
hash_datum(Datum value)
{
	uint64 h = value;

	h ^= h >> 33;
	h *= UINT64CONST(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64CONST(0xc4ceb9fe1a85ec53);
	h ^= h >> 33;
	return (uint32) h;
}

static uint32
row_hash(Window *window, int32 row)
{
	uint32 hash = 0;

	if (window->integer_key)
		return hash_datum(window->vectors[window->key_vectors[0]].values[row]);
	for (int i = 0; i < window->nkeys; i++)
	{
		int v = window->key_vectors[i];
		MagicVector *vector = &window->vectors[v];
		uint32 one = 0;

		if (vector->nulls[row])
			one = 1;
		else if (window->types[v].byval)
			one = hash_datum(vector->values[row]);
		else
			one = datum_image_hash(vector->values[row], false, window->types[v].len);
		hash = hash_combine(hash, one);
	}
	return hash;
}

/* ---------------------------------------------------------------- making */

static bool
is_integer_type(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID || type == DATEOID ||
		   type == TIMESTAMPOID || type == TIMESTAMPTZOID;
}

/*
 * A window in the window context: a vector for each column that is stored here.
 */
static Window *
window_create(Apply *apply, ApplyTable *table)
{
	MemoryContext old = MemoryContextSwitchTo(apply->window_context);
	Window *window = palloc0(sizeof(Window));

	window->vectors = palloc0(Max(table->ncolumns, 1) * sizeof(MagicVector));
	window->types = palloc0(Max(table->ncolumns, 1) * sizeof(VectorType));
	window->key_vectors = palloc0(Max(table->ncolumns, 1) * sizeof(int));
	window->keyed = table->nkeys > 0;
	for (int i = 0; i < table->ncolumns; i++)
	{
		ApplyColumn *column = &table->columns[i];
		int v = column->vector;

		if (v < 0)
			continue;
		Assert(v == window->nvectors);
		window->vectors[v].type = column->pgtype;
		window->vectors[v].typmod = column->typmod;
		window->vectors[v].attno = column->attno;
		window->vectors[v].key = column->key;
		get_typlenbyval(column->pgtype, &window->types[v].len, &window->types[v].byval);
		window->nvectors++;
		if (column->key || !window->keyed)
			window->key_vectors[window->nkeys++] = v;
	}
	window->integer_key = window->keyed && window->nkeys == 1 &&
						  is_integer_type(window->vectors[window->key_vectors[0]].type);
	window->entries = entries_create(apply->window_context, 64, window);
	window->min_ts = PG_INT64_MAX;
	MemoryContextSwitchTo(old);
	return window;
}

/* Room for one more image; returns its number. Its values are undefined. */
static int
new_row(Apply *apply, Window *window)
{
	if (window->nrows == window->capacity)
	{
		MemoryContext old = MemoryContextSwitchTo(apply->window_context);
		int capacity = window->capacity == 0 ? 16 : window->capacity * 2;

		for (int v = 0; v < window->nvectors; v++)
		{
			MagicVector *vector = &window->vectors[v];

			if (window->capacity == 0)
			{
				vector->values = palloc(capacity * sizeof(Datum));
				vector->nulls = palloc(capacity * sizeof(bool));
				continue;
			}
			vector->values = repalloc(vector->values, capacity * sizeof(Datum));
			vector->nulls = repalloc(vector->nulls, capacity * sizeof(bool));
		}
		window->capacity = capacity;
		MemoryContextSwitchTo(old);
	}
	return window->nrows++;
}

/*
 * Convert one image. With keys_only the other columns stay NULL.
 */
static int
add_image(Apply *apply, ApplyTable *table, const EventValue *values, bool keys_only)
{
	Window *window = table->window;
	int row = new_row(apply, window);
	MemoryContext old = MemoryContextSwitchTo(apply->window_context);

	for (int i = 0; i < table->nmapped; i++)
	{
		ApplyColumn *column;
		MagicVector *vector;

		if (table->map[i] < 0)
			continue;
		column = &table->columns[table->map[i]];
		vector = &window->vectors[column->vector];
		if (keys_only && !column->key)
		{
			vector->values[row] = (Datum) 0;
			vector->nulls[row] = true;
			continue;
		}
		vector->values[row] = convert_value(apply, table, column, &values[i], &vector->nulls[row]);
	}
	for (int i = 0; i < table->nmissing; i++)
	{
		window->vectors[table->missing[i]].values[row] = (Datum) 0;
		window->vectors[table->missing[i]].nulls[row] = true;
	}
	MemoryContextSwitchTo(old);
	return row;
}

/*
 * The slot of an image's key; *fresh if this is its first touch.
 */
static WindowSlot *
find_slot(Apply *apply, Window *window, int row, bool *fresh)
{
	bool found;
	WindowEntry *entry = entries_insert_hash(window->entries, row, row_hash(window, row), &found);

	*fresh = !found;
	if (!found)
	{
		if (window->nslots == window->slots_capacity)
		{
			int capacity = window->slots_capacity == 0 ? 16 : window->slots_capacity * 2;

			window->slots =
				window->slots_capacity == 0
					? MemoryContextAlloc(apply->window_context, capacity * sizeof(WindowSlot))
					: repalloc(window->slots, capacity * sizeof(WindowSlot));
			window->slots_capacity = capacity;
		}
		entry->slot = window->nslots++;
		window->slots[entry->slot] = (WindowSlot){.del = -1, .ins = -1, .gone = -1};
	}
	return &window->slots[entry->slot];
}

static void
check_key(ApplyTable *table, int row)
{
	Window *window = table->window;

	for (int i = 0; i < window->nkeys; i++)
		if (window->vectors[window->key_vectors[i]].nulls[row])
			ereport(ERROR, (errcode(ERRCODE_NOT_NULL_VIOLATION),
							errmsg("key column of table \"%s\".\"%s\" is NULL in the stream",
								   table->database, table->table),
							errhint("Choose another key with magic.set_key().")));
}

static void
missing_old(Apply *apply, ApplyTable *table, int64 n)
{
	table->missing_old += n;
	if (apply->config.stop_on_missing && n > 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("a row of table \"%s\".\"%s\" that the stream changes does not "
							   "exist here",
							   table->database, table->table),
						errhint("The table differs from TiDB's: it needs a resync. Set the feed's "
								"option on_missing to \"count\" to go on.")));
}

static void
fold_insert(Apply *apply, ApplyTable *table, int row)
{
	bool fresh;
	WindowSlot *slot;

	check_key(table, row);
	slot = find_slot(apply, table->window, row, &fresh);
	if (slot->ins >= 0)
		table->insert_conflict++;
	slot->ins = row;
}

static void
fold_delete(Apply *apply, ApplyTable *table, int row)
{
	bool fresh;
	WindowSlot *slot;

	check_key(table, row);
	slot = find_slot(apply, table->window, row, &fresh);
	if (fresh)
		slot->del = row;
	else if (slot->ins < 0)
		missing_old(apply, table, 1);
	slot->gone = row;
	slot->ins = -1;
}

/* Does a key column differ between the images in the record? */
static bool
key_changes(ApplyTable *table, const Event *event)
{
	for (int i = 0; i < table->nmapped; i++)
	{
		const EventValue *a = &event->old_values[i];
		const EventValue *b = &event->new_values[i];

		if (table->map[i] < 0 || !table->columns[table->map[i]].key)
			continue;
		if (a->kind != b->kind || a->len != b->len)
			return true;
		switch (a->kind)
		{
			case EVENT_VALUE_TEXT:
			case EVENT_VALUE_BYTES:
				if (memcmp(a->u.data, b->u.data, a->len) != 0)
					return true;
				break;
			case EVENT_VALUE_INT64:
			case EVENT_VALUE_UINT64:
			case EVENT_VALUE_DOUBLE:
				if (a->u.u64 != b->u.u64)
					return true;
				break;
			default:
				break;
		}
	}
	return false;
}

static void
fold_update(Apply *apply, ApplyTable *table, const Event *event)
{
	WindowSlot *slot;
	bool fresh;
	int row;

	if (event->old_values != NULL && key_changes(table, event))
	{
		fold_delete(apply, table, add_image(apply, table, event->old_values, true));
		fold_insert(apply, table, add_image(apply, table, event->new_values, false));
		return;
	}
	row = add_image(apply, table, event->new_values, false);
	check_key(table, row);
	slot = find_slot(apply, table->window, row, &fresh);
	if (fresh)
		slot->del = row;
	else if (slot->ins < 0)
		missing_old(apply, table, 1);
	slot->ins = row;
}

/* Without a key. */
static void
fold_count(Apply *apply, ApplyTable *table, const EventValue *values, int change)
{
	bool fresh;
	int row = add_image(apply, table, values, false);
	WindowSlot *slot = find_slot(apply, table->window, row, &fresh);

	if (fresh)
		slot->ins = row;
	else
		table->window->nrows--; /* an equal image is there: this one was the last made */
	slot->count += change;
}

/*
 * Fold one row event into its table's window.
 */
void
window_add(Apply *apply, ApplyTable *table, const Event *event)
{
	Window *window;

	if (table->window == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(apply->context);

		table->window = window_create(apply, table);
		apply->windows = lappend(apply->windows, table);
		MemoryContextSwitchTo(old);
	}
	window = table->window;
	window->min_ts = Min(window->min_ts, (int64) event->commit_ts);
	window->max_ts = Max(window->max_ts, (int64) event->commit_ts);

	switch (event->row_kind)
	{
		case EVENT_INSERT:
			table->inserted++;
			if (window->keyed)
				fold_insert(apply, table, add_image(apply, table, event->new_values, false));
			else
				fold_count(apply, table, event->new_values, 1);
			break;
		case EVENT_UPDATE:
			table->updated++;
			if (window->keyed)
				fold_update(apply, table, event);
			else
			{
				fold_count(apply, table, event->old_values, -1);
				fold_count(apply, table, event->new_values, 1);
			}
			break;
		case EVENT_DELETE:
			table->deleted++;
			if (window->keyed)
				fold_delete(apply, table, add_image(apply, table, event->old_values, true));
			else
				fold_count(apply, table, event->old_values, -1);
			break;
	}
}

bool
window_full(ApplyTable *table)
{
	return table->window->nrows >= WINDOW_ROWS;
}

/* ---------------------------------------------------------------- writing */

typedef struct IntegerItem
{
	int64 key;
	int32 row;
} IntegerItem;

#define ST_SORT sort_integers
#define ST_ELEMENT_TYPE IntegerItem
#define ST_COMPARE(a, b) ((a)->key < (b)->key ? -1 : (a)->key > (b)->key)
#define ST_SCOPE static
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

static void
sort_by_integer(Window *window, int32 *rows, int n)
{
	Datum *values = window->vectors[window->key_vectors[0]].values;
	IntegerItem *items;
	bool sorted = true;

	for (int i = 1; i < n && sorted; i++)
		sorted = (int64) values[rows[i - 1]] <= (int64) values[rows[i]];
	if (sorted)
		return;
	items = palloc(n * sizeof(IntegerItem));
	for (int i = 0; i < n; i++)
		items[i] = (IntegerItem){.key = (int64) values[rows[i]], .row = rows[i]};
	sort_integers(items, n);
	for (int i = 0; i < n; i++)
		rows[i] = items[i].row;
	pfree(items);
}

typedef struct SortContext
{
	Window *window;
	SortSupportData *keys;
} SortContext;

static int
compare_rows(const int32 *a, const int32 *b, SortContext *context)
{
	Window *window = context->window;

	for (int i = 0; i < window->nkeys; i++)
	{
		MagicVector *vector = &window->vectors[window->key_vectors[i]];
		int cmp = ApplySortComparator(vector->values[*a], vector->nulls[*a], vector->values[*b],
									  vector->nulls[*b], &context->keys[i]);

		if (cmp != 0)
			return cmp;
	}
	return 0;
}

#define ST_SORT sort_rows
#define ST_ELEMENT_TYPE int32
#define ST_COMPARE_ARG_TYPE SortContext
#define ST_COMPARE(a, b, context) compare_rows(a, b, context)
#define ST_SCOPE static
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

/*
 * Sort images by key, in the order of the index, so that locating walks it from left to right.
 */
static void
sort_by_key(Window *window, int32 *rows, int n)
{
	SortContext context = {.window = window};

	if (!window->keyed || n < 2)
		return;
	if (window->integer_key)
	{
		sort_by_integer(window, rows, n);
		return;
	}
	context.keys = palloc0(window->nkeys * sizeof(SortSupportData));
	for (int i = 0; i < window->nkeys; i++)
	{
		Oid type = window->vectors[window->key_vectors[i]].type;
		TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_LT_OPR);

		if (!OidIsValid(entry->lt_opr))
			return;
		context.keys[i].ssup_cxt = CurrentMemoryContext;
		context.keys[i].ssup_collation = type == TEXTOID ? C_COLLATION_OID : InvalidOid;
		context.keys[i].ssup_nulls_first = false;
		PrepareSortSupportFromOrderingOp(entry->lt_opr, &context.keys[i]);
	}
	sort_rows(rows, n, &context);
}

static void
collect(Window *window, int32 *deletes, int *ndeletes, int32 *gone, int *ngone, int32 *inserts,
		int *ninserts)
{
	*ngone = 0;
	*ndeletes = 0;
	*ninserts = 0;
	for (int i = 0; i < window->nslots; i++)
	{
		WindowSlot *slot = &window->slots[i];

		if (!window->keyed)
		{
			for (int n = slot->count; n < 0; n++)
				deletes[(*ndeletes)++] = slot->ins;
			for (int n = slot->count; n > 0; n--)
				inserts[(*ninserts)++] = slot->ins;
			continue;
		}
		if (slot->del >= 0)
			deletes[(*ndeletes)++] = slot->del;
		else if (slot->ins < 0)
			gone[(*ngone)++] = slot->gone;
		if (slot->ins >= 0)
			inserts[(*ninserts)++] = slot->ins;
	}
}

static int64
count_of(Window *window)
{
	int64 n = window->nslots;

	if (!window->keyed)
		for (int i = 0; i < window->nslots; i++)
			n += abs(window->slots[i].count);
	return n;
}

/*
 * Write a window into the open transaction: first its deletes, then its inserts. A row that another
 * session has locked makes it time out, as a table does. Its memory is given back by apply_flush.
 */
void
window_write(Apply *apply, ApplyTable *table)
{
	Window *window = table->window;
	int64 n = count_of(window);
	int32 *deletes = MemoryContextAllocHuge(apply->window_context, (n + 1) * sizeof(int32));
	int32 *gone = MemoryContextAllocHuge(apply->window_context, (n + 1) * sizeof(int32));
	int32 *inserts = MemoryContextAllocHuge(apply->window_context, (n + 1) * sizeof(int32));
	MagicBatch batch = {.version = MAGIC_BATCH_VERSION,
						.ncolumns = window->nvectors,
						.columns = window->vectors,
						.nrows = window->nrows,
						.min_ts = window->min_ts,
						.max_ts = window->max_ts};
	MagicWriteResult result = {0};
	MagicWriteResult in_the_way = {0};
	int ndeletes;
	int ngone;
	int ninserts;

	collect(window, deletes, &ndeletes, gone, &ngone, inserts, &ninserts);
	sort_by_key(window, deletes, ndeletes);
	sort_by_key(window, gone, ngone);
	sort_by_key(window, inserts, ninserts);
	batch.deletes = deletes;
	batch.inserts = inserts;
	LockTimeout = apply->config.lock_timeout_ms;
	if (ndeletes > 0)
	{
		apply_phase(apply, APPLY_PHASE_LOCATE);
		batch.ndeletes = ndeletes;
		apply->engine->write(table->handle, &batch, &result);
		batch.ndeletes = 0;
	}
	if (ngone > 0)
	{
		batch.deletes = gone;
		batch.ndeletes = ngone;
		apply->engine->write(table->handle, &batch, &in_the_way);
		batch.ndeletes = 0;
	}
	if (ninserts > 0)
	{
		apply_phase(apply, APPLY_PHASE_WRITE);
		batch.ninserts = ninserts;
		apply->engine->write(table->handle, &batch, &result);
	}
	LockTimeout = 0;
	missing_old(apply, table, result.missing);
	table->insert_conflict += result.conflicts + in_the_way.deleted;
	table->window = NULL;
}
