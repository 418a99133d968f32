/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Addresses that follow pages, and the content behind them. With bounce buffers
 * (swiotlb=force) a sync that is missing is a wrong byte.
 */
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/dma-direct.h>

#define TEST_NR		8

struct dma_test {
	struct device *dev;
	struct pinpage_dma dma;
	struct page *pages[TEST_NR];
	struct page *new[TEST_NR];
	struct pinpage_item items[2];
};

static int dma_test_init(struct kunit *test)
{
	struct dma_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->dev = kunit_device_register(test, "pinpage_dma");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t->dev);
	KUNIT_ASSERT_EQ(test, 0, dma_coerce_mask_and_coherent(t->dev, DMA_BIT_MASK(64)));
	for (i = 0; i < TEST_NR; i++) {
		t->pages[i] = alloc_page(GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, t->pages[i]);
		t->new[i] = alloc_page(GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, t->new[i]);
		memset(page_address(t->pages[i]), i + 1, PAGE_SIZE);
		memset(page_address(t->new[i]), 0xff, PAGE_SIZE);
	}
	/* Two of the pages, one by one; in a folio they would be one item. */
	for (i = 0; i < ARRAY_SIZE(t->items); i++)
		t->items[i] = (struct pinpage_item){
			.page = t->pages[2 + i], .new = t->new[2 + i],
			.index = 2 + i, .nr = 1,
		};
	return 0;
}

static void dma_test_exit(struct kunit *test)
{
	struct dma_test *t = test->priv;
	unsigned int i;

	if (!t)
		return;
	pinpage_dma_unmap(&t->dma);
	for (i = 0; i < TEST_NR; i++) {
		if (t->pages[i])
			__free_page(t->pages[i]);
		if (t->new[i])
			__free_page(t->new[i]);
	}
}

static u8 *dma_test_device(struct dma_test *t, unsigned int i)
{
	return phys_to_virt(dma_to_phys(t->dev, t->dma.addr[i]));
}

/* What the core does between prepare() and complete(); @moved: the second, too. */
static void dma_test_move(struct dma_test *t, bool moved)
{
	copy_page(page_address(t->new[2]), page_address(t->pages[2]));
	memset(page_address(t->pages[2]), 0xee, PAGE_SIZE);
	if (moved) {
		copy_page(page_address(t->new[3]), page_address(t->pages[3]));
		memset(page_address(t->pages[3]), 0xee, PAGE_SIZE);
	} else {
		t->items[1].new = NULL;
	}
}

/* The device writes, one page moves and one stays, and it reads what it wrote. */
static void dma_test_follows(struct kunit *test)
{
	struct dma_test *t = test->priv;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, 0, pinpage_dma_map(&t->dma, t->dev, t->pages, TEST_NR,
						 DMA_BIDIRECTIONAL));
	for (i = 0; i < TEST_NR; i++)
		KUNIT_EXPECT_EQ(test, i + 1, *dma_test_device(t, i));
	memset(dma_test_device(t, 2), 0x22, PAGE_SIZE / 2);
	memset(dma_test_device(t, 3), 0x33, PAGE_SIZE / 2);
	dma_sync_single_for_cpu(t->dev, t->dma.addr[2], PAGE_SIZE, DMA_BIDIRECTIONAL);
	dma_sync_single_for_cpu(t->dev, t->dma.addr[3], PAGE_SIZE, DMA_BIDIRECTIONAL);
	KUNIT_ASSERT_EQ(test, 0, pinpage_dma_prepare(&t->dma, t->items, 2));
	dma_test_move(t, false);
	pinpage_dma_complete(&t->dma, t->items, 2);
	KUNIT_EXPECT_EQ(test, 0x22, *dma_test_device(t, 2));
	KUNIT_EXPECT_EQ(test, 3, dma_test_device(t, 2)[PAGE_SIZE - 1]);
	KUNIT_EXPECT_EQ(test, 0x33, *dma_test_device(t, 3));
	KUNIT_EXPECT_EQ(test, 4, dma_test_device(t, 3)[PAGE_SIZE - 1]);
	/* The CPU finds what the device writes to the new place, when it is over. */
	memset(dma_test_device(t, 2), 0x44, PAGE_SIZE);
	pinpage_dma_unmap(&t->dma);
	KUNIT_EXPECT_EQ(test, 0x44, *(u8 *)page_address(t->new[2]));
	KUNIT_EXPECT_EQ(test, 0xee, *(u8 *)page_address(t->pages[2]));
	KUNIT_EXPECT_EQ(test, 0x33, *(u8 *)page_address(t->pages[3]));
}

/* Refused before it is mapped, and taken back where the driver refuses. */
static void dma_test_refuses(struct kunit *test)
{
	struct dma_test *t = test->priv;
	dma_addr_t before;

	KUNIT_EXPECT_EQ(test, -EBUSY, pinpage_dma_prepare(&t->dma, t->items, 2));
	KUNIT_EXPECT_EQ(test, -EINVAL, pinpage_dma_map(&t->dma, t->dev, t->pages, TEST_NR,
						       DMA_FROM_DEVICE));
	KUNIT_ASSERT_EQ(test, 0, pinpage_dma_map(&t->dma, t->dev, t->pages, TEST_NR,
						 DMA_TO_DEVICE));
	before = t->dma.addr[2];
	KUNIT_ASSERT_EQ(test, 0, pinpage_dma_prepare(&t->dma, t->items, 2));
	pinpage_dma_cancel(&t->dma, t->items, 2);
	KUNIT_EXPECT_EQ(test, before, t->dma.addr[2]);
	KUNIT_EXPECT_EQ(test, 3, *dma_test_device(t, 2));
	pinpage_dma_unmap(&t->dma);
	KUNIT_EXPECT_EQ(test, -EBUSY, pinpage_dma_prepare(&t->dma, t->items, 2));
}

/* More than there are bounce buffers: what was taken is given back. */
static void dma_test_no_room(struct kunit *test)
{
	struct dma_test *t = test->priv;
	unsigned long nr = 1 << 15, i;
	struct page **pages;
	int ret;

	pages = kvmalloc_array(nr, sizeof(*pages), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pages);
	for (i = 0; i < nr; i++)
		pages[i] = t->pages[i % TEST_NR];
	ret = pinpage_dma_map(&t->dma, t->dev, pages, nr, DMA_TO_DEVICE);
	if (ret)
		KUNIT_EXPECT_EQ(test, -EIO, ret);
	pinpage_dma_unmap(&t->dma);
	kvfree(pages);
	KUNIT_ASSERT_EQ(test, 0, pinpage_dma_map(&t->dma, t->dev, t->pages, TEST_NR,
						 DMA_BIDIRECTIONAL));
	KUNIT_EXPECT_EQ(test, 0, pinpage_dma_prepare(&t->dma, t->items, 2));
	pinpage_dma_cancel(&t->dma, t->items, 2);
}

static struct kunit_case dma_test_cases[] = {
	KUNIT_CASE(dma_test_follows),
	KUNIT_CASE(dma_test_refuses),
	KUNIT_CASE(dma_test_no_room),
	{}
};

static struct kunit_suite dma_test_suite = {
	.name = "pinpage_dma",
	.init = dma_test_init,
	.exit = dma_test_exit,
	.test_cases = dma_test_cases,
};

kunit_test_suites(&dma_test_suite);
