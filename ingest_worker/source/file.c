/*
 * file.c
 *		The file source: the directory that Drainer's file sink writes to.
 *
 * Files are read in the order of their index, each from its first record on; pb_frame.h has the
 * framing. The newest file grows: a record that is not whole there is being written, and is waited
 * for. A file that has a successor is finished: a record torn there was cut off when Drainer was
 * killed, or the file was damaged; which of the two cannot be told, so it is an error, as is a wrong
 * CRC anywhere. A gap between the indexes of two files is one, too: what stood between is lost.
 *
 * The source reads through one buffer that holds the record at hand and grows to the largest record;
 * it is never larger than a record and READ_AHEAD. inotify tells of new bytes; where it does not (a
 * network file system), the worker's own polling does. The directory is opened once, files in it
 * with O_NOFOLLOW: what the name meant when it was checked is what is read.
 *
 * Drainer deletes old files by its retention: an open one can still be read, one that is deleted
 * before it was reached shows as a gap.
 */
#include "source/source_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decode/pb_frame.h"
#include "utils/timestamp.h"

#define READ_AHEAD (1024 * 1024)

typedef struct FileSource
{
	Source source;
	char *directory;
	int directory_fd;
	int inotify_fd; /* -1 = none */

	/* the file being read */
	int fd; /* -1 = none yet */
	char name[SOURCE_NAME_LEN];
	bool resumed; /* the first record's magic says whether the stored position is one */

	/* bytes [start, start + filled) of the file; the record at hand begins at start + taken */
	char *buffer;
	size_t size;
	int64 start;
	size_t filled;
	size_t taken;
	bool holding; /* a record has been given out and not released */
	size_t held_len;
	int64 first_seen_ms;
} FileSource;

