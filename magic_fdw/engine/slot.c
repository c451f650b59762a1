/*
 * slot.c
 *		Slots of `magic` tables: virtual slots that fetch their attributes when asked.
 *
 * A slot points to a row of a decoded block (scans), of a pack (index fetches) or of a segment (own
 * rows that are not flushed). An attribute is decoded at its first use; a scan's block decodes a column
 * once for all its rows. Values point into the reader's memory; materialising copies them.
 */
#include "engine/engine_int.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/xact.h"

/* Rows of at most so many bytes are materialised in memory that the slot keeps. */
#define LEAST_ROOM 256
#define MOST_ROOM 8192

static void
magic_slot_init(TupleTableSlot *slot)
{
	MagicSlot *magic = (MagicSlot *) slot;

	magic->owned = false;
	magic->room = NULL;
	magic->room_size = 0;
	magic->source = SLOT_VALUES;
	magic->needed = NULL;
	magic->xmin = magic->xmax = InvalidTransactionId;
	magic->cmin = InvalidCommandId;
}

static void
magic_slot_release(TupleTableSlot *slot)
{
	MagicSlot *magic = (MagicSlot *) slot;

	if (magic->room != NULL)
		pfree(magic->room);
	magic->room = NULL;
	magic->room_size = 0;
}

static void
magic_slot_clear(TupleTableSlot *slot)
{
	((MagicSlot *) slot)->source = SLOT_VALUES;
	((MagicSlot *) slot)->owned = false;
	TTSOpsVirtual.clear(slot);
}

static void
magic_slot_getsomeattrs(TupleTableSlot *slot, int natts)
{
	MagicSlot *magic = (MagicSlot *) slot;
	uint32 row = magic->index;

	switch (magic->source)
	{
		case SLOT_BLOCK:
		{
			BlockColumns *columns = magic->columns;

			for (int att = slot->tts_nvalid; att < natts; att++)
			{
				if (magic->needed && !magic->needed[att])
				{
					slot->tts_values[att] = (Datum) 0;
					slot->tts_isnull[att] = true;
					continue;
				}
				if (!columns->decoded[att])
					block_columns_decode(columns, att);
				slot->tts_values[att] = columns->values[att][row];
				slot->tts_isnull[att] = columns->nulls[att][row];
			}
			break;
		}
		case SLOT_PACK:
			if (natts - slot->tts_nvalid > 1)
				pack_prefetch_row(magic->reader, row, slot->tts_nvalid, natts, magic->needed);
			for (int att = slot->tts_nvalid; att < natts; att++)
			{
				if (magic->needed && !magic->needed[att])
				{
					slot->tts_values[att] = (Datum) 0;
					slot->tts_isnull[att] = true;
					continue;
				}
				slot->tts_values[att] = pack_read_datum(
					magic->reader, att, row, &magic->buffers[att], &slot->tts_isnull[att]);
			}
			break;
		case SLOT_SEGMENT:
			for (int att = slot->tts_nvalid; att < natts; att++)
				slot->tts_values[att] = segment_fetch_att(magic->writer, slot->tts_tupleDescriptor,
														  att, row, &slot->tts_isnull[att]);
			break;
		case SLOT_VALUES:
			elog(ERROR, "slot of a magic table has no row to read from");
	}
	slot->tts_nvalid = natts;
}

static Datum
magic_slot_getsysattr(TupleTableSlot *slot, int attnum, bool *isnull)
{
	MagicSlot *magic = (MagicSlot *) slot;

	*isnull = false;
	switch (attnum)
	{
		case MinTransactionIdAttributeNumber:
			return TransactionIdGetDatum(magic->xmin);
		case MinCommandIdAttributeNumber:
		case MaxCommandIdAttributeNumber:
			return CommandIdGetDatum(magic->cmin == InvalidCommandId ? FirstCommandId
																	 : magic->cmin);
		case MaxTransactionIdAttributeNumber:
			return TransactionIdGetDatum(magic->xmax);
		default:
			elog(ERROR, "unexpected system attribute %d", attnum);
	}
}

/* Is the row of the current transaction? Asked by foreign keys; not in every major. */
pg_attribute_unused() static bool magic_slot_is_current(TupleTableSlot *slot)
{
	return TransactionIdIsCurrentTransactionId(((MagicSlot *) slot)->xmin);
}

typedef enum CopyResult
{
	COPY_DONE,
	COPY_NEEDS_ROOM,
	COPY_REFUSED /* more than MOST_ROOM, or a value that has to be flattened */
} CopyResult;

/*
 * Copies the values passed by reference into the slot's room, the first ones also if not all are. When it
 * needed room it is called again with another one, and copies those to it.
 */
