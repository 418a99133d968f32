// SPDX-License-Identifier: GPL-2.0
/*
 * Contiguous ranges of pages: what is in the page allocator already.
 */
#include <linux/mm.h>

#include "internal.h"

/* Where the free block begins that @pfn is in the middle of, or @pfn. */
unsigned long contig_block_start(unsigned long pfn)
{
	unsigned int order, free;
	unsigned long head;

	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		head = pfn & (~0UL << order);
		if (!PageBuddy(pfn_to_page(head)))
			continue;
		free = buddy_order_unsafe(pfn_to_page(head));
		if (free <= MAX_PAGE_ORDER && head + (1UL << free) > pfn)
			return head;
		break;
	}
	return pfn;
}

/**
 * contig_first_used() - find what is not in the page allocator
 * @start: the first pfn
 * @end: the pfn after the last one
 *
 * Without a lock: in isolated pageblocks free pages stay free, but a block that
 * merges with its neighbour can be taken for used. Never the other way round.
 *
 * Return: the first pfn that is not free; @end where all are.
 */
unsigned long contig_first_used(unsigned long start, unsigned long end)
{
	unsigned long pfn = contig_block_start(start);
	struct page *page;
	unsigned int order;

	while (pfn < end) {
		page = pfn_to_page(pfn);
		if (!PageBuddy(page))
			return max(pfn, start);
		order = buddy_order_unsafe(page);
		if (order > MAX_PAGE_ORDER)
			return max(pfn, start);
		pfn += 1UL << order;
	}
	return end;
}

/* Is there nothing to empty? */
bool contig_range_free(unsigned long start, unsigned long end)
{
	return contig_first_used(start, end) >= end;
}
