/*
 * feed_file.c
 *		Which directories a feed may read: the setting magic.file_source_dirs.
 *
 * Worker processes read files with the server's rights, so the directories are named by whoever may
 * edit postgresql.conf. Real paths are compared, in the backend when a feed is created and again in
 * the worker when it opens the source; files in the directory are opened without following links.
 */
#include "feed/feed_internal.h"

#include <limits.h>
#include <sys/stat.h>

#include "miscadmin.h"
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
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a directory", directory)));
	}
	if (!exists && directory_is_listed(directory, false))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("could not open directory \"%s\": %m", directory),
				 errhint("Create the directory, or give the one that Drainer writes to.")));
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("directory \"%s\" may not be read by feeds", directory),
			 errdetail("It is not below a directory of magic.file_source_dirs."),
			 errhint("Add this line to postgresql.conf and reload: magic.file_source_dirs = '%s%s%s'",
					 file_source_dirs, file_source_dirs[0] ? "," : "", directory)));
}

void
feed_file_init(void)
{
	DefineCustomStringVariable("magic.file_source_dirs",
							   "Directories that feeds may read files from.",
							   "A comma-separated list of absolute paths; empty means none.",
							   &file_source_dirs, "", PGC_SIGHUP,
							   GUC_LIST_INPUT | GUC_SUPERUSER_ONLY, check_file_source_dirs, NULL,
							   NULL);
}
