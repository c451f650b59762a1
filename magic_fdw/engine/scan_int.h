/*
 * scan_int.h
 *		What the files of the table scans share: scan.c, scan_sample.c and bitmap_scan.c.
 */
#ifndef MAGIC_SCAN_INT_H
#define MAGIC_SCAN_INT_H

#include "engine/engine_int.h"

struct MagicScanDesc
{
	TableScanDescData base;
	MemoryContext cxt;
	BlockScan *blocks;	   /* NULL: not begun */
	Snapshot own_snapshot; /* registered by us, for scans without an MVCC snapshot */
	int row;			   /* in the current block */
	bool positioned;	   /* a block is current */
	RowNumber from;		   /* range of a TID range scan */
	RowNumber to;

	/* under a dirty snapshot */
	TransactionId *inserters; /* who had rows in progress when the scan began */
	int ninserters;
	bool waited; /* for them; this is the second look */

	/* ANALYZE and TABLESAMPLE */
	RowReader *reader;
	RowNumber next_row;	 /* of the table when the scan began */
	RowNumber slice_row; /* next row to look at */
	RowNumber slice_end;
	RowNumber slice_step;
	double slice_live;
	double slice_dead;
	bool slice_counted;
	DeleteMap *deletes;
	PackList *packs;
	BlockNumber sample_block;

	/* bitmap scans; `reader` reads single rows */
	bool bitmap_dense; /* rows of the current TID block come from `blocks` */
	int bitmap_next;   /* offset, or index of the block's offsets, to look at next */
};

extern Snapshot scan_metadata_snapshot(MagicScanDesc *scan);
extern BlockScan *scan_blocks(MagicScanDesc *scan, TupleTableSlot *slot);

#endif /* MAGIC_SCAN_INT_H */
