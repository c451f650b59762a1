/*
 * test_points.c
 *		See test_points.h; empty in a normal build.
 */
#include "postgres.h"

#include "test_points.h"

#ifdef MAGIC_TEST_POINTS

#include <signal.h>
#include <unistd.h>

#define REQUEST_FILE "magic_test_point"
#define HIT_FILE REQUEST_FILE ".hit"

/*
 * Arrivals are counted from the moment at which the request was first seen by this process.
 */
void
test_point(const char *name)
{
	static char armed[64];
	static int armed_count;
	static int arrivals;
	char wanted[64];
	int count;
	FILE *file = fopen(REQUEST_FILE, "r");

	if (file == NULL)
		return;
	if (fscanf(file, "%63s %d", wanted, &count) != 2)
	{
		fclose(file);
		return;
	}
	fclose(file);
	if (strcmp(wanted, armed) != 0 || count != armed_count)
	{
		strlcpy(armed, wanted, sizeof(armed));
		armed_count = count;
		arrivals = 0;
	}
	if (strcmp(wanted, name) != 0 || ++arrivals < count)
		return;
	if (rename(REQUEST_FILE, HIT_FILE) == 0)
		kill(getpid(), SIGKILL);
}

#endif
