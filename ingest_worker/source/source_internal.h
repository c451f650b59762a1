/*
 * source_internal.h
 *		What the files of source/ share among themselves.
 */
#ifndef SOURCE_INTERNAL_H
#define SOURCE_INTERNAL_H

#include "source/source.h"

extern Source *kafka_open(const SourceConfig *config, SourceError *error);
extern Source *file_open(const SourceConfig *config, SourceError *error);

/* Fill in an error: message in PostgreSQL's style; then detail and hint, each a sentence. */
extern void source_fail(SourceError *error, bool retry, int sqlstate, const char *format, ...)
	pg_attribute_printf(4, 5);
extern void source_detail(SourceError *error, const char *format, ...) pg_attribute_printf(2, 3);
extern void source_hint(SourceError *error, const char *format, ...) pg_attribute_printf(2, 3);

#endif /* SOURCE_INTERNAL_H */
