/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KUnit tests of the importer check: the window, the tables, the switch.
 */
#ifndef _DMA_BUF_DEBUG_KUNIT_H
#define _DMA_BUF_DEBUG_KUNIT_H

#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/prandom.h>

/* The window. None of these pages is ever touched, so any pfn will do. */

#define TEST_SLOTS	8U

static struct dma_buf_debug_window *test_window(struct kunit *test)
{
	struct dma_buf_debug_window *w;

	w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, w);
	w->slots = kunit_kcalloc(test, TEST_SLOTS, sizeof(*w->slots),
				 GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, w->slots);
	spin_lock_init(&w->lock);
	w->nr = TEST_SLOTS;
#ifdef DMA_BUF_DEBUG_PFN
	w->pages = pfn_to_page(PHYS_PFN(ALIGN_DOWN(PHYSMEM_END - SZ_64G,
						   WINDOW_ALIGN)));
#else
	w->pages = (struct page *)VMALLOC_START;
#endif
	return w;
}

static bool test_peek(struct dma_buf_debug_window *w, const void *addr,
		      struct dma_buf_debug_peek *peek)
{
	return window_decode(w, (unsigned long)addr, peek);
}

static bool test_decodes(struct dma_buf_debug_window *w, unsigned long addr)
{
	struct dma_buf_debug_peek peek;

	return window_decode(w, addr, &peek);
}

static bool test_decodes_ptr(struct dma_buf_debug_window *w, const void *ptr)
{
	return test_decodes(w, (unsigned long)ptr);
}

static const struct dma_buf_debug_owner test_owner = {
	.importer = "importer",
	.driver = "driver",
	.exporter = "exporter",
	.inode = 42,
	.size = 4711,
};

/* Slots for a segment of @slots times a slot's size; returns the first. */
static unsigned int test_get(struct kunit *test, struct dma_buf_debug_window *w,
			     unsigned int slots)
{
	unsigned int slot, nr;
	u64 end = (u64)slots * SLOT_SIZE;
	bool got = window_get(w, end, &test_owner, &slot, &nr);

	KUNIT_EXPECT_EQ(test, got, slot < w->nr);
	KUNIT_EXPECT_EQ(test, nr, got ? slots : 0);
	return slot;
}

static void window_test_slots(struct kunit *test)
{
	struct dma_buf_debug_window *w = test_window(test);
	unsigned int i, slot, nr;

	KUNIT_EXPECT_EQ(test, test_get(test, w, 1), 0);
	KUNIT_EXPECT_EQ(test, test_get(test, w, 3), 1);
	KUNIT_EXPECT_EQ(test, test_get(test, w, 1), 4);
	KUNIT_EXPECT_EQ(test, bitmap_weight(w->used, NR_SLOTS), 5);
	for (i = 0; i < 5; i++) {
		KUNIT_EXPECT_STREQ(test, w->slots[i].owner.importer,
				   "importer");
		KUNIT_EXPECT_TRUE(test, w->slots[i].mapped);
	}
	KUNIT_EXPECT_EQ(test, w->slots[1].index, 0);
	KUNIT_EXPECT_EQ(test, w->slots[3].index, 2);
	KUNIT_EXPECT_EQ(test, w->slots[4].index, 0);

	/* A byte more than a slot; and nothing. */
	KUNIT_EXPECT_TRUE(test, window_get(w, SLOT_SIZE + 1, &test_owner, &slot,
					   &nr));
	KUNIT_EXPECT_EQ(test, slot, 5);
	KUNIT_EXPECT_EQ(test, nr, 2);
	KUNIT_EXPECT_TRUE(test, window_get(w, 0, &test_owner, &slot, &nr));
	KUNIT_EXPECT_EQ(test, slot, 7);
	KUNIT_EXPECT_EQ(test, nr, 1);
}

static void window_test_exhaustion(struct kunit *test)
{
	struct dma_buf_debug_window *w = test_window(test);
	struct dma_buf_debug_peek peek;
	struct page *page = window_page(w, TEST_SLOTS);
	unsigned int i;

	for (i = 0; i < TEST_SLOTS; i++)
		KUNIT_EXPECT_EQ(test, test_get(test, w, 1), i);
	KUNIT_EXPECT_EQ(test, test_get(test, w, 1), TEST_SLOTS);
	/* Unnamed, and caught all the same: as far as a segment can reach. */
	KUNIT_EXPECT_TRUE(test, test_peek(w, page, &peek));
	KUNIT_EXPECT_FALSE(test, peek.named);
	page += SPARE_SLOTS * SLOT_PAGES - 1;
	KUNIT_EXPECT_TRUE(test, test_peek(w, page, &peek));
	KUNIT_EXPECT_FALSE(test, peek.named);
	KUNIT_EXPECT_EQ(test, peek.page, SPARE_SLOTS * SLOT_PAGES - 1);
	if (__is_defined(DMA_BUF_DEBUG_PFN))
		KUNIT_EXPECT_LE(test, 2ULL * U32_MAX / PAGE_SIZE, peek.page);
	/* What a table without slots gives back is nothing. */
	window_put(w, TEST_SLOTS, 0);
	KUNIT_EXPECT_EQ(test, bitmap_weight(w->used, NR_SLOTS), TEST_SLOTS);

	/* In a row, or not at all. */
	window_put(w, 2, 1);
	window_put(w, 4, 1);
	KUNIT_EXPECT_EQ(test, test_get(test, w, 2), TEST_SLOTS);
	window_put(w, 3, 1);
	KUNIT_EXPECT_EQ(test, test_get(test, w, 3), 2);
	KUNIT_EXPECT_EQ(test, test_get(test, w, TEST_SLOTS + 1), TEST_SLOTS);
}

