// SPDX-License-Identifier: GPL-2.0
/*
 * Catch importers that look at struct pages, and name them.
 *
 * With the check on, an importer gets a copy of the exporter's table. DMA
 * addresses, lengths and offsets are those of the original, which is not
 * touched; the page links lead into a window, where no struct page is mapped.
 *
 * Where there is a vmemmap, the window is a range of page frames that neither is
 * memory nor ever can be. Nothing is mapped where their struct pages would be in
 * the vmemmap, nor where their content would be in the direct map, so whatever an
 * importer does to such a page faults there:
 *
 *	sg_page(), page iterators	address in the window's struct pages
 *	kmap(), page_address()		address in the window's content
 *
 * (or, under KASAN, at the shadow of either). page_to_pfn() and sg_phys() do not
 * fault: they give numbers of the window, which the DMA and IOMMU interfaces
 * know. pfn_valid() is false for them.
 *
 * Elsewhere, as on 32 bits, the window is a hole in the vmalloc area. The struct
 * pages fault as well, and what derives something from them by reading them;
 * plain arithmetic gives numbers that say nothing.
 *
 * The window is divided into slots, which remember whose table it was; so the
 * fault handlers can say it.
 *
 * Switching. dma_buf_debug_key is on while the check is on, and as long as some
 * importer has a table of ours. Each attachment lists these tables, so an unmap
 * finds out about its own, whatever the switch says by then.
 */
#define pr_fmt(fmt) "dma-buf: " fmt

#include <linux/bitmap.h>
#include <linux/device.h>
#include <linux/dma-buf.h>
#include <linux/dma-buf-debug.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/ioport.h>
#include <linux/kasan.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/ratelimit.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "dma-buf-debug.h"

/* What a slot stands for. Most segments fit; a longer one takes several. */
#define SLOT_SIZE	SZ_4M
#define SLOT_PAGES	(SLOT_SIZE / PAGE_SIZE)
/*
 * Behind the slots: what all tables share that got none. As long as the longest
 * segment, whose offset and length have 32 bits each; in a hole of the vmalloc
 * area, where there is less room, as long as any that is seen there.
 */
#ifdef DMA_BUF_DEBUG_PFN
#define NR_SLOTS	4096
#define SPARE_SLOTS	(SZ_8G / SLOT_SIZE)
#else
#define NR_SLOTS	64
#define SPARE_SLOTS	(SZ_1G / SLOT_SIZE)
#endif
/* No memory section or large page of the direct map lies across its ends. */
#define WINDOW_ALIGN	SZ_1G
/* How many owners a slot remembers besides the last one. */
#define NR_EARLIER	2

/*
 * Whose a slot is or was, in copies: for those who have just crashed. The last byte
 * of a name is always 0.
 */
struct dma_buf_debug_owner {
	char importer[48];
	char driver[32];
	char exporter[32];
	unsigned long inode;
	size_t size;
};

struct dma_buf_debug_slot {
	struct dma_buf_debug_owner owner;
	struct dma_buf_debug_owner earlier[NR_EARLIER];	/* the latest first */
	unsigned int index;		/* among the slots of this table */
	bool mapped;
};

struct dma_buf_debug_window {
	struct page *pages;		/* the first one */
	unsigned int nr;		/* of slots, without the spare ones */
	struct dma_buf_debug_slot *slots;
	/*
	 * Protects what follows and the slots' content against other writers.
	 * Readers are oopses, which take no lock: they may see names mixed.
	 */
	spinlock_t lock;
	unsigned int next;
	DECLARE_BITMAP(used, NR_SLOTS);
};

/* A table in the hands of an importer. */
struct dma_buf_debug_map {
	struct sg_table sgt;
	struct sg_table *exported;
	struct dma_buf_debug_map *next;
	unsigned int slot;
	unsigned int nr_slots;		/* 0: a spare one */
	struct scatterlist sgl[];
};

enum dma_buf_debug_what {
	PEEK_STRUCT_PAGE,
	PEEK_CONTENT,
};

/* What an address in the window says. */
struct dma_buf_debug_peek {
	enum dma_buf_debug_what what;
	bool named;			/* false: a spare slot, nobody's */
	struct dma_buf_debug_slot slot;	/* a copy */
	unsigned long page;		/* of a segment */
	unsigned int byte;		/* of the page, or of its struct page */
};

