// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/cma_test: lets a process allocate from a CMA area as a driver would, and
 * stand in the way of those who do.
 *
 * What is allocated is written to, and checked when it is given back, so two
 * who got the same page are found out.
 */
#include <linux/balloon_compaction.h>
#include <linux/capability.h>
#include <linux/cma.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/list.h>
#include <linux/memory_hotplug.h>
#include <linux/migrate.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pageblock-flags.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "internal.h"
#ifndef CMA_TEST_BASE
#include "blame.h"
#endif
#include "cma.h"
#include "cma_test.h"

/* What one call has got. */
struct batch {
	struct list_head node;
	struct cma *cma;		/* NULL: from alloc_contig_range() */
	u32 id;
	unsigned long nr, chunk;	/* chunks, pages in each */
	struct page **pages;		/* the first page of each */
};

/* What is in the way. */
struct hold {
	struct list_head node;
	struct client *client;
	enum cma_test_hold kind;
	struct page *page;
	struct file *file;
	unsigned int us;
	struct delayed_work work;
	struct completion held;
};

/* An open file. */
struct client {
	struct mutex lock;		/* of all that follows */
	struct cma *cma;
	u32 last_id;
	struct list_head batches;
	struct list_head holds;
	u64 released_ns;
	struct balloon_dev_info balloon;
};

static int largest(struct cma *cma, void *data)
{
	struct cma **best = data;

	if (!*best || cma->count > (*best)->count)
		*best = cma;
	return 0;
}

struct by_name {
	const char *name;
	struct cma *cma;
};

static int named(struct cma *cma, void *data)
{
	struct by_name *by = data;

	if (!strcmp(cma_get_name(cma), by->name))
		by->cma = cma;
	return by->cma ? 1 : 0;
}

static unsigned long free_pages_of(struct cma *cma)
{
	unsigned long used;

	spin_lock_irq(&cma->lock);
	used = bitmap_weight(cma->bitmap, cma_bitmap_maxno(cma));
	spin_unlock_irq(&cma->lock);
	return cma->count - (used << cma->order_per_bit);
}