static CopyResult
copy_to_room(TupleTableSlot *slot)
{
	MagicSlot *magic = (MagicSlot *) slot;
	TupleDesc desc = slot->tts_tupleDescriptor;
	Size at = 0;

	for (int att = 0; att < desc->natts; att++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, att);
		Pointer value = DatumGetPointer(slot->tts_values[att]);
		Size length;

		if (attribute->attbyval || slot->tts_isnull[att])
			continue;
		if (attribute->attlen == -1 && VARATT_IS_EXTERNAL_EXPANDED(value))
			return COPY_REFUSED;
		length = att_addlength_pointer(0, attribute->attlen, value);
		at = att_align_nominal(at, attribute->attalign);
		if (at + length > magic->room_size)
			return at + length > MOST_ROOM ? COPY_REFUSED : COPY_NEEDS_ROOM;
		memcpy(magic->room + at, value, length);
		slot->tts_values[att] = PointerGetDatum(magic->room + at);
		at += length;
	}
	return COPY_DONE;
}

/*
 * As a virtual slot's, but a small row is copied into memory that the slot keeps: COPY materialises every
 * row.
 */
static void
magic_slot_materialize(TupleTableSlot *slot)
{
	MagicSlot *magic = (MagicSlot *) slot;
	CopyResult result;
	char *old = NULL;

	if (TTS_SHOULDFREE(slot) || magic->owned)
		return;
	slot_getallattrs(slot);
	magic->source = SLOT_VALUES;
	for (;;)
	{
		Size size = magic->room == NULL ? LEAST_ROOM : magic->room_size * 2;
		char *larger;

		result = copy_to_room(slot);
		if (old != NULL)
			pfree(old);
		if (result != COPY_NEEDS_ROOM)
			break;
		larger = MemoryContextAlloc(slot->tts_mcxt, size);
		old = magic->room; /* some values are in it */
		magic->room = larger;
		magic->room_size = size;
	}
	if (result == COPY_DONE)
		magic->owned = true;
	else
		TTSOpsVirtual.materialize(slot);
}

/* Has the slot's row, all of whose attributes are there, a value of more than MOST_ROOM bytes? */
bool
magic_slot_is_large(TupleTableSlot *slot)
{
	TupleDesc desc = slot->tts_tupleDescriptor;

	if (slot_is_magic(slot) && ((MagicSlot *) slot)->owned)
		return false;
	for (int att = 0; att < desc->natts; att++)
	{
		Pointer value = DatumGetPointer(slot->tts_values[att]);

		if (TupleDescAttr(desc, att)->attlen == -1 && !slot->tts_isnull[att] &&
			(VARATT_IS_EXTERNAL(value) || VARSIZE_ANY(value) > MOST_ROOM))
			return true;
	}
	return false;
}

static void
magic_slot_copyslot(TupleTableSlot *dst, TupleTableSlot *src)
{
	MagicSlot *magic = (MagicSlot *) dst;

	magic->source = SLOT_VALUES;
	magic->owned = false;
	TTSOpsVirtual.copyslot(dst, src);
	dst->tts_tid = src->tts_tid;
	dst->tts_tableOid = src->tts_tableOid;
	magic->xmin = slot_is_magic(src) ? ((MagicSlot *) src)->xmin : InvalidTransactionId;
	magic->xmax = slot_is_magic(src) ? ((MagicSlot *) src)->xmax : InvalidTransactionId;
	magic->cmin = slot_is_magic(src) ? ((MagicSlot *) src)->cmin : InvalidCommandId;
}

static HeapTuple
magic_slot_copy_heap_tuple(TupleTableSlot *slot)
{
	HeapTuple tuple;

	slot_getallattrs(slot);
	tuple = heap_form_tuple(slot->tts_tupleDescriptor, slot->tts_values, slot->tts_isnull);
	tuple->t_self = slot->tts_tid;
	tuple->t_tableOid = slot->tts_tableOid;
	return tuple;
}

static MinimalTuple
magic_slot_copy_minimal_tuple(TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	return heap_form_minimal_tuple(slot->tts_tupleDescriptor, slot->tts_values, slot->tts_isnull);
}

const TupleTableSlotOps TTSOpsMagic = {.base_slot_size = sizeof(MagicSlot),
									   .init = magic_slot_init,
									   .release = magic_slot_release,
									   .clear = magic_slot_clear,
									   .getsomeattrs = magic_slot_getsomeattrs,
									   .getsysattr = magic_slot_getsysattr,
									   COMPAT_SLOT_IS_CURRENT(magic_slot_is_current).materialize =
										   magic_slot_materialize,
									   .copyslot = magic_slot_copyslot,
									   .get_heap_tuple = NULL,
									   .get_minimal_tuple = NULL,
									   .copy_heap_tuple = magic_slot_copy_heap_tuple,
									   .copy_minimal_tuple = magic_slot_copy_minimal_tuple};

