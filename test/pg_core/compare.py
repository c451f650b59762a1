#!/usr/bin/python3
"""Compare what PostgreSQL's own tests print on heap and on magic.

usage: compare.py [--accept] [--only NAME,...] HEAP-RESULTS MAGIC-RESULTS ACCEPTED OUT
       compare.py [--accept] [--only NAME,...] --expected EXPECTED HEAP-RESULTS ACCEPTED OUT

The first two folders hold NAME.out of both sides; EXPECTED is PostgreSQL's own folder, where a file may
have variants NAME_1.out: the nearest counts.  What no access method promises is taken out of both
sides first: plans become one line, and the rows of a query without ORDER BY are sorted.  The hunks
that remain are held against ACCEPTED/NAME.diff, hunk by hunk, in order: each there begins with
"@@ REASON", a word that ACCEPTED/../reasons explains.  A file with the same hunks passes; any line more
or less fails it.  Normalised sides and differences are written to OUT.

--accept writes ACCEPTED/NAME.diff anew: hunks that were there keep their reasons, a new one gets the
reason that its own lines state, or TODO, with which it fails until somebody has looked at it.

Prints "ok|FAILED NAME" for each file; exit status 0 only if none failed.
"""
import argparse
import difflib
import hashlib
import os
import re
import subprocess
import sys

SEPARATOR = re.compile(r'^-+(\+-+)*$')
FOOTER = re.compile(r'^\(\d+ rows?\)$')
ORDER_BY = re.compile(r'\border\s+by\b', re.I)
STATEMENT_END = re.compile(r';\s*(--.*)?$|^\\|^step \w+:')
# A file with more lines of differences than this is kept as one digest: it follows from one refusal.
DIGEST_LINES = 1500
PLAN_ROW = re.compile(r'->  |\(cost=|\(actual |^ *(Seq|Index|Bitmap|Sort|Append|Aggregate|Result)\b')

# What a line says about the reason for its hunk; the first that matches one of magic's lines counts.
HINTS = [
    (re.compile(r'access method "\w+" is not supported on tables of access method magic'), 'refused-index'),
    (re.compile(r'could not serialize access due to read/write dependencies'), 'ssi'),
    (re.compile(r'tables of access method magic cannot be unlogged'), 'refused-unlogged'),
    (re.compile(r'cannot publish '), 'refused-publication'),
]


def statement(lines, header):
    """The text of the statement whose result begins at the given header line."""
    first = header - 1
    while first > 0 and not STATEMENT_END.search(lines[first - 1]) and not FOOTER.match(lines[first - 1]):
        first -= 1
    return '\n'.join(lines[first:header])


def is_row(header, line):
    """Is the line one of the rows below the header? psql begins them with a blank, isolationtester does not."""
    return line.startswith(' ') if header.startswith(' ') else line.count('|') == header.count('|') and \
        not FOOTER.match(line) and line != ''


def normalise(text):
    """The lines of a test's output without its plans, rows in a fixed order where the query fixes none."""
    lines = text.split('\n')
    out = []
    i = 0
    while i < len(lines):
        if not (i + 1 < len(lines) and SEPARATOR.match(lines[i + 1])
                and len(lines[i]) == len(lines[i + 1]) and not lines[i].startswith('--')):
            line = re.sub(r'(canceling step \w+|timed out) after \d+ seconds', r'\1 after a time', lines[i])
            line = re.sub(r'\b(operator|OID) \d{5,}$', r'\1 n', line)
            out.append(line)
            i += 1
            continue
        end = i + 2
        while end < len(lines) and is_row(lines[i], lines[end]):
            end += 1
        if end >= len(lines) or not FOOTER.match(lines[end]):
            out.append(lines[i])
            i += 1
            continue
        rows = lines[i + 2:end]
        title = lines[i].strip()
        if title == 'QUERY PLAN' or (re.match(r'explain\w*$|\w*_explain$', title, re.I)
                                     or (rows and sum(bool(PLAN_ROW.search(r)) for r in rows) > len(rows) / 2)):
            out.append('<plan>')
        else:
            if not ORDER_BY.search(statement(lines, i)) and not any(r.endswith('+') for r in rows):
                rows.sort()
            table = lines[i:i + 2] + rows
            if len(lines[i]) > 200:     # one wide value would show in every line
                table = [re.sub(r'-{3,}', '--', re.sub(r' {2,}', ' ', line)) for line in table]
            out += table + [lines[end]]
        i = end + 1
    return out


