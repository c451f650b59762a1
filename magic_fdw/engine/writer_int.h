/*
 * writer_int.h
 *		What the files of the overlay share: writer.c (rows), overlay.c (deletions, reading), flush.c.
 */
#ifndef MAGIC_WRITER_INT_H
#define MAGIC_WRITER_INT_H

#include "engine/engine_int.h"

#include "utils/hsearch.h"

typedef struct BufferedDelete
{
	RowNumber row; /* hash key */
	SubTransactionId subid;
	CommandId cid;
	DeleteKind kind;
	RowNumber successor;
} BufferedDelete;

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
	PackWriter *spare; /* an empty writer */
	TupleDesc desc;	   /* of the newest writers */
	uint32 generation; /* of `desc` */
	HTAB *deletes;
	bool changed;
	uint32 writes; /* directory rows and deltas written and not counted yet */
} RelWrite;

/* By storage id; NULL: this transaction has written nothing. */
extern HTAB *rel_writes;
/* Below TopTransactionContext; what the transaction writes is allocated here. */
extern MemoryContext rel_write_context;

extern RelWrite *rel_write_find(uint64 storage);
extern RelWrite *rel_write_get(Relation rel);
extern void rel_write_forget_all(void);
extern void rel_write_drop_tail(RelWrite *write, Relation rel);
extern void segment_remove(RelWrite *write, int i);

extern void flush_segment(RelWrite *write, Relation rel, int i);
extern void flush_deletes(RelWrite *write, Relation rel);
extern void flush_count_change(void);

#endif /* MAGIC_WRITER_INT_H */