/* A slot says whose it was, until all others have had their turn. */
static void window_test_reuse(struct kunit *test)
{
	struct dma_buf_debug_window *w = test_window(test);
	struct dma_buf_debug_owner other = test_owner;
	unsigned int i, slot, nr;

	KUNIT_EXPECT_EQ(test, test_get(test, w, 1), 0);
	window_put(w, 0, 1);
	strscpy(other.importer, "other");
	for (i = 1; i < TEST_SLOTS; i++) {
		window_get(w, 1, &other, &slot, &nr);
		KUNIT_EXPECT_EQ(test, slot, i);
		window_put(w, slot, nr);
		KUNIT_EXPECT_STREQ(test, w->slots[0].owner.importer, "importer");
		KUNIT_EXPECT_FALSE(test, w->slots[0].mapped);
	}
	window_get(w, 1, &other, &slot, &nr);
	KUNIT_EXPECT_EQ(test, slot, 0);
	KUNIT_EXPECT_STREQ(test, w->slots[0].owner.importer, "other");
	KUNIT_EXPECT_TRUE(test, w->slots[0].mapped);
}

/* And then it remembers those that came before, for a while. */
static void window_test_earlier(struct kunit *test)
{
	struct dma_buf_debug_window *w = test_window(test);
	struct dma_buf_debug_owner owner = test_owner;
	const struct dma_buf_debug_slot *seen;
	struct dma_buf_debug_peek peek = {};
	unsigned int i, slot, nr;

	for (i = 0; i <= NR_EARLIER + 1; i++) {
		owner.inode = 100 + i;
		window_get(w, TEST_SLOTS * (u64)SLOT_SIZE, &owner, &slot, &nr);
		KUNIT_ASSERT_EQ(test, nr, TEST_SLOTS);
		window_put(w, slot, nr);
	}
	KUNIT_ASSERT_TRUE(test, test_peek(w, window_page(w, 1), &peek));
	KUNIT_ASSERT_TRUE(test, peek.named);
	seen = &peek.slot;
	KUNIT_EXPECT_EQ(test, seen->owner.inode, 100 + NR_EARLIER + 1);
	for (i = 0; i < NR_EARLIER; i++)
		KUNIT_EXPECT_EQ(test, seen->earlier[i].inode,
				100 + NR_EARLIER - i);
}

static void test_decode(struct kunit *test, struct dma_buf_debug_window *w,
			const void *addr, enum dma_buf_debug_what what,
			unsigned int slot, unsigned long page, unsigned int byte)
{
	struct dma_buf_debug_peek peek = {};

	KUNIT_ASSERT_TRUE(test, test_peek(w, addr, &peek));
	KUNIT_EXPECT_EQ(test, peek.what, what);
	KUNIT_ASSERT_TRUE(test, peek.named);
	KUNIT_EXPECT_MEMEQ(test, &peek.slot, &w->slots[slot],
			   sizeof(peek.slot));
	KUNIT_EXPECT_EQ(test, peek.page, page);
	KUNIT_EXPECT_EQ(test, peek.byte, byte);
}

static void window_test_decode(struct kunit *test)
{
	struct dma_buf_debug_window *w = test_window(test);
	struct page *page;

	test_get(test, w, 1);
	test_get(test, w, 3);
	test_get(test, w, 4);
	page = window_page(w, 0);
	test_decode(test, w, page, PEEK_STRUCT_PAGE, 0, 0, 0);
	test_decode(test, w, &page->flags, PEEK_STRUCT_PAGE, 0, 0,
		    offsetof(struct page, flags));
	test_decode(test, w, &page[1]._refcount, PEEK_STRUCT_PAGE, 0, 1,
		    offsetof(struct page, _refcount));
	/* In the third slot of its table. */
	test_decode(test, w, page + 3 * SLOT_PAGES + 7, PEEK_STRUCT_PAGE, 3,
		    2 * SLOT_PAGES + 7, 0);
	/* The last slot. */
	test_decode(test, w, page + TEST_SLOTS * SLOT_PAGES - 1,
		    PEEK_STRUCT_PAGE, 7, 4 * SLOT_PAGES - 1, 0);
}

#ifdef DMA_BUF_DEBUG_PFN

static void window_test_decode_content(struct kunit *test)
{
	struct dma_buf_debug_window *w = test_window(test);
	struct page *page = window_page(w, 0);
	char *content = page_address(page);

	test_get(test, w, 1);
	test_get(test, w, 3);
	test_decode(test, w, content, PEEK_CONTENT, 0, 0, 0);
	test_decode(test, w, content + 5 * PAGE_SIZE + 6, PEEK_CONTENT, 0, 5, 6);
	test_decode(test, w, content + SLOT_SIZE - 1, PEEK_CONTENT, 0,
		    SLOT_PAGES - 1, PAGE_SIZE - 1);
	test_decode(test, w, content + 3UL * SLOT_SIZE, PEEK_CONTENT, 3,
		    2 * SLOT_PAGES, 0);
	/* The page's other names. */
	test_decode(test, w, pfn_to_page(page_to_pfn(page + 1)),
		    PEEK_STRUCT_PAGE, 0, 1, 0);
	test_decode(test, w, phys_to_virt(page_to_phys(page + 1)),
		    PEEK_CONTENT, 0, 1, 0);
}

