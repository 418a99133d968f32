#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""fair-table.py CSV: fio beside somebody who does the worst that a request can do.

Rows "KERNEL-KIND,metric,value" of kernels base and ours, kinds none (nobody beside it) and
those of worst-ring.c. Exit status: 0; 1 when the second user or CMA pays; 2 without rows.
"""
import sys

import report

KINDS = ['none', 'send', 'pipe', 'fuse', 'poll']

# What the second user loses of its throughput, how much longer its slowest request takes
# than with nobody beside it, and the longest that an allocation takes.
LOSS, SLOWER_MS, CMA_MS = 0.10, 150, 1200


def share(case):
    tries = case['cma'] + case['cma_failed']
    return case['cma'] / tries if tries else 0


def line(kernel, kind, case):
    return [kind, kernel, f"{case['kib'] / 1024:.0f}", f"{case['slowest_us'] / 1000:.1f}",
            f"{case['cma']} of {case['cma'] + case['cma_failed']}", str(case['cma_slowest_ms']),
            str(case['offline']), str(case['moved'])]


def complaints(kind, base, ours, alone):
    if ours['fio_failed'] or base['fio_failed']:
        yield f'{kind}: fio found wrong data, or failed'
    if ours['kib'] < (1 - LOSS) * base['kib']:
        yield f'{kind}: throughput of {ours["kib"] / base["kib"]:.2f} of the base'
    if ours['kib'] < (1 - LOSS) * alone['kib']:
        yield f'{kind}: throughput of {ours["kib"] / alone["kib"]:.2f} of what it has alone'
    if ours['slowest_us'] > alone['slowest_us'] + SLOWER_MS * 1000:
        yield f'{kind}: a request of {ours["slowest_us"] / 1000:.0f} ms'
    if share(ours) < share(base):
        yield f'{kind}: fewer allocations succeed than on the base'
    if ours['cma_slowest_ms'] > CMA_MS:
        yield f'{kind}: an allocation of {ours["cma_slowest_ms"]} ms'


def main():
    cases = report.read(sys.argv[1])
    missing = [name for name in (f'{kernel}-{kind}' for kernel in ('base', 'ours') for kind in KINDS) if name not in cases]
    if missing:
        print(f'fair-table.py: no rows of {", ".join(missing)}; the guest\'s log says why', file=sys.stderr)
        return 2
    report.table(['beside', 'kernel', 'MiB', 'slowest ms', 'CMA', 'slowest ms', 'offline', 'moved'],
                 [line(kernel, kind, cases[f'{kernel}-{kind}']) for kind in KINDS for kernel in ('base', 'ours')], 2)
    bad = [what for kind in KINDS
           for what in complaints(kind, cases[f'base-{kind}'], cases[f'ours-{kind}'], cases['ours-none'])]
    for what in bad:
        print(f'NOT SHOWN: {what}')
    return 1 if bad else 0


sys.exit(main())
