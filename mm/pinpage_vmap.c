// SPDX-License-Identifier: GPL-2.0
/*
 * A kernel mapping that stays where it is while its pages move, for callbacks of
 * pinpage: single entries of its page table are replaced. The tables exist for
 * as long as the mapping does, so no memory is needed.
 */
#include <linux/cacheflush.h>
#include <linux/export.h>
#include <linux/kasan.h>
#include <linux/mm.h>
#include <linux/pinpage_vmap.h>

#include <asm/tlbflush.h>

static int clear_entry(pte_t *pte, unsigned long addr, void *data)
{
	pte_clear(&init_mm, addr, pte);
	return 0;
}

static int set_entry(pte_t *pte, unsigned long addr, void *data)
{
	struct page **page = data;

	set_pte_at(&init_mm, addr, pte, mk_pte(*page, PAGE_KERNEL));
	*page = nth_page(*page, 1);
	return 0;
}

static unsigned long addr_of(void *vaddr, const struct pinpage_item *item)
{
	return (unsigned long)kasan_reset_tag(vaddr) +
	       (item->index << PAGE_SHIFT);
}

static unsigned long size_of_item(const struct pinpage_item *item)
{
	return (unsigned long)item->nr << PAGE_SHIFT;
}

/* Items come in no order; one flush is cheaper than many. False: none moved. */
static bool span_moved(void *vaddr, const struct pinpage_item *items,
		       unsigned int nr, unsigned long *start,
		       unsigned long *end)
{
	unsigned long addr;
	unsigned int i;

	*start = ULONG_MAX;
	*end = 0;
	for (i = 0; i < nr; i++) {
		if (!items[i].new)
			continue;
		addr = addr_of(vaddr, &items[i]);
		*start = min(*start, addr);
		*end = max(*end, addr + size_of_item(&items[i]));
	}
	return *end;
}

/**
 * pinpage_vmap_repoint - have a kernel mapping follow its pages, in complete()
 * @vaddr: where the first page of the set is mapped, by vmap() or vm_map_ram(),
 *	with PAGE_KERNEL; the pages follow in the order of the set
 * @items: as given to complete()
 * @nr: likewise
 *
 * Nobody uses that part of the mapping from the moment the set is quiet until
 * this returns: until then it leads to where the pages were. What was written
 * by it has been flushed by flush_kernel_vmap_range() before the set was quiet.
 *
 * Context: Task context, interrupts on. Doesn't sleep, needs no memory, can't
 * fail.
 */
void pinpage_vmap_repoint(void *vaddr, const struct pinpage_item *items,
			  unsigned int nr)
{
	unsigned long start, end;
	struct page *page;
	unsigned int i;

	if (!span_moved(vaddr, items, nr, &start, &end))
		return;
	/* Clear, flush, set: some machines must not find a second translation. */
	flush_cache_vunmap(start, end);
	for (i = 0; i < nr; i++)
		if (items[i].new)
			apply_to_existing_page_range(&init_mm,
						     addr_of(vaddr, &items[i]),
						     size_of_item(&items[i]),
						     clear_entry, NULL);
	flush_tlb_kernel_range(start, end);
	for (i = 0; i < nr; i++) {
		page = items[i].new;
		/* Of existing ones it would leave out those that are clear. */
		if (page)
			apply_to_page_range(&init_mm, addr_of(vaddr, &items[i]),
					    size_of_item(&items[i]), set_entry,
					    &page);
	}
	flush_cache_vmap(start, end);
}
EXPORT_SYMBOL_GPL(pinpage_vmap_repoint);