DEFINE_STATIC_KEY_FALSE(dma_buf_debug_key);

static struct dma_buf_debug_window dma_buf_debug_window = {
	.lock = __SPIN_LOCK_UNLOCKED(dma_buf_debug_window.lock),
};

/* Protects the state of the switch. Nests inside of no lock of dma-buf. */
static DEFINE_MUTEX(dma_buf_debug_mutex);
static bool dma_buf_debug_booted;
/* Written under the mutex */
static bool dma_buf_debug_on = IS_ENABLED(CONFIG_DMABUF_DEBUG_ON);
static atomic_t dma_buf_debug_live = ATOMIC_INIT(0);

static unsigned int window_find(struct dma_buf_debug_window *w, unsigned int nr)
{
	unsigned int first;

	first = bitmap_find_next_zero_area(w->used, w->nr, w->next, nr, 0);
	if (first >= w->nr)
		first = bitmap_find_next_zero_area(w->used, w->nr, 0, nr, 0);
	return first;
}

static void slot_take(struct dma_buf_debug_slot *slot,
		      const struct dma_buf_debug_owner *owner,
		      unsigned int index)
{
	memmove(&slot->earlier[1], &slot->earlier[0],
		(NR_EARLIER - 1) * sizeof(slot->earlier[0]));
	slot->earlier[0] = slot->owner;
	slot->owner = *owner;
	slot->index = index;
	slot->mapped = true;
}

/*
 * Take slots in a row that hold a segment of @end bytes. They are taken in turn,
 * so that a slot remembers its last table as long as possible. Returns false if
 * there are none.
 */
static bool window_get(struct dma_buf_debug_window *w, u64 end,
		       const struct dma_buf_debug_owner *owner,
		       unsigned int *slot, unsigned int *nr_slots)
{
	unsigned int i, nr = max(DIV_ROUND_UP_ULL(end, SLOT_SIZE), 1);

	spin_lock(&w->lock);
	*slot = window_find(w, nr);
	if (*slot >= w->nr) {
		spin_unlock(&w->lock);
		*slot = w->nr;
		*nr_slots = 0;
		return false;
	}
	*nr_slots = nr;
	bitmap_set(w->used, *slot, nr);
	w->next = (*slot + nr) % w->nr;
	for (i = 0; i < nr; i++)
		slot_take(&w->slots[*slot + i], owner, i);
	spin_unlock(&w->lock);
	return true;
}

static void window_put(struct dma_buf_debug_window *w, unsigned int slot,
		       unsigned int nr_slots)
{
	unsigned int i;

	spin_lock(&w->lock);
	bitmap_clear(w->used, slot, nr_slots);
	for (i = slot; i < slot + nr_slots; i++)
		w->slots[i].mapped = false;
	spin_unlock(&w->lock);
}

static struct page *window_page(struct dma_buf_debug_window *w,
				unsigned int slot)
{
	return w->pages + slot * SLOT_PAGES;
}

static unsigned long window_nr_pages(struct dma_buf_debug_window *w)
{
	return (w->nr + SPARE_SLOTS) * SLOT_PAGES;
}

#ifdef DMA_BUF_DEBUG_PFN

static bool window_decode_content(struct dma_buf_debug_window *w,
				  unsigned long addr,
				  struct dma_buf_debug_peek *peek)
{
	unsigned long content = (unsigned long)page_to_virt(w->pages);

	if (addr - content >= window_nr_pages(w) * PAGE_SIZE)
		return false;
	peek->what = PEEK_CONTENT;
	peek->page = (addr - content) / PAGE_SIZE;
	peek->byte = (addr - content) % PAGE_SIZE;
	return true;
}

/* A page of the window in this physical range, or NULL */
static struct page *window_phys(struct dma_buf_debug_window *w,
				phys_addr_t phys, size_t size)
{
	unsigned long pfn = PHYS_PFN(phys), first = page_to_pfn(w->pages);
	unsigned long last = PHYS_PFN(phys + size - 1);

	if (!size || last < first || pfn >= first + window_nr_pages(w))
		return NULL;
	return w->pages + (max(pfn, first) - first);
}

