// SPDX-License-Identifier: GPL-2.0
/*
 * A CMA allocation has failed: who stands in the way, in the log, in a
 * tracepoint and in debugfs.
 */
#define pr_fmt(fmt) "cma: " fmt

#include <linux/bitmap.h>
#include <linux/cma.h>
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/ratelimit.h>
#include <linux/seq_file.h>
#include <linux/timekeeping.h>
#include <trace/events/cma.h>

#include "blame.h"
#include "cma.h"

/* The tracepoint tells them by number. */
static_assert(PAGE_BLAME_REGISTERED == 1 && PAGE_BLAME_LOCKED == 2 &&
	      PAGE_BLAME_WRITEBACK == 3 && PAGE_BLAME_REFUSED == 4 &&
	      PAGE_BLAME_PINNED == 5 && PAGE_BLAME_UNMOVABLE == 6);

static unsigned long free_pages_of(struct cma *cma)
{
	unsigned long flags, used;

	spin_lock_irqsave(&cma->lock, flags);
	used = bitmap_weight(cma->bitmap, cma_bitmap_maxno(cma));
	spin_unlock_irqrestore(&cma->lock, flags);
	return cma->count - (used << cma->order_per_bit);
}

static void blame_area(struct cma *cma, struct blame *blame, char *text)
{
	blame_range(cma->base_pfn, cma->base_pfn + cma->count, blame);
	blame_text(blame, text, BLAME_TEXT);
}

#ifdef CONFIG_CMA_DEBUGFS
static void remember(struct cma *cma, unsigned long count, int err,
		     const char *text)
{
	spin_lock(&cma->failure.lock);
	cma->failure.when = ktime_get_boottime_seconds();
	cma->failure.count = count;
	cma->failure.err = err;
	strscpy(cma->failure.text, text);
	spin_unlock(&cma->failure.lock);
}

/* debugfs: what is in the way now, and was when an allocation last failed */
void cma_blame_show(struct seq_file *m, struct cma *cma)
{
	struct cma_failure *failure = &cma->failure;
	char text[BLAME_TEXT];
	struct blame blame;

	blame_area(cma, &blame, text);
	seq_printf(m, "now: %lu of %lu pages free; in the way: %s\n",
		   free_pages_of(cma), cma->count, text[0] ? text : "nothing");
	spin_lock(&failure->lock);
	if (failure->err)
		seq_printf(m, "failed at %lld s: %lu pages, error %d; in the way: %s\n",
			   failure->when, failure->count, failure->err,
			   failure->text[0] ? failure->text : "nothing then");
	spin_unlock(&failure->lock);
}
#else
static void remember(struct cma *cma, unsigned long count, int err,
		     const char *text)
{
}
#endif

/**
 * cma_blame_failure() - an allocation has failed
 * @cma: the area
 * @count: pages that were wanted
 * @err: why there are none
 * @gfp: of the caller; with %__GFP_NOWARN there is no message
 *
 * It takes a walk over the area, some 10 ms for 1 GiB, and so is done for those
 * who want to know: for a message, which is rate limited, or a tracepoint that
 * is on. debugfs remembers the last time.
 *
 * Context: may sleep.
 */
void cma_blame_failure(struct cma *cma, unsigned long count, int err,
		       gfp_t gfp)
{
	static DEFINE_RATELIMIT_STATE(limit, DEFAULT_RATELIMIT_INTERVAL,
				      DEFAULT_RATELIMIT_BURST);
	bool warn = !(gfp & __GFP_NOWARN) && __ratelimit(&limit);
	char text[BLAME_TEXT];
	struct blame blame;

	if (!warn && !trace_cma_alloc_blame_enabled())
		return;
	blame_area(cma, &blame, text);
	remember(cma, count, err, text);
	trace_cma_alloc_blame(cma->name, count, err, blame.pages, text);
	if (warn)
		pr_err("%s: alloc failed, req-size: %lu pages, ret: %d; %lu of %lu pages free; in the way: %s\n",
		       cma->name, count, err, free_pages_of(cma), cma->count,
		       text[0] ? text : "nothing now");
}
