#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""ratio-table.py CSV A/B=LIMIT...: rows "case,metric,value" as a table of ratios.

A line for each case that has the metrics A and B; other metrics of the case are
shown beside it. Exit status: 0; 1 when a ratio is above its limit; 2 without rows.
"""
import sys

import report


def main():
    cases = report.read(sys.argv[1])
    bad = shown = 0
    for want in sys.argv[2:]:
        ratio, limit = want.split('=')
        over, under = ratio.split('/')
        for case, metrics in cases.items():
            if metrics.get(over, -1) < 0 or metrics.get(under, -1) < 0:
                continue
            shown += 1
            value = metrics[over] / metrics[under] if metrics[under] else float('inf')
            mark = '' if value <= float(limit) else '   <-- too much'
            bad += bool(mark)
            rest = ''.join(f', {k} {v}' for k, v in metrics.items() if k not in (over, under))
            print(f'  {case:16} {over} {metrics[over]:>12}  {under} {metrics[under]:>12}  '
                  f'ratio {value:.4f} (at most {limit}){rest}{mark}')
    if not shown:
        print(f'ratio-table.py: {sys.argv[1]} has no rows for these ratios; the guest\'s log says why', file=sys.stderr)
        return 2
    return 1 if bad else 0


sys.exit(main())
