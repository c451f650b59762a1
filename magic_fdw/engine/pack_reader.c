/*
 * pack_reader.c
 *		Opens packs and their columns, finds positions, answers zone maps.
 */
#include "engine/pack_reader.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "engine/pack_writer.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"

/* The page that was read last for a pack: where to look when bytes turn out to be damaged. */
static char place_relation[NAMEDATALEN];
static uint32 place_block;

void
pack_note_place(const char *relation, uint32 block)
{
	memcpy(place_relation, relation, NAMEDATALEN);
	place_block = block;
}

static int
corrupt_detail(int att, const char *problem)
{
	if (place_relation[0] == '\0')
		return att < 0 ? errdetail("Its header: %s.", problem)
					   : errdetail("Its column %d: %s.", att + 1, problem);
	return att < 0
			   ? errdetail("Its header: %s. The last page read is block %u of relation \"%s\".",
						   problem, place_block, place_relation)
			   : errdetail("Its column %d: %s. The last page read is block %u of relation \"%s\".",
						   att + 1, problem, place_block, place_relation);
}

void
pack_corrupt(int att, const char *problem)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("pack is corrupted"),
					corrupt_detail(att, problem)));
}

/* ---------------------------------------------------------------- sources ---- */

static const uint8 *
memory_fetch(PackSource *source, int stream, uint64 offset, uint32 length, uint8 *scratch)
{
	return ((PackMemorySource *) source)->data + offset;
}

void
pack_memory_source_init(PackMemorySource *source, const uint8 *data, uint64 length)
{
	source->base.fetch = memory_fetch;
	source->base.length = length;
	source->base.prefetch = NULL;
	source->base.check_data = false;
	source->data = data;
}

void
pack_reserve(PackReader *reader, uint8 **buffer, uint64 *room, uint64 needed)
{
	if (needed <= *room)
		return;
	if (*buffer != NULL)
		pfree(*buffer);
	*buffer = NULL;
	*room = 0;
	*buffer = MemoryContextAllocHuge(reader->context, needed);
	*room = needed;
}

uint8 *
pack_buffer_room(PackDatumBuffer *buffer, uint64 needed)
{
	if (needed > buffer->room)
	{
		if (buffer->bytes != NULL)
			pfree(buffer->bytes);
		buffer->bytes = NULL;
		buffer->room = 0;
		buffer->bytes = MemoryContextAllocHuge(buffer->cxt, needed);
		buffer->room = needed;
	}
	return buffer->bytes;
}

const uint8 *
pack_fetch(PackReader *reader, int stream, uint64 offset, uint64 length, uint8 **scratch,
		   uint64 *room)
{
	int att = stream == reader->desc->natts ? -1 : stream;

	if (length > reader->source->length || offset > reader->source->length - length)
		pack_corrupt(att, "it reaches beyond the pack");
	if (length > PG_UINT32_MAX)
		pack_corrupt(att, "a part of it is too long");
	if (length == 0)
		return (const uint8 *) "";
	pack_reserve(reader, scratch, room, length);
	return reader->source->fetch(reader->source, stream, offset, length, *scratch);
}

/* ---------------------------------------------------------------- header ---- */

static const uint8 *
fetch_header(PackReader *reader, uint64 offset, uint64 length)
{
	return pack_fetch(reader, reader->desc->natts, offset, length, &reader->scratch,
					  &reader->scratch_room);
}

static void
read_header(PackReader *reader)
{
	PackHeader *header = &reader->header;
	uint64 length = reader->source->length;

	if (length < PACK_TINY_HEADER)
		pack_corrupt(-1, "it is cut short");
	memcpy(header, fetch_header(reader, 0, PACK_TINY_HEADER), PACK_TINY_HEADER);
	if (header->magic != PACK_MAGIC)
		pack_corrupt(-1, "wrong magic number");
	if (header->version != PACK_FORMAT_VERSION)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("pack has format version %d, this library reads version %d",
							   header->version, PACK_FORMAT_VERSION)));
	reader->tiny = header->layout == PACK_LAYOUT_ROWS;
	if (!reader->tiny)
	{
		PackHeader copy;

		if (header->layout != PACK_LAYOUT_COLUMNS)
			pack_corrupt(-1, "unknown layout");
		if (length < sizeof(PackHeader))
			pack_corrupt(-1, "it is cut short");
		memcpy(header, fetch_header(reader, 0, sizeof(PackHeader)), sizeof(PackHeader));
		copy = *header;
		copy.crc = 0;
		if (!crc_matches(header->crc, &copy, sizeof(copy)))
			pack_corrupt(-1, "wrong checksum");
		if (header->length > length)
			pack_corrupt(-1, "the pack is cut short");
	}
	if (header->nrows > PACK_MAX_ROWS || header->nrows > header->span)
		pack_corrupt(-1, "impossible row count");
	if (header->natts > (uint32) reader->desc->natts)
		pack_corrupt(-1, "it has more columns than the table");
	if ((header->nrows < header->span) !=
		((header->flags & (PACK_FLAG_LIVE_BITMAP | PACK_FLAG_LIVE_LIST)) != 0))
		pack_corrupt(-1, "row count, span and flags contradict each other");
	reader->nrows = header->nrows;
	reader->span = header->span;
	reader->natts = header->natts;
	reader->nblocks = (header->nrows + PACK_VECTOR - 1) / PACK_VECTOR;
}

