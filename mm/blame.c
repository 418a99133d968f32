// SPDX-License-Identifier: GPL-2.0
/*
 * What keeps a page where it is? See blame.h.
 *
 * A folio is looked at with a reference held, so that it is what it is found to
 * be; but not one that migration does not hold a reference on either, for its
 * owner may free it with free_contig_range(), which tells whoever still refers to
 * a page. A migration that looks at the same moment counts our reference, and
 * tries again.
 */
#include <linux/buffer_head.h>
#include <linux/hugetlb.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/page-isolation.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "blame.h"
#include "internal.h"
#include "pinpage/hooks.h"

const char * const page_blame_names[NR_PAGE_BLAMES] = {
	[PAGE_BLAME_NONE]	= "movable",
	[PAGE_BLAME_REGISTERED]	= "registered",
	[PAGE_BLAME_LOCKED]	= "locked",
	[PAGE_BLAME_WRITEBACK]	= "writeback",
	[PAGE_BLAME_REFUSED]	= "refused",
	[PAGE_BLAME_REFERENCED]	= "referenced",
	[PAGE_BLAME_PINNED]	= "pinned",
	[PAGE_BLAME_UNMOVABLE]	= "unmovable",
};

/* Buffers of files are locked for migration, those of block devices not in use. */
static bool minds_buffer_refs(struct address_space *mapping)
{
	return IS_ENABLED(CONFIG_BUFFER_HEAD) && IS_ENABLED(CONFIG_MIGRATION) &&
	       READ_ONCE(mapping->a_ops)->migrate_folio == buffer_migrate_folio_norefs;
}

/*
 * Does its mapping, or a user of its buffers, keep it? Without the folio lock the
 * mapping may go away, but not before RCU lets it, and buffers that are looked
 * at under the lock of their mapping don't.
 */
static enum page_blame blame_mapping(struct folio *folio)
{
	enum page_blame blame = PAGE_BLAME_NONE;
	struct address_space *mapping;
	struct buffer_head *head, *bh;

	rcu_read_lock();
	mapping = folio_test_anon(folio) ? NULL : READ_ONCE(folio->mapping);
	if (!mapping)
		goto unlock;
	if (mapping_inaccessible(mapping))
		blame = PAGE_BLAME_UNMOVABLE;
	if (blame || !folio_test_private(folio) || !minds_buffer_refs(mapping))
		goto unlock;
	spin_lock(&mapping->i_private_lock);
	head = folio->mapping == mapping ? folio_buffers(folio) : NULL;
	bh = head;
	while (bh && !blame) {
		if (atomic_read(&bh->b_count))
			blame = PAGE_BLAME_REFERENCED;
		bh = bh->b_this_page == head ? NULL : bh->b_this_page;
	}
	spin_unlock(&mapping->i_private_lock);
unlock:
	rcu_read_unlock();
	return blame;
}

/* Has someone pinned it who can't be asked? @others: references of others */
static bool pinned_by_others(struct folio *folio, int others, int owner_refs)
{
	if (folio_has_pincount(folio))
		return atomic_read(&folio->_pincount) > owner_refs;
	return others >= GUP_PIN_COUNTING_BIAS;
}

static bool has_owner_in_migration(struct folio *folio, int others)
{
	return others == 1 && !folio_test_lru(folio) && !folio_test_hugetlb(folio);
}

/* Of a type that migration knows; the caller holds a reference. */
static enum page_blame blame_folio(struct folio *folio)
{
	struct pinpage_refs pins = {};
	enum page_blame mapping;
	int others;

	if (folio_test_hwpoison(folio))
		return PAGE_BLAME_UNMOVABLE;
	mapping = blame_mapping(folio);
	if (mapping == PAGE_BLAME_UNMOVABLE)
		return mapping;
	pinpage_count_refs(folio, &pins);
	others = folio_ref_count(folio) - 1 - pins.refs;
	/* mapping and private of a driver's own page are its own affair. */
	if (!pins.kernel)
		others -= folio_expected_ref_count(folio);
	if (pinned_by_others(folio, others, pins.refs))
		return PAGE_BLAME_PINNED;
	if (pins.refused)
		return PAGE_BLAME_REFUSED;
	if (folio_test_writeback(folio))
		return PAGE_BLAME_WRITEBACK;
	/* Who has locked it holds a reference as well. */
	if (folio_test_locked(folio) && others <= 1)
		return PAGE_BLAME_LOCKED;
	/* In a cache of the LRU, or isolated by who is moving it: no obstacle. */
	if (others > 0 && (pins.kernel || !has_owner_in_migration(folio, others)))
		return PAGE_BLAME_REFERENCED;
	if (mapping)
		return mapping;
	return pins.slots ? PAGE_BLAME_REGISTERED : PAGE_BLAME_NONE;
}

/* Caller holds no reference: movable_operations say what else there is to it. */
static enum page_blame blame_movable_ops(struct folio *folio)
{
	return folio_test_locked(folio) || folio_test_isolated(folio) ?
	       PAGE_BLAME_LOCKED : PAGE_BLAME_NONE;
}

/*
 * Of no kind that could be moved. In pageblocks that take nothing else, that is
 * a page that is not used yet, or no more, or one of a contiguous range.
 */
static enum page_blame blame_unknown(struct folio *folio, struct page *page)
{
	int type;

	if (!folio_ref_count(folio))
		return PAGE_BLAME_NONE;
	type = get_pageblock_migratetype(page);
	if (is_migrate_cma(type) || is_migrate_isolate(type) ||
	    page_zonenum(page) == ZONE_MOVABLE)
		return PAGE_BLAME_REFERENCED;
	return PAGE_BLAME_UNMOVABLE;
}

