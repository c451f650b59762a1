"""Shortens the statements that led engine_diff.py to a difference, as far as a time limit allows.

A script is a list of (arm, session, SQL); arm is 'both', 'heap' or 'magic'.  It is played on new connections;
what counts is that a difference of the same kind appears: the same two SQLSTATEs, or which arm waits.
"""
import time


def state_of(text):
    if text is None:
        return 'waits'
    at = text.find('ERROR:  ')
    return text[at + 8:at + 13] if at >= 0 else 'rows'


class Replay:
    def __init__(self, driver, tables):
        self.driver, self.tables = driver, tables
        self.control = driver.Connection('')
        self.sessions = {}
        self.waiting = {}       # session: results as far as there are any
        self.forget_prepared()  # those of the game

    def forget_prepared(self):
        for gid in self.control.run("SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'diff%'").split('\n'):
            if gid:
                self.control.run("ROLLBACK PREPARED '%s'" % gid)

    def close(self):
        for session in self.sessions.values():
            session.heap.kill()
            session.magic.kill()
        pids = ', '.join(str(arm.pid) for s in self.sessions.values() for arm in (s.heap, s.magic))
        if pids:                # they may wait for a lock, or hold one
            self.control.run('SELECT pg_terminate_backend(pid, 5000) FROM unnest(ARRAY[%s]) pid' % pids)
        self.forget_prepared()
        self.control.kill()

    def outcome(self, session, results):
        """The kind of difference, None if there is none."""
        arms = (session.heap, session.magic)
        start = time.time()
        while True:
            blocked = [False, False]
            for i, arm in enumerate(arms):
                if results[i] is None:
                    results[i] = arm.poll(0.005)
                if results[i] is None and time.time() - start > 0.02:
                    blocked[i] = self.control.run('SELECT pg_blocking_pids(%d)' % arm.pid) != '{}'
            if None not in results:
                self.waiting.pop(session, None)
                differ = [self.driver.comparable(r, t) for r, t in zip(results, self.tables)]
                return (state_of(results[0]), state_of(results[1])) if differ[0] != differ[1] else None
            late = time.time() - start
            if blocked == [True, True] or late > 15:
                self.waiting[session] = results
                return None
            if any(blocked) and late > 3:
                return state_of(results[0]), state_of(results[1])

    def play(self, script):
        self.sessions[0] = self.driver.Session(0, self.tables)
        for arm in (self.sessions[0].heap, self.sessions[0].magic):
            arm.run('DROP TABLE IF EXISTS @t_c, @t, @t_log')
        for arm, number, sql in script:
            if number not in self.sessions:
                self.sessions[number] = self.driver.Session(number, self.tables)
            for session, results in list(self.waiting.items()):
                kind = self.outcome(session, results)
                if kind:
                    return kind
            session = self.sessions[number]
            if session in self.waiting:
                continue
            if arm == 'both':
                session.heap.send(sql)
                session.magic.send(sql)
                kind = self.outcome(session, [None, None])
                if kind:
                    return kind
            else:
                result = (session.heap if arm == 'heap' else session.magic).run(sql)
                if 'magic.verify' in sql and result:
                    return 'verify', ''
        return None


def play(driver, tables, script):
    replay = Replay(driver, tables)
    try:
        return replay.play(script)
    except SystemExit:
        time.sleep(3)           # the server restarts
        return 'crash', ''
    finally:
        replay.close()


def minimise(driver, tables, script, seconds):
    """The shortest script found that still shows the difference, and its kind; None if it does not repeat."""
    end = time.time() + seconds
    wanted = play(driver, tables, script)
    if wanted is None:
        return None, None
    size = max(len(script) // 2, 1)
    while time.time() < end:
        at, shorter = 0, False
        while at < len(script) and time.time() < end:
            candidate = script[:at] + script[at + size:]
            if candidate and play(driver, tables, candidate) == wanted:
                script, shorter = candidate, True
            else:
                at += size
        if size == 1 and not shorter:
            break
        size = max(size // 2, 1)
    return script, wanted