def hunks_of(one, other):
    """The differences of two files as a list of hunks, each a string of lines with one of context."""
    run = subprocess.run(['diff', '-U1', one, other], capture_output=True)
    hunks = []
    for line in run.stdout.decode(errors='surrogateescape').split('\n')[2:]:
        if line.startswith('@@ '):
            hunks.append('')
        elif hunks and line:
            hunks[-1] += line.rstrip() + '\n'
    lines = sum(h.count('\n') for h in hunks)
    if lines > DIGEST_LINES:
        digest = hashlib.sha256('\0'.join(hunks).encode(errors='surrogateescape')).hexdigest()
        return ['%d lines, sha256 %s\n' % (lines, digest)]
    return hunks


def write_normalised(source, target):
    text = open(source, errors='surrogateescape').read() if os.path.exists(source) else '(no output)\n'
    with open(target, 'w', errors='surrogateescape') as f:
        f.write('\n'.join(normalise(text)))


def read_accepted(path):
    """[(reason, hunk)] of a file with accepted differences."""
    found = []
    if os.path.exists(path):
        for line in open(path, errors='surrogateescape'):
            if line.startswith('@@ '):
                found.append([line[3:].strip(), ''])
            elif found:
                found[-1][1] += line
    return [(reason, hunk) for reason, hunk in found]


def suggest(hunk):
    for line in hunk.split('\n'):
        if line.startswith('+'):
            for pattern, reason in HINTS:
                if pattern.search(line):
                    return reason
    return 'TODO'


def accept(path, hunks):
    """Write the accepted differences of one file anew."""
    known = {}
    for reason, hunk in read_accepted(path):
        known.setdefault(hunk, []).append(reason)
    if not hunks:
        if os.path.exists(path):
            os.unlink(path)
        return
    with open(path, 'w', errors='surrogateescape') as f:
        for hunk in hunks:
            reasons = known.get(hunk)
            f.write('@@ %s\n%s' % (reasons.pop(0) if reasons else suggest(hunk), hunk))


def check(path, hunks, reasons):
    """What is wrong with a file's differences: a text, empty if nothing is."""
    accepted = read_accepted(path)
    wrong = ''
    matcher = difflib.SequenceMatcher(None, [h for _, h in accepted], hunks, autojunk=False)
    for tag, a1, a2, b1, b2 in matcher.get_opcodes():
        if tag == 'equal':
            continue
        for _, hunk in accepted[a1:a2]:
            wrong += '  accepted, but not there any more:\n' + re.sub('^', '    ', hunk, flags=re.M).rstrip(' ')
        for hunk in hunks[b1:b2]:
            wrong += '  new:\n' + re.sub('^', '    ', hunk, flags=re.M).rstrip(' ')
    for reason, hunk in accepted:
        if reason.split(':')[0] not in reasons:
            wrong += '  "%s" is no reason\n' % reason
    return wrong


def read_reasons(path):
    """The words before the colon of each line."""
    return {line.split(':')[0].strip() for line in open(path) if line[0] not in '#\n\t '}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('--accept', action='store_true')
    parser.add_argument('--only', default='')
    parser.add_argument('--expected', action='store_true')
    parser.add_argument('heap')
    parser.add_argument('magic')
    parser.add_argument('accepted')
    parser.add_argument('out')
    options = parser.parse_args()
    folders = [options.magic] if options.expected else [options.heap, options.magic]
    names = sorted({f[:-4] for d in folders for f in os.listdir(d) if f.endswith('.out')})
    if options.only:
        names = options.only.split(',')
    os.makedirs(options.out, exist_ok=True)
    os.makedirs(options.accepted, exist_ok=True)
    reasons = read_reasons(os.path.join(options.accepted, '../reasons'))
    failed = 0
    for name in names:
        variants = [name + '.out']
        if options.expected:
            variants += ['%s_%d.out' % (name, i) for i in range(10)
                         if os.path.exists(os.path.join(options.heap, '%s_%d.out' % (name, i)))]
        one = [os.path.join(options.out, variant[:-4] + '.one') for variant in variants]
        other = os.path.join(options.out, name + '.other')
        for variant, path in zip(variants, one):
            write_normalised(os.path.join(options.heap, variant), path)
        write_normalised(os.path.join(options.magic, name + '.out'), other)
        hunks = min((hunks_of(path, other) for path in one), key=lambda hunks: sum(map(len, hunks)))
        accepted = os.path.join(options.accepted, name + '.diff')
        if options.accept:
            accept(accepted, hunks)
        wrong = check(accepted, hunks, reasons)
        print('%-6s %s' % ('FAILED' if wrong else 'ok', name))
        with open(os.path.join(options.out, name + '.wrong'), 'w', errors='surrogateescape') as f:
            f.write(wrong)
        failed += bool(wrong)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
