// SPDX-License-Identifier: GPL-2.0
/*
 * Contiguous ranges of pages: how hard to try. alloc_contig_range() itself is in
 * page_alloc.c.
 */
#include <linux/hugetlb.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>

#include "internal.h"
#include "contig.h"

/**
 * contig_init() - begin a call
 * @ctl: to be filled in
 * @gfp: the caller's mask, see alloc_contig_range()
 *
 * Return: 0, or -EINVAL where the mask has a flag that means nothing here, or
 * two that contradict each other.
 */
int contig_init(struct contig_ctl *ctl, gfp_t gfp)
{
	const gfp_t reclaim_mask = __GFP_IO | __GFP_FS | __GFP_RECLAIM;
	const gfp_t rung_mask = __GFP_NORETRY | __GFP_RETRY_MAYFAIL;
	const gfp_t action_mask = __GFP_COMP | __GFP_NOWARN | __GFP_ZERO |
				  __GFP_ZEROTAGS | __GFP_SKIP_ZERO |
				  __GFP_SKIP_KASAN | rung_mask;

	/*
	 * We are given the range to allocate; node, mobility and placement
	 * hints are irrelevant at this point. We'll simply ignore them.
	 */
	gfp = current_gfp_context(gfp);
	gfp &= ~(GFP_ZONEMASK | __GFP_RECLAIMABLE | __GFP_WRITE |
		 __GFP_HARDWALL | __GFP_THISNODE | __GFP_MOVABLE);
	/* Not NOFAIL: there may be nothing that could be done. */
	if (gfp & ~(reclaim_mask | action_mask))
		return -EINVAL;
	if ((gfp & rung_mask) == rung_mask)
		return -EINVAL;

	*ctl = (struct contig_ctl) {
		.rung = CONTIG_DEFAULT,
		.gfp = gfp,
		/*
		 * What is in the range is movable. Direct reclaim may throttle
		 * the caller until writeback catches up: not for who can't wait.
		 */
		.cc_gfp = (gfp & (reclaim_mask | __GFP_NOWARN)) |
			  __GFP_HARDWALL | __GFP_MOVABLE,
	};
	if (gfp & __GFP_NORETRY) {
		ctl->rung = CONTIG_FAILFAST;
		ctl->cc_gfp &= ~__GFP_DIRECT_RECLAIM;
		ctl->cc_gfp |= __GFP_NORETRY | __GFP_NOWARN;
		return 0;
	}
	ctl->cc_gfp |= __GFP_RETRY_MAYFAIL;
	if (gfp & __GFP_RETRY_MAYFAIL)
		ctl->rung = CONTIG_HARD;
	contig_wait_init(ctl);
	return 0;
}

/*
 * alloc_migration_target(), but for large folios as modest as for others: who
 * fails fast does not wait for compaction, it splits them.
 */
struct folio *contig_target(struct folio *src, unsigned long private)
{
	struct migration_target_control *mtc = (void *)private;
	gfp_t gfp = mtc->gfp_mask;

	if ((gfp & __GFP_DIRECT_RECLAIM) || folio_test_hugetlb(src) ||
	    !folio_test_large(src))
		return alloc_migration_target(src, private);
	gfp &= ~__GFP_RECLAIM;
	gfp |= GFP_TRANSHUGE_LIGHT | __GFP_NORETRY;
	return __folio_alloc(gfp, folio_order(src), mtc->nid, mtc->nmask);
}
