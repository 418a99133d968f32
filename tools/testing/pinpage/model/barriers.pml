/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where an argument rests on a barrier: litmus tests on a machine whose stores wait in a
 * buffer for each processor and variable, and become visible in any order; mb() waits
 * until all of its own are. A processor sees its own stores at once. Loads that nothing
 * orders are tried in both orders.
 *
 * That is weaker than x86, and as weak as arm64 for these shapes. The kernel's own model
 * (tools/memory-model) wants herd7, which Debian does not have.
 *
 * One of -DUNMAP, -DWAKE, -DUNCLAIM, -DGROW. -DBREAK_MB takes the barrier out,
 * -DBREAK_READER the other side's.
 */
#define VARS	2
#define EMPTY	7
#define value(cpu, v) (buffer[(cpu) * VARS + (v)] == EMPTY -> memory[v] : buffer[(cpu) * VARS + (v)])
#define drained(cpu) (buffer[(cpu) * VARS] == EMPTY && buffer[(cpu) * VARS + 1] == EMPTY)

byte memory[VARS];
byte buffer[2 * VARS];
byte seen[2];
bit done[2];

#define store(cpu, v, x) buffer[(cpu) * VARS + (v)] = x
#define mb(cpu) drained(cpu)

/* An atomic operation that returns a value is a full barrier on both sides. */
inline atomic_store(cpu, v, x)
{
	mb(cpu);
	memory[v] = x
}

proctype drain(byte cpu)
{
end:
	do
	:: atomic { buffer[cpu * VARS] != EMPTY -> memory[0] = buffer[cpu * VARS]; buffer[cpu * VARS] = EMPTY }
	:: atomic { buffer[cpu * VARS + 1] != EMPTY -> memory[1] = buffer[cpu * VARS + 1]; buffer[cpu * VARS + 1] = EMPTY }
	od
}

#ifdef UNMAP
/*
 * try_to_migrate() clears the entry (0), then looks at the references (1); GUP-fast takes
 * one, then looks at the entry. One of the two must see the other.
 */
#define CONDITION (seen[0] == 1 || seen[1] == 1)
proctype first()
{
	store(0, 0, 1);
#ifndef BREAK_MB
	mb(0);
#endif
	seen[0] = value(0, 1);
	done[0] = 1
}

proctype second()
{
#ifdef BREAK_READER
	store(1, 1, 1);
#else
	atomic_store(1, 1, 1);
#endif
	seen[1] = value(1, 0);
	done[1] = 1
}
#endif

#ifdef WAKE
/*
 * Who ends what is waited for (0: no longer isolated, or quiet) looks whether somebody
 * waits (1); who waits says so, then looks once more. Or it sleeps for ever.
 */
#define CONDITION (seen[0] == 1 || seen[1] == 1)
proctype first()
{
	store(0, 0, 1);
#ifndef BREAK_MB
	mb(0);
#endif
	seen[0] = value(0, 1);
	done[0] = 1
}

proctype second()
{
	store(1, 1, 1);
#ifndef BREAK_READER
	mb(1);
#endif
	seen[1] = value(1, 0);
	done[1] = 1
}
#endif

#if defined(UNCLAIM) || defined(GROW)
/*
 * complete() writes what the driver knows (0), then the claim goes (1): the next mover,
 * who finds no claim, finds what was written. In the same way a reader who sees the new
 * size of the index (1) sees the buckets (0).
 */
#define CONDITION (seen[1] == 0 || seen[0] == 1)
proctype first()
{
	store(0, 0, 1);
#ifndef BREAK_MB
	mb(0);
#endif
	store(0, 1, 1);
	done[0] = 1
}

proctype second()
{
	if
	:: seen[1] = value(1, 1); seen[0] = value(1, 0)
#ifdef BREAK_READER
	/* Neither a lock nor a dependency. */
	:: seen[0] = value(1, 0); seen[1] = value(1, 1)
#endif
	fi;
	done[1] = 1
}
#endif

init {
	atomic {
		buffer[0] = EMPTY; buffer[1] = EMPTY; buffer[2] = EMPTY; buffer[3] = EMPTY;
		run drain(0);
		run drain(1);
		run first();
		run second()
	}
	done[0] && done[1];
	assert(CONDITION)
}