#else

static bool window_decode_content(struct dma_buf_debug_window *w,
				  unsigned long addr,
				  struct dma_buf_debug_peek *peek)
{
	return false;
}

static struct page *window_phys(struct dma_buf_debug_window *w,
				phys_addr_t phys, size_t size)
{
	return NULL;
}

#endif

static bool window_decode_plain(struct dma_buf_debug_window *w,
				unsigned long addr,
				struct dma_buf_debug_peek *peek)
{
	unsigned long structs = (unsigned long)w->pages;

	if (addr - structs < window_nr_pages(w) * sizeof(struct page)) {
		peek->what = PEEK_STRUCT_PAGE;
		peek->page = (addr - structs) / sizeof(struct page);
		peek->byte = (addr - structs) % sizeof(struct page);
	} else if (!window_decode_content(w, addr, peek)) {
		return false;
	}
	peek->named = peek->page < w->nr * SLOT_PAGES &&
		      !copy_from_kernel_nofault(&peek->slot,
						&w->slots[peek->page / SLOT_PAGES],
						sizeof(peek->slot));
	if (peek->named)
		peek->page = peek->slot.index * SLOT_PAGES +
			     peek->page % SLOT_PAGES;
	else if (peek->page >= w->nr * SLOT_PAGES)
		peek->page -= w->nr * SLOT_PAGES;
	return true;
}

static bool window_exists(struct dma_buf_debug_window *w)
{
	/* The rest of the window is there for those who see its slots. */
	return smp_load_acquire(&w->slots);
}

/*
 * What does @addr say? Any address will do. KASAN looks at the shadow first, and
 * so the fault is there where it has none; an address of a shadow stands for
 * the first byte of those it shadows.
 */
static bool window_decode(struct dma_buf_debug_window *w, unsigned long addr,
			  struct dma_buf_debug_peek *peek)
{
	if (!window_exists(w))
		return false;
	addr = (unsigned long)kasan_reset_tag((void *)addr);
	if (window_decode_plain(w, addr, peek))
		return true;
#if defined(CONFIG_KASAN_GENERIC) || defined(CONFIG_KASAN_SW_TAGS)
	if (addr >= KASAN_SHADOW_START && addr < KASAN_SHADOW_END) {
		addr -= KASAN_SHADOW_OFFSET;
		addr <<= KASAN_SHADOW_SCALE_SHIFT;
		return window_decode_plain(w, addr, peek);
	}
#endif
	return false;
}

static void show_earlier_owners(const struct dma_buf_debug_slot *slot)
{
	const struct dma_buf_debug_owner *owner;

	for (owner = slot->earlier; owner < slot->earlier + NR_EARLIER; owner++)
		if (*owner->importer)
			pr_alert("or an earlier owner of that place: importer %s (driver %s), exporter %s, inode %lu, size %zu; it has been unmapped\n",
				 owner->importer, owner->driver,
				 owner->exporter, owner->inode, owner->size);
}

static void dma_buf_debug_show(const struct dma_buf_debug_peek *peek,
			       const char *what)
{
	const struct dma_buf_debug_owner *owner = &peek->slot.owner;

	if (!peek->named) {
		pr_alert("an importer (more tables than slots, so no name) %s, page %lu of a segment, byte %u\n",
			 what, peek->page, peek->byte);
		return;
	}
	pr_alert("importer %s (driver %s) %s, page %lu of a segment, byte %u\n",
		 owner->importer, owner->driver, what, peek->page, peek->byte);
	pr_alert("the buffer is of exporter %s, inode %lu, size %zu; %s\n",
		 owner->exporter, owner->inode, owner->size,
		 peek->slot.mapped ? "it is mapped" : "it has been unmapped");
	show_earlier_owners(&peek->slot);
}

static const char *dma_buf_debug_verb(const struct dma_buf_debug_peek *peek)
{
	if (peek->what == PEEK_CONTENT)
		return "accessed the content by kmap() or page_address()";
	return peek->page ? "dereferenced a page of a page iterator" :
			    "dereferenced sg_page()";
}