static int64
now_ms(void)
{
	return GetCurrentTimestamp() / 1000 +
		   (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (SECS_PER_DAY * INT64CONST(1000));
}

/* Worth another try: the file system may be mounted or readable again later. */
static bool
errno_is_passing(int code)
{
	return code == EMFILE || code == ENFILE || code == ENOMEM || code == EINTR || code == EIO ||
		   code == ESTALE || code == ENOENT || code == EACCES;
}

/*
 * Finds, among the directory's binlog files, the first one behind `after` ("" = the very first).
 * False with an error if the directory cannot be read; `found` is "" if there is none.
 */
static bool
next_file(FileSource *file, const char *after, char *found, SourceError *error)
{
	PbFileName after_name = {0};
	PbFileName best = {0};
	int fd = openat(file->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	found[0] = '\0';
	if (!dir)
	{
		if (fd >= 0)
			close(fd);
		source_fail(error, errno_is_passing(errno), ERRCODE_UNDEFINED_FILE,
					"could not read directory \"%s\": %s", file->directory, strerror(errno));
		return false;
	}
	if (after[0])
		pb_file_name_parse(after, &after_name);
	while ((entry = readdir(dir)) != NULL)
	{
		PbFileName name;

		if (!pb_file_name_parse(entry->d_name, &name) || strlen(entry->d_name) >= SOURCE_NAME_LEN)
			continue;
		if (after[0] && pb_file_name_compare(&name, &after_name) <= 0)
			continue;
		if (found[0] && pb_file_name_compare(&name, &best) >= 0)
			continue;
		best = name;
		strlcpy(found, entry->d_name, SOURCE_NAME_LEN);
	}
	closedir(dir);
	return true;
}

static bool
open_file(FileSource *file, const char *name, int64 offset, SourceError *error)
{
	struct stat st;
	int fd = openat(file->directory_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
	{
		int code = errno;

		if (code == ENOENT)
		{
			source_fail(error, false, ERRCODE_UNDEFINED_FILE,
						"file \"%s\" is no longer in directory \"%s\"", name, file->directory);
			source_detail(error, "The feed would read on there, at byte " INT64_FORMAT ".", offset);
			source_hint(error,
						"Put the file back (Drainer's retention-time may be too short), then "
						"resume; or drop the feed and load the tables anew.");
		}
		else
			source_fail(error, errno_is_passing(code), ERRCODE_UNDEFINED_FILE,
						"could not open file \"%s\" in directory \"%s\": %s", name, file->directory,
						strerror(code));
		return false;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
	{
		close(fd);
		source_fail(error, false, ERRCODE_WRONG_OBJECT_TYPE,
					"\"%s\" in directory \"%s\" is not a regular file", name, file->directory);
		return false;
	}
	if (st.st_size < offset)
	{
		close(fd);
		source_fail(error, false, ERRCODE_DATA_CORRUPTED,
					"file \"%s\" in directory \"%s\" is shorter than what was read from it", name,
					file->directory);
		source_detail(error,
					  "It has " INT64_FORMAT " bytes; the feed would read on at byte " INT64_FORMAT
					  ".",
					  (int64) st.st_size, offset);
		source_hint(error, "The directory was replaced or restored. Put the right files back, then "
						   "resume; or drop the feed and load the tables anew.");
		return false;
	}
	if (file->fd >= 0)
		close(file->fd);
	file->fd = fd;
	strlcpy(file->name, name, sizeof(file->name));
	file->start = offset;
	file->filled = 0;
	file->taken = 0;
	return true;
}

/* Makes room for `needed` bytes behind `taken` and reads what there is. -1 with an error. */
static ssize_t
fill_buffer(FileSource *file, size_t needed, SourceError *error)
{
	size_t held = file->filled - file->taken;
	ssize_t n;

	if (file->taken > 0)
	{
		memmove(file->buffer, file->buffer + file->taken, held);
		file->start += file->taken;
		file->filled = held;
		file->taken = 0;
	}
	if (needed < READ_AHEAD)
		needed = READ_AHEAD;
	if (file->size < needed)
	{
		char *larger = realloc(file->buffer, needed);

		if (!larger)
		{
			source_fail(error, true, ERRCODE_OUT_OF_MEMORY,
						"out of memory for a record of %zu bytes in file \"%s\"", needed,
						file->name);
			return -1;
		}
		file->buffer = larger;
		file->size = needed;
	}
	else if (file->size > 4 * needed)
	{
		char *smaller = realloc(file->buffer, needed);

		if (smaller)
		{
			file->buffer = smaller;
			file->size = needed;
		}
	}
	n = pread(file->fd, file->buffer + file->filled, file->size - file->filled,
			  file->start + file->filled);
	if (n < 0)
		source_fail(error, errno_is_passing(errno), ERRCODE_IO_ERROR,
					"could not read file \"%s\" in directory \"%s\" at byte " INT64_FORMAT ": %s",
					file->name, file->directory, file->start + (int64) file->filled,
					strerror(errno));
	else
		file->filled += n;
	return n;
}

static SourceResult
corrupt(FileSource *file, const PbRecord *record, SourceError *error)
{
	int64 at = file->start + (int64) file->taken;

	source_fail(error, false, ERRCODE_DATA_CORRUPTED,
				"file \"%s\" in directory \"%s\", record at byte " INT64_FORMAT ": %s", file->name,
				file->directory, at, pb_problem_text(record->problem));
	if (record->problem == PB_PROBLEM_CRC)
		source_detail(error, "The record has CRC %08X, its bytes give %08X.", record->stored_crc,
					  record->computed_crc);
	else
		source_detail(error, "The problem is at byte " INT64_FORMAT ".",
					  at + (int64) record->problem_at);
	source_hint(error, "Put an undamaged copy of the file there, then resume the feed; everything "
					   "before the record is applied.");
	return SOURCE_FAILED;
}

/* The file at hand ends inside a record and has a successor. */
static SourceResult
torn(FileSource *file, size_t left, const char *successor, SourceError *error)
{
	source_fail(error, false, ERRCODE_DATA_CORRUPTED,
				"file \"%s\" in directory \"%s\" ends inside the record at byte " INT64_FORMAT,
				file->name, file->directory, file->start + (int64) file->taken);
	source_detail(error, "%zu bytes of the record are there, and file \"%s\" follows.", left,
				  successor);
	source_hint(error, "Put a complete copy of the file there, then resume the feed; everything "
					   "before the record is applied.");
	return SOURCE_FAILED;
}

/*
 * At the end of the file's bytes, `left` of them in an incomplete record: goes on to the next file.
 * SOURCE_RECORD = there is one, try again.
 */
static SourceResult
advance(FileSource *file, size_t left, SourceError *error)
{
	char successor[SOURCE_NAME_LEN];
	PbFileName this_name;
	PbFileName next_name;
	struct stat st;

	if (!next_file(file, file->name, successor, error))
		return SOURCE_FAILED;
	if (!successor[0])
		return SOURCE_EMPTY;

	/* bytes may have come between our last read and the successor: they were written before it */
	if (fstat(file->fd, &st) == 0 && st.st_size > file->start + (int64) file->filled)
		return SOURCE_RECORD;
	if (left > 0)
		return torn(file, left, successor, error);

	if (file->name[0] && pb_file_name_parse(file->name, &this_name) &&
		pb_file_name_parse(successor, &next_name) && !pb_file_name_follows(&this_name, &next_name))
	{
		source_fail(error, false, ERRCODE_DATA_CORRUPTED,
					"a file is missing in directory \"%s\" between \"%s\" and \"%s\"",
					file->directory, file->name, successor);
		source_hint(error, "Put the missing files back, then resume the feed; or drop the feed and "
						   "load the tables anew.");
		return SOURCE_FAILED;
	}
	return open_file(file, successor, 0, error) ? SOURCE_RECORD : SOURCE_FAILED;
}

/* Opens the first file once there is one. SOURCE_RECORD = open. */
static SourceResult
open_first(FileSource *file, SourceError *error)
{
	char first[SOURCE_NAME_LEN];

	if (!next_file(file, "", first, error))
		return SOURCE_FAILED;
	if (!first[0])
		return SOURCE_EMPTY;
	return open_file(file, first, 0, error) ? SOURCE_RECORD : SOURCE_FAILED;
}

static void
fill_record(FileSource *file, const PbRecord *found, SourceRecord *record)
{
	memset(record, 0, sizeof(*record));
	record->topic = file->directory;
	strlcpy(record->at.file, file->name, SOURCE_NAME_LEN);
	record->at.offset = file->start + (int64) file->taken;
	record->next = record->at;
	record->next.offset += found->frame_len;
	record->timestamp_ms = file->first_seen_ms;
	record->value = (const uint8 *) found->payload;
	record->value_len = found->payload_len;
	memcpy(&record->crc, found->payload + found->payload_len, sizeof(uint32));
#ifdef WORDS_BIGENDIAN
	record->crc = pg_bswap32(record->crc);
#endif
	file->holding = true;
	file->held_len = found->frame_len;
}

static SourceResult
file_next(Source *source, SourceRecord *record, SourceError *error)
{
	FileSource *file = (FileSource *) source;

	Assert(!file->holding);
	if (file->fd < 0)
	{
		SourceResult opened = open_first(file, error);

		if (opened != SOURCE_RECORD)
			return opened;
	}
	for (;;)
	{
		PbRecord found;
		size_t left = file->filled - file->taken;
		ssize_t n;
		SourceResult moved;

		switch (pb_record_next(file->buffer + file->taken, left, &found))
		{
			case PB_RECORD_OK:
				fill_record(file, &found, record);
				return SOURCE_RECORD;
			case PB_RECORD_CORRUPT:
				return corrupt(file, &found, error);
			case PB_RECORD_NEED_MORE:
				break;
		}
		n = fill_buffer(file, found.frame_len, error);
		if (n < 0)
			return SOURCE_FAILED;
		if (n > 0)
		{
			file->first_seen_ms = now_ms();
			continue;
		}
		moved = advance(file, left, error);
		if (moved != SOURCE_RECORD)
			return moved;
	}
}

static void
file_release(Source *source, SourceRecord *record)
{
	FileSource *file = (FileSource *) source;

	if (file->holding)
		file->taken += file->held_len;
	file->holding = false;
}

/* The end of the newest file, whether or not its last record is whole. */
static bool
file_end(Source *source, SourcePosition *end, SourceError *error)
{
	FileSource *file = (FileSource *) source;
	char name[SOURCE_NAME_LEN];
	char newest[SOURCE_NAME_LEN] = "";
	struct stat st;

	memset(end, 0, sizeof(*end));
	strlcpy(newest, file->name, sizeof(newest));
	for (;;)
	{
		if (!next_file(file, newest, name, error))
			return false;
		if (!name[0])
			break;
		strlcpy(newest, name, sizeof(newest));
	}
	if (!newest[0])
	{
		end->offset = -1;
		return true;
	}
	strlcpy(end->file, newest, sizeof(end->file));
	if (fstatat(file->directory_fd, newest, &st, AT_SYMLINK_NOFOLLOW) != 0)
		st.st_size = 0;
	end->offset = st.st_size;
	return true;
}

static bool
file_reached(Source *source, const SourcePosition *end)
{
	FileSource *file = (FileSource *) source;
	SourcePosition seen = {0};

	if (end->offset < 0)
		return true;
	strlcpy(seen.file, file->name, sizeof(seen.file));
	seen.offset = file->start + (int64) file->filled;
	return file->fd >= 0 && source_position_compare(&seen, end) >= 0;
}

/* Files are read when asked for. */
static bool
file_drained(Source *source)
{
	return true;
}

static const char *
file_trouble(Source *source)
{
	return NULL;
}

/* Bytes from a position to the end of the newest file. */
static int64
file_distance(Source *source, const SourcePosition *from)
{
	FileSource *file = (FileSource *) source;
	char name[SOURCE_NAME_LEN];
	char after[SOURCE_NAME_LEN];
	SourceError error;
	struct stat st;
	int64 distance = 0;

	strlcpy(after, from->offset < 0 ? "" : from->file, sizeof(after));
	if (after[0] && fstatat(file->directory_fd, after, &st, AT_SYMLINK_NOFOLLOW) == 0)
		distance = st.st_size - from->offset;
	for (;;)
	{
		if (!next_file(file, after, name, &error))
			return -1;
		if (!name[0])
			return distance;
		if (fstatat(file->directory_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			distance += st.st_size;
		strlcpy(after, name, sizeof(after));
	}
}

static int
file_wait_fd(Source *source)
{
	return ((FileSource *) source)->inotify_fd;
}

static void
file_clear_fd(Source *source)
{
	char events[4096];

	while (read(((FileSource *) source)->inotify_fd, events, sizeof(events)) > 0)
		;
}

static void
file_close(Source *source)
{
	FileSource *file = (FileSource *) source;

	if (file->fd >= 0)
		close(file->fd);
	if (file->inotify_fd >= 0)
		close(file->inotify_fd);
	if (file->directory_fd >= 0)
		close(file->directory_fd);
	free(file->buffer);
	free(file->directory);
	free(file);
}

static const SourceMethods file_methods = {
	.next = file_next,
	.release = file_release,
	.end = file_end,
	.reached = file_reached,
	.drained = file_drained,
	.trouble = file_trouble,
	.distance = file_distance,
	.wait_fd = file_wait_fd,
	.clear_fd = file_clear_fd,
	.close = file_close,
};

/* The last applied record must still stand where it stood, with the same bytes. */
static bool
check_evidence(FileSource *file, const SourceEvidence *evidence, SourceError *error)
{
	SourceRecord record;
	SourceResult result;
	bool same;

	if (!open_file(file, evidence->at.file, evidence->at.offset, error))
		return false;
	result = file_next(&file->source, &record, error);
	same = result == SOURCE_RECORD && record.crc == evidence->crc &&
		   strcmp(record.at.file, evidence->at.file) == 0;
	if (result == SOURCE_RECORD)
		file_release(&file->source, &record);
	if (same)
		return true;
	source_fail(error, false, ERRCODE_DATA_CORRUPTED,
				"file \"%s\" in directory \"%s\" has changed at byte " INT64_FORMAT,
				evidence->at.file, file->directory, evidence->at.offset);
	source_detail(
		error, "The record that was applied last, with TS " INT64_FORMAT ", is not there any more.",
		evidence->commit_ts);
	source_hint(error, "The directory was replaced or is written by another Drainer. Put the right "
					   "files back, then resume; or drop the feed and load the tables anew.");
	return false;
}

Source *
file_open(const SourceConfig *config, SourceError *error)
{
	FileSource *file = calloc(1, sizeof(FileSource));

	if (!file || !(file->directory = strdup(config->uri->topic)))
	{
		free(file);
		source_fail(error, true, ERRCODE_OUT_OF_MEMORY, "out of memory");
		return NULL;
	}
	file->source.methods = &file_methods;
	file->fd = -1;
	file->inotify_fd = -1;
	file->directory_fd = open(file->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (file->directory_fd < 0)
	{
		source_fail(error, true, ERRCODE_UNDEFINED_FILE, "could not open directory \"%s\": %s",
					file->directory, strerror(errno));
		file_close(&file->source);
		return NULL;
	}
	file->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (file->inotify_fd >= 0)
		(void) inotify_add_watch(file->inotify_fd, file->directory,
								 IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE);

	if ((config->evidence.known && !check_evidence(file, &config->evidence, error)) ||
		(config->start.offset >= 0 &&
		 !open_file(file, config->start.file, config->start.offset, error)))
	{
		file_close(&file->source);
		return NULL;
	}
	return &file->source;
}