/* A physical range that reaches into the window, from either side */
static void window_test_phys(struct kunit *test)
{
	struct dma_buf_debug_window *w = test_window(test);
	struct page *page = window_page(w, 0);
	phys_addr_t first = page_to_phys(page);
	phys_addr_t end = first + window_nr_pages(w) * PAGE_SIZE;

	KUNIT_EXPECT_PTR_EQ(test, window_phys(w, first, 1), page);
	KUNIT_EXPECT_PTR_EQ(test, window_phys(w, first + 5 * PAGE_SIZE + 7, 1),
			    page + 5);
	KUNIT_EXPECT_PTR_EQ(test, window_phys(w, first - PAGE_SIZE, SZ_2M),
			    page);
	KUNIT_EXPECT_PTR_EQ(test, window_phys(w, end - 1, SZ_1G),
			    page + window_nr_pages(w) - 1);
	KUNIT_EXPECT_NULL(test, window_phys(w, first, 0));
	KUNIT_EXPECT_NULL(test, window_phys(w, first - PAGE_SIZE, PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, window_phys(w, end, PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, window_phys(w, 0, SZ_1G));
}

#endif

static void window_test_decode_any(struct kunit *test)
{
	struct dma_buf_debug_window *w = test_window(test);
	unsigned long pages = (TEST_SLOTS + SPARE_SLOTS) * SLOT_PAGES;
	unsigned long structs = (unsigned long)window_page(w, 0);
	unsigned long structs_end = structs + pages * sizeof(struct page);
	unsigned long content = 0, content_end = 0;
	struct rnd_state rnd;
	unsigned long addr;
	int i, in = 0;

	KUNIT_EXPECT_TRUE(test, test_decodes(w, structs));
	KUNIT_EXPECT_TRUE(test, test_decodes(w, structs_end - 1));
	KUNIT_EXPECT_FALSE(test, test_decodes(w, structs - 1));
	KUNIT_EXPECT_FALSE(test, test_decodes(w, structs_end));
#ifdef DMA_BUF_DEBUG_PFN
	content = (unsigned long)page_address(window_page(w, 0));
	content_end = content + pages * PAGE_SIZE;
	KUNIT_EXPECT_TRUE(test, test_decodes(w, content));
	KUNIT_EXPECT_TRUE(test, test_decodes(w, content_end - 1));
	KUNIT_EXPECT_FALSE(test, test_decodes(w, content - 1));
	KUNIT_EXPECT_FALSE(test, test_decodes(w, content_end));
#endif

	KUNIT_EXPECT_FALSE(test, test_decodes(w, 0));
	KUNIT_EXPECT_FALSE(test, test_decodes(w, 1));
	KUNIT_EXPECT_FALSE(test, test_decodes(w, ULONG_MAX));
	KUNIT_EXPECT_FALSE(test, test_decodes(w, LONG_MAX));
	KUNIT_EXPECT_FALSE(test, test_decodes_ptr(w, w));
	KUNIT_EXPECT_FALSE(test, test_decodes_ptr(w, &addr));
	KUNIT_EXPECT_FALSE(test, test_decodes_ptr(w, test_decodes));
	KUNIT_EXPECT_FALSE(test, test_decodes_ptr(w, virt_to_page(w)));

	/* The low bits of the window's ends, and then any. */
	prandom_seed_state(&rnd, 3141592653589793238ULL);
	for (i = 0; i < 20000; i++) {
		addr = prandom_u32_state(&rnd);
		if (BITS_PER_LONG == 64)
			addr = (u64)addr << 32 | prandom_u32_state(&rnd);
		if (i & 1)
			addr = structs + addr % (2 * (structs_end - structs));
		if (IS_ENABLED(CONFIG_KASAN) && !(i & 1))
			continue;	/* it may be one's shadow */
		in += addr >= structs && addr < structs_end;
		KUNIT_EXPECT_EQ(test, test_decodes(w, addr),
				(addr >= structs && addr < structs_end) ||
				(addr >= content && addr < content_end));
	}
	KUNIT_EXPECT_GT(test, in, 1000);

	w->slots = NULL;
	KUNIT_EXPECT_FALSE(test, test_decodes(w, structs));
}

/* KASAN finds the fault in its shadow. */
static void window_test_decode_shadow(struct kunit *test)
{
#if defined(DMA_BUF_DEBUG_PFN) && \
	(defined(CONFIG_KASAN_GENERIC) || defined(CONFIG_KASAN_SW_TAGS))
	struct dma_buf_debug_window *w = test_window(test);
	char *content = page_address(window_page(w, 0));

	test_get(test, w, 2);
	test_decode(test, w, kasan_mem_to_shadow(content + PAGE_SIZE),
		    PEEK_CONTENT, 0, 1, 0);
	test_decode(test, w, kasan_mem_to_shadow(window_page(w, 1)),
		    PEEK_STRUCT_PAGE, 1, SLOT_PAGES, 0);
	KUNIT_EXPECT_FALSE(test, test_decodes_ptr(w, kasan_mem_to_shadow(w)));
#else
	kunit_skip(test, "no KASAN with a shadow");
#endif
}

static struct kunit_case window_cases[] = {
	KUNIT_CASE(window_test_slots),
	KUNIT_CASE(window_test_exhaustion),
	KUNIT_CASE(window_test_reuse),
	KUNIT_CASE(window_test_earlier),
	KUNIT_CASE(window_test_decode),
#ifdef DMA_BUF_DEBUG_PFN
	KUNIT_CASE(window_test_decode_content),
	KUNIT_CASE(window_test_phys),
#endif
	KUNIT_CASE(window_test_decode_any),
	KUNIT_CASE(window_test_decode_shadow),
	{}
};

static struct kunit_suite window_suite = {
	.name = "dma-buf-debug-window",
	.test_cases = window_cases,
};

/* The tables. An exporter with one table, and whatever it is told to return. */

#define TEST_ENTRIES	300	/* more than fit into one page */

struct test_buf {
	struct dma_buf *dmabuf;
	struct sg_table sgt;
	struct scatterlist before[TEST_ENTRIES];
	struct sg_table *maps;		/* what map_dma_buf returns */
	/* Or the mapping of another one, whose dma_resv it shares. */
	struct dma_buf_attachment *inner;
	struct sg_table *unmapped;	/* what unmap_dma_buf got last */
	int nr_mapped;
	int nr_unmapped;
	int nr_pinned;
};

static struct sg_table *test_buf_map(struct dma_buf_attachment *attach,
				     enum dma_data_direction direction)
{
	struct test_buf *buf = attach->dmabuf->priv;
	struct sg_table *sgt = buf->maps;

	if (buf->inner)
		sgt = dma_buf_map_attachment(buf->inner, direction);
	if (!IS_ERR_OR_NULL(sgt))
		buf->nr_mapped++;
	return sgt;
}

static void test_buf_unmap(struct dma_buf_attachment *attach,
			   struct sg_table *sgt,
			   enum dma_data_direction direction)
{
	struct test_buf *buf = attach->dmabuf->priv;

	buf->unmapped = sgt;
	buf->nr_unmapped++;
	if (buf->inner)
		dma_buf_unmap_attachment(buf->inner, sgt, direction);
}

static void test_buf_release(struct dma_buf *dmabuf)
{
}

static int test_buf_pin(struct dma_buf_attachment *attach)
{
	((struct test_buf *)attach->dmabuf->priv)->nr_pinned++;
	return 0;
}

static void test_buf_unpin(struct dma_buf_attachment *attach)
{
	((struct test_buf *)attach->dmabuf->priv)->nr_pinned--;
}

static const struct dma_buf_ops test_buf_ops = {
	.map_dma_buf = test_buf_map,
	.unmap_dma_buf = test_buf_unmap,
	.release = test_buf_release,
};

static const struct dma_buf_ops test_buf_cached_ops = {
	.cache_sgt_mapping = true,
	.map_dma_buf = test_buf_map,
	.unmap_dma_buf = test_buf_unmap,
	.release = test_buf_release,
};

static const struct dma_buf_ops test_buf_dynamic_ops = {
	.pin = test_buf_pin,
	.unpin = test_buf_unpin,
	.map_dma_buf = test_buf_map,
	.unmap_dma_buf = test_buf_unmap,
	.release = test_buf_release,
};

static void test_move_notify(struct dma_buf_attachment *attach)
{
}

static const struct dma_buf_attach_ops test_importer_ops = {
	.allow_peer2peer = true,
	.move_notify = test_move_notify,
};

struct test_tables {
	struct device *dev;
	bool was_on;
};

static int test_switch(bool on)
{
	int ret;

	mutex_lock(&dma_buf_debug_mutex);
	ret = dma_buf_debug_switch(on);
	mutex_unlock(&dma_buf_debug_mutex);
	return ret;
}

static int tables_init(struct kunit *test)
{
	struct test_tables *fixture;

	fixture = kunit_kzalloc(test, sizeof(*fixture), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fixture);
	fixture->dev = kunit_device_register(test, "dma-buf-debug-importer");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, fixture->dev);
	fixture->was_on = dma_buf_debug_on;
	test->priv = fixture;
	KUNIT_ASSERT_EQ(test, test_switch(true), 0);
	return 0;
}

/* Whatever a test did: nothing is left, and off is off. */
static void tables_exit(struct kunit *test)
{
	struct test_tables *fixture = test->priv;

	KUNIT_EXPECT_EQ(test, atomic_read(&dma_buf_debug_live), 0);
	KUNIT_EXPECT_TRUE(test, bitmap_empty(dma_buf_debug_window.used,
					     NR_SLOTS));
	KUNIT_EXPECT_EQ(test, test_switch(false), 0);
	KUNIT_EXPECT_FALSE(test, dma_buf_debug_active());
	if (fixture->was_on)
		test_switch(true);
}

static struct test_buf *test_buf_resv(struct kunit *test,
				      const struct dma_buf_ops *ops,
				      struct dma_resv *resv)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct test_buf *buf;
	struct scatterlist *sg;
	int i;

	buf = kunit_kzalloc(test, sizeof(*buf), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buf);
	KUNIT_ASSERT_EQ(test, sg_alloc_table(&buf->sgt, TEST_ENTRIES,
					     GFP_KERNEL), 0);
	for_each_sgtable_sg(&buf->sgt, sg, i) {
		sg_set_page(sg, ZERO_PAGE(0), (i + 1) * PAGE_SIZE, 0);
		sg_dma_address(sg) = (dma_addr_t)(i + 1) << 20;
		sg_dma_len(sg) = sg->length;
		buf->before[i] = *sg;
	}
	buf->maps = &buf->sgt;
	info.exp_name = "kunit";
	info.ops = ops;
	info.size = SZ_1M;
	info.flags = O_RDWR;
	info.resv = resv;
	info.priv = buf;
	buf->dmabuf = dma_buf_export(&info);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, buf->dmabuf);
	return buf;
}

