/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a pinned anonymous page moves, against everybody who can look at it meanwhile.
 *
 * A process maps one page. An owner pins it through pinpage and its device writes into it.
 * Movers take it elsewhere; GUP-fast pins it, fork() gives it to a child, a fault writes to
 * it, munmap() drops it. Each step here is one that another processor can come between in
 * the kernel: a page-table entry is cleared, looked behind, and replaced, in three steps;
 * references, pins and slot are handed over one after the other. Memory is sequentially
 * consistent here; barriers.pml has what is not.
 *
 * Processes that run: -DMOVERS=n, and -DGUP, -DFORK, -DTOUCH, -DUNMAP. What scripts/model
 * takes out to see that it is missed: -DBREAK_..., see there.
 */
#ifndef MOVERS
#define MOVERS	1
#endif

#define FRAMES	4
#define PARENT	0
#define CHILD	1
#define NONE	100
#define CLEARED	101
#define MIG	50		/* + frame: a migration entry */
#define present(e) ((e) < FRAMES)

/* Frames: references, pins, mappings; is it exclusive, can it be isolated. */
byte ref[FRAMES], pin[FRAMES], map[FRAMES], data[FRAMES];
bit exclusive[FRAMES], lru[FRAMES];

/* Page tables, and whether a migration entry keeps its page exclusive. */
byte pte[2];
bit entry_exclusive[2];
bit ptl[2];
bit mmap_write;
byte seq;			/* write_protect_seq, odd while fork() copies */

/* The owner's set: where its slot is, and where its device writes. */
byte slot = NONE, owner_frame = NONE;
bit claimed, paused, owner_holds;
byte gup_frame = NONE;
byte version;			/* what was written last */

#define shared(f)	(pte[PARENT] == f && pte[CHILD] == f)

inline write_to(f)
{
	d_step { version++; data[f] = version; }
}

/* Not found: frame is NONE. */
inline alloc_frame(frame)
{
	d_step {
		frame = NONE;
		if
		:: ref[0] == 0 -> frame = 0
		:: ref[0] != 0 && ref[1] == 0 -> frame = 1
		:: ref[0] != 0 && ref[1] != 0 && ref[2] == 0 -> frame = 2
		:: ref[0] != 0 && ref[1] != 0 && ref[2] != 0 && ref[3] == 0 -> frame = 3
		:: else
		fi;
		if
		:: frame != NONE ->
			ref[frame] = 1; pin[frame] = 0; map[frame] = 0;
			exclusive[frame] = 0; lru[frame] = 0; data[frame] = 0
		:: else
		fi
	}
}

inline lock_pte(mm)
{
	atomic { !ptl[mm] -> ptl[mm] = 1 }
}

/* With mmap_lock for reading, which is held no longer than the page-table lock here. */
inline lock_mapping()
{
	atomic { !mmap_write && !ptl[PARENT] -> ptl[PARENT] = 1 }
}

inline unlock_pte(mm)
{
	ptl[mm] = 0
}

/* try_to_migrate_one(); sets failed. */
inline unmap_one(mm)
{
	lock_pte(mm);
	if
	:: pte[mm] == src ->
		pte[mm] = CLEARED;
		was_exclusive = exclusive[src];
		if
		:: was_exclusive && pin[src] > 0 && !ours -> pte[mm] = src; failed = 1
		:: else ->
#ifdef BREAK_EXCLUSIVE_MARK
			exclusive[src] = 0;
			was_exclusive = 0;
#else
			/* A page that owners have pinned keeps its mark. */
			if
			:: !ours -> exclusive[src] = 0
			:: else
			fi;
#endif
			d_step {
				entry_exclusive[mm] = was_exclusive;
				pte[mm] = MIG + src;
				map[src]--; ref[src]--
			}
		fi
	:: else
	fi;
	unlock_pte(mm)
}

/* remove_migration_pte() */
inline remap_one(mm, to)
{
	lock_pte(mm);
	if
	:: pte[mm] == MIG + src ->
		d_step {
			map[to]++; ref[to]++;
			if
			:: entry_exclusive[mm] -> exclusive[to] = 1
			:: else
			fi;
			pte[mm] = to
		}
	:: else
	fi;
	unlock_pte(mm)
}