/**
 * dma_buf_debug_exists - is there anything that the others would know?
 *
 * Context: Any.
 * Return: true once importers have been checked.
 */
bool dma_buf_debug_exists(void)
{
	return window_exists(&dma_buf_debug_window);
}

/**
 * dma_buf_debug_oops - name the importer whose access faulted
 * @addr: address of the fault, any
 *
 * Says on the console, with KERN_ALERT, which importer touched the pages of
 * which buffer, if that is what happened. For the fault handlers of the
 * architectures, as part of an oops.
 *
 * Context: Any. Takes no lock but those of printk().
 * Return: true if @addr belongs to an imported buffer.
 */
bool dma_buf_debug_oops(unsigned long addr)
{
	struct dma_buf_debug_peek peek;

	if (!window_decode(&dma_buf_debug_window, addr, &peek))
		return false;
	dma_buf_debug_show(&peek, dma_buf_debug_verb(&peek));
	return true;
}

/**
 * dma_buf_debug_fixup - name the importer whose access will not oops
 * @addr: address of a fault of the kernel that an exception table fixes up
 *
 * On x86 that's what copy_to_user() does with a bad source, and its caller sees
 * -EFAULT only. Prints the report and, as no oops follows, a backtrace; at most
 * a few in some seconds. Silent where page faults are disabled: these are
 * attempts that may fail, like copy_from_kernel_nofault() of a tracer.
 *
 * Context: Any.
 */
void dma_buf_debug_fixup(unsigned long addr)
{
	static DEFINE_RATELIMIT_STATE(limit, DEFAULT_RATELIMIT_INTERVAL,
				      DEFAULT_RATELIMIT_BURST);
	struct dma_buf_debug_peek peek;

	if (pagefault_disabled() ||
	    !window_decode(&dma_buf_debug_window, addr, &peek) ||
	    !__ratelimit(&limit))
		return;
	dma_buf_debug_show(&peek, dma_buf_debug_verb(&peek));
	dump_stack_lvl(KERN_ALERT);
}

/**
 * dma_buf_debug_page - name the importer who gives away the page of a buffer
 * @page: a page, not dereferenced
 *
 * For checks of what is done to pages without an access to them, which say by
 * themselves where they are.
 *
 * Context: Any. Takes no lock but those of printk().
 * Return: true if @page belongs to an imported buffer.
 */
bool dma_buf_debug_page(const struct page *page)
{
	struct dma_buf_debug_peek peek;

	if (!window_decode(&dma_buf_debug_window, (unsigned long)page, &peek))
		return false;
	dma_buf_debug_show(&peek, "passed sg_page() on");
	return true;
}

/**
 * dma_buf_debug_pfn - name the importer who gives away the page of a buffer
 * @pfn: a page frame number, any
 *
 * As dma_buf_debug_page(). Knows none where there is no vmemmap.
 *
 * Context: Any. Takes no lock but those of printk().
 * Return: true if @pfn belongs to an imported buffer.
 */
bool dma_buf_debug_pfn(unsigned long pfn)
{
	struct dma_buf_debug_window *w = &dma_buf_debug_window;
	struct page *page;

	if (!window_exists(w))
		return false;
	page = window_phys(w, PFN_PHYS(pfn), PAGE_SIZE);
	return page && dma_buf_debug_page(page);
}

/*
 * Is it a page of the window? Nothing crashes then, so a backtrace has to say where
 * it was; at most a few in some seconds.
 */
static bool refuse_page(const struct page *page)
{
	static DEFINE_RATELIMIT_STATE(limit, DEFAULT_RATELIMIT_INTERVAL,
				      DEFAULT_RATELIMIT_BURST);
	struct dma_buf_debug_peek peek;

	if (!window_decode(&dma_buf_debug_window, (unsigned long)page, &peek))
		return false;
	if (__ratelimit(&limit)) {
		dma_buf_debug_show(&peek, "passed sg_page() on");
		dump_stack_lvl(KERN_ALERT);
	}
	return true;
}

bool __dma_buf_debug_bad_page(const struct page *page)
{
	return refuse_page(page);
}

/*
 * All pages of an importer's table are of the window, so a few entries tell. This is
 * what the exporter's table passes as well, when it is mapped.
 */
