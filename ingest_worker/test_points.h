/*
 * test_points.h
 *		Places in the worker where a test can kill it; nothing in a normal build.
 *
 * A build with -DMAGIC_TEST_POINTS looks, at each TEST_POINT(name), for the file magic_test_point in
 * the data directory. When it holds "NAME COUNT", the COUNT-th arrival at that point renames the
 * file to magic_test_point.hit and kills the process with SIGKILL, as the kernel's OOM killer
 * would: no clean-up code runs.
 *
 * Points, in the order in which an apply passes them: fetch (a record is there, not decoded),
 * decode (its events have been handed to the apply), locate, write, position (before it is
 * stored), commit (position stored, transaction open), committed.
 */
#ifndef TEST_POINTS_H
#define TEST_POINTS_H

#ifdef MAGIC_TEST_POINTS
extern void test_point(const char *name);
#define TEST_POINT(name) test_point(name)
#else
#define TEST_POINT(name) ((void) 0)
#endif

#endif /* TEST_POINTS_H */