/* __pinpage_commit() */
inline commit()
{
	if
	:: ours ->
		ref[dst]++;
		pin[dst]++;
		exclusive[dst] = exclusive[src];
#ifndef BREAK_PINS_STAY
		pin[src]--;
#endif
		ref[src]--;
		slot = dst
	:: else -> exclusive[dst] = exclusive[src]
	fi
}

proctype mover()
{
	byte src = NONE, dst = NONE, expected, seen;
	bit ours, failed, was_exclusive;

	/* Isolate: no other mover has it from now on. */
	atomic {
		if
		:: lru[0] && ref[0] > 0 -> src = 0
		:: lru[1] && ref[1] > 0 -> src = 1
		:: lru[2] && ref[2] > 0 -> src = 2
		:: lru[3] && ref[3] > 0 -> src = 3
		:: else -> goto out
		fi;
		lru[src] = 0;
		ref[src]++
	}
	alloc_frame(dst);
	if
	:: dst == NONE -> goto putback
	:: else
	fi;
	/* Claim, and the owner pauses: under the index's lock. */
#ifdef BREAK_CLAIM_LOCK
	ours = (slot == src);
	if
	:: ours -> claimed = 1; paused = 1
	:: else
	fi;
#else
	atomic {
		ours = (slot == src && !claimed);
		/* Still claimed: the owner has not been told yet of the last move. */
		failed = (slot == src && claimed);
		if
		:: ours ->
			claimed = 1;
#ifndef BREAK_PAUSE
			paused = 1
#endif
		:: else
		fi
	}
#endif
#ifdef BREAK_CHECK_LAST
	seen = ref[src] - map[src];
#endif
	if
	:: !failed -> unmap_one(PARENT)
	:: else
	fi;
	if
	:: !failed -> unmap_one(CHILD)
	:: else
	fi;
	expected = 1 + ours;
#ifndef BREAK_CHECK_LAST
	seen = ref[src];
#endif
	if
	:: failed || map[src] > 0 -> failed = 1
	:: else ->
#ifdef BREAK_EXACT_COUNT
		failed = (seen < expected)
#else
		failed = (seen != expected)
#endif
	fi;
	if
	:: failed ->
		remap_one(PARENT, src);
		remap_one(CHILD, src);
		ref[dst]--
	:: else ->
		data[dst] = data[src];
#ifndef BREAK_COMMIT_FIRST
		commit();
#endif
		remap_one(PARENT, dst);
		remap_one(CHILD, dst);
#ifdef BREAK_COMMIT_FIRST
		commit();
#endif
		d_step { ref[dst]--; lru[dst] = 1 }
	fi;
	/* complete() */
	if
	:: ours ->
		d_step {
			if
			:: present(slot) -> owner_frame = slot
			:: else
			fi
		};
		paused = 0;
		claimed = 0
	:: else
	fi;
putback:
	skip;
	d_step { ref[src]--; lru[src] = (ref[src] > 0) }
out:
}

proctype owner()
{
	byte f, writes;

	/* Slow GUP, then the index. */
	lock_mapping();
	f = pte[PARENT];
	if
	:: present(f) && exclusive[f] ->
		d_step { ref[f]++; pin[f]++ }
	:: else -> f = NONE
	fi;
	unlock_pte(PARENT);
	if
	:: f == NONE -> goto out
	:: else
	fi;
	d_step { owner_frame = f; owner_holds = 1 };
	slot = f;
	do
	:: atomic { writes < 2 && !paused -> write_to(owner_frame); writes++ }
	:: break
	od;
	/* Leave: the slot goes when no mover counts on it. */
#ifdef BREAK_LEAVE_WAITS
	slot = NONE;
#else
	atomic { !claimed -> slot = NONE }
#endif
	d_step { owner_holds = 0; f = owner_frame };
	assert(pin[f] > 0 && ref[f] > 0);
	d_step { pin[f]--; ref[f]-- };
out:
}

