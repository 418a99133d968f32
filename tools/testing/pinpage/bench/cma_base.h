/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The test driver on a base kernel, where cma_alloc() takes a bool, and nothing
 * allocates in bulk. Included before all of mm/cma_test.c there.
 */
#include <linux/cma.h>
#include <linux/gfp.h>

static inline struct page *base_cma_alloc(struct cma *cma, unsigned long count,
					  unsigned int align, gfp_t gfp)
{
	return cma_alloc(cma, count, align, gfp & __GFP_NOWARN);
}

#define CMA_TEST_BASE
#define cma_alloc base_cma_alloc

static inline long cma_alloc_bulk(struct cma *cma, unsigned int order,
				  unsigned long nr, unsigned long min,
				  struct page **pages, gfp_t gfp)
{
	return -EOPNOTSUPP;
}