#define BAD_SG_ENTRIES	8U

bool __dma_buf_debug_bad_sg(struct scatterlist *sgl, unsigned int nents)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sg(sgl, sg, min(nents, BAD_SG_ENTRIES), i)
		if (refuse_page(sg_page(sg)))
			return true;
	return false;
}

bool __dma_buf_debug_bad_phys(phys_addr_t phys, size_t size)
{
	struct dma_buf_debug_window *w = &dma_buf_debug_window;
	struct page *page;

	if (!window_exists(w))
		return false;
	page = window_phys(w, phys, size);
	return page && refuse_page(page);
}

static void dma_buf_debug_describe(struct dma_buf_attachment *attach,
				   struct dma_buf_debug_owner *owner)
{
	struct dma_buf *dmabuf = attach->dmabuf;

	*owner = (struct dma_buf_debug_owner) {
		.inode = file_inode(dmabuf->file)->i_ino,
		.size = dmabuf->size,
	};
	strscpy(owner->importer, dev_name(attach->dev) ?: "");
	strscpy(owner->driver, dev_driver_string(attach->dev));
	strscpy(owner->exporter, dmabuf->exp_name);
}

/* Point the links of a table to @page. */
static void map_set_pages(struct dma_buf_debug_map *map, unsigned int nr,
			  struct page *page)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		map->sgl[i].page_link = (unsigned long)page;
	sg_mark_end(&map->sgl[nr - 1]);
}

/*
 * Copy the entries of @sgt, as many as @map has room for. Some exporters hide
 * the pages by an orig_nents of 0, so nents counts as well. Returns how many
 * bytes of pages the longest one reaches over.
 */
static u64 map_copy(struct dma_buf_debug_map *map, struct sg_table *sgt,
		    unsigned int nr)
{
	struct scatterlist *sg, *to = map->sgl;
	unsigned int i;
	u64 end = 0;

	for_each_sg(sgt->sgl, sg, nr, i) {
		end = max(end, (u64)sg->offset + sg->length);
		*to++ = *sg;
	}
	map->sgt.sgl = map->sgl;
	map->sgt.nents = sgt->nents;
	map->sgt.orig_nents = sgt->orig_nents;
	map->exported = sgt;
	return end;
}

static void dma_buf_debug_try_disable(void)
{
	lockdep_assert_held(&dma_buf_debug_mutex);
	/* Pairs with the barrier in dma_buf_debug_enter(). */
	smp_mb();
	if (!dma_buf_debug_on && !atomic_read(&dma_buf_debug_live))
		static_branch_disable(&dma_buf_debug_key);
}

static void dma_buf_debug_work_fn(struct work_struct *work)
{
	mutex_lock(&dma_buf_debug_mutex);
	dma_buf_debug_try_disable();
	mutex_unlock(&dma_buf_debug_mutex);
}

/*
 * Changing a static key takes locks that must not nest inside of a dma_resv, and
 * that's what a map or unmap holds.
 */
static DECLARE_WORK(dma_buf_debug_work, dma_buf_debug_work_fn);

static void dma_buf_debug_exit(void)
{
	if (atomic_dec_and_test(&dma_buf_debug_live) &&
	    !READ_ONCE(dma_buf_debug_on))
		schedule_work(&dma_buf_debug_work);
}

/*
 * May a table be made? Either this sees the switch off, or who turned the
 * switch off sees the table counted, and leaves the key on for its unmap.
 */
static bool dma_buf_debug_enter(void)
{
	atomic_inc(&dma_buf_debug_live);
	/* Pairs with the barrier in dma_buf_debug_try_disable(). */
	smp_mb__after_atomic();
	if (READ_ONCE(dma_buf_debug_on))
		return true;
	dma_buf_debug_exit();
	return false;
}

/**
 * dma_buf_debug_wrap - make the table that an importer gets
 * @attach: attachment that is mapped
 * @sgt: the exporter's table
 *
 * Context: Process context, may sleep. The dma_resv lock of the buffer is held.
 * Return: A table for the importer, which is @sgt if the check is off. -ENOMEM
 * if there is no memory for one: an unchecked mapping would look like a good
 * one.
 */