proctype gup_fast()
{
	byte f, s;

	s = seq;
	f = pte[PARENT];
	if
	:: (s & 1) || !present(f) -> goto out
	:: else
	fi;
	/* try_grab_folio_fast() */
	atomic {
		if
		:: ref[f] == 0 -> goto out
		:: else -> ref[f]++; pin[f]++
		fi
	}
#ifndef BREAK_GUP_LOOKS_AGAIN
	if
	:: pte[PARENT] != f -> goto drop
	:: else
	fi;
#endif
	if
	:: !exclusive[f] -> goto drop
	:: else
	fi;
#ifndef BREAK_GUP_SEES_FORK
	if
	:: seq != s -> goto drop
	:: else
	fi;
#endif
	gup_frame = f;
	write_to(f);
	gup_frame = NONE;
drop:
	skip;
	d_step { pin[f]--; ref[f]-- };
out:
}

proctype forker()
{
	byte e, g;

	atomic { !mmap_write && !ptl[PARENT] -> mmap_write = 1 };
	seq++;
again:
	lock_pte(PARENT);
	e = pte[PARENT];
	if
	:: present(e) ->
		if
		:: exclusive[e] && pin[e] > 0 ->
			alloc_frame(g);
			if
			:: g != NONE ->
				d_step { map[g] = 1; exclusive[g] = 1; lru[g] = 1; data[g] = data[e]; pte[CHILD] = g }
			:: else
			fi
		:: else ->
			exclusive[e] = 0;
			lock_pte(CHILD);
			d_step { ref[e]++; map[e]++; pte[CHILD] = e };
			unlock_pte(CHILD)
		fi
	:: e >= MIG && e < NONE ->
#ifdef BREAK_FORK_WAITS
		entry_exclusive[PARENT] = 0;
#else
		if
		:: entry_exclusive[PARENT] ->
			unlock_pte(PARENT);
			pte[PARENT] != e;
			goto again
		:: else
		fi;
#endif
		lock_pte(CHILD);
		d_step { pte[CHILD] = e; entry_exclusive[CHILD] = 0 };
		unlock_pte(CHILD)
	:: else
	fi;
	unlock_pte(PARENT);
	seq++;
	mmap_write = 0
}

/* A write fault, or a write: a page that is not exclusive is copied, or becomes it. */
proctype toucher()
{
	byte e, g;

	lock_mapping();
	e = pte[PARENT];
	if
	:: present(e) ->
		if
		:: exclusive[e] -> write_to(e)
		:: else ->
			if
			:: ref[e] == 1 -> exclusive[e] = 1; write_to(e)
			:: else ->
				alloc_frame(g);
				if
				:: g != NONE ->
					d_step {
						map[g] = 1; exclusive[g] = 1; lru[g] = 1; data[g] = data[e];
						pte[PARENT] = g; map[e]--; ref[e]--
					};
					write_to(g)
				:: else
				fi
			fi
		fi
	:: else
	fi;
	unlock_pte(PARENT)
}

proctype unmapper()
{
	byte e;

	lock_mapping();
	e = pte[PARENT];
	if
	:: present(e) -> d_step { pte[PARENT] = NONE; map[e]--; ref[e]-- }
	:: else -> pte[PARENT] = NONE
	fi;
	unlock_pte(PARENT)
}

/* No pinned page is shared. */
proctype monitor()
{
end:
	atomic {
		(owner_holds && shared(owner_frame)) || (present(gup_frame) && shared(gup_frame)) ->
		assert(false)
	}
}

init {
	byte f;

	atomic {
		ref[0] = 1; map[0] = 1; exclusive[0] = 1; lru[0] = 1;
		pte[PARENT] = 0; pte[CHILD] = NONE;
		run monitor();
		run owner();
#ifdef GUP
		run gup_fast();
#endif
#ifdef FORK
		run forker();
#endif
#ifdef TOUCH
		run toucher();
#endif
#ifdef UNMAP
		run unmapper();
#endif
		run mover();
#if MOVERS > 1
		run mover();
#endif
	}
	/* All but the monitor are done: no reference is lost, none too many, no write either. */
	_nr_pr == 2;
	d_step {
		for (f : 0 .. FRAMES - 1) {
			assert(pin[f] == 0);
			assert(ref[f] == map[f]);
			assert(map[f] == (pte[PARENT] == f) + (pte[CHILD] == f))
		}
		assert(pte[PARENT] == NONE || data[pte[PARENT]] == version)
	}
}