static bool huge_stays(struct folio *folio)
{
	struct hstate *h = size_to_hstate(folio_size(folio));

	/* Gigantic ones are not moved for contiguous ranges: they are such. */
	return h && (hstate_is_gigantic(h) || !hugepage_migration_supported(h));
}

/**
 * page_blame - what keeps a page where it is?
 * @page: a page of online memory
 * @nr: where to store how many pages from @page on share the answer, since they
 *	are in the same folio, or free; at least 1
 *
 * Says what isolation and migration would find: of each kind of page that they
 * can move, and no other. Pages in CPUs' free lists count as free.
 *
 * Context: Process context; no lock of mm/ is held, and none is waited for. May
 * free the folio, if it held the last reference.
 * Return: The reason that counts most.
 */
enum page_blame page_blame(struct page *page, unsigned long *nr)
{
	unsigned long pfn = page_to_pfn(page);
	enum page_blame blame = PAGE_BLAME_NONE;
	struct folio *folio;
	unsigned int order;

	*nr = 1;
	if (PageBuddy(page)) {
		order = buddy_order_unsafe(page);
		if (order <= MAX_PAGE_ORDER)
			*nr = (1UL << order) - (pfn & ((1UL << order) - 1));
		return PAGE_BLAME_NONE;
	}
	/* Isolation accepts it: as good as free, a block of the largest order. */
	if (PageUnaccepted(page)) {
		*nr = MAX_ORDER_NR_PAGES - (pfn & (MAX_ORDER_NR_PAGES - 1));
		return PAGE_BLAME_NONE;
	}
	/* Merges with its buddy when that one is freed. */
	if (page_is_guard(page))
		return PAGE_BLAME_NONE;
	if (PageReserved(page))
		return PAGE_BLAME_UNMOVABLE;
	folio = page_folio(page);
	if (folio_test_slab(folio))
		return PAGE_BLAME_UNMOVABLE;
	/* Some of them have a type as well: zsmalloc's, a balloon's. */
	if (__folio_test_movable(folio))
		return blame_movable_ops(folio);
	if (!folio_test_hugetlb(folio)) {
		if (page_has_type(&folio->page))
			return PAGE_BLAME_UNMOVABLE;
		/* Those that wait for the LRU have a mapping, of some kind. */
		if (!folio_test_lru(folio) && !READ_ONCE(folio->mapping) &&
		    !pinpage_folio(folio))
			return blame_unknown(folio, page);
	}
	/* In a CPU's free list, frozen by migration, or in a hugetlb pool */
	if (!folio_try_get(folio))
		return PAGE_BLAME_NONE;
	if (page_folio(page) == folio) {
		*nr = folio_nr_pages(folio) - folio_page_idx(folio, page);
		if (folio_test_hugetlb(folio) && huge_stays(folio))
			blame = PAGE_BLAME_UNMOVABLE;
		else if (folio_test_hugetlb(folio) || !page_has_type(&folio->page))
			blame = blame_folio(folio);
	}
	folio_put(folio);
	return blame;
}

/* The systems that have pinned @page, and so @nr pages, are @blame's owners. */
static void add_owners(struct blame *blame, struct page *page, unsigned long nr)
{
	unsigned int i, n = 0, seen = 0;
	char name[BLAME_NAME];

	while (pinpage_owner_name(page_folio(page), n++, name, sizeof(name))) {
		for (i = 0; i < blame->nr_owners; i++)
			if (!strcmp(blame->owners[i].name, name))
				break;
		/* One system may have several sets in a folio. */
		if (i == BLAME_OWNERS || seen & BIT(i))
			continue;
		if (i == blame->nr_owners) {
			strscpy(blame->owners[i].name, name);
			blame->nr_owners++;
		}
		blame->owners[i].pages += nr;
		seen |= BIT(i);
	}
}

/**
 * blame_range - what is in the way in a range?
 * @start: first pfn
 * @end: one after the last pfn
 * @blame: where to store the summary
 *
 * Context: Process context, may sleep.
 */
void blame_range(unsigned long start, unsigned long end, struct blame *blame)
{
	unsigned long pfn, nr;
	enum page_blame what;
	struct page *page;

	memset(blame, 0, sizeof(*blame));
	pinpage_index_range(start, end, GFP_KERNEL);
	for (pfn = start; pfn < end; pfn += nr) {
		nr = 1;
		page = pfn_to_online_page(pfn);
		if (!page)
			continue;
		what = page_blame(page, &nr);
		nr = min(nr, end - pfn);
		blame->pages[what] += nr;
		if (what == PAGE_BLAME_REGISTERED || what == PAGE_BLAME_REFUSED)
			add_owners(blame, page, nr);
		if (!(pfn % 1024))
			cond_resched();
	}
}

/**
 * blame_text - a summary in words
 * @blame: from blame_range()
 * @text: where to store it, a line without a newline; empty: nothing is there
 * @size: of @text; %BLAME_TEXT is enough for all but very long names
 *
 * Context: Any.
 */
void blame_text(const struct blame *blame, char *text, size_t size)
{
	const char *comma = "";
	unsigned int i;
	size_t len = 0;

	text[0] = 0;
	for (i = NR_PAGE_BLAMES - 1; i > PAGE_BLAME_NONE; i--) {
		if (!blame->pages[i])
			continue;
		len += scnprintf(text + len, size - len, "%s%lu %s", comma,
				 blame->pages[i], page_blame_names[i]);
		comma = ", ";
	}
	for (i = 0; i < blame->nr_owners; i++)
		len += scnprintf(text + len, size - len, "%s%s %lu",
				 i ? ", " : " (by ", blame->owners[i].name,
				 blame->owners[i].pages);
	if (blame->nr_owners)
		scnprintf(text + len, size - len, ")");
}
