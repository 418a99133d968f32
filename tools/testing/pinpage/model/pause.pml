/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How owners are asked, and told: prepare(), pinpage_quiet(), complete().
 *
 * Two sets share page 0; page 1 is the first one's, page 2 the second one's. Owners
 * register, have requests in flight, and leave. Movers index what has registered, claim
 * pages, ask, wait until they are quiet or time is up, move, complete.
 *
 * An atomic step is a section under one spinlock: the index's stripe, the list of sets, or
 * the driver's own, which its prepare(), complete() and the end of a request take.
 *
 * -DMOVERS=n, -DOWNERS=n, -DREQUESTS=n; -DREFUSE: owners may say -EBUSY; -DTIMEOUT: movers run out of patience at
 * any moment. Without it a mover waits for ever, so that a lost pinpage_quiet() is a
 * deadlock. -DBREAK_...: see scripts/model.
 */
#ifndef MOVERS
#define MOVERS	1
#endif
#ifndef REQUESTS
#define REQUESTS 1
#endif

#ifndef OWNERS
#define OWNERS	2
#endif

#define SETS	2
#define PAGES	3
/* Is page p in set s? */
#define has(s, p) ((p) == 0 || (p) == (s) + 1)
#define slot(s, p) (s) * PAGES + (p)

/* The core's view of a set. */
bit live[SETS], leaving[SETS], indexed[SETS], gone[SETS], pinned[SETS];
bit heard[SETS];		/* pinpage_quiet() has come */
byte open[SETS];		/* the mover (from 1) whose pause it has */
byte claimed[SETS * PAGES];	/* the mover whose references these are */
bit list_lock;

/* The driver's. */
bit stopping[SETS];
byte inflight[SETS];

/* What must hold: a prepare() that did not refuse is owed a complete(). */
byte owed[SETS];
bit copying[PAGES];

#define wanted(s, p) (indexed[s] && has(s, p))
#define free_for(s, p) (!wanted(s, p) || (!leaving[s] && !claimed[slot(s, p)] && (open[s] == 0 || open[s] == me)))

/* Under the stripe lock: all slots of the page, or none. */
inline claim_page(p)
{
#ifdef BREAK_NO_WAIT
	free_for(0, p) && free_for(1, p);
#endif
	atomic {
		if
#ifdef BREAK_ONE_PAUSE
		:: (!wanted(0, p) || (!leaving[0] && !claimed[slot(0, p)])) &&
		   (!wanted(1, p) || (!leaving[1] && !claimed[slot(1, p)])) ->
#elif defined(BREAK_LEAVING_SEEN)
		:: (!wanted(0, p) || (!claimed[slot(0, p)] && (open[0] == 0 || open[0] == me))) &&
		   (!wanted(1, p) || (!claimed[slot(1, p)] && (open[1] == 0 || open[1] == me))) ->
#else
		:: free_for(0, p) && free_for(1, p) ->
#endif
			for (s : 0 .. SETS - 1) {
				if
				:: wanted(s, p) -> claimed[slot(s, p)] = me; open[s] = me; mine[s] = 1
				:: else
				fi
			}
		:: else -> done[p] = 1
		fi;
		s = 0
	}
}

#define claim_of(s, p) (claimed[slot(s, p)] == me)

/* No page of s that we have claimed is still to move. */
#define over(s) ((!claim_of(s, 0) || done[0]) && (!claim_of(s, 1) || done[1]) && (!claim_of(s, 2) || done[2]))

/* The pages that s was asked about stay. */
inline give_up(s)
{
	for (i : 0 .. PAGES - 1) {
		if
		:: claim_of(s, i) -> done[i] = 1
		:: else
		fi
	}
	i = 0
}

inline prepare(s)
{
	atomic {
		assert(!gone[s]);
#ifndef BREAK_HEARD_CLEARED_FIRST
		heard[s] = 0
#endif
	};
	atomic {
		if
#ifdef REFUSE
		:: refused = 1
#endif
		:: refused = 0;
			assert(!gone[s]);
			assert(owed[s] == 0);
			owed[s]++;
			asked[s] = 1;
			stopping[s] = 1;
			quiet[s] = (inflight[s] == 0)
		fi
	};
#ifdef BREAK_HEARD_CLEARED_FIRST
	heard[s] = 0;
#endif
	if
	:: refused ->
		atomic { give_up(s) }
#ifdef BREAK_REFUSAL_REFUSES
		asked[s] = 1
#endif
	:: else
	fi
}

inline complete(s)
{
	atomic {
		assert(!gone[s]);
		assert(owed[s] == 1);
		owed[s]--;
		stopping[s] = 0
	};
	asked[s] = 0
}

/* What the set owes us is over: from here on another mover may ask, or the set leave. */
inline unclaim(s)
{
	atomic {
		assert(!gone[s]);
		for (i : 0 .. PAGES - 1) {
			if
			:: claim_of(s, i) -> claimed[slot(s, i)] = 0
			:: else
			fi
		}
		i = 0;
#ifdef BREAK_ONE_PAUSE
		if
		:: open[s] == me -> open[s] = 0
		:: else
		fi;
#else
		open[s] = 0;
#endif
		mine[s] = 0
	}
}

#define may_move(s, p) (!pinned[s] || !has(s, p) || (claim_of(s, p) && quiet[s]))
#define at_rest(s, p) (!has(s, p) || inflight[s] == 0 || !pinned[s])

