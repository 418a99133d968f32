// SPDX-License-Identifier: GPL-2.0
/*
 * Pauses. A set has at most one open, which belongs to a batch; after it, the
 * set runs for at least as long as the pause took, or two movers could keep an
 * owner from ever running.
 *
 * A batch opens the pauses of all sets of a folio before it asks any of them,
 * and waits for no other mover while it has one open. set->lock protects the
 * state of a pause, and with it the life of the batch: pinpage_quiet() may come
 * from any context, and from an owner that has been given up already.
 *
 * Waiting in vain is remembered, by set, and by user and system: somebody with
 * two thousand buffers in use costs a mover as much time as somebody with one.
 */
#include <linux/cred.h>
#include <linux/hash.h>
#include <linux/ktime.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/wait_bit.h>

#include "internal.h"

/*
 * Waited for in vain, a set is left alone for ten times the default patience,
 * then for twice as long each time, up to a minute.
 */
#define BACKOFF_MS	(10 * PINPAGE_TIMEOUT_MS)
#define BACKOFF_SHIFT	6

/* How often to look whether another mover's pause is over. */
#define POLL_NS		(100 * NSEC_PER_USEC)

#define PATIENCE_BITS	6

/* The same for all sets of a user and a system; those that collide share it. */
static struct {
	unsigned int vain;
	ktime_t retry;
} patience[1 << PATIENCE_BITS];
static DEFINE_SPINLOCK(patience_lock);

static u32 patience_of(struct pinpage_set *set)
{
	return hash_long((unsigned long)set->system + __kuid_val(set->user),
			 PATIENCE_BITS);
}

static ktime_t backoff(unsigned int vain)
{
	return ktime_add_ms(ktime_get(),
			    BACKOFF_MS << min(vain - 1, BACKOFF_SHIFT));
}

/* A set begins its life, unknown to everybody. */
void pinpage_pause_init(struct pinpage_set *set)
{
	spin_lock_init(&set->lock);
	INIT_LIST_HEAD(&set->evict);
	set->state = PAUSE_NONE;
	set->user = current_uid();
	set->vain = 0;
	set->batch = NULL;
	set->rests = 0;
	set->retry = 0;
	set->evicting = false;
	set->evict_run = 0;
}

/**
 * pinpage_pause_open - a batch is going to ask a set
 * @set: the set, which the caller has got
 * @batch: the batch
 * @now: when it began to ask: the same for all folios of a round, or a set whose
 *	rest ends meanwhile would be asked about some of them only
 * @when: set to the time when it is worth trying again, if that is earlier
 *
 * Context: Any.
 * Return: 0; -EALREADY where another pause is open, or the last one has ended
 * a moment ago.
 */
int pinpage_pause_open(struct pinpage_set *set, struct pinpage_batch *batch,
		       ktime_t now, ktime_t *when)
{
	ktime_t ready = now;
	unsigned long flags;

	spin_lock_irqsave(&set->lock, flags);
	if (set->batch)
		ready = ktime_add_ns(now, POLL_NS);
	else if (ktime_before(now, set->rests))
		ready = set->rests;
	else
		set->batch = batch;
	spin_unlock_irqrestore(&set->lock, flags);
	if (ready == now)
		return 0;
	if (!*when || ktime_before(ready, *when))
		*when = ready;
	return -EALREADY;
}

/* prepare() is called next: pinpage_quiet() counts from now on. */
void pinpage_pause_ask(struct pinpage_set *set)
{
	unsigned long flags;

	spin_lock_irqsave(&set->lock, flags);
	set->state = PAUSE_ASKED;
	set->began = ktime_get();
	spin_unlock_irqrestore(&set->lock, flags);
}

/**
 * pinpage_pause_close - the set goes on
 * @set: the set
 *
 * Context: Any. complete() has been called, if the set was asked and did not
 * refuse. From now on another batch may ask.
 */
void pinpage_pause_close(struct pinpage_set *set)
{
	unsigned long flags;
	ktime_t now;

	spin_lock_irqsave(&set->lock, flags);
	if (set->state != PAUSE_NONE) {
		now = ktime_get();
		set->rests = ktime_add(now, ktime_sub(now, set->began));
	}
	set->state = PAUSE_NONE;
	set->batch = NULL;
	spin_unlock_irqrestore(&set->lock, flags);
}

static void set_quiet(struct pinpage_set *set)
{
	lockdep_assert_held(&set->lock);
	if (set->state != PAUSE_ASKED)
		return;
	set->quieted = ktime_get();
	/* Pairs with the acquire in look_for_quiet(). */
	smp_store_release(&set->state, PAUSE_QUIET);
	pinpage_batch_wake(set->batch);
}

/**
 * pinpage_quiet - access to the items of the open pause has ended
 * @set: the set, whose prepare() returned -EINPROGRESS, or is going to
 *
 * Ignored where no pause is open. The owner makes sure that a call for one
 * pause can't come in the next one, by a lock that complete() takes as well;
 * pinpage_gate_leave() does so.
 *
 * Context: Any; takes a spinlock that nests in all others. @set stays in use
 * until this returns.
 */