static struct test_buf *test_buf(struct kunit *test,
				 const struct dma_buf_ops *ops)
{
	return test_buf_resv(test, ops, NULL);
}

/* All is unmapped, and nobody has written to the exporter's table. */
static void test_buf_done(struct kunit *test, struct test_buf *buf)
{
	struct scatterlist *sg;
	int i;

	KUNIT_EXPECT_EQ(test, buf->nr_mapped, buf->nr_unmapped);
	KUNIT_EXPECT_EQ(test, buf->nr_pinned, 0);
	for_each_sg(buf->sgt.sgl, sg, TEST_ENTRIES, i)
		KUNIT_EXPECT_MEMEQ(test, sg, &buf->before[i], sizeof(*sg));
	dma_buf_put(buf->dmabuf);
	/* It is not freed in the context of a kernel thread. */
	flush_delayed_fput();
	sg_free_table(&buf->sgt);
}

static struct dma_buf_attachment *
test_buf_attach(struct kunit *test, struct test_buf *buf,
		const struct dma_buf_attach_ops *ops)
{
	struct test_tables *fixture = test->priv;
	struct dma_buf_attachment *attach;

	attach = dma_buf_dynamic_attach(buf->dmabuf, fixture->dev, ops, NULL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, attach);
	return attach;
}