inline move_page(p)
{
	/* The reference count: every pin is one that we have claimed. */
	atomic {
		if
		:: may_move(0, p) && may_move(1, p) ->
			assert(at_rest(0, p) && at_rest(1, p));
			copying[p] = 1
		:: else
		fi
	};
	atomic {
		assert(!copying[p] || (at_rest(0, p) && at_rest(1, p)));
		copying[p] = 0;
		done[p] = 1
	}
}

/* Every set that page p is claimed for has stopped. */
#define ready(s, p) (!claim_of(s, p) || quiet[s])
#define can_move(p) (!done[p] && ready(0, p) && ready(1, p))

proctype mover(byte me)
{
	bit mine[SETS], asked[SETS], quiet[SETS], done[PAGES];
	bit refused;
	byte s, i;

	/* The index is built by the first who needs it, of sets that are there. */
	atomic { !list_lock -> list_lock = 1 };
	if
	:: live[0] && !indexed[0] -> indexed[0] = 1
	:: else
	fi;
	if
	:: live[1] && !indexed[1] -> indexed[1] = 1
	:: else
	fi;
	list_lock = 0;

	/* One mover wants all pages; of two, each the one that both want, and another one. */
	if
#if MOVERS > 1
	:: me == 1 -> done[2] = 1; claim_page(1); claim_page(0)
	:: else -> done[1] = 1; claim_page(2); claim_page(0)
#else
	:: claim_page(1); claim_page(0); claim_page(2)
#endif
	fi;
	/* What has no owner here is moved by others. */
	if
	:: mine[0] && !over(0) -> prepare(0)
	:: else
	fi;
	if
	:: mine[1] && !over(1) -> prepare(1)
	:: else
	fi;
	do
	:: atomic { asked[0] && !quiet[0] && heard[0] -> quiet[0] = 1 }
	:: atomic { asked[1] && !quiet[1] && heard[1] -> quiet[1] = 1 }
	:: can_move(0) -> move_page(0)
	:: can_move(1) -> move_page(1)
	:: can_move(2) -> move_page(2)
	/* Its last page is done: now, and not when the others' are. */
	:: asked[0] && over(0) -> complete(0); unclaim(0)
	:: asked[1] && over(1) -> complete(1); unclaim(1)
	:: mine[0] && !asked[0] && over(0) -> unclaim(0)
	:: mine[1] && !asked[1] && over(1) -> unclaim(1)
#ifdef TIMEOUT
	:: asked[0] && !quiet[0] && !over(0) ->
		atomic { give_up(0) }
#ifdef BREAK_TIMEOUT_COMPLETES
		asked[0] = 0
#endif
	:: asked[1] && !quiet[1] && !over(1) -> atomic { give_up(1) }
#endif
	:: !mine[0] && !mine[1] && done[0] && done[1] && done[2] -> break
	od
}

#ifdef BREAK_QUIET_UNDER_LOCK
bit late[SETS];

/* The interrupt that has found the last request done, and tells it when it may. */
proctype interrupt(byte s)
{
end:
	do
	:: atomic { late[s] -> late[s] = 0 };
		heard[s] = 1
	od
}
#endif

proctype owner(byte s)
{
	byte requests;
	bit last;

	/* A page that is being copied is in no page table: GUP does not find it. */
	atomic { !copying[0] && !copying[s + 1] -> pinned[s] = 1 };
	atomic { !list_lock -> live[s] = 1 };
	do
	:: requests < REQUESTS ->
		atomic { !stopping[s] -> inflight[s]++; requests++ };
		assert(!(has(s, 0) && copying[0]) && !(has(s, 1) && copying[1]) && !(has(s, 2) && copying[2]));
#ifdef BREAK_QUIET_UNDER_LOCK
		atomic { inflight[s]--; last = stopping[s] && inflight[s] == 0 };
		if
		:: last -> late[s] = 1
		:: else
		fi
#else
		atomic {
			inflight[s]--;
			if
			:: stopping[s] && inflight[s] == 0 -> heard[s] = 1
			:: else
			fi
		}
#endif
	:: break
	od;
	/* clear_pinpage() */
#ifdef BREAK_LEAVE_LISTED
	if
	:: indexed[s] -> leaving[s] = 1
	:: else -> pinned[s] = 0; gone[s] = 1; goto out
	fi;
	live[s] = 0;
#else
	atomic { !list_lock -> live[s] = 0; leaving[s] = 1 };
#endif
	if
	:: indexed[s] ->
#ifndef BREAK_LEAVE_WAITS
		open[s] == 0;
#endif
		atomic { indexed[s] = 0 }
	:: else
	fi;
	d_step { pinned[s] = 0; gone[s] = 1 };
out:
	assert(!stopping[s] || owed[s] == 1)
}

init {
	atomic {
#ifdef BREAK_QUIET_UNDER_LOCK
		run interrupt(0);
#endif
		run owner(0);
#if OWNERS > 1
		run owner(1);
#else
		gone[1] = 1;
#endif
		run mover(1);
#if MOVERS > 1
		run mover(2);
#endif
	}
#ifdef BREAK_QUIET_UNDER_LOCK
	_nr_pr == 2;
#else
	_nr_pr == 1;
#endif
	d_step {
		assert(owed[0] == 0 && owed[1] == 0);
		assert(!stopping[0] && !stopping[1]);
		assert(open[0] == 0 && open[1] == 0);
		assert(gone[0] && gone[1])
	}
}
