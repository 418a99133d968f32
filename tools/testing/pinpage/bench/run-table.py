#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""run-table.py CSV [base]: the rows of run-proof, of both boots or of the base, as tables.

Prints what was measured and what it means. Exit status: 0; 1 when the rows do
not show what they must; 2 without rows.
"""
import sys

import report

MODES = {'off': 'plain pin', 'on': 'registered', 'base': 'plain pin, base'}
PINNED = ('0', '16', '256', 'all')
SYSTEMS = ('1', '2')
TAKES = 32
LONGTERM = 1280
# A registered pin may cost so much; a plain one does cost so much.
MOST, LEAST = 1.25, 5
# And the first allocation that meets them, on one that knows them already.
FIRST = 1.3
METRICS = ('attempts', 'ok', 'total_ns', 'slowest_ns', 'moved', 'asked', 'bad_bytes')


def name(mode, systems, pinned):
    return f'{mode}/systems={systems}/pinned={pinned}'


def seconds(ns):
    return f'{ns / 1e9:.3f} s'


def ratio(cases, mode, systems, pinned):
    """Total time in terms of the same boot without a pinned page."""
    none = cases[name(mode, systems, '0')]['total_ns']
    return cases[name(mode, systems, pinned)]['total_ns'] / max(none, 1)


def is_cut(case):
    return case['attempts'] < TAKES or case['total_ns'] >= 10**10


def per_page(case):
    """What an allocation costs is mostly what it has to move, and that varies a little."""
    if is_cut(case) or not case.get('migrated'):
        return '-'
    return f'{case["total_ns"] / case["migrated"]:.0f}'


def first_table(cases, combinations):
    print(f'{TAKES} allocations of 16 MiB from 1 GiB of CMA, in a guest of 2 GiB where a process has 1200 MiB,')
    print('of whose 307,200 pages N are pinned (guest time: instructions executed)')
    print()
    rows = []
    for mode, systems, pinned in combinations:
        case = cases[name(mode, systems, pinned)]
        cut = ' cut' if is_cut(case) else ''
        rows.append([f'{MODES[mode]}, {systems} owner{"s" if systems == "2" else ""}', pinned,
                     f'{case["ok"]} of {TAKES}', seconds(case['total_ns']) + cut,
                     f'{ratio(cases, mode, systems, pinned):.2f}', seconds(case['slowest_ns']),
                     str(case['migrated']), per_page(case),
                     str(case['moved']), str(case['asked']), str(case['bad_bytes'])])
    report.table(['pages pinned as', 'N', 'allocated', 'total', 'x N=0', 'slowest', 'pages migrated', 'ns each',
                  'of owners: moved', 'asked', 'bad bytes'], rows, names=2)


def second_table(cases):
    print(f'{LONGTERM} MiB pinned for long in the same guest')
    print()
    rows = []
    for mode, how in (('off', 'FOLL_LONGTERM'), ('on', 'pinpage')):
        case = cases[f'{mode}/longterm={LONGTERM}M']
        rows.append([how, f'{case["ok"]} of {case["attempts"]} MiB', seconds(case['total_ns']),
                     str(case['oom_kill']), str(case['bad_bytes'])])
    report.table(['through', 'pinned', 'total', 'OOM kills', 'bad bytes'], rows, names=2)


def first(cases):
    """The first allocation that meets all registered pages, and one to which they are known."""
    pages = name('on', '1', 'all')
    return cases[pages]['first_ns'], cases[pages + '/indexed']['first_ns']


def show_first(cases):
    waiting, known = first(cases)
    print(f'The first allocation beside 307,200 registered pages: {seconds(waiting)}, {waiting / max(known, 1):.2f} times')
    print(f'what it takes where all of them have been indexed before: {seconds(known)}')
    print()


def missing(cases, names):
    for case in names:
        for metric in METRICS + (('oom_kill',) if 'longterm' in case else ('migrated',)):
            if cases.get(case, {}).get(metric, -1) < 0:
                yield f'no row {case},{metric}'


def wrong(cases):
    for case, row in sorted(cases.items()):
        if row.get('bad_bytes'):
            yield f'{case}: {row["bad_bytes"]} bytes are wrong'


def is_failure(cases, mode, systems, pinned):
    return cases[name(mode, systems, pinned)]['ok'] < TAKES or ratio(cases, mode, systems, pinned) >= LEAST


def broken(cases):
    """What the rows must show, and do not."""
    yield from wrong(cases)
    for systems in SYSTEMS:
        for pinned in PINNED:
            on = name('on', systems, pinned)
            if cases[on]['ok'] != TAKES:
                yield f'{on}: {cases[on]["ok"]} of {TAKES} allocations succeeded'
            if ratio(cases, 'on', systems, pinned) > MOST:
                yield f'{on}: took {ratio(cases, "on", systems, pinned):.2f} times N=0, more than {MOST}'
            if pinned == 'all' and not cases[on]['moved']:
                yield f'{on}: no pinned page moved'
        # A search goes on behind 16 pages that don't move; of 256, one is nearly everywhere.
        if not is_failure(cases, 'off', systems, '256'):
            yield f'{name("off", systems, "256")}: the failure is not reproduced'
    waiting, known = first(cases)
    if waiting > FIRST * known:
        yield f'the first allocation took {waiting / max(known, 1):.2f} times what it takes later, more than {FIRST}'
    on = cases[f'on/longterm={LONGTERM}M']
    if on['ok'] != LONGTERM or on['oom_kill']:
        yield f'{LONGTERM} MiB through pinpage: {on["ok"]} MiB pinned, {on["oom_kill"]} OOM kills'


def meaning(cases):
    plain, moved = cases[name('off', '1', '256')], cases[name('on', '1', 'all')]
    slower = ratio(cases, 'off', '1', '256')
    longterm = cases[f'off/longterm={LONGTERM}M']
    end = 'and the OOM killer came' if longterm['oom_kill'] else f'and {longterm["ok"]} MiB was all that could be pinned'
    if plain['ok'] == TAKES:
        before = f'made CMA {slower:.0f} times slower'
    else:
        before = f'left CMA with {plain["ok"]} of {TAKES} allocations'
    return (f'256 pages pinned the plain way {before}, {end}; with all 307,200 registered it made '
            f'{moved["ok"]} of {TAKES} allocations in {ratio(cases, "on", "1", "all"):.2f} times the time without a pin, '
            f'and nothing was lost.')


def show(cases):
    """Both boots: what is wrong with them, and what they mean."""
    combinations = [(mode, systems, pinned) for mode in ('off', 'on') for systems in SYSTEMS for pinned in PINNED]
    longterm = [f'{mode}/longterm={LONGTERM}M' for mode in ('off', 'on')]
    why = list(missing(cases, [name(*each) for each in combinations] + [name('on', '1', 'all') + '/indexed'] + longterm))
    if why:
        return why, ''
    first_table(cases, combinations)
    second_table(cases)
    show_first(cases)
    return list(broken(cases)), meaning(cases)


def show_base(cases):
    combinations = [('base', '1', pinned) for pinned in PINNED]
    why = list(missing(cases, [name(*each) for each in combinations]))
    if why:
        return why, ''
    first_table(cases, combinations)
    why = list(wrong(cases))
    if not is_failure(cases, 'base', '1', '16'):
        why.append(f'{name("base", "1", "16")}: the failure is not reproduced')
    few = cases[name('base', '1', '16')]
    return why, (f'16 pages pinned the plain way left CMA with {few["ok"]} of {TAKES} allocations '
                 f'in {seconds(few["total_ns"])}, {ratio(cases, "base", "1", "16"):.0f} times the time without a pin.')


def main():
    if len(sys.argv) < 2 or sys.argv[2:] not in ([], ['base']):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        cases = report.read(sys.argv[1])
    except OSError as err:
        print(f'run-table: {err}', file=sys.stderr)
        return 2
    why, what = show_base(cases) if sys.argv[2:] else show(cases)
    for line in why:
        print(f'run-table: {line}', file=sys.stderr)
    if not why:
        print(what)
    return 1 if why else 0


sys.exit(main())
