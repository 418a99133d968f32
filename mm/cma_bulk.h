/* SPDX-License-Identifier: GPL-2.0 */
/* Many chunks of one size: what cma_bulk.c and its tests know of each other. */
#ifndef _MM_CMA_BULK_H
#define _MM_CMA_BULK_H

#include "cma_search.h"

struct page;

/**
 * struct cma_bulk - a call for many chunks
 * @cma: the area
 * @chunk: pages in a chunk
 * @step: from one chunk to the next, in pages
 * @span: what is isolated at once, in pages
 * @base: first pfn of this span
 * @nr_chunks: in a span, at most
 * @mine: those of this span that are reserved
 * @nr_mine: how many
 * @pages: where to store the first page of each
 * @nr: how many chunks are wanted
 * @min: and how many will do
 * @got: are there
 * @err: why some chunk could not be had in this pass
 * @blockers: what was in the way
 * @look: contig_look(), before caches are drained
 * @get: take what is reserved, and drop the rest; 0, or what ends the call
 */
struct cma_bulk {
	struct cma *cma;
	unsigned long chunk, step, span;
	unsigned long base;
	unsigned long nr_chunks;
	unsigned long *mine;
	unsigned long nr_mine;
	struct page **pages;
	unsigned long nr, min, got;
	int err;
	struct cma_blockers blockers;
	unsigned long (*look)(struct contig_ctl *ctl, unsigned long start,
			      unsigned long end);
	int (*get)(struct cma_bulk *bulk, struct contig_ctl *ctl);
};

int cma_bulk_init(struct cma_bulk *bulk, struct cma *cma, unsigned int order);
int cma_bulk_run(struct cma_bulk *bulk, struct contig_ctl *ctl);
void cma_bulk_end(struct cma_bulk *bulk);
void cma_bulk_keep(struct cma_bulk *bulk, unsigned long i);
void cma_bulk_drop(struct cma_bulk *bulk, struct contig_ctl *ctl,
		   unsigned long i);
void cma_bulk_drop_all(struct cma_bulk *bulk);

#endif /* _MM_CMA_BULK_H */
