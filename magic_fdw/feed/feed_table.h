/*
 * feed_table.h
 *		Relations that belong to feeds: adoption, keys, and the guard against local changes.
 */
#ifndef FEED_TABLE_H
#define FEED_TABLE_H

/* Module start: installs the guard. */
extern void feed_table_init(void);

#endif /* FEED_TABLE_H */