struct sg_table *dma_buf_debug_wrap(struct dma_buf_attachment *attach,
				    struct sg_table *sgt)
{
	struct dma_buf_debug_window *w = &dma_buf_debug_window;
	unsigned int nr = max(sgt->nents, sgt->orig_nents);
	struct dma_buf_debug_map *map;
	struct dma_buf_debug_owner owner;
	u64 end;

	dma_resv_assert_held(attach->dmabuf->resv);
	if (!nr || !sgt->sgl || !dma_buf_debug_enter())
		return sgt;
	map = kvmalloc(struct_size(map, sgl, nr), GFP_KERNEL);
	if (!map) {
		dma_buf_debug_exit();
		return ERR_PTR(-ENOMEM);
	}
	end = map_copy(map, sgt, nr);
	if (end > (u64)SPARE_SLOTS * SLOT_SIZE) {
		pr_warn_ratelimited("a segment is too long to check its importer\n");
		kvfree(map);
		dma_buf_debug_exit();
		return sgt;
	}
	dma_buf_debug_describe(attach, &owner);
	if (!window_get(w, end, &owner, &map->slot, &map->nr_slots))
		pr_warn_ratelimited("more tables than slots; importers may go unnamed\n");
	map_set_pages(map, nr, window_page(w, map->slot));
	map->next = attach->debug;
	attach->debug = map;
	return &map->sgt;
}

/**
 * dma_buf_debug_unwrap - take back the table of an importer
 * @attach: attachment that is unmapped
 * @sgt: what the importer got
 *
 * Context: Process context, may sleep. The dma_resv lock of the buffer is held.
 * Return: The exporter's table; @sgt itself if it was mapped with the check off.
 */
struct sg_table *dma_buf_debug_unwrap(struct dma_buf_attachment *attach,
				      struct sg_table *sgt)
{
	struct dma_buf_debug_map **link, *map;

	dma_resv_assert_held(attach->dmabuf->resv);
	for (link = &attach->debug; *link; link = &(*link)->next)
		if (&(*link)->sgt == sgt)
			break;
	map = *link;
	if (!map)
		return sgt;
	*link = map->next;
	sgt = map->exported;
	window_put(&dma_buf_debug_window, map->slot, map->nr_slots);
	kvfree(map);
	dma_buf_debug_exit();
	return sgt;
}

/**
 * dma_buf_debug_forget - an attachment goes away
 * @attach: attachment that is detached
 *
 * An importer that did not unmap all it has mapped is named. Its tables go with the
 * attachment, as those of exporters do.
 *
 * Context: Process context. The dma_resv lock of the buffer is held.
 */
void dma_buf_debug_forget(struct dma_buf_attachment *attach)
{
	struct dma_buf *dmabuf = attach->dmabuf;
	struct dma_buf_debug_map *map;
	unsigned int nr = 0;

	dma_resv_assert_held(dmabuf->resv);
	while (attach->debug) {
		map = attach->debug;
		attach->debug = map->next;
		window_put(&dma_buf_debug_window, map->slot, map->nr_slots);
		kvfree(map);
		dma_buf_debug_exit();
		nr++;
	}
	if (nr)
		pr_warn("importer %s (driver %s) detached with %u tables mapped; the buffer is of exporter %s, inode %lu, size %zu\n",
			dev_name(attach->dev), dev_driver_string(attach->dev),
			nr, dmabuf->exp_name, file_inode(dmabuf->file)->i_ino,
			dmabuf->size);
}

#ifdef DMA_BUF_DEBUG_PFN

/*
 * Find page frames that are no memory now nor later, and that the vmemmap and
 * the direct map have addresses for. Best are those that the processor can't
 * even address. Failing that, a free range from the top down, away from memory
 * that may be plugged in; as a resource, since others look for such a range.
 */