static struct sg_table *test_buf_import(struct kunit *test,
					struct dma_buf_attachment *attach)
{
	struct sg_table *sgt;

	sgt = dma_buf_map_attachment_unlocked(attach, DMA_BIDIRECTIONAL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, sgt);
	return sgt;
}

static void test_buf_unimport(struct kunit *test,
			      struct dma_buf_attachment *attach,
			      struct sg_table *sgt, struct test_buf *buf)
{
	dma_buf_unmap_attachment_unlocked(attach, sgt, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_PTR_EQ(test, buf->unmapped, buf->maps);
}

static bool test_is_wrapped(struct sg_table *sgt)
{
	return test_decodes_ptr(&dma_buf_debug_window, sg_page(sgt->sgl));
}

/* Whatever device sees the copy sees the original. */
static void test_same_dma(struct kunit *test, struct sg_table *sgt,
			  struct sg_table *of)
{
	struct sg_dma_page_iter iter, of_iter;
	struct scatterlist *sg, *of_sg = of->sgl;
	int i;

	KUNIT_ASSERT_EQ(test, sgt->nents, of->nents);
	KUNIT_ASSERT_EQ(test, sgt->orig_nents, of->orig_nents);
	for_each_sgtable_dma_sg(sgt, sg, i) {
		KUNIT_EXPECT_EQ(test, sg_dma_address(sg), sg_dma_address(of_sg));
		KUNIT_EXPECT_EQ(test, sg_dma_len(sg), sg_dma_len(of_sg));
		KUNIT_EXPECT_EQ(test, sg->length, of_sg->length);
		KUNIT_EXPECT_EQ(test, sg->offset, of_sg->offset);
		KUNIT_EXPECT_EQ(test, sg_is_last(sg),
				i == max(sgt->nents, sgt->orig_nents) - 1);
		of_sg = sg_next(of_sg);
	}
	__sg_page_iter_start(&of_iter.base, of->sgl, of->nents, 0);
	for_each_sgtable_dma_page(sgt, &iter, 0) {
		KUNIT_ASSERT_TRUE(test, __sg_page_iter_dma_next(&of_iter));
		KUNIT_ASSERT_EQ(test, sg_page_iter_dma_address(&iter),
				sg_page_iter_dma_address(&of_iter));
	}
	KUNIT_EXPECT_FALSE(test, __sg_page_iter_dma_next(&of_iter));
}

/* Any page that any iterator gives is one of the window. */
static void test_no_page(struct kunit *test, struct sg_table *sgt,
			 unsigned long pages)
{
	struct dma_buf_debug_window *w = &dma_buf_debug_window;
	struct sg_page_iter iter;
	struct page *page;
	unsigned long seen = 0;

	for_each_sgtable_page(sgt, &iter, 0) {
		page = sg_page_iter_page(&iter);
		KUNIT_ASSERT_TRUE(test, test_decodes_ptr(w, page));
		seen++;
		if (!__is_defined(DMA_BUF_DEBUG_PFN))
			continue;
		KUNIT_ASSERT_TRUE(test, test_decodes_ptr(w, page_address(page)));
		KUNIT_ASSERT_FALSE(test, pfn_valid(page_to_pfn(page)));
	}
	KUNIT_EXPECT_EQ(test, seen, pages);
}

static void tables_test_copy(struct kunit *test)
{
	struct test_tables *fixture = test->priv;
	struct test_buf *buf = test_buf(test, &test_buf_ops);
	struct dma_buf_attachment *attach = test_buf_attach(test, buf, NULL);
	struct sg_table *sgt = test_buf_import(test, attach);
	struct page *page = sg_page(sgt->sgl);
	struct dma_buf_debug_peek peek;

	KUNIT_EXPECT_PTR_NE(test, sgt, &buf->sgt);
	test_same_dma(test, sgt, &buf->sgt);
	test_no_page(test, sgt, TEST_ENTRIES * (TEST_ENTRIES + 1) / 2);

	KUNIT_ASSERT_TRUE(test, test_peek(&dma_buf_debug_window, page, &peek));
	KUNIT_ASSERT_TRUE(test, peek.named);
	KUNIT_EXPECT_STREQ(test, peek.slot.owner.importer, dev_name(fixture->dev));
	KUNIT_EXPECT_STREQ(test, peek.slot.owner.driver,
			   dev_driver_string(fixture->dev));
	KUNIT_EXPECT_STREQ(test, peek.slot.owner.exporter, "kunit");
	KUNIT_EXPECT_EQ(test, peek.slot.owner.inode,
			file_inode(buf->dmabuf->file)->i_ino);
	KUNIT_EXPECT_EQ(test, peek.slot.owner.size, SZ_1M);
	KUNIT_EXPECT_TRUE(test, peek.slot.mapped);

	test_buf_unimport(test, attach, sgt, buf);
	KUNIT_ASSERT_TRUE(test, test_peek(&dma_buf_debug_window, page, &peek));
	KUNIT_EXPECT_FALSE(test, peek.slot.mapped);
	dma_buf_detach(buf->dmabuf, attach);
	test_buf_done(test, buf);
}

/* Of a merged table, of one that hides its pages, and of an empty one. */
static void tables_test_counts(struct kunit *test)
{
	static const unsigned int counts[][2] = {
		{ 1, TEST_ENTRIES }, { 7, TEST_ENTRIES }, { TEST_ENTRIES, 0 },
		{ 0, TEST_ENTRIES }, { 0, 0 },
	};
	struct test_buf *buf = test_buf(test, &test_buf_ops);
	struct dma_buf_attachment *attach = test_buf_attach(test, buf, NULL);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		unsigned int n = counts[i][1];
		struct sg_table *sgt;

		buf->sgt.nents = counts[i][0];
		buf->sgt.orig_nents = n;
		sgt = test_buf_import(test, attach);
		if (counts[i][0] || n) {
			KUNIT_EXPECT_TRUE(test, test_is_wrapped(sgt));
			test_same_dma(test, sgt, &buf->sgt);
			test_no_page(test, sgt, n * (n + 1) / 2);
		} else {
			KUNIT_EXPECT_PTR_EQ(test, sgt, &buf->sgt);
		}
		test_buf_unimport(test, attach, sgt, buf);
	}
	buf->sgt.nents = TEST_ENTRIES;
	buf->sgt.orig_nents = TEST_ENTRIES;
	dma_buf_detach(buf->dmabuf, attach);
	test_buf_done(test, buf);
}

