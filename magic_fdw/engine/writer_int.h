/*
 * writer_int.h
 *		What the files of the overlay share: writer.c (rows), overlay.c (deletions, reading), flush.c.
 */
#ifndef MAGIC_WRITER_INT_H
#define MAGIC_WRITER_INT_H

#include "engine/engine_int.h"

#include "utils/hsearch.h"

/* ---------------------------------------------------------------- delete_buffer.c */

typedef struct BufferedDelete
{
	SubTransactionId subid;
	CommandId cid;
	RowNumber successor;
	uint16 offset; /* row number modulo DELETE_BLOCK_ROWS */
	uint8 kind;	   /* DeleteKind */
} BufferedDelete;

typedef struct DeleteBuffer DeleteBuffer;
typedef void (*DeleteBufferCallback)(uint64 block, const BufferedDelete *list, int n, void *arg);

extern DeleteBuffer *delete_buffer_create(MemoryContext parent);
extern void delete_buffer_free(DeleteBuffer *buffer);
extern uint64 delete_buffer_count(const DeleteBuffer *buffer);
extern void delete_buffer_add(DeleteBuffer *buffer, RowNumber row, const BufferedDelete *info);
extern bool delete_buffer_contains(DeleteBuffer *buffer, RowNumber row);
extern const BufferedDelete *delete_buffer_find(DeleteBuffer *buffer, RowNumber row);
extern void delete_buffer_remove_owned(DeleteBuffer *buffer, SubTransactionId subid);
extern void delete_buffer_walk(DeleteBuffer *buffer, DeleteBufferCallback callback, void *arg);

/* ---------------------------------------------------------------- writer.c, overlay.c, flush.c */

/* Deletions of a table that are buffered before they are flushed. */
#define MAX_BUFFERED_DELETES (256 * 1024)

/* What this transaction has written to one table. */
typedef struct RelWrite
{
	uint64 storage; /* hash key */
	Oid relid;
	Segment **segments; /* ascending by first */
	int nsegments;
	int room;
	RowNumber next;		   /* next row number of the reserved tail */
	RowNumber reserve_end; /* == next: nothing reserved */
	uint64 step;		   /* rows of the last reservation */
	CommandId step_cid;
	PackWriter *spare;		 /* an empty writer */
	TupleDesc desc;			 /* of the newest writers */
	uint32 generation;		 /* of `desc` */
	DeleteBuffer *deletes;	 /* NULL: none */
	uint64 flush_deletes_at; /* so many of them */
	bool changed;
	bool is_temporary;
	bool merge_due; /* the worker is told at commit */
	uint32 writes;	/* directory rows and deltas written and not counted yet */
} RelWrite;

/* By storage id; NULL: this transaction has written nothing. */
extern HTAB *rel_writes;
/* Below TopTransactionContext; what the transaction writes is allocated here. */
extern MemoryContext rel_write_context;

/* Has the table deletions that are not flushed? */
static inline bool
rel_write_has_deletes(const RelWrite *write)
{
	return write->deletes != NULL && delete_buffer_count(write->deletes) > 0;
}

extern RelWrite *rel_write_find(uint64 storage);
extern RelWrite *rel_write_get(Relation rel);
extern void rel_write_forget_all(void);
extern void rel_write_drop_tail(RelWrite *write, Relation rel);
extern void segment_remove(RelWrite *write, int i);

extern void flush_segment(RelWrite *write, Relation rel, int i);
extern void flush_deletes(RelWrite *write, Relation rel, bool join);
extern void flush_count_change(void);

#endif /* MAGIC_WRITER_INT_H */