static MagicSlot *
store(TupleTableSlot *slot, SlotSource source, uint32 index, RowNumber number, TransactionId xmin,
	  CommandId cmin)
{
	MagicSlot *magic = (MagicSlot *) slot;

	Assert(slot_is_magic(slot));
	if (TTS_SHOULDFREE(slot))
		ExecClearTuple(slot);
	slot->tts_flags &= ~TTS_FLAG_EMPTY;
	slot->tts_nvalid = 0;
	magic->owned = false;
	row_to_tid(number, &slot->tts_tid);
	magic->source = source;
	magic->index = index;
	magic->xmin = xmin;
	magic->xmax = InvalidTransactionId;
	magic->cmin = cmin;
	return magic;
}

/* Stores row `row` of a decoded block. Valid until the block's columns move on. */
void
magic_slot_set_block(TupleTableSlot *slot, BlockColumns *columns, int row, RowNumber number,
					 TransactionId xmin, CommandId cmin)
{
	store(slot, SLOT_BLOCK, row, number, xmin, cmin)->columns = columns;
}

/* Stores a row of a pack. Valid until another row of the same reader is read. */
void
magic_slot_set_pack(TupleTableSlot *slot, PackReader *reader, PackDatumBuffer *buffers,
					uint32 index, RowNumber number, TransactionId xmin, CommandId cmin)
{
	MagicSlot *magic = store(slot, SLOT_PACK, index, number, xmin, cmin);

	magic->reader = reader;
	magic->buffers = buffers;
}

/* Stores a row of a segment. Valid until the segment is flushed. */
void
magic_slot_set_segment(TupleTableSlot *slot, const Segment *segment, uint32 index, RowNumber number)
{
	store(slot, SLOT_SEGMENT, index, number, segment->xid, segment->cid)->writer = segment->writer;
}

/*
 * The slot's row has been inserted, so its system attributes are known: RETURNING shows them. `xmax` is
 * not invalid if the row replaces one that the transaction had locked before, as ON CONFLICT DO UPDATE
 * does; queries tell by that which rows it has inserted.
 */
void
magic_slot_set_inserted(TupleTableSlot *slot, TransactionId xmin, TransactionId xmax,
						CommandId cmin)
{
	MagicSlot *magic = (MagicSlot *) slot;

	if (!slot_is_magic(slot))
		return;
	magic->xmin = xmin;
	magic->xmax = xmax;
	magic->cmin = cmin;
}

/* ---------------------------------------------------------------- columns of a block */

BlockColumns *
block_columns_create(MemoryContext cxt, int natts)
{
	BlockColumns *columns = MemoryContextAllocZero(cxt, sizeof(BlockColumns));

	columns->cxt = cxt;
	columns->natts = natts;
	columns->decoded = MemoryContextAllocZero(cxt, sizeof(bool) * (natts + 1));
	columns->values = MemoryContextAllocZero(cxt, sizeof(Datum *) * (natts + 1));
	columns->nulls = MemoryContextAllocZero(cxt, sizeof(bool *) * (natts + 1));
	return columns;
}

/* Moves to another block: nothing is decoded of it yet. */
void
block_columns_set(BlockColumns *columns, PackReader *reader, PackWriter *writer, int block,
				  int nrows)
{
	columns->reader = reader;
	columns->writer = writer;
	columns->block = block;
	columns->nrows = nrows;
	memset(columns->decoded, 0, sizeof(bool) * columns->natts);
}

/* Decodes one attribute of the block. */
void
block_columns_decode(BlockColumns *columns, int att)
{
	if (columns->values[att] == NULL)
	{
		columns->values[att] = MemoryContextAlloc(columns->cxt, sizeof(Datum) * PACK_VECTOR);
		columns->nulls[att] = MemoryContextAlloc(columns->cxt, sizeof(bool) * PACK_VECTOR);
	}
	if (columns->reader != NULL)
		pack_read_datums(columns->reader, att, columns->block, columns->values[att],
						 columns->nulls[att]);
	else
	{
		uint32 base = (uint32) columns->block * PACK_VECTOR;

		for (int i = 0; i < columns->nrows; i++)
			columns->values[att][i] = segment_fetch_att(columns->writer, columns->desc, att,
														base + i, &columns->nulls[att][i]);
	}
	columns->decoded[att] = true;
}