PackReader *
pack_open(PackSource *source, TupleDesc desc, MemoryContext parent)
{
	/* small blocks: a chunk of some kB, as directories are, gets what it asks for, not a power of two */
	MemoryContext context = AllocSetContextCreate(parent, "pack reader", ALLOCSET_SMALL_SIZES);
	PackReader *reader = MemoryContextAllocZero(context, sizeof(PackReader));

	reader->source = source;
	reader->desc = desc;
	reader->context = context;
	PG_TRY();
	{
		reader->columns =
			MemoryContextAllocZero(context, sizeof(ReaderColumn *) * Max(desc->natts, 1));
		read_header(reader);
		if (reader->tiny)
			pack_open_tiny(reader);
	}
	PG_CATCH();
	{
		MemoryContextDelete(context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return reader;
}

void
pack_close(PackReader *reader)
{
	MemoryContextDelete(reader->context);
}

uint32
pack_nrows(const PackReader *reader)
{
	return reader->nrows;
}

uint32
pack_span(const PackReader *reader)
{
	return reader->span;
}

uint32
pack_nblocks(const PackReader *reader)
{
	return reader->nblocks;
}

int
pack_block_rows(const PackReader *reader, int block)
{
	Assert(block >= 0 && block < (int) reader->nblocks);
	return Min(PACK_VECTOR, reader->nrows - (uint32) block * PACK_VECTOR);
}

bool
pack_is_dense(const PackReader *reader)
{
	return reader->nrows == reader->span;
}

/* ---------------------------------------------------------------- positions ---- */

static void
load_list(PackReader *reader)
{
	uint64 length = sizeof(uint32) * (uint64) reader->nrows;
	uint32 *list;

	list = MemoryContextAlloc(reader->context, Max(length, 1));
	memcpy(list, fetch_header(reader, reader->header.live_offset, length), length);
	if (!crc_matches(reader->header.live_crc, list, length))
		pack_corrupt(-1, "wrong checksum of the row positions");
	for (uint32 i = 0; i < reader->nrows; i++)
		if (list[i] >= reader->span || (i > 0 && list[i] <= list[i - 1]))
			pack_corrupt(-1, "row positions out of order");
	reader->list = list;
}

static void
load_bitmap(PackReader *reader)
{
	uint64 nwords = (reader->span + UINT64CONST(63)) / 64;
	uint64 *live;
	uint32 *ranks;
	uint32 rank = 0;
	const uint8 *bytes = fetch_header(reader, reader->header.live_offset, nwords * 8);

	live = MemoryContextAllocHuge(reader->context, nwords * sizeof(uint64));
	ranks = MemoryContextAllocHuge(reader->context, nwords * sizeof(uint32));
	memcpy(live, bytes, nwords * sizeof(uint64));
	if (!crc_matches(reader->header.live_crc, live, nwords * sizeof(uint64)))
		pack_corrupt(-1, "wrong checksum of the live bitmap");
	for (uint64 i = 0; i < nwords; i++)
	{
		ranks[i] = rank;
		rank += pg_popcount64(live[i]);
	}
	if (rank != reader->nrows ||
		(reader->span % 64 != 0 && live[nwords - 1] >> (reader->span % 64) != 0))
		pack_corrupt(-1, "the live bitmap does not match the row count");
	reader->live = live;
	reader->ranks = ranks;
}

static inline void
load_live(PackReader *reader)
{
	if (likely(reader->live_loaded))
		return;
	if (reader->header.flags & PACK_FLAG_LIVE_LIST)
		load_list(reader);
	else
		load_bitmap(reader);
	reader->live_loaded = true;
}

uint32
pack_rank(PackReader *reader, uint32 position)
{
	uint32 low = 0;
	uint32 high = reader->nrows;

	if (position >= reader->span)
		return reader->nrows;
	if (reader->nrows == reader->span)
		return position;
	load_live(reader);
	if (reader->live != NULL)
		return reader->ranks[position / 64] +
			   pg_popcount64(reader->live[position / 64] &
							 ((UINT64CONST(1) << (position % 64)) - 1));
	while (low < high)
	{
		uint32 middle = low + (high - low) / 2;

		if (reader->list[middle] < position)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool
pack_find(PackReader *reader, uint32 position, uint32 *index)
{
	if (position >= reader->span)
		return false;
	*index = pack_rank(reader, position);
	if (reader->nrows == reader->span)
		return true;
	if (reader->live != NULL)
		return (reader->live[position / 64] >> (position % 64)) & 1;
	return *index < reader->nrows && reader->list[*index] == position;
}

void
pack_block_positions(PackReader *reader, int block, uint32 *positions)
{
	uint32 start = (uint32) block * PACK_VECTOR;
	int n = pack_block_rows(reader, block);
	uint64 low = 0;
	uint64 high;
	int found = 0;
	uint32 skip;

	if (reader->nrows == reader->span)
	{
		for (int i = 0; i < n; i++)
			positions[i] = start + i;
		return;
	}
	load_live(reader);
	if (reader->list != NULL)
	{
		memcpy(positions, reader->list + start, n * sizeof(uint32));
		return;
	}

	/* the last word with at most `start` rows before it holds the first row or ends before it */
	high = (reader->span + UINT64CONST(63)) / 64;
	while (high - low > 1)
	{
		uint64 middle = low + (high - low) / 2;

		if (reader->ranks[middle] <= start)
			low = middle;
		else
			high = middle;
	}
	skip = start - reader->ranks[low];
	for (uint64 word = low; found < n; word++)
	{
		uint64 bits = reader->live[word];

		for (; skip > 0; skip--)
			bits &= bits - 1;
		for (; bits != 0 && found < n; bits &= bits - 1)
			positions[found++] = word * 64 + pg_rightmost_one_pos64(bits);
	}
}

/* ---------------------------------------------------------------- columns ---- */

/* Compares the descriptor with the attribute and with itself. */
static void
check_descriptor(PackReader *reader, ReaderColumn *column)
{
	PackColumn *d = &column->d;
	bool fits;

	switch (d->klass)
	{
		case PACK_CLASS_INT:
		case PACK_CLASS_UINT:
		case PACK_CLASS_FLOAT4:
		case PACK_CLASS_FLOAT8:
			fits = column->byval && column->attlen == d->attlen &&
				   d->encoding == PACK_ENCODING_INTS &&
				   (d->klass != PACK_CLASS_FLOAT4 || d->attlen == 4) &&
				   (d->klass != PACK_CLASS_FLOAT8 || d->attlen == 8);
			break;
		case PACK_CLASS_NUMERIC:
			fits = column->attlen == -1 && !column->byval && d->encoding >= PACK_ENCODING_INTS &&
				   d->encoding <= PACK_LAST_ENCODING && d->scale >= 0 && d->scale <= 38;
			break;
		case PACK_CLASS_FIXED:
		case PACK_CLASS_VARLENA:
		case PACK_CLASS_CSTRING:
			fits = !column->byval && column->attlen == d->attlen &&
				   (d->klass == PACK_CLASS_FIXED
						? d->attlen > 0
						: d->attlen == (d->klass == PACK_CLASS_VARLENA ? -1 : -2)) &&
				   ((d->encoding >= PACK_ENCODING_DICT && d->encoding <= PACK_LAST_ENCODING) ||
					(d->encoding == PACK_ENCODING_INTS && d->nulls == reader->nrows));
			break;
		default:
			fits = false;
			break;
	}
	if (!fits)
		pack_corrupt(column->att, "its descriptor does not fit the column");
	if (d->nulls > reader->nrows || d->step < 1 || d->order > PACK_ORDER_BYTES ||
		d->min_length > PACK_RANGE_PREFIX || d->max_length > PACK_RANGE_PREFIX)
		pack_corrupt(column->att, "impossible descriptor");
	if (d->length > reader->source->length || d->offset > reader->source->length - d->length ||
		d->aux_length > d->length || d->aux_offset > d->length - d->aux_length)
		pack_corrupt(column->att, "it reaches beyond the pack");
}

static void
read_directory(PackReader *reader, ReaderColumn *column)
{
	uint64 length = sizeof(PackBlock) * (uint64) reader->nblocks;
	uint64 nulls = 0;
	uint64 room;
	uint8 *target;
	const uint8 *bytes;

	if (length > column->d.length)
		pack_corrupt(column->att, "it is too short for its block directory");
	room = Max(length, 1);
	target = MemoryContextAlloc(reader->context, room);
	column->blocks = (PackBlock *) target;
	bytes = pack_fetch(reader, column->att, column->d.offset, length, &target, &room);
	if (bytes != target)
		memcpy(target, bytes, length);
	if (!crc_matches(column->d.directory_crc, column->blocks, length))
		pack_corrupt(column->att, "wrong checksum of the block directory");
	for (uint32 block = 0; block < reader->nblocks; block++)
	{
		PackBlock *entry = &column->blocks[block];

		if (entry->length > column->d.length || entry->offset > column->d.length - entry->length)
			pack_corrupt(column->att, "a block reaches beyond the chunk");
		if (entry->nulls > pack_block_rows(reader, block))
			pack_corrupt(column->att, "impossible null count of a block");
		nulls += entry->nulls;
	}
	if (nulls != column->d.nulls)
		pack_corrupt(column->att, "wrong null count");
}

ReaderColumn *
pack_open_column(PackReader *reader, int att)
{
	Form_pg_attribute attribute = TupleDescAttr(reader->desc, att);
	ReaderColumn *column;
	PackColumn copy;

	Assert(att >= 0 && att < reader->desc->natts);
	column = MemoryContextAllocZero(reader->context, sizeof(ReaderColumn));
	column->att = att;
	column->attlen = attribute->attlen;
	column->byval = attribute->attbyval;
	column->packable = attribute->attlen == -1 && attribute->attstorage != TYPSTORAGE_PLAIN;
	column->fetched = column->touched = column->widened = column->measured = NO_BLOCK;
	column->frame = -1;
	column->isnull = true;
	if (attribute->attisdropped)
		column->constant = true;
	else if ((uint32) att >= reader->natts)
	{
		column->constant = true;
		column->value = getmissingattr(reader->desc, att + 1, &column->isnull);
	}
	else if (!reader->tiny)
	{
		memcpy(&column->d,
			   fetch_header(reader, sizeof(PackHeader) + sizeof(PackColumn) * (uint64) att,
							sizeof(PackColumn)),
			   sizeof(PackColumn));
		copy = column->d;
		copy.crc = 0;
		if (!crc_matches(column->d.crc, &copy, sizeof(copy)))
			pack_corrupt(att, "wrong checksum of its descriptor");
		check_descriptor(reader, column);
		read_directory(reader, column);
		if (reader->source->check_data)
			pack_check_data(reader, column);
		column->constant = column->d.nulls == reader->nrows;
	}
	reader->columns[att] = column;
	return column;
}

/* ---------------------------------------------------------------- zone maps ---- */

/* What both ranges start from; false: no range. */
static bool
begin_range(PackReader *reader, int att, PackRange *out, ReaderColumn **column)
{
	memset(out, 0, sizeof(*out));
	out->nrows = reader->nrows;
	*column = pack_column(reader, att);
	if (reader->tiny && !(*column)->constant)
	{
		for (uint32 row = 0; row < reader->nrows; row++)
			out->nulls += reader->tiny_nulls[att * reader->nrows + row];
		return false;
	}
	if ((*column)->constant)
	{
		out->nulls = (*column)->isnull ? reader->nrows : 0;
		return false;
	}
	out->nulls = (*column)->d.nulls;
	out->scale = (*column)->d.scale;
	out->is_numeric = (*column)->d.klass == PACK_CLASS_NUMERIC;
	return (*column)->d.order != PACK_ORDER_NONE;
}

bool
pack_column_range(PackReader *reader, int att, PackRange *out)
{
	ReaderColumn *column;
	PackColumn *d;

	if (!begin_range(reader, att, out, &column))
		return false;
	d = &column->d;
	out->order = d->order;
	out->exact = (d->flags & PACK_COLUMN_EXACT) != 0;
	out->sorted = (d->flags & PACK_COLUMN_SORTED) != 0;
	switch (out->order)
	{
		case PACK_ORDER_INT:
			memcpy(&out->imin, d->min, sizeof(int128));
			memcpy(&out->imax, d->max, sizeof(int128));
			break;
		case PACK_ORDER_FLOAT:
			memcpy(&out->fmin, d->min, sizeof(double));
			memcpy(&out->fmax, d->max, sizeof(double));
			out->has_nan = (d->flags & PACK_COLUMN_HAS_NAN) != 0;
			out->has_numbers = (d->flags & PACK_COLUMN_HAS_NUMBERS) != 0;
			break;
		default:
			out->exact = false;
			out->min_length = d->min_length;
			out->max_length = d->max_length;
			out->min_cut = (d->flags & PACK_COLUMN_EXACT) == 0;
			out->max_cut = (d->flags & PACK_COLUMN_MAX_CUT) != 0;
			memcpy(out->min_bytes, d->min, sizeof(out->min_bytes));
			memcpy(out->max_bytes, d->max, sizeof(out->max_bytes));
			break;
	}
	return true;
}

/* A dictionary entry as bound. */
static void
entry_bound(ReaderColumn *column, int64 code, uint8 *bytes, uint8 *length, bool *cut)
{
	PackString entry;

	if (code < 0 || code >= column->dict.count)
		pack_corrupt(column->att, "a code is not in the dictionary");
	entry = column->dict.entries[code];
	*length = Min(entry.length, PACK_RANGE_PREFIX);
	*cut = entry.length > PACK_RANGE_PREFIX;
	memcpy(bytes, entry.data, *length);
}

/* 8 bytes, big-endian, as bound: always taken as cut. */
static void
prefix_bound(int64 number, uint8 *bytes, uint8 *length, bool *cut)
{
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint64) number >> (56 - 8 * i);
	*length = 8;
	*cut = true;
}

bool
pack_block_range(PackReader *reader, int att, int block, PackRange *out)
{
	ReaderColumn *column;
	PackBlock *entry;
	bool known = begin_range(reader, att, out, &column);

	out->nrows = pack_block_rows(reader, block);
	if (column->constant)
		out->nulls = column->isnull ? out->nrows : 0;
	if (column->constant || reader->tiny)
		return false;
	entry = &column->blocks[block];
	out->nulls = entry->nulls;
	if (!known || out->nulls == out->nrows)
		return false;
	out->order = column->d.order;
	switch (out->order)
	{
		case PACK_ORDER_INT:
			out->imin = entry->min;
			out->imax = entry->max;
			out->exact = true;
			if (column->d.encoding == PACK_ENCODING_WIDE)
			{
				/* saturated to 64 bits: a bound on one side only */
				int128 limit;

				out->exact = false;
				memcpy(&limit, column->d.min, sizeof(limit));
				if (entry->min == PG_INT64_MIN || entry->min == PG_INT64_MAX)
					out->imin = entry->min == PG_INT64_MIN ? limit : out->imin;
				memcpy(&limit, column->d.max, sizeof(limit));
				if (entry->max == PG_INT64_MAX || entry->max == PG_INT64_MIN)
					out->imax = entry->max == PG_INT64_MAX ? limit : out->imax;
			}
			break;
		case PACK_ORDER_FLOAT:
			memcpy(&out->fmin, &entry->min, sizeof(double));
			memcpy(&out->fmax, &entry->max, sizeof(double));
			out->has_nan = (entry->method & PACK_BLOCK_HAS_NAN) != 0;
			out->has_numbers = (entry->method & PACK_BLOCK_HAS_NUMBERS) != 0;
			out->exact = true;
			break;
		default:
			if (column->d.encoding == PACK_ENCODING_DICT)
			{
				pack_load_dictionary(reader, column);
				entry_bound(column, entry->min, out->min_bytes, &out->min_length, &out->min_cut);
				entry_bound(column, entry->max, out->max_bytes, &out->max_length, &out->max_cut);
			}
			else
			{
				prefix_bound(entry->min, out->min_bytes, &out->min_length, &out->min_cut);

				/* padding, which a shorter value sorts before; as bound it is as good without */
				while (out->min_length > 0 && out->min_bytes[out->min_length - 1] == 0)
					out->min_length--;
				prefix_bound(entry->max, out->max_bytes, &out->max_length, &out->max_cut);
			}
			break;
	}
	return true;
}

/* ---------------------------------------------------------------- figures ---- */

const char *
pack_column_encoding(PackReader *reader, int att)
{
	ReaderColumn *column = pack_column(reader, att);

	if (reader->tiny || column->constant)
		return column->constant ? "none" : "rows";
	switch (column->d.encoding)
	{
		case PACK_ENCODING_INTS:
			return "integers";
		case PACK_ENCODING_WIDE:
			return "int128";
		case PACK_ENCODING_DICT:
			return "dictionary";
		case PACK_ENCODING_PLAIN:
			return "plain";
		case PACK_ENCODING_LZ4:
			return "lz4";
		case PACK_ENCODING_ZSTD:
			return "zstd";
		default:
			return "fsst";
	}
}

uint64
pack_column_bytes(PackReader *reader, int att)
{
	ReaderColumn *column = pack_column(reader, att);

	return reader->tiny ? 0 : column->d.length;
}
