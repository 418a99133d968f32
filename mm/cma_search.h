/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where in a CMA area to try next: what is free in the bitmap, behind what has
 * failed, and not where it is known to fail.
 */
#ifndef _MM_CMA_SEARCH_H
#define _MM_CMA_SEARCH_H

#include <linux/types.h>

struct cma;
struct contig_ctl;

/**
 * struct cma_search - the places that one call tries
 * @cma: the area
 * @count: pages wanted
 * @start: the first bit to look at
 * @finer: second pass, for what the first one passed over
 * @passed_over: there is something
 *
 * The first pass goes on behind the pageblock of a page that could not be
 * moved: to isolate and empty the pageblock once more, for its other end, is
 * dear. The second pass takes these ends, and leaves out what the first one has
 * learnt. A page that was only looked at is not dear: both go on behind it.
 */
struct cma_search {
	struct cma *cma;
	unsigned long count;
	unsigned long start;
	bool finer;
	bool passed_over;
	/* private: */
	unsigned long bits, mask, offset;
	unsigned long *blockers;	/* pfns that failed, ascending */
	unsigned int nr_blockers, max_blockers;
};

int cma_search_init(struct cma_search *search, struct cma *cma,
		    unsigned long count, unsigned int align);
bool cma_search_next(struct cma_search *search, unsigned long *pfn);
void cma_search_busy(struct cma_search *search, unsigned long pfn,
		     struct contig_ctl *ctl);
void cma_search_again(struct cma_search *search, bool forget);
void cma_search_end(struct cma_search *search);

#endif /* _MM_CMA_SEARCH_H */
