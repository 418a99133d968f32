#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""cma-table ROWS.csv PLOT.png: what the rows show, and a plot of the curves by gnuplot.

Exit status: 0; 1 when the rows do not show what they must; 2 without rows.
"""
import sys

import report

SIZES = ('64K', '2M', '16M', 'bulk')
WHAT = ('foreign', 'registered', 'dirty')
PERCENT = (0, 10, 30, 60)
HOW = ('base', 'noretry', 'default', 'hard')
CLEAN, FOREIGN = 'bulk/4800x64K/clean', 'bulk/4800x64K/foreign=30%'
KILL_NS = 100_000_000


def ms(ns):
    return f'{ns / 1e6:.3f} ms'


def missing(cases):
    wanted = [(CLEAN, m) for m in ('base_loop', 'bulk')]
    wanted += [(FOREIGN, m) for m in ('base_loop', 'bulk', 'gettable', 'got')]
    wanted += [('failfast/writeback', m) for m in ('p99_clean', 'p99_writeback', 'default_p99_writeback')]
    wanted += [(f'retry/{race}', m) for race in ('fork', 'exit') for m in ('tries', 'ok', 'base_ok')]
    wanted += [(f'curve/{size}/{what}={percent}%', f'{how}_{m}') for size in SIZES for what in WHAT
               for percent in PERCENT for how in HOW for m in ('p50', 'p99', 'max', 'ok', 'calls')]
    return [f'no row {case},{metric}' for case, metric in wanted if metric not in cases.get(case, {})]


def must_show(cases):
    """(what, is it shown)"""
    clean, foreign, fast = cases[CLEAN], cases[FOREIGN], cases['failfast/writeback']
    cut = ', cut' if foreign.get('base_cut') else ''
    yield (f'4800 x 64 KiB, free area: bulk {ms(clean["bulk"])}, base {ms(clean["base_loop"])}: '
           f'{clean["base_loop"] / clean["bulk"]:.1f} times cheaper', clean['base_loop'] >= 10 * clean['bulk'])
    yield (f'30% of pageblocks with a pin: bulk {foreign["got"]} of {foreign["gettable"]} in {ms(foreign["bulk"])}, '
           f'{foreign["bulk"] / clean["bulk"]:.2f} times the clean case; base {foreign.get("base_got")} in '
           f'{ms(foreign["base_loop"])}{cut}',
           foreign['got'] >= 0.95 * foreign['gettable'] and foreign['bulk'] <= 2 * clean['bulk'])
    yield (f'failfast, p99: {ms(fast["p99_clean"])} clean, {ms(fast["p99_writeback"])} under writeback; '
           f'default {ms(fast["default_p99_writeback"])}', fast['p99_writeback'] <= 2 * fast['p99_clean'])
    for race in ('fork', 'exit'):
        row = cases[f'retry/{race}']
        yield (f'{race} race: hard {row["ok"]} of {row["tries"]}, base {row["base_ok"]}; at most '
               f'{ms(row["latest_ns"])} after the reference was gone', row['ok'] == row['tries'] and not row['base_ok'])
    for case, row in sorted(cases.items()):
        if case.startswith('kill/'):
            yield (f'{case}: ended in {ms(row["ns"])}, {row["leaked_pages"]} pages leaked',
                   row['ns'] <= KILL_NS and not row['leaked_pages'])


def curves(cases):
    for size in SIZES:
        rows = []
        for what in WHAT:
            for percent in PERCENT:
                row = cases[f'curve/{size}/{what}={percent}%']
                rows.append([f'{what} {percent}%'] + [
                    f'{row[how + "_ok"]}/{row[how + "_calls"]} {row[how + "_p50"] / 1e3:.0f}/'
                    f'{row[how + "_p99"] / 1e3:.0f}/{row[how + "_max"] / 1e3:.0f}' for how in HOW])
        print(f'{size}: calls that succeeded, p50/p99/max in us')
        report.table(['pageblocks with', *HOW], rows)


def plot(cases, png):
    """Per size and obstacle: p99 (left) and success (right) against percent."""
    script = [f'set terminal pngcairo size 1500,1500 noenhanced\nset output "{png}"',
              'set multiplot layout 4,3 title "cma_alloc(): p99 in us (lines) and success in % (dots), '
              'against % of pageblocks in the way"',
              'set logscale y\nset y2range [0:105]\nset y2tics 0,50,100\nset ytics nomirror\nset key font ",8"']
    for size in SIZES:
        for what in WHAT:
            data, parts = [], []
            for n, how in enumerate(HOW, 1):
                data.append(f'$d{n} << E')
                for percent in PERCENT:
                    row = cases[f'curve/{size}/{what}={percent}%']
                    data.append(f'{percent} {max(row[how + "_p99"], 1) / 1e3} {100 * row[how + "_ok"] / row[how + "_calls"]}')
                data.append('E')
                parts.append(f'$d{n} using 1:2 with lines lw 2 lc {n} title "{how}"')
                parts.append(f'$d{n} using ($1+{n}*0.4):3 axes x1y2 with points pt 7 ps 0.9 lc {n} notitle')
            script += data + [f'set title "{size}, {what}"', 'plot ' + ', '.join(parts)]
    script.append('unset multiplot')
    report.gnuplot(script)


def show(cases, png):
    curves(cases)
    plot(cases, png)


sys.exit(report.main(__doc__, missing, show, must_show))
