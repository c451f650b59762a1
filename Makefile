# Top-level makefile. It is plain on purpose: PGXS defines `check` itself, so the two libraries are
# built by PGXS makefiles of their own and the tests by test/Makefile.
PG_CONFIG ?= pg_config
export PG_CONFIG

SUBDIRS = magic_fdw ingest_worker
TEST_GOALS = installcheck check check-long fuzz bench soak

all:
	+@for d in $(SUBDIRS); do $(MAKE) -C $$d all || exit 1; done

install: all
	+@for d in $(SUBDIRS); do $(MAKE) -C $$d install || exit 1; done

uninstall:
	+@for d in $(SUBDIRS); do $(MAKE) -C $$d uninstall || exit 1; done

clean:
	+@for d in $(SUBDIRS); do $(MAKE) -C $$d clean || exit 1; done
	+@$(MAKE) -C test clean

$(TEST_GOALS):
	+@$(MAKE) -C test $@

format:
	find magic_fdw ingest_worker test -name '*.[ch]' | xargs clang-format -i --style=file

.PHONY: all install uninstall clean format $(TEST_GOALS)