/*
 * A segment that is as long as they get, behind an offset. If the window has no room
 * for that, the table is not checked: its pages would be somebody else's memory.
 */
static void tables_test_long(struct kunit *test)
{
	struct test_buf *buf = test_buf(test, &test_buf_ops);
	struct dma_buf_attachment *attach = test_buf_attach(test, buf, NULL);
	const unsigned long last = PHYS_PFN((u64)SZ_4G + SZ_1G) - 2;
	struct dma_buf_debug_peek peek;
	struct scatterlist *sg = buf->sgt.sgl;
	struct sg_table *sgt;

	sg->length = U32_MAX & PAGE_MASK;
	sg->offset = SZ_1G;
	buf->before[0] = *sg;
	sgt = test_buf_import(test, attach);
	if (!__is_defined(DMA_BUF_DEBUG_PFN)) {
		KUNIT_EXPECT_PTR_EQ(test, sgt, &buf->sgt);
		goto out;
	}
	KUNIT_ASSERT_TRUE(test, test_peek(&dma_buf_debug_window,
					  sg_page(sgt->sgl) + last, &peek));
	KUNIT_ASSERT_TRUE(test, peek.named);
	KUNIT_EXPECT_TRUE(test, peek.slot.mapped);
	KUNIT_EXPECT_EQ(test, peek.page, last);
out:
	test_buf_unimport(test, attach, sgt, buf);
	dma_buf_detach(buf->dmabuf, attach);
	test_buf_done(test, buf);
}

/* One attachment mapped twice, and one table for two attachments. */
static void tables_test_nested(struct kunit *test)
{
	struct test_buf *buf = test_buf(test, &test_buf_ops);
	struct dma_buf_attachment *attach[2];
	struct sg_table *sgt[4];
	int i, j;

	for (i = 0; i < 2; i++)
		attach[i] = test_buf_attach(test, buf, NULL);
	for (i = 0; i < 4; i++)
		sgt[i] = test_buf_import(test, attach[i / 2]);
	for (i = 0; i < 4; i++) {
		KUNIT_EXPECT_TRUE(test, test_is_wrapped(sgt[i]));
		for (j = 0; j < i; j++) {
			KUNIT_EXPECT_PTR_NE(test, sgt[i], sgt[j]);
			KUNIT_EXPECT_PTR_NE(test, sg_page(sgt[i]->sgl),
					    sg_page(sgt[j]->sgl));
		}
		test_same_dma(test, sgt[i], &buf->sgt);
	}
	/* First in, first out; and the other way round. */
	test_buf_unimport(test, attach[0], sgt[0], buf);
	test_buf_unimport(test, attach[0], sgt[1], buf);
	test_buf_unimport(test, attach[1], sgt[3], buf);
	test_same_dma(test, sgt[2], &buf->sgt);
	test_buf_unimport(test, attach[1], sgt[2], buf);
	for (i = 0; i < 2; i++)
		dma_buf_detach(buf->dmabuf, attach[i]);
	test_buf_done(test, buf);
}