void pinpage_quiet(struct pinpage_set *set)
{
	unsigned long flags;

	spin_lock_irqsave(&set->lock, flags);
	set_quiet(set);
	spin_unlock_irqrestore(&set->lock, flags);
}
EXPORT_SYMBOL_GPL(pinpage_quiet);

/* For pinpage_gate_leave(), which was the last one at that moment. */
void __pinpage_gate_quiet(struct pinpage_gate *gate)
{
	struct pinpage_set *set = gate->set;
	unsigned long flags;

	spin_lock_irqsave(&set->lock, flags);
	/* Or the gate is open again, or closed for another pause. */
	if (!atomic_read(&gate->users))
		set_quiet(set);
	spin_unlock_irqrestore(&set->lock, flags);
}
EXPORT_SYMBOL_GPL(__pinpage_gate_quiet);

/**
 * pinpage_gate_close - keep new users out
 * @gate: the gate, which is open
 *
 * Context: Any; for prepare().
 * Return: What prepare() returns: 0, or -EINPROGRESS where somebody is inside,
 * whose pinpage_gate_leave() will call pinpage_quiet().
 */
int pinpage_gate_close(struct pinpage_gate *gate)
{
	return atomic_sub_return(PINPAGE_GATE_OPEN, &gate->users) ?
	       -EINPROGRESS : 0;
}
EXPORT_SYMBOL_GPL(pinpage_gate_close);

/**
 * pinpage_gate_open - let users in again
 * @gate: the gate
 *
 * Context: Any; for complete(). Whoever enters sees what was done before.
 */
void pinpage_gate_open(struct pinpage_gate *gate)
{
	atomic_add_return(PINPAGE_GATE_OPEN, &gate->users);
	wake_up_var(&gate->users);
}
EXPORT_SYMBOL_GPL(pinpage_gate_open);

/**
 * pinpage_gate_enter_wait - pinpage_gate_enter(), after the pause if one is open
 * @gate: the gate
 * @state: how to sleep, %TASK_UNINTERRUPTIBLE, %TASK_INTERRUPTIBLE or
 *	%TASK_KILLABLE
 *
 * Context: Process context, may sleep for as long as a pause takes, that is up
 * to %PINPAGE_TIMEOUT_MAX_MS where another owner of the pages is slow. Not
 * inside a callback.
 * Return: 0; -ERESTARTSYS after a signal that @state lets through.
 */
int pinpage_gate_enter_wait(struct pinpage_gate *gate, unsigned int state)
{
	might_sleep();
	if (pinpage_gate_enter(gate))
		return 0;
	pinpage_move_enter();
	pinpage_move_exit();
	return ___wait_var_event(&gate->users, pinpage_gate_enter(gate), state,
				 0, 0, schedule());
}
EXPORT_SYMBOL_GPL(pinpage_gate_enter_wait);

/* Is it worth waiting for @set, or has that been in vain lately? */
bool pinpage_worth_waiting(struct pinpage_set *set)
{
	ktime_t now = ktime_get(), retry;

	spin_lock(&patience_lock);
	retry = patience[patience_of(set)].retry;
	spin_unlock(&patience_lock);
	return !ktime_before(now, retry) && !ktime_before(now, set->retry);
}

/**
 * pinpage_note_quiet - a set became quiet
 * @set: the set, with its pause open
 * @waited: somebody had to wait for it
 */
void pinpage_note_quiet(struct pinpage_set *set, bool waited)
{
	if (waited) {
		spin_lock(&patience_lock);
		patience[patience_of(set)].vain = 0;
		patience[patience_of(set)].retry = 0;
		spin_unlock(&patience_lock);
	}
	if (!set->vain)
		return;
	WRITE_ONCE(set->vain, 0);
	set->retry = 0;
	pinpage_evict_not(set, false);
}

/**
 * pinpage_note_vain - a set refused, or was waited for in vain
 * @set: the set, with its pause open
 * @waited: it was waited for, as long as it may take
 */
void pinpage_note_vain(struct pinpage_set *set, bool waited)
{
	u32 p = patience_of(set);

	if (!set->vain) {
		WRITE_ONCE(set->refuses, jiffies);
		WRITE_ONCE(set->vain, 1);
		pinpage_evict_later(set);
	} else if (waited) {
		WRITE_ONCE(set->vain, set->vain + 1);
	}
	if (!waited)
		return;
	set->retry = backoff(set->vain);
	spin_lock(&patience_lock);
	/* Of those that were waited for together, the first one counts. */
	if (!ktime_before(ktime_get(), patience[p].retry))
		patience[p].retry = backoff(++patience[p].vain);
	spin_unlock(&patience_lock);
}

#include "tests/pause-kunit.h"
