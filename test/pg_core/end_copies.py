#!/usr/bin/python3
"""Copy PostgreSQL's regression files, with an end of data after each COPY that is refused at once.

usage: end_copies.py REGRESS OUT            REGRESS holds sql/ and expected/

A psql that is newer than the test files takes what follows a refused COPY FROM STDIN for its data, up to
"\\." (so that data is never run as commands). The files go on with the next statement there, and would
lose everything up to the next "\\.". Such a COPY is known by the expected output: the file's next line
is echoed below it.
"""
import glob
import os
import re
import sys

COPY = re.compile(r'copy\b.*\bfrom\s+stdin\b.*;\s*(--.*)?$', re.I)


def refused(line, following, expected):
    """Does the expected output show the line with an error below, and then the line that follows it?"""
    for i, echoed in enumerate(expected):
        if echoed == line and any(e.startswith('ERROR:') for e in expected[i + 1:i + 3]) and \
                following in expected[i + 2:i + 9]:
            return True
    return False


def main():
    source, out = sys.argv[1:]
    for path in glob.glob(os.path.join(source, 'sql/*.sql')):
        name = os.path.basename(path)
        lines = open(path, errors='surrogateescape').read().split('\n')
        with open(os.path.join(source, 'expected', name[:-4] + '.out'), errors='surrogateescape') as f:
            expected = f.read().split('\n')
        result = []
        for i, line in enumerate(lines):
            result.append(line)
            following = next((l for l in lines[i + 1:] if l), '')
            if COPY.match(line) and following != '\\.' and refused(line, following, expected):
                result.append('\\.')
        with open(os.path.join(out, name), 'w', errors='surrogateescape') as f:
            f.write('\n'.join(result))


if __name__ == '__main__':
    main()
