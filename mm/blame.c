// SPDX-License-Identifier: GPL-2.0
/*
 * What keeps a page where it is? See blame.h.
 *
 * A folio is looked at with a reference held, so that it is what it is found to
 * be. A migration that looks at the same moment counts that reference, and tries
 * again; so this is for the time after a failure, not for each attempt.
 */
#include <linux/hugetlb.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
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
	[PAGE_BLAME_PINNED]	= "pinned",
	[PAGE_BLAME_UNMOVABLE]	= "unmovable",
};

/* Does its mapping say that it stays? The mapping may go away: RCU frees it. */
static bool mapping_keeps(struct folio *folio)
{
	struct address_space *mapping;
	bool keeps = false;

	if (folio_test_anon(folio) || __folio_test_movable(folio))
		return false;
	rcu_read_lock();
	mapping = READ_ONCE(folio->mapping);
	if (mapping)
		keeps = mapping_inaccessible(mapping);
	rcu_read_unlock();
	return keeps;
}

/* Of a type that migration knows, whoever refers to it at the moment? */
static bool is_movable(struct folio *folio)
{
	if (folio_test_hugetlb(folio))
		return hugepage_migration_supported(folio_hstate(folio));
	if (page_has_type(&folio->page) || folio_test_reserved(folio))
		return false;
	if (pinpage_folio(folio) || __folio_test_movable(folio))
		return true;
	if (!folio_test_lru(folio) && !folio_test_swapbacked(folio) &&
	    !folio_mapped(folio) && !folio->mapping)
		return false;
	return !mapping_keeps(folio);
}

/* Caller holds a reference. */
static enum page_blame blame_folio(struct folio *folio)
{
	struct pinpage_refs pins = {};
	int others;

	if (!is_movable(folio))
		return PAGE_BLAME_UNMOVABLE;
	if (__folio_test_movable(folio))
		return folio_test_locked(folio) ? PAGE_BLAME_LOCKED :
						  PAGE_BLAME_NONE;
	pinpage_count_refs(folio, &pins);
	others = folio_ref_count(folio) - 1 - pins.refs;
	if (!pins.kernel)
		others -= folio_expected_ref_count(folio);
	/* Isolated for a migration that is under way: that is no obstacle. */
	if (others > 0 && !(others == 1 && !folio_test_lru(folio) && !pins.kernel))
		return PAGE_BLAME_PINNED;
	if (pins.refused)
		return PAGE_BLAME_REFUSED;
	if (folio_test_writeback(folio))
		return PAGE_BLAME_WRITEBACK;
	if (folio_test_locked(folio))
		return PAGE_BLAME_LOCKED;
	return pins.slots ? PAGE_BLAME_REGISTERED : PAGE_BLAME_NONE;
}

/**
 * page_blame - what keeps a page where it is?
 * @page: a page of online memory
 * @nr: where to store how many pages from @page on share the answer, since they
 *	are in the same folio, or free
 *
 * Context: Process context; may free the folio, if it held the last reference.
 * Return: The reason that counts most.
 */
enum page_blame page_blame(struct page *page, unsigned long *nr)
{
	struct folio *folio;
	enum page_blame blame = PAGE_BLAME_NONE;

	*nr = 1;
	if (PageBuddy(page)) {
		*nr = 1UL << min_t(unsigned int, buddy_order_unsafe(page),
				   MAX_PAGE_ORDER);
		return PAGE_BLAME_NONE;
	}
	if (PageReserved(page) || PageOffline(page))
		return PAGE_BLAME_UNMOVABLE;
	folio = page_folio(page);
	if (!folio_try_get(folio))
		return PAGE_BLAME_NONE;
	if (page_folio(page) == folio) {
		*nr = folio_nr_pages(folio) - folio_page_idx(folio, page);
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
