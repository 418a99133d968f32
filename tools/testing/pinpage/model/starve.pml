/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Movers that never stop do not starve an owner: between two pauses a set runs for at
 * least as long as it was paused. What that time is good for, and all that is assumed of
 * it: a request that can begin does so before it is over.
 *
 * Two movers ask for ever, one set of one owner, who is quiet at once or takes its time.
 * Checked for cycles in which no request begins, with weak fairness.
 */
bit stopping, resting, inflight, wants, quiet;

active proctype device()
{
	do
	:: wants = 1;
		atomic { !stopping -> wants = 0; inflight = 1 };
progress:
		atomic { inflight = 0; quiet = stopping }
	od
}

active [2] proctype mover()
{
	do
	:: atomic { !stopping && !resting -> stopping = 1; quiet = !inflight };
		quiet;
		/* The pages move. */
		atomic {
			assert(!inflight);
			stopping = 0;
			quiet = 0;
#ifndef BREAK_REST
			resting = 1
#endif
		}
	od
}

active proctype clock()
{
end:
	do
	:: atomic { resting && !(wants && !stopping) -> resting = 0 }
	od
}