static unsigned long dma_buf_debug_reserve_pfn(u64 size)
{
	u64 end = PHYSMEM_END, top = min_t(u64, end, iomem_resource.end);
	u64 low = PFN_PHYS(max_possible_pfn), start;

	start = ALIGN_DOWN(end + 1 - size, WINDOW_ALIGN);
	if (start > top && start < end)
		return PHYS_PFN(start);
	for (start = ALIGN_DOWN(top + 1 - size, WINDOW_ALIGN);
	     start >= low && start < top; start -= WINDOW_ALIGN) {
		if (region_intersects(start, size, 0, IORES_DESC_NONE) !=
		    REGION_DISJOINT)
			continue;
		if (request_mem_region(start, size, "dma-buf debug"))
			return PHYS_PFN(start);
	}
	return 0;
}

static struct page *dma_buf_debug_reserve(void)
{
	u64 size = (u64)(NR_SLOTS + SPARE_SLOTS) * SLOT_SIZE;
	unsigned long pfn = dma_buf_debug_reserve_pfn(size);

	return pfn ? pfn_to_page(pfn) : NULL;
}

#else

/* A part of the vmalloc area that is nobody else's, and in which nothing is mapped */
static struct page *dma_buf_debug_reserve(void)
{
	struct vm_struct *area;

	area = get_vm_area((NR_SLOTS + SPARE_SLOTS) * SLOT_PAGES *
			   sizeof(struct page), VM_MAP);
	return area ? area->addr : NULL;
}

#endif

static int dma_buf_debug_setup(void)
{
	struct dma_buf_debug_window *w = &dma_buf_debug_window;
	struct dma_buf_debug_slot *slots;

	if (w->slots)
		return 0;
	if (!w->pages)
		w->pages = dma_buf_debug_reserve();
	if (!w->pages)
		return -ENOSPC;
	slots = kvcalloc(NR_SLOTS, sizeof(*slots), GFP_KERNEL);
	if (!slots)
		return -ENOMEM;
	w->nr = NR_SLOTS;
	/* The rest of the window is there for an oops that sees the slots. */
	smp_store_release(&w->slots, slots);
	return 0;
}

/* Switch the check. Tables that importers have stay what they are. */
static int dma_buf_debug_switch(bool on)
{
	int ret = 0;

	lockdep_assert_held(&dma_buf_debug_mutex);
	if (on) {
		ret = dma_buf_debug_setup();
		if (ret)
			return ret;
		/*
		 * The sites of a key change one after the other: a table must
		 * not be made before those that take it back have changed.
		 */
		static_branch_enable(&dma_buf_debug_key);
		WRITE_ONCE(dma_buf_debug_on, true);
	} else {
		WRITE_ONCE(dma_buf_debug_on, false);
		dma_buf_debug_try_disable();
	}
	return ret;
}

static int dma_buf_debug_param_set(const char *val,
				   const struct kernel_param *kp)
{
	bool on = true;
	int ret = 0;

	if (val)
		ret = kstrtobool(val, &on);
	if (ret)
		return ret;
	mutex_lock(&dma_buf_debug_mutex);
	if (dma_buf_debug_booted)
		ret = dma_buf_debug_switch(on);
	else
		dma_buf_debug_on = on;
	mutex_unlock(&dma_buf_debug_mutex);
	return ret;
}

static int dma_buf_debug_param_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n",
			  READ_ONCE(dma_buf_debug_on) ? "on" : "off");
}

static const struct kernel_param_ops dma_buf_debug_param_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = dma_buf_debug_param_set,
	.get = dma_buf_debug_param_get,
};

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "dma_buf."
module_param_cb(debug, &dma_buf_debug_param_ops, NULL, 0644);
MODULE_PARM_DESC(debug, "Catch importers that look at struct pages: on or off");

/*
 * What the command line said. Late, for host bridges and the like to have found
 * their place in the physical address space; before that nobody imports.
 */
static int __init dma_buf_debug_init(void)
{
	int ret = 0;

	mutex_lock(&dma_buf_debug_mutex);
	dma_buf_debug_booted = true;
	if (dma_buf_debug_on) {
		dma_buf_debug_on = false;
		ret = dma_buf_debug_switch(true);
	}
	mutex_unlock(&dma_buf_debug_mutex);
	if (ret)
		pr_err("debug stays off: %pe\n", ERR_PTR(ret));
	return ret;
}
late_initcall(dma_buf_debug_init);

#ifdef CONFIG_DMABUF_DEBUG_KUNIT_TEST
#include "dma-buf-debug-kunit.h"
#endif
