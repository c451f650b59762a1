/*
 * pack_frames.c
 *		Decompressed frames of byte strings that readers keep for single reads.
 *
 * A reader keeps the frame that it has read last. One that is asked for single values at random places
 * (pack_keep_frames) leaves its frames here instead: each is then decompressed but once. All readers of the
 * process share one limit; the frames used longest ago go.
 */
#include "engine/pack_reader.h"

#include "lib/ilist.h"
#include "utils/memutils.h"

struct KeptFrame
{
	dlist_node node;
	PackReader *reader;
	KeptFrame **place; /* in its column's array */
	uint64 raw;
	uint8 bytes[FLEXIBLE_ARRAY_MEMBER];
};

static dlist_head frames = DLIST_STATIC_INIT(frames);
static MemoryContext frames_context;
static uint64 frames_bytes;
static uint64 frames_limit;

void
pack_keep_frames(PackReader *reader)
{
	reader->keeps_frames = true;
}

static void
drop_frame(KeptFrame *frame)
{
	dlist_delete(&frame->node);
	*frame->place = NULL;
	frame->reader->frames_kept--;
	frames_bytes -= frame->raw;
	pfree(frame);
}

void
pack_forget_frames(PackReader *reader)
{
	for (int att = 0; att < reader->desc->natts && reader->frames_kept > 0; att++)
	{
		ReaderColumn *column = reader->columns[att];

		if (column == NULL || column->kept == NULL)
			continue;
		for (uint32 i = 0; i < column->d.aux_count; i++)
			if (column->kept[i] != NULL)
				drop_frame(column->kept[i]);
	}
}

uint64
pack_frames_bytes(void)
{
	return frames_bytes;
}

void
pack_limit_frames(uint64 limit)
{
	frames_limit = limit;
	while (frames_bytes > limit)
		drop_frame(dlist_tail_element(KeptFrame, node, &frames));
}

/*
 * A decompressed frame: one that is kept, or decompressed now. NULL: the reader keeps none, or this one is
 * too large.
 */
const uint8 *
pack_kept_frame(PackReader *reader, ReaderColumn *column, uint64 number)
{
	uint64 raw = column->frames[number].raw;
	uint64 limit = frames_limit;
	KeptFrame *frame;

	if (!reader->keeps_frames || raw > limit)
		return NULL;
	if (column->kept == NULL)
		column->kept =
			MemoryContextAllocZero(reader->context, column->d.aux_count * sizeof(KeptFrame *));
	frame = column->kept[number];
	if (frame != NULL)
	{
		dlist_move_head(&frames, &frame->node);
		return frame->bytes;
	}
	if (frames_context == NULL)
		frames_context =
			AllocSetContextCreate(CacheMemoryContext, "magic text of packs", ALLOCSET_SMALL_SIZES);
	frame = MemoryContextAllocHuge(frames_context, offsetof(KeptFrame, bytes) + raw);
	PG_TRY();
	{
		pack_decompress_frame(reader, column, number, frame->bytes);
	}
	PG_CATCH();
	{
		pfree(frame);
		PG_RE_THROW();
	}
	PG_END_TRY();
	frame->reader = reader;
	frame->place = &column->kept[number];
	frame->raw = raw;
	*frame->place = frame;
	reader->frames_kept++;
	frames_bytes += raw;
	dlist_push_head(&frames, &frame->node);
	pack_limit_frames(limit);
	return frame->bytes;
}
