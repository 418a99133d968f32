/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How alloc_contig_range() and CMA empty a range of pages: what its parts in
 * page_alloc.c, contig.c and cma.c know of each other.
 */
#ifndef _MM_CONTIG_H
#define _MM_CONTIG_H

#include <linux/gfp_types.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/types.h>

struct folio;
struct zone;

/* How hard to try; from the caller's gfp mask. See alloc_contig_range(). */
enum contig_rung {
	CONTIG_FAILFAST,	/* __GFP_NORETRY */
	CONTIG_DEFAULT,
	CONTIG_HARD,		/* __GFP_RETRY_MAYFAIL */
};

/* What a page is to somebody who wants the range that it is in. */
enum contig_state {
	CONTIG_FREE,		/* or nobody's at the moment */
	CONTIG_MOVABLE,		/* nothing speaks against moving it */
	CONTIG_REFUSED,		/* a pinpage owner did not let it go */
	CONTIG_HUGETLB,		/* movable, but that takes its time */
	CONTIG_LOCKED,
	CONTIG_WRITEBACK,
	CONTIG_REFERENCED,	/* by someone who will soon let go, or not */
	CONTIG_PINNED,		/* by someone who can't be asked */
	CONTIG_UNMOVABLE,
};

/**
 * struct contig_ctl - a call that wants contiguous pages
 * @rung: how hard to try
 * @gfp: the caller's mask, without what is irrelevant here
 * @cc_gfp: for the pages that those in the way are moved to
 * @batch: the call is for many ranges: drain the caches of pages once, and keep
 *	the LRU caches off until contig_caches_on()
 * @caches_off: they are
 * @blocker: after -EBUSY, the pfn of the page that could not be moved
 * @scanned: it was found by looking, before anything was done
 */
struct contig_ctl {
	enum contig_rung rung;
	gfp_t gfp;
	gfp_t cc_gfp;
	bool batch;
	bool caches_off;
	bool scanned;
	unsigned long blocker;
	/* private: of contig_wait() */
	unsigned int steps_left;
	unsigned int step_us;
	unsigned int max_us;
	unsigned long waited_for;
};

/* contig.c */
int contig_init(struct contig_ctl *ctl, gfp_t gfp);
enum contig_state contig_page_state(unsigned long pfn, unsigned long *nr);
bool contig_state_blocks(enum contig_rung rung, enum contig_state state,
			 bool drained);
unsigned long contig_scan(struct contig_ctl *ctl, unsigned long start,
			  unsigned long end, bool drained);
bool contig_range_free(unsigned long start, unsigned long end);
unsigned long contig_first_used(unsigned long start, unsigned long end);
void contig_caches_off(struct contig_ctl *ctl, struct zone *zone);
void contig_caches_on(struct contig_ctl *ctl);
struct folio *contig_target(struct folio *src, unsigned long private);
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

bool contig_claim(struct contig_claim *claim, struct contig_ctl *ctl,
		  unsigned long start, unsigned long end);
void contig_unclaim(struct contig_claim *claim);

#endif /* _MM_CONTIG_H */