static void tables_test_cached(struct kunit *test)
{
	struct test_buf *buf = test_buf(test, &test_buf_cached_ops);
	struct dma_buf_attachment *attach = test_buf_attach(test, buf, NULL);
	struct sg_table *sgt = test_buf_import(test, attach);

	KUNIT_EXPECT_TRUE(test, test_is_wrapped(sgt));
	KUNIT_EXPECT_PTR_EQ(test, test_buf_import(test, attach), sgt);
	KUNIT_EXPECT_EQ(test, buf->nr_mapped, 1);
	dma_buf_unmap_attachment_unlocked(attach, sgt, DMA_BIDIRECTIONAL);
	dma_buf_unmap_attachment_unlocked(attach, sgt, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_EQ(test, buf->nr_unmapped, 0);
	/* Switched in between: what is cached stays what it is. */
	KUNIT_EXPECT_EQ(test, test_switch(false), 0);
	KUNIT_EXPECT_PTR_EQ(test, test_buf_import(test, attach), sgt);
	dma_buf_unmap_attachment_unlocked(attach, sgt, DMA_BIDIRECTIONAL);
	dma_buf_detach(buf->dmabuf, attach);
	KUNIT_EXPECT_PTR_EQ(test, buf->unmapped, &buf->sgt);
	test_buf_done(test, buf);
}

/* Those who are not dynamic on one side only get their table at attach. */
static void tables_test_dynamic(struct kunit *test)
{
	static const struct dma_buf_attach_ops *importers[] = {
		NULL, &test_importer_ops,
	};
	static const struct dma_buf_ops *exporters[] = {
		&test_buf_ops, &test_buf_dynamic_ops,
	};
	int i;

	for (i = 0; i < 4; i++) {
		struct test_buf *buf = test_buf(test, exporters[i & 1]);
		struct dma_buf_attachment *attach;
		struct sg_table *sgt;

		attach = test_buf_attach(test, buf, importers[i >> 1]);
		sgt = test_buf_import(test, attach);
		KUNIT_EXPECT_TRUE(test, test_is_wrapped(sgt));
		test_same_dma(test, sgt, &buf->sgt);
		dma_resv_lock(buf->dmabuf->resv, NULL);
		dma_buf_move_notify(buf->dmabuf);
		dma_buf_unmap_attachment(attach, sgt, DMA_BIDIRECTIONAL);
		sgt = dma_buf_map_attachment(attach, DMA_BIDIRECTIONAL);
		dma_resv_unlock(buf->dmabuf->resv);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, sgt);
		KUNIT_EXPECT_TRUE(test, test_is_wrapped(sgt));
		dma_buf_unmap_attachment_unlocked(attach, sgt,
						  DMA_BIDIRECTIONAL);
		dma_buf_detach(buf->dmabuf, attach);
		KUNIT_EXPECT_PTR_EQ(test, buf->unmapped, &buf->sgt);
		test_buf_done(test, buf);
	}
}

static void tables_test_errors(struct kunit *test)
{
	static const struct dma_buf_ops *exporters[] = {
		&test_buf_ops, &test_buf_cached_ops, &test_buf_dynamic_ops,
	};
	struct test_tables *fixture = test->priv;
	struct dma_buf_attachment *attach;
	struct sg_table *sgt;
	int i;

	for (i = 0; i < ARRAY_SIZE(exporters); i++) {
		struct test_buf *buf = test_buf(test, exporters[i]);

		attach = test_buf_attach(test, buf, i == 2 ?
					 &test_importer_ops : NULL);
		buf->maps = ERR_PTR(-EBUSY);
		sgt = dma_buf_map_attachment_unlocked(attach, DMA_TO_DEVICE);
		KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(sgt), -EBUSY);
		buf->maps = NULL;
		sgt = dma_buf_map_attachment_unlocked(attach, DMA_TO_DEVICE);
		KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(sgt), -ENOMEM);
		KUNIT_EXPECT_EQ(test, atomic_read(&dma_buf_debug_live), 0);
		dma_buf_detach(buf->dmabuf, attach);
		if (i == 2) {
			attach = dma_buf_attach(buf->dmabuf, fixture->dev);
			KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(attach), -ENOMEM);
		}
		test_buf_done(test, buf);
	}
}

/* The table of an exporter that is an importer itself. */
static void tables_test_reexport(struct kunit *test)
{
	struct test_buf *inner = test_buf(test, &test_buf_ops);
	struct test_buf *outer = test_buf_resv(test, &test_buf_ops,
					       inner->dmabuf->resv);
	struct dma_buf_attachment *attach;
	struct sg_table *sgt;
	int i;

	outer->inner = test_buf_attach(test, inner, NULL);
	attach = test_buf_attach(test, outer, NULL);
	for (i = 0; i < 4; i++) {
		/* Off at map, at unmap, at both. */
		test_switch(!(i & 1));
		sgt = test_buf_import(test, attach);
		KUNIT_EXPECT_EQ(test, test_is_wrapped(sgt), !(i & 1));
		test_same_dma(test, sgt, &inner->sgt);
		test_switch(!(i & 2));
		dma_buf_unmap_attachment_unlocked(attach, sgt,
						  DMA_BIDIRECTIONAL);
		KUNIT_EXPECT_PTR_EQ(test, inner->unmapped, &inner->sgt);
		KUNIT_EXPECT_EQ(test, inner->nr_unmapped, i + 1);
	}
	dma_buf_detach(outer->dmabuf, attach);
	dma_buf_detach(inner->dmabuf, outer->inner);
	test_buf_done(test, outer);
	test_buf_done(test, inner);
}

static void tables_test_switch(struct kunit *test)
{
	struct test_buf *buf = test_buf(test, &test_buf_ops);
	struct dma_buf_attachment *attach = test_buf_attach(test, buf, NULL);
	struct sg_table *on, *off;

	on = test_buf_import(test, attach);
	KUNIT_EXPECT_EQ(test, test_switch(false), 0);
	off = test_buf_import(test, attach);
	KUNIT_EXPECT_TRUE(test, test_is_wrapped(on));
	KUNIT_EXPECT_PTR_EQ(test, off, &buf->sgt);
	/* The key stays as long as there is a table to take back. */
	KUNIT_EXPECT_TRUE(test, dma_buf_debug_active());
	test_buf_unimport(test, attach, off, buf);
	KUNIT_EXPECT_TRUE(test, dma_buf_debug_active());
	test_buf_unimport(test, attach, on, buf);
	flush_work(&dma_buf_debug_work);
	KUNIT_EXPECT_FALSE(test, dma_buf_debug_active());

	off = test_buf_import(test, attach);
	KUNIT_EXPECT_EQ(test, test_switch(true), 0);
	on = test_buf_import(test, attach);
	KUNIT_EXPECT_PTR_EQ(test, off, &buf->sgt);
	KUNIT_EXPECT_TRUE(test, test_is_wrapped(on));
	test_buf_unimport(test, attach, on, buf);
	test_buf_unimport(test, attach, off, buf);
	KUNIT_EXPECT_TRUE(test, dma_buf_debug_active());
	dma_buf_detach(buf->dmabuf, attach);
	test_buf_done(test, buf);
}

