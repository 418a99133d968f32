#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""heaps-table ROWS.csv PLOT.png: what the rows show, and a plot by gnuplot.

Exit status: 0; 1 when the rows do not show what they must; 2 without rows.
"""
import sys

import report

CLEAN, FRAME, PINNED = 'clean/4800x64K', 'clean/frame95MB', 'pinned=10%/4800x64K'
MAP, STEPS = 'map/64M', ('mmap', 'fork', 'munmap')
PERCENT = (1, 10, 30)
WHAT = ('pinned', 'dirty')
HOW = ('chunk', 'chunk_unpinned', 'cma_heap_loop', 'algorithm2021', 'algorithm2021_patched', 'system')
TITLE = {
    'chunk': 'chunk heap', 'chunk_unpinned': 'the same pages, not pinned', 'cma_heap_loop': 'cma_heap, one by one',
    'algorithm2021': '2021, on the base', 'algorithm2021_patched': '2021, on the patched kernel', 'system': 'system heap',
}


def missing(cases):
    wanted = [(case, how) for case in (CLEAN, FRAME) for how in HOW + ('zeroing',) if how != 'chunk_unpinned']
    wanted += [(f'{what}={percent}%/4800x64K', how) for what in WHAT for percent in PERCENT
               for how in ('chunk', 'ok', 'attempts', 'cma_heap_loop', 'algorithm2021_patched', 'system')]
    wanted += [(f'pinned={percent}%/4800x64K', 'chunk_unpinned') for percent in PERCENT]
    wanted += [(MAP, prefix + step) for prefix in ('', 'base_') for step in STEPS]
    return [f'no row {case},{metric}' for case, metric in wanted if metric not in cases.get(case, {})]


def cell(row, how):
    if how not in row:
        return '-'
    return f'{row[how] / 1e6:.2f}' + (' failed' if row.get(f'{how}_failed') else '')


def table(cases):
    header = ['ms, zeroing apart', *HOW, 'zeroing', 'ok']
    rows = [[case, *(cell(row, how) for how in HOW), cell(row, 'zeroing'),
             f'{row["ok"]}/{row["attempts"]}' if 'ok' in row else '-'] for case, row in cases.items() if case != MAP]
    report.table(header, rows)


def must_show(cases):
    """(what, is it shown)"""
    clean, pinned = cases[CLEAN], cases[PINNED]
    for how, times in (('cma_heap_loop', 10), ('algorithm2021', 3)):
        yield (f'4800 x 64 KiB, free area: chunk heap {clean["chunk"] / 1e6:.2f} ms, {TITLE[how]} {clean[how] / 1e6:.2f} ms: '
               f'{clean[how] / clean["chunk"]:.1f} times cheaper', clean[how] >= times * clean['chunk'])
    yield (f'10% of pages pinned: {pinned["ok"]} of {pinned["attempts"]} succeed, at {pinned["chunk"] / pinned["chunk_unpinned"]:.2f} '
           'times the cost of as many that are not pinned',
           pinned['ok'] == pinned['attempts'] and pinned['chunk'] <= 2 * pinned['chunk_unpinned'])


def plot(cases, png):
    """Cost against percent, for what is pinned (left) and for what is dirty (right)."""
    script = [f'set terminal pngcairo size 1300,600 noenhanced\nset output "{png}"',
              'set multiplot layout 1,2 title "4800 x 64 KiB without zeroing: ms, at an instruction a nanosecond"',
              'set logscale y\nset key outside bottom center horizontal\nset xlabel "% of the pages of the area"']
    for what in WHAT:
        data, parts = [], []
        for n, how in enumerate(HOW, 1):
            points = [(0, cases[CLEAN].get(how))]
            points += [(percent, cases[f'{what}={percent}%/4800x64K'].get(how)) for percent in PERCENT]
            points = [(x, y) for x, y in points if y]
            if not points:
                continue
            data += [f'${what}{n} << E', *(f'{x} {y / 1e6}' for x, y in points), 'E']
            parts.append(f'${what}{n} using 1:2 with linespoints lw 2 lc {n} title "{TITLE[how]}"')
        script += data + [f'set title "{what}"', 'plot ' + ', '.join(parts)]
    script.append('unset multiplot')
    report.gnuplot(script)


def show(cases, png):
    table(cases)
    plot(cases, png)
    print('a mapping of 64 MiB that counts, and on the base: ' +
          ', '.join(f'{step} {cases[MAP][step] / 1e6:.2f} and {cases[MAP]["base_" + step] / 1e6:.2f} ms' for step in STEPS))


sys.exit(report.main(__doc__, missing, show, must_show))
