# SPDX-License-Identifier: GPL-2.0
"""What the tables of benchmarks share: rows "case,metric,value", and a verdict.

Imported by NAME-table.py. Exit status of those that use main(): 0; 1 when the rows do
not show what they must; 2 without rows.
"""
import csv
import os
import subprocess
import sys


def read(path):
    cases = {}
    with open(path, encoding='utf-8', newline='') as f:
        for line in csv.reader(f):
            if len(line) == 3 and line[2].lstrip('-').isdigit():
                cases.setdefault(line[0], {})[line[1]] = int(line[2])
    return cases


def table(header, rows, names=1):
    """Names, so many columns of them, stand to the left; numbers to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, ['-' * width for width in widths], *rows]:
        print('  ' + '  '.join(cell.ljust(width) if i < names else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(row, widths))).rstrip())
    print()


def gnuplot(script):
    subprocess.run(['gnuplot'], input='\n'.join(script) + '\n', text=True, check=True)


def main(usage, missing, show, must_show):
    """show(cases, png) prints the table and plots; must_show(cases) gives (what, shown)."""
    name = os.path.basename(sys.argv[0]).removesuffix('.py')
    if len(sys.argv) != 3:
        print(usage, file=sys.stderr)
        return 2
    try:
        cases = read(sys.argv[1])
    except OSError as err:
        print(f'{name}: {err}', file=sys.stderr)
        return 2
    why = missing(cases)
    for line in why:
        print(f'{name}: {line}', file=sys.stderr)
    if why:
        return 1
    show(cases, sys.argv[2])
    rc = 0
    for what, shown in must_show(cases):
        print(('' if shown else 'NOT SHOWN: ') + what)
        rc |= not shown
    return rc