/* An importer that leaves without unmapping */
static void tables_test_forget(struct kunit *test)
{
	struct test_buf *buf = test_buf(test, &test_buf_ops);
	struct dma_buf_attachment *attach = test_buf_attach(test, buf, NULL);
	struct dma_buf_debug_peek peek;
	struct page *page;
	int i;

	for (i = 0; i < 2; i++)
		page = sg_page(test_buf_import(test, attach)->sgl);
	KUNIT_EXPECT_EQ(test, atomic_read(&dma_buf_debug_live), 2);
	dma_buf_detach(buf->dmabuf, attach);
	KUNIT_EXPECT_EQ(test, atomic_read(&dma_buf_debug_live), 0);
	KUNIT_ASSERT_TRUE(test, test_peek(&dma_buf_debug_window, page, &peek));
	KUNIT_EXPECT_FALSE(test, peek.slot.mapped);
	buf->nr_unmapped = buf->nr_mapped;
	test_buf_done(test, buf);
}

static void tables_test_report(struct kunit *test)
{
	struct test_buf *buf = test_buf(test, &test_buf_ops);
	struct dma_buf_attachment *attach = test_buf_attach(test, buf, NULL);
	struct sg_table *sgt = test_buf_import(test, attach);
	struct page *page = sg_page(sgt->sgl);

	KUNIT_EXPECT_TRUE(test, dma_buf_debug_oops((unsigned long)page));
	KUNIT_EXPECT_TRUE(test, dma_buf_debug_page(page));
	KUNIT_EXPECT_FALSE(test, dma_buf_debug_oops((unsigned long)buf));
	KUNIT_EXPECT_FALSE(test, dma_buf_debug_oops(0));
	KUNIT_EXPECT_FALSE(test, dma_buf_debug_page(ZERO_PAGE(0)));
	KUNIT_EXPECT_FALSE(test, dma_buf_debug_page(NULL));
	KUNIT_EXPECT_EQ(test, dma_buf_debug_pfn(page_to_pfn(page)),
			__is_defined(DMA_BUF_DEBUG_PFN));
	KUNIT_EXPECT_FALSE(test, dma_buf_debug_pfn(page_to_pfn(ZERO_PAGE(0))));
	test_buf_unimport(test, attach, sgt, buf);
	dma_buf_detach(buf->dmabuf, attach);
	test_buf_done(test, buf);
}

/* What no device may get: each way, and only as long as it is looked for. */
static void tables_test_refuse(struct kunit *test)
{
	struct test_buf *buf = test_buf(test, &test_buf_ops);
	struct dma_buf_attachment *attach = test_buf_attach(test, buf, NULL);
	struct sg_table *sgt = test_buf_import(test, attach);
	struct page *page = sg_page(sgt->sgl);
	bool pfns = __is_defined(DMA_BUF_DEBUG_PFN);
	struct scatterlist mixed[2];

	sg_init_table(mixed, 2);
	sg_set_page(&mixed[0], ZERO_PAGE(0), PAGE_SIZE, 0);
	sg_set_page(&mixed[1], page, PAGE_SIZE, 0);
	KUNIT_EXPECT_TRUE(test, dma_buf_debug_bad_page(page));
	KUNIT_EXPECT_TRUE(test, dma_buf_debug_bad_sg(sgt->sgl, sgt->nents));
	KUNIT_EXPECT_TRUE(test, dma_buf_debug_bad_sg(mixed, 2));
	KUNIT_EXPECT_FALSE(test, dma_buf_debug_bad_page(ZERO_PAGE(0)));
	KUNIT_EXPECT_FALSE(test, dma_buf_debug_bad_sg(mixed, 1));
	KUNIT_EXPECT_FALSE(test, dma_buf_debug_bad_sg(buf->sgt.sgl,
						      buf->sgt.nents));
	if (pfns) {
		phys_addr_t phys = page_to_phys(page);

		KUNIT_EXPECT_TRUE(test, dma_buf_debug_bad_phys(phys, 1));
		KUNIT_EXPECT_TRUE(test, dma_buf_debug_bad_phys(phys - 1, 2));
	}
	KUNIT_EXPECT_FALSE(test, dma_buf_debug_bad_phys(0, SZ_1M));

	test_buf_unimport(test, attach, sgt, buf);
	KUNIT_EXPECT_TRUE(test, dma_buf_debug_bad_page(page));
	KUNIT_EXPECT_EQ(test, test_switch(false), 0);
	KUNIT_EXPECT_FALSE(test, dma_buf_debug_bad_page(page));
	dma_buf_detach(buf->dmabuf, attach);
	test_buf_done(test, buf);
}

static struct kunit_case tables_cases[] = {
	KUNIT_CASE(tables_test_copy),
	KUNIT_CASE(tables_test_counts),
	KUNIT_CASE(tables_test_long),
	KUNIT_CASE(tables_test_nested),
	KUNIT_CASE(tables_test_cached),
	KUNIT_CASE(tables_test_dynamic),
	KUNIT_CASE(tables_test_errors),
	KUNIT_CASE(tables_test_reexport),
	KUNIT_CASE(tables_test_switch),
	KUNIT_CASE(tables_test_forget),
	KUNIT_CASE(tables_test_report),
	KUNIT_CASE(tables_test_refuse),
	{}
};

static struct kunit_suite tables_suite = {
	.name = "dma-buf-debug-tables",
	.init = tables_init,
	.exit = tables_exit,
	.test_cases = tables_cases,
};

kunit_test_suites(&window_suite, &tables_suite);

#endif
