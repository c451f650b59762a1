/*
 * feed_file.c
 *		Which directories a feed may read: the setting magic.file_source_dirs.
 *
 * Worker processes read files with the server's rights, so the directories are named by whoever may
 * edit postgresql.conf. Real paths are compared, in the backend when a feed is created and again in
 * the worker when it opens the source; files in the directory are opened without following links.
 */
#include "feed/feed_internal.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

static char *file_source_dirs = NULL;

static bool
check_file_source_dirs(char **newval, void **extra, GucSource source)
{
	char *copy = pstrdup(*newval);
	List *dirs;
	ListCell *cell;

	if (!SplitDirectoriesString(copy, ',', &dirs))
	{
		GUC_check_errdetail("List syntax is invalid.");
		return false;
	}
	foreach (cell, dirs)
	{
		if (!is_absolute_path((char *) lfirst(cell)))
		{
			GUC_check_errdetail("\"%s\" is not an absolute path.", (char *) lfirst(cell));
			return false;
		}
	}
	list_free_deep(dirs);
	pfree(copy);
	return true;
}

/* Is `path` the directory `parent` or below it? Both without trailing slash, but "/" itself. */
static bool
path_is_below(const char *parent, const char *path)
{
	size_t len = strlen(parent);

	if (strcmp(parent, "/") == 0)
		return true;
	return strncmp(parent, path, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static bool
directory_is_listed(const char *directory, bool resolve)
{
	char *copy = pstrdup(file_source_dirs);
	List *dirs;
	ListCell *cell;
	bool listed = false;

	if (!SplitDirectoriesString(copy, ',', &dirs))
		return false;
	foreach (cell, dirs)
	{
		char real[PATH_MAX];

		if (!resolve)
			listed |= path_is_below((char *) lfirst(cell), directory);
		else if (realpath((char *) lfirst(cell), real))
			listed |= path_is_below(real, directory);
	}
	return listed;
}

/*
 * Raises unless the real path of `directory` is one of magic.file_source_dirs or below one. That a
 * directory does not exist is told only of those that could be read if they did.
 */
void
feed_check_file_directory(const char *directory)
{
	char real[PATH_MAX];
	struct stat st;
	bool exists = realpath(directory, real) != NULL;

	if (exists && directory_is_listed(real, true))
	{
		if (stat(real, &st) == 0 && S_ISDIR(st.st_mode))
			return;
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a directory", directory)));
	}
	if (!exists && directory_is_listed(directory, false))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FILE),
						errmsg("could not open directory \"%s\": %m", directory),
						errhint("Create the directory, or give the one that Drainer writes to.")));
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("directory \"%s\" may not be read by feeds", directory),
		 errdetail("It is not below a directory of magic.file_source_dirs."),
		 errhint("Add this line to postgresql.conf and reload: magic.file_source_dirs = '%s%s%s'",
				 file_source_dirs, file_source_dirs[0] ? "," : "", directory)));
}

/* The name of the first binlog file behind `after` ("" = the very first), NULL if there is none. */
static char *
next_binlog_file(const char *directory, const char *after)
{
	DIR *dir = AllocateDir(directory);
	struct dirent *entry;
	char *found = NULL;

	/* binlog-, 16 digits, and what follows: the order of the names is that of the indexes */
	while ((entry = ReadDir(dir, directory)) != NULL)
		if (strncmp(entry->d_name, "binlog-", 7) == 0 &&
			strspn(entry->d_name + 7, "0123456789") == 16 &&
			strncmp(entry->d_name, after, 23) > 0 &&
			(found == NULL || strcmp(entry->d_name, found) < 0))
			found = pstrdup(entry->d_name);
	FreeDir(dir);
	return found;
}

/*
 * Behind the record that begins at offset: its frame is a magic, the payload's length, the payload
 * and a checksum (decode/README.md), which is not verified: a damaged record may be left out, too.
 * -1 if the file ends at offset.
 */
static int64
record_end(const char *path, int64 offset)
{
	static const unsigned char magic[4] = {0x04, 0x05, 0x1b, 0x1c};
	unsigned char head[12];
	struct stat st;
	uint64 length = 0;
	int fd = OpenTransientFile(path, O_RDONLY | O_NOFOLLOW | PG_BINARY);
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not open file \"%s\": %m", path)));
	n = pread(fd, head, sizeof(head), offset);
	CloseTransientFile(fd);
	if (n == 0 && offset == st.st_size)
		return -1;
	for (int i = 11; i >= 4; i--)
		length = length << 8 | head[i];
	if (n != sizeof(head) || memcmp(head, magic, sizeof(magic)) != 0 ||
		length > (uint64) st.st_size || offset + 16 + (int64) length > st.st_size)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("there is no whole record at byte " INT64_FORMAT " of \"%s\"",
							   offset, path)));
	return offset + 16 + (int64) length;
}

/*
 * The position (FILE:BYTE, NULL = the beginning) n records further on.
 */
char *
feed_file_skip(const char *directory, const char *position, int n)
{
	const char *colon = position ? strrchr(position, ':') : NULL;
	char *name = colon ? pnstrdup(position, colon - position) : pstrdup("");
	int64 offset = colon ? strtoi64(colon + 1, NULL, 10) : 0;

	feed_check_file_directory(directory);
	while (n > 0)
	{
		int64 end = name[0] ? record_end(psprintf("%s/%s", directory, name), offset) : -1;

		CHECK_FOR_INTERRUPTS();
		if (end >= 0)
		{
			offset = end;
			n--;
			continue;
		}
		name = next_binlog_file(directory, name);
		offset = 0;
		if (name == NULL)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("the source has no more records to skip")));
	}
	return psprintf("%s:" INT64_FORMAT, name, offset);
}

void
feed_file_init(void)
{
	DefineCustomStringVariable(
		"magic.file_source_dirs", "Directories that feeds may read files from.",
		"A comma-separated list of absolute paths; empty means none.", &file_source_dirs, "",
		PGC_SIGHUP, GUC_LIST_INPUT | GUC_SUPERUSER_ONLY, check_file_source_dirs, NULL, NULL);
}