static int do_info(struct client *client, void __user *arg)
{
	struct cma_test_info info;
	struct by_name by = {};

	if (copy_from_user(&info, arg, sizeof(info)))
		return -EFAULT;
	info.name[sizeof(info.name) - 1] = '\0';
	if (info.name[0]) {
		by.name = info.name;
		cma_for_each_area(named, &by);
		client->cma = by.cma;
	} else if (!client->cma) {
		cma_for_each_area(largest, &client->cma);
	}
	if (!client->cma || !client->cma->count)
		return -ENODEV;
	strscpy(info.name, cma_get_name(client->cma));
	info.base_pfn = client->cma->base_pfn;
	info.count = client->cma->count;
	info.free = free_pages_of(client->cma);
	info.pageblock = pageblock_nr_pages;
	info.base_order = client->cma->order_per_bit;
	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static gfp_t gfp_of(u32 flags)
{
	gfp_t gfp = GFP_KERNEL;

	if (flags & CMA_TEST_NOWAIT)
		gfp = GFP_NOWAIT;
	if (flags & CMA_TEST_NORETRY)
		gfp |= __GFP_NORETRY;
	if (flags & CMA_TEST_RETRY_MAYFAIL)
		gfp |= __GFP_RETRY_MAYFAIL;
	if (flags & CMA_TEST_NOFAIL)
		gfp |= __GFP_NOFAIL;
	if (flags & CMA_TEST_COMP)
		gfp |= __GFP_COMP;
	if (flags & CMA_TEST_ZERO)
		gfp |= __GFP_ZERO;
	if (flags & CMA_TEST_ACCOUNT)
		gfp |= __GFP_ACCOUNT;
	return flags & CMA_TEST_WARN ? gfp : gfp | __GFP_NOWARN;
}

/* Each page says which batch it is of. */
static unsigned long mark_of(struct batch *batch, struct page *page)
{
	return page_to_pfn(page) ^ ((unsigned long)batch->id << 20) ^ 0x5a5a;
}

static void mark(struct batch *batch)
{
	unsigned long i, j, *at;
	struct page *page;

	for (i = 0; i < batch->nr; i++) {
		for (j = 0; j < batch->chunk; j++) {
			page = nth_page(batch->pages[i], j);
			at = kmap_local_page(page);
			*at = mark_of(batch, page);
			kunmap_local(at);
		}
	}
}

static bool marked(struct batch *batch)
{
	unsigned long i, j, *at;
	struct page *page;
	bool good = true;

	for (i = 0; i < batch->nr; i++) {
		for (j = 0; j < batch->chunk; j++) {
			page = nth_page(batch->pages[i], j);
			at = kmap_local_page(page);
			good &= *at == mark_of(batch, page);
			kunmap_local(at);
		}
	}
	return good;
}

static bool zeroed(struct batch *batch)
{
	unsigned long i, j;
	bool zero = true;
	void *at;

	for (i = 0; i < batch->nr; i++) {
		for (j = 0; j < batch->chunk; j++) {
			at = kmap_local_page(nth_page(batch->pages[i], j));
			zero &= !memchr_inv(at, 0, PAGE_SIZE);
			kunmap_local(at);
		}
	}
	return zero;
}

static void give_back(struct batch *batch)
{
	unsigned long i;

	for (i = 0; i < batch->nr; i++) {
		if (batch->cma)
			cma_release(batch->cma, batch->pages[i], batch->chunk);
		else
			free_contig_range(page_to_pfn(batch->pages[i]),
					  batch->chunk);
	}
	kvfree(batch->pages);
	kfree(batch);
}

static long call_loop(struct batch *batch, struct cma_test_alloc *alloc)
{
	u64 end = alloc->limit_ns ? ktime_get_ns() + alloc->limit_ns : U64_MAX;
	struct page *page;
	long got;

	for (got = 0; got < alloc->nr && ktime_get_ns() < end; got++) {
		page = cma_alloc(batch->cma, batch->chunk, alloc->order,
				 gfp_of(alloc->flags));
		if (!page)
			break;
		batch->pages[got] = page;
		cond_resched();
	}
	return got;
}

static long call(struct batch *batch, struct cma_test_alloc *alloc)
{
	gfp_t gfp = gfp_of(alloc->flags);
	int ret;

	switch (alloc->how) {
	case CMA_TEST_ONE:
		batch->pages[0] = cma_alloc(batch->cma, alloc->nr, alloc->order,
					    gfp);
		return batch->pages[0] ? 1 : -ENOMEM;
	case CMA_TEST_BULK:
		return cma_alloc_bulk(batch->cma, alloc->order, alloc->nr,
				      alloc->min, batch->pages, gfp);
	case CMA_TEST_LOOP:
		return call_loop(batch, alloc);
	default:
		batch->cma = NULL;
		batch->pages[0] = pfn_to_page(alloc->pfn);
		ret = alloc_contig_range(alloc->pfn, alloc->pfn + alloc->nr,
					 alloc->how == CMA_TEST_MOVABLE ?
					 MIGRATE_MOVABLE : MIGRATE_CMA, gfp);
		return ret ?: 1;
	}
}

/*
 * Pageblocks become movable, as by alloc_contig_pages(). Those of CMA, isolated
 * ones and reserves must stay what they are.
 */
static bool may_be_movable(unsigned long pfn, unsigned long nr)
{
	unsigned long end = pfn + nr;
	struct page *page;
	struct zone *zone = NULL;

	if (!nr || end < pfn)
		return false;
	for (; pfn < end; pfn = pageblock_end_pfn(pfn)) {
		page = pfn_to_online_page(pfn);
		if (!page || (zone && page_zone(page) != zone) ||
		    get_pageblock_migratetype(page) >= MIGRATE_PCPTYPES)
			return false;
		zone = page_zone(page);
	}
	return true;
}

static bool alloc_sane(struct client *client, struct cma_test_alloc *alloc)
{
	struct cma *cma = client->cma;

	if (alloc->how == CMA_TEST_MOVABLE)
		return may_be_movable(alloc->pfn, alloc->nr);
	if (!cma || alloc->how > CMA_TEST_RANGE || alloc->nr > cma->count + 1)
		return false;
	if (alloc->how != CMA_TEST_RANGE)
		return true;
	return alloc->nr && alloc->pfn >= cma->base_pfn &&
	       alloc->pfn - cma->base_pfn + alloc->nr <= cma->count;
}

static struct batch *new_batch(struct client *client, struct cma_test_alloc *alloc)
{
	bool many = alloc->how == CMA_TEST_BULK || alloc->how == CMA_TEST_LOOP;
	struct batch *batch = kzalloc(sizeof(*batch), GFP_KERNEL);

	if (!batch)
		return NULL;
	batch->cma = client->cma;
	batch->chunk = many ? 1UL << min(alloc->order, 30U) : alloc->nr;
	batch->pages = kvcalloc(many ? max(alloc->nr, 1ULL) : 1,
				sizeof(*batch->pages), GFP_KERNEL);
	if (batch->pages)
		return batch;
	kfree(batch);
	return NULL;
}

/* A call that fails is a success here: alloc->got says so. */
static int do_alloc(struct client *client, void __user *arg)
{
	struct cma_test_alloc alloc;
	struct batch *batch;
	int ret = 0;
	u64 begin;

	if (copy_from_user(&alloc, arg, sizeof(alloc)))
		return -EFAULT;
	if (!alloc_sane(client, &alloc))
		return -EINVAL;
	batch = new_batch(client, &alloc);
	if (!batch)
		return -ENOMEM;

	/* Others with this file can release and let go meanwhile. */
	mutex_unlock(&client->lock);
	begin = ktime_get_ns();
	alloc.got = call(batch, &alloc);
	alloc.end_ns = ktime_get_ns();
	mutex_lock(&client->lock);

	alloc.ns = alloc.end_ns - begin;
	alloc.id = 0;
	batch->nr = max(alloc.got, 0);
	if (batch->nr) {
		if ((alloc.flags & CMA_TEST_ZERO) && !zeroed(batch))
			ret = -EIO;
		batch->id = ++client->last_id;
		mark(batch);
		list_add(&batch->node, &client->batches);
		alloc.id = batch->id;
		alloc.pfn = page_to_pfn(batch->pages[0]);
	} else {
		give_back(batch);
	}
	return copy_to_user(arg, &alloc, sizeof(alloc)) ? -EFAULT : ret;
}

static int do_release(struct client *client, u32 id)
{
	struct batch *batch, *next;
	int ret = id ? -ENOENT : 0;

	list_for_each_entry_safe(batch, next, &client->batches, node) {
		if (id && batch->id != id)
			continue;
		list_del(&batch->node);
		if (!marked(batch))
			ret = -EIO;
		else if (id)
			ret = 0;
		give_back(batch);
	}
	return ret;
}

static int do_pfns(struct client *client, void __user *arg)
{
	struct cma_test_pfns pfns;
	struct batch *batch;
	u64 __user *to;
	unsigned long i;

	if (copy_from_user(&pfns, arg, sizeof(pfns)))
		return -EFAULT;
	to = u64_to_user_ptr(pfns.pfns);
	list_for_each_entry(batch, &client->batches, node) {
		if (batch->id != pfns.id)
			continue;
		if (pfns.nr < batch->nr)
			return -ENOSPC;
		for (i = 0; i < batch->nr; i++)
			if (put_user((u64)page_to_pfn(batch->pages[i]), to + i))
				return -EFAULT;
		return 0;
	}
	return -ENOENT;
}

static void let_go(struct hold *hold)
{
	switch (hold->kind) {
	case CMA_TEST_REF:
		put_page(hold->page);
		break;
	case CMA_TEST_PIN:
		unpin_user_page(hold->page);
		break;
	case CMA_TEST_LOCK:
		folio_unlock(page_folio(hold->page));
		put_page(hold->page);
		break;
	case CMA_TEST_IMMAP:
		fput(hold->file);
		break;
	}
}

/* A lock is to be released by who took it: this one is held while we sleep. */
static void immap_work(struct work_struct *work)
{
	struct hold *hold = container_of(work, struct hold, work.work);
	struct address_space *mapping = hold->file->f_mapping;

	i_mmap_lock_write(mapping);
	complete(&hold->held);
	fsleep(hold->us);
	WRITE_ONCE(hold->client->released_ns, ktime_get_ns());
	i_mmap_unlock_write(mapping);
}

static void let_go_work(struct work_struct *work)
{
	struct hold *hold = container_of(work, struct hold, work.work);

	WRITE_ONCE(hold->client->released_ns, ktime_get_ns());
	let_go(hold);
	hold->page = NULL;
}

static int get_hold(struct hold *hold, struct cma_test_keep *keep)
{
	int ret;

	if (hold->kind == CMA_TEST_IMMAP) {
		if (!keep->us)
			return -EINVAL;
		hold->file = fget(keep->addr);
		return hold->file ? 0 : -EBADF;
	}
	if (hold->kind == CMA_TEST_PIN)
		ret = pin_user_pages_fast(keep->addr, 1, FOLL_WRITE, &hold->page);
	else
		ret = get_user_pages_fast(keep->addr, 1, FOLL_WRITE, &hold->page);
	if (ret != 1)
		return ret < 0 ? ret : -EFAULT;
	if (hold->kind == CMA_TEST_LOCK)
		folio_lock(page_folio(hold->page));
	return 0;
}

static int do_keep(struct client *client, void __user *arg)
{
	struct cma_test_keep keep;
	struct hold *hold;
	int ret;

	if (copy_from_user(&keep, arg, sizeof(keep)))
		return -EFAULT;
	if (keep.hold > CMA_TEST_IMMAP)
		return -EINVAL;
	hold = kzalloc(sizeof(*hold), GFP_KERNEL);
	if (!hold)
		return -ENOMEM;
	hold->client = client;
	hold->kind = keep.hold;
	hold->us = keep.us;
	init_completion(&hold->held);
	INIT_DELAYED_WORK(&hold->work, hold->kind == CMA_TEST_IMMAP ?
			  immap_work : let_go_work);
	ret = get_hold(hold, &keep);
	if (ret) {
		kfree(hold);
		return ret;
	}
	list_add(&hold->node, &client->holds);
	if (hold->kind == CMA_TEST_IMMAP) {
		queue_delayed_work(system_unbound_wq, &hold->work, 0);
		wait_for_completion(&hold->held);
	} else if (keep.us) {
		queue_delayed_work(system_unbound_wq, &hold->work,
				   usecs_to_jiffies(keep.us));
	}
	return 0;
}

static void let_all_go(struct client *client)
{
	struct hold *hold, *next;

	list_for_each_entry_safe(hold, next, &client->holds, node) {
		list_del(&hold->node);
		if (hold->us)
			flush_delayed_work(&hold->work);
		if (hold->page || hold->file)
			let_go(hold);
		kfree(hold);
	}
}

static struct folio *the_target(struct folio *src, unsigned long private)
{
	return page_folio((struct page *)private);
}

/* Stays ours, for the next try. */
static void keep_target(struct folio *dst, unsigned long private)
{
}

/*
 * A page that alloc_contig_range() gives is an ordinary one, to be freed into
 * the area when its new user is done with it: the bitmap does not know of it.
 */
static int move_to(struct folio *folio, unsigned long pfn)
{
	LIST_HEAD(list);
	int ret;

	ret = alloc_contig_range(pfn, pfn + 1, MIGRATE_CMA, GFP_KERNEL);
	if (ret)
		goto put;
	lru_add_drain_all();
	if (!folio_isolate_lru(folio)) {
		ret = -EBUSY;
		goto free;
	}
	node_stat_mod_folio(folio, NR_ISOLATED_ANON + folio_is_file_lru(folio),
			    1);
	list_add(&folio->lru, &list);
	/* The reference of get_user_pages() is in the way of migration. */
	folio_put(folio);
	ret = migrate_pages(&list, the_target, keep_target,
			    (unsigned long)pfn_to_page(pfn), MIGRATE_SYNC,
			    MR_SYSCALL, NULL);
	if (!ret)
		return 0;
	putback_movable_pages(&list);
	__free_page(pfn_to_page(pfn));
	return ret < 0 ? ret : -EBUSY;
free:
	__free_page(pfn_to_page(pfn));
put:
	folio_put(folio);
	return ret;
}

static int do_place(struct client *client, void __user *arg)
{
	struct cma_test_place place;
	struct folio *folio;
	struct page *page;
	int ret;

	if (copy_from_user(&place, arg, sizeof(place)))
		return -EFAULT;
	if (!client->cma || place.pfn < client->cma->base_pfn ||
	    place.pfn >= client->cma->base_pfn + client->cma->count)
		return -EINVAL;
	ret = get_user_pages_fast(place.addr, 1, FOLL_WRITE, &page);
	if (ret != 1)
		return ret < 0 ? ret : -EFAULT;
	folio = page_folio(page);
	if (folio_test_large(folio)) {
		folio_put(folio);
		return -EINVAL;
	}
	if (folio_pfn(folio) != place.pfn)
		return move_to(folio, place.pfn);
	folio_put(folio);
	return 0;
}

#ifndef CMA_TEST_BASE
static struct folio *isolate_one(unsigned long pfn, unsigned long nr,
				 struct list_head *list)
{
	struct compact_control cc = {
		.order = -1,
		.zone = page_zone(pfn_to_page(pfn)),
		.gfp_mask = GFP_KERNEL | __GFP_MOVABLE,
		.mode = MIGRATE_SYNC,
		.ignore_skip_hint = true,
		.no_set_skip_hint = true,
		.alloc_contig = true,
	};

	INIT_LIST_HEAD(&cc.migratepages);
	isolate_migratepages_range(&cc, pfn, pfn + nr);
	list_splice(&cc.migratepages, list);
	return list_first_entry_or_null(list, struct folio, lru);
}

/* Did it go elsewhere? */
static bool moves(unsigned long pfn, unsigned long nr)
{
	struct migration_target_control mtc = {
		.nid = pfn_to_nid(pfn),
		.gfp_mask = GFP_KERNEL | __GFP_MOVABLE | __GFP_NOWARN,
		.reason = MR_CONTIG_RANGE,
	};
	LIST_HEAD(list);
	int ret;

	if (!isolate_one(pfn, nr, &list))
		return false;
	ret = migrate_pages(&list, alloc_migration_target, NULL,
			    (unsigned long)&mtc, MIGRATE_SYNC, MR_CONTIG_RANGE,
			    NULL);
	if (ret)
		putback_movable_pages(&list);
	return !ret;
}

/* In use, so that it could be moved at all? */
static bool page_used(struct page *page)
{
	return !PageBuddy(page) && page_ref_count(compound_head(page));
}

static bool said_to_stay(enum page_blame said, bool steady)
{
	return said == PAGE_BLAME_UNMOVABLE ||
	       (steady && said >= PAGE_BLAME_REFERENCED);
}

static bool said_to_move(enum page_blame said)
{
	return said == PAGE_BLAME_NONE;
}

/* Somebody may have looked at the same moment: not more than a few times. */
#define AGREE_TIMES	10

static void agree_on(struct cma_test_agree *agree, unsigned long pfn,
		     unsigned long *nr)
{
	struct page *page = pfn_to_page(pfn);
	enum page_blame said, before;
	int times;

	for (times = 0; times < AGREE_TIMES; times++) {
		before = page_blame(page, nr);
		if (!page_used(page))
			return;
		if (moves(pfn, *nr)) {
			agree->moved += *nr;
			if (!said_to_stay(before, agree->steady))
				return;
			said = before;
			break;
		}
		said = page_blame(page, nr);
		if (!page_used(page) || !said_to_move(before) ||
		    !said_to_move(said)) {
			agree->stayed += *nr;
			return;
		}
		lru_add_drain_all();
		fsleep(1000);
	}
	agree->wrong++;
	agree->wrong_pfn = pfn;
	agree->said = said;
}

static int do_agree(struct client *client, void __user *arg)
{
	struct cma *cma = client->cma;
	struct cma_test_agree agree;
	unsigned long pfn, end, nr;

	if (copy_from_user(&agree, arg, sizeof(agree)))
		return -EFAULT;
	end = agree.pfn + agree.nr;
	if (!cma || agree.pfn < cma->base_pfn || end < agree.pfn ||
	    end > cma->base_pfn + cma->count)
		return -EINVAL;
	agree.looked = 0;
	agree.moved = 0;
	agree.stayed = 0;
	agree.wrong = 0;
	lru_cache_disable();
	for (pfn = agree.pfn; pfn < end; pfn += nr) {
		agree_on(&agree, pfn, &nr);
		agree.looked += min(nr, end - pfn);
		cond_resched();
		if (fatal_signal_pending(current))
			break;
	}
	lru_cache_enable();
	return copy_to_user(arg, &agree, sizeof(agree)) ? -EFAULT : 0;
}
#else
static int do_agree(struct client *client, void __user *arg)
{
	return -EOPNOTSUPP;
}
#endif

#ifdef CONFIG_BALLOON_COMPACTION
/* The page locks of both are held. */
static int balloon_move(struct balloon_dev_info *info, struct page *newpage,
			struct page *page, enum migrate_mode mode)
{
	unsigned long flags;

	get_page(newpage);
	spin_lock_irqsave(&info->pages_lock, flags);
	balloon_page_insert(info, newpage);
	info->isolated_pages--;
	balloon_page_delete(page);
	spin_unlock_irqrestore(&info->pages_lock, flags);
	put_page(page);
	return MIGRATEPAGE_SUCCESS;
}

static int count_inside(struct client *client)
{
	struct cma *cma = client->cma;
	unsigned long flags;
	struct page *page;
	int inside = 0;

	spin_lock_irqsave(&client->balloon.pages_lock, flags);
	list_for_each_entry(page, &client->balloon.pages, lru)
		inside += page_to_pfn(page) >= cma->base_pfn &&
			  page_to_pfn(page) < cma->base_pfn + cma->count;
	spin_unlock_irqrestore(&client->balloon.pages_lock, flags);
	return inside;
}

static void deflate(struct client *client)
{
	struct page *page;

	/* Those that are being moved come back. */
	while (!list_empty(&client->balloon.pages) ||
	       READ_ONCE(client->balloon.isolated_pages)) {
		page = list_empty(&client->balloon.pages) ? NULL :
		       balloon_page_dequeue(&client->balloon);
		if (page)
			put_page(page);
		cond_resched();
	}
}

static int do_balloon(struct client *client, void __user *arg)
{
	struct cma_test_balloon balloon;
	struct page *page;

	if (copy_from_user(&balloon, arg, sizeof(balloon)))
		return -EFAULT;
	if (!client->cma)
		return -EINVAL;
	if (!balloon.nr)
		deflate(client);
	for (; balloon.nr; balloon.nr--) {
		page = balloon_page_alloc();
		if (!page)
			return -ENOMEM;
		balloon_page_enqueue(&client->balloon, page);
		cond_resched();
	}
	balloon.inside = count_inside(client);
	return copy_to_user(arg, &balloon, sizeof(balloon)) ? -EFAULT : 0;
}

static void balloon_init(struct client *client)
{
	balloon_devinfo_init(&client->balloon);
	client->balloon.migratepage = balloon_move;
}
#else
static void deflate(struct client *client)
{
}

static int do_balloon(struct client *client, void __user *arg)
{
	return -EOPNOTSUPP;
}

static void balloon_init(struct client *client)
{
}
#endif

static long cma_test_ioctl(struct file *file, unsigned int cmd,
			   unsigned long arg)
{
	struct client *client = file->private_data;
	void __user *to = (void __user *)arg;
	long ret;
	u64 ns;

	mutex_lock(&client->lock);
	switch (cmd) {
	case CMA_TEST_INFO:
		ret = do_info(client, to);
		break;
	case CMA_TEST_ALLOC:
		ret = do_alloc(client, to);
		break;
	case CMA_TEST_RELEASE:
		ret = do_release(client, arg);
		break;
	case CMA_TEST_PFNS:
		ret = do_pfns(client, to);
		break;
	case CMA_TEST_KEEP:
		ret = do_keep(client, to);
		break;
	case CMA_TEST_LETGO:
		let_all_go(client);
		ns = READ_ONCE(client->released_ns);
		ret = put_user(ns, (u64 __user *)to);
		break;
	case CMA_TEST_PLACE:
		ret = do_place(client, to);
		break;
	case CMA_TEST_AGREE:
		ret = do_agree(client, to);
		break;
	case CMA_TEST_BALLOON:
		ret = do_balloon(client, to);
		break;
	default:
		ret = -ENOTTY;
	}
	mutex_unlock(&client->lock);
	return ret;
}

static int cma_test_open(struct inode *inode, struct file *file)
{
	struct client *client;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	client = kzalloc(sizeof(*client), GFP_KERNEL);
	if (!client)
		return -ENOMEM;
	mutex_init(&client->lock);
	INIT_LIST_HEAD(&client->batches);
	INIT_LIST_HEAD(&client->holds);
	balloon_init(client);
	file->private_data = client;
	return 0;
}

static int cma_test_release(struct inode *inode, struct file *file)
{
	struct client *client = file->private_data;

	let_all_go(client);
	do_release(client, 0);
	deflate(client);
	kfree(client);
	return 0;
}

static const struct file_operations cma_test_fops = {
	.owner = THIS_MODULE,
	.open = cma_test_open,
	.release = cma_test_release,
	.unlocked_ioctl = cma_test_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice cma_test_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "cma_test",
	.fops = &cma_test_fops,
};

builtin_misc_device(cma_test_device);
