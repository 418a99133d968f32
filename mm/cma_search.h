/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where in a CMA area to try next, and what is known of what was in the way.
 */
#ifndef _MM_CMA_SEARCH_H
#define _MM_CMA_SEARCH_H

#include <linux/types.h>

#include "blame.h"

struct cma;
struct contig_ctl;

/* How many places are tried once more although a page in them seems to stay. */
#define CMA_DOUBTS	3

/**
 * struct cma_blockers - pages that kept a call from having a place
 * @pages: by ascending pfn
 * @nr: how many
 * @nr_soft: and of these, how many may go away by themselves
 * @doubts: how many places with such pages may be tried all the same
 * @taken: others worked on a place
 * @content: what there is will do, unless more can be had without waiting
 * @patience: how often the default looks again at what is in the way
 * @look: what keeps the page of a pfn now? page_blame(), or a model of it
 */
struct cma_blockers {
	struct cma_blocker {
		unsigned long pfn;
		enum page_blame why;
	} *pages;
	unsigned int nr, nr_soft;
	unsigned int doubts;
	bool taken;
	bool content;
	unsigned int patience;
	enum page_blame (*look)(unsigned long pfn);
	/* private: */
	unsigned int max;
};

void cma_blockers_init(struct cma_blockers *blockers);
/* The last page from @start on and before @end that is known; ULONG_MAX: none. */
unsigned long cma_blockers_last(struct cma_blockers *blockers,
				unsigned long start, unsigned long end);
bool cma_blockers_doubt(struct cma_blockers *blockers, unsigned long blocker);
void cma_blockers_add(struct cma_blockers *blockers, struct contig_ctl *ctl,
		      unsigned long pfn);
/* One pass over the area: 0, -EBUSY where something was in the way, or an error */
typedef int (*cma_pass_t)(void *data, struct contig_ctl *ctl);
int cma_passes(struct cma_blockers *blockers, struct contig_ctl *ctl,
	       cma_pass_t pass, void *data);

/**
 * struct cma_search - the places that one call tries
 * @cma: the area
 * @count: pages wanted
 * @start: the first bit to look at
 * @blockers: what has failed
 * @try: get this place, and return as contig_try()
 */
struct cma_search {
	struct cma *cma;
	unsigned long count;
	unsigned long start;
	struct cma_blockers blockers;
	int (*try)(struct contig_ctl *ctl, unsigned long pfn,
		   unsigned long count);
	/* private: */
	unsigned long bits, mask, offset;
	unsigned long pfn;
	unsigned int align;
};

int cma_search_init(struct cma_search *search, struct cma *cma,
		    unsigned long count, unsigned int align);
int cma_search_run(struct cma_search *search, struct contig_ctl *ctl,
		   unsigned long *pfn);
void cma_search_end(struct cma_search *search);

#endif /* _MM_CMA_SEARCH_H */
