/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How alloc_contig_range() and CMA empty a range of pages: what its parts in
 * page_alloc.c, contig*.c and cma*.c know of each other.
 */
#ifndef _MM_CONTIG_H
#define _MM_CONTIG_H

#include <linux/gfp_types.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/types.h>

#include "blame.h"

struct folio;
struct zone;

/* How hard to try; from the caller's gfp mask. See alloc_contig_range(). */
enum contig_rung {
	CONTIG_FAILFAST,	/* __GFP_NORETRY */
	CONTIG_DEFAULT,
	CONTIG_HARD,		/* __GFP_RETRY_MAYFAIL */
};

/**
 * struct contig_wait - what a call may still wait for, in all
 * @steps: how many more sleeps
 * @us: length of the next one; each is twice as long as the one before
 * @max_us: and at most so long
 * @pfn: of the page that was waited for last
 */
struct contig_wait {
	unsigned int steps;
	unsigned int us;
	unsigned int max_us;
	unsigned long pfn;
};

/**
 * struct contig_ctl - a call that wants contiguous pages
 * @rung: how hard to try
 * @gfp: the caller's mask, without what is irrelevant here
 * @cc_gfp: for the pages that those in the way are moved to
 * @batch: the call is for many ranges: drain the caches of pages once, and keep
 *	the LRU caches off until contig_caches_on(); what stays in a range is no
 *	reason to leave the rest where it is
 * @eager: what can't move at the moment is tried all the same; else only what
 *	looks as if it could
 * @queue: wait for others who work on the same range; else go elsewhere
 * @caches_off: the LRU caches are empty and off
 * @scanned: the range was given up by looking, before anything was done
 * @taken: because others work on it, up to @blocker
 * @blocker: after -EBUSY, the pfn of the page that was in the way
 * @why: what kept it
 * @wait: what may still be waited
 */
struct contig_ctl {
	enum contig_rung rung;
	gfp_t gfp;
	gfp_t cc_gfp;
	bool batch;
	bool eager;
	bool queue;
	bool caches_off;
	bool scanned;
	bool taken;
	unsigned long blocker;
	enum page_blame why;
	struct contig_wait wait;
};

/* contig_look.c */
unsigned long contig_look(struct contig_ctl *ctl, unsigned long start,
			  unsigned long end, bool drained);
void contig_caches_off(struct contig_ctl *ctl, struct zone *zone);
void contig_caches_on(struct contig_ctl *ctl);
void contig_blame_isolation(struct contig_ctl *ctl, unsigned long start,
			    unsigned long end);

/* contig.c */
int contig_init(struct contig_ctl *ctl, gfp_t gfp);
struct folio *contig_target(struct folio *src, unsigned long private);

/* contig_wait.c */
void contig_wait_init(struct contig_ctl *ctl);
bool contig_sleep(struct contig_wait *wait);
bool contig_wait(struct contig_ctl *ctl);

/* page_alloc.c */
int contig_isolate(struct contig_ctl *ctl, unsigned long start,
		   unsigned long end, int migratetype);
int contig_empty(struct contig_ctl *ctl, unsigned long start,
		 unsigned long end, int migratetype);
int contig_take(struct contig_ctl *ctl, unsigned long start,
		unsigned long end);
int contig_try(struct contig_ctl *ctl, unsigned long start, unsigned long end,
	       int migratetype);

/*
 * A range of pfns that is being allocated from, in whole pageblocks. Claims
 * keep those who would isolate the same pageblock from failing each other.
 */
struct contig_claim {
	struct list_head node;
	unsigned long start, end;
};

/* contig_claim.c */
bool contig_claim(struct contig_claim *claim, struct contig_ctl *ctl,
		  unsigned long start, unsigned long end);
void contig_unclaim(struct contig_claim *claim);

#endif /* _MM_CONTIG_H */
