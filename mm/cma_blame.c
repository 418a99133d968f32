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
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <trace/events/cma.h>

#include "blame.h"
#include "cma.h"
#include "contig.h"

/* The tracepoint tells them by number. */
static_assert(PAGE_BLAME_REGISTERED == 1 && PAGE_BLAME_LOCKED == 2 &&
	      PAGE_BLAME_WRITEBACK == 3 && PAGE_BLAME_REFUSED == 4 &&
	      PAGE_BLAME_REFERENCED == 5 && PAGE_BLAME_PINNED == 6 &&
	      PAGE_BLAME_UNMOVABLE == 7);

static unsigned long free_pages_of(struct cma *cma)
{
	unsigned long used;

	spin_lock_irq(&cma->lock);
	used = bitmap_weight(cma->bitmap, cma_bitmap_maxno(cma));
	spin_unlock_irq(&cma->lock);
	return cma->count - (used << cma->order_per_bit);
}

/* The next run of pages, from bit @from on, that nobody has allocated. */
static bool next_free(struct cma *cma, unsigned long *from, unsigned long *to)
{
	unsigned long maxno = cma_bitmap_maxno(cma);

	spin_lock_irq(&cma->lock);
	*from = find_next_zero_bit(cma->bitmap, maxno, *from);
	*to = find_next_bit(cma->bitmap, maxno, *from);
	spin_unlock_irq(&cma->lock);
	return *from < maxno;
}

static void add_owner(struct blame *sum, const char *name, unsigned long pages)
{
	unsigned int i;

	for (i = 0; i < sum->nr_owners; i++)
		if (!strcmp(sum->owners[i].name, name))
			break;
	if (i == BLAME_OWNERS)
		return;
	if (i == sum->nr_owners) {
		strscpy(sum->owners[i].name, name);
		sum->nr_owners++;
	}
	sum->owners[i].pages += pages;
}

static void add_blame(struct blame *sum, const struct blame *part)
{
	unsigned int i;

	for (i = 0; i < NR_PAGE_BLAMES; i++)
		sum->pages[i] += part->pages[i];
	for (i = 0; i < part->nr_owners; i++)
		add_owner(sum, part->owners[i].name, part->owners[i].pages);
}

/*
 * Pages that have been allocated from the area are not in the way of anybody:
 * there is no room where they are.
 */
static void blame_area(struct cma *cma, struct blame *blame, char *text)
{
	unsigned long from, to;
	struct blame part;

	memset(blame, 0, sizeof(*blame));
	for (from = 0; next_free(cma, &from, &to); from = to) {
		blame_range(cma->base_pfn + (from << cma->order_per_bit),
			    cma->base_pfn + (to << cma->order_per_bit), &part);
		add_blame(blame, &part);
	}
	blame_text(blame, text, BLAME_TEXT);
}

/*
 * The area is looked at after the failure. What made it fail may have gone by
 * then, but is known.
 */
static void add_last(const struct contig_ctl *ctl, const struct blame *blame,
		     char *text, size_t size)
{
	const char *what = ctl->why ? page_blame_names[ctl->why] : "busy";
	size_t len = strlen(text);

	if (ctl->taken)
		what = "being allocated by others";
	else if (ctl->why && blame->pages[ctl->why])
		return;
	scnprintf(text + len, size - len, "%spfn %#lx was %s", len ? ", " : "",
		  ctl->blocker, what);
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
 * @ctl: what was in the way last; with %__GFP_NOWARN there is no message
 *
 * It takes a walk over the area, some 10 ms for 1 GiB, and so is done for those
 * who want to know: for a message, which is rate limited, or a tracepoint that
 * is on. debugfs remembers the last time.
 *
 * Context: may sleep.
 */
void cma_blame_failure(struct cma *cma, unsigned long count, int err,
		       const struct contig_ctl *ctl)
{
	static DEFINE_RATELIMIT_STATE(limit, DEFAULT_RATELIMIT_INTERVAL,
				      DEFAULT_RATELIMIT_BURST);
	bool warn = !(ctl->gfp & __GFP_NOWARN) && __ratelimit(&limit);
	char text[BLAME_TEXT + LAST_TEXT];
	struct blame blame;

	if (!warn && !trace_cma_alloc_blame_enabled())
		return;
	blame_area(cma, &blame, text);
	if (err == -EBUSY)
		add_last(ctl, &blame, text, sizeof(text));
	remember(cma, count, err, text);
	trace_cma_alloc_blame(cma->name, count, err, blame.pages, text);
	if (warn)
		pr_err("%s: alloc failed, req-size: %lu pages, ret: %d; %lu of %lu pages free; in the way: %s\n",
		       cma->name, count, err, free_pages_of(cma), cma->count,
		       text[0] ? text : "nothing now");
}
