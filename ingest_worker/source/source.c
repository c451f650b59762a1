/*
 * source.c
 *		What the two sources have in common: positions as text, and which one a URI asks for.
 */
#include "source/source_internal.h"

Source *
source_open(const SourceConfig *config, SourceError *error)
{
	memset(error, 0, sizeof(*error));
	switch (config->uri->kind)
	{
		case FEED_SOURCE_KAFKA:
			return kafka_open(config, error);
		case FEED_SOURCE_FILE:
			return file_open(config, error);
	}
	source_fail(error, false, ERRCODE_FEATURE_NOT_SUPPORTED, "unknown kind of source");
	return NULL;
}

int
source_position_compare(const SourcePosition *a, const SourcePosition *b)
{
	int files = strcmp(a->file, b->file);

	if (files != 0)
		return files;
	return a->offset < b->offset ? -1 : a->offset > b->offset;
}

char *
source_position_to_text(const SourcePosition *position)
{
	if (position->offset < 0)
		return NULL;
	if (position->file[0])
		return psprintf("%s:" INT64_FORMAT, position->file, position->offset);
	return psprintf(INT64_FORMAT, position->offset);
}

bool
source_position_from_text(FeedSourceKind kind, const char *text, SourcePosition *position)
{
	const char *number = text;
	char *end;

	memset(position, 0, sizeof(*position));
	position->offset = -1;
	if (!text)
		return true;
	if (kind == FEED_SOURCE_FILE)
	{
		const char *colon = strrchr(text, ':');

		if (!colon || colon == text || colon - text >= SOURCE_NAME_LEN)
			return false;
		memcpy(position->file, text, colon - text);
		number = colon + 1;
	}
	errno = 0;
	position->offset = strtoi64(number, &end, 10);
	return errno == 0 && end != number && *end == '\0' && position->offset >= 0;
}

void
source_fail(SourceError *error, bool retry, int sqlstate, const char *format, ...)
{
	va_list args;

	memset(error, 0, sizeof(*error));
	error->retry = retry;
	error->sqlstate = sqlstate;
	va_start(args, format);
	vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
}

void
source_detail(SourceError *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error->detail, sizeof(error->detail), format, args);
	va_end(args);
}

void
source_hint(SourceError *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error->hint, sizeof(error->hint), format, args);
	va_end(args);
}
