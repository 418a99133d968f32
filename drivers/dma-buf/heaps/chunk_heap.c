// SPDX-License-Identifier: GPL-2.0
/*
 * A heap of buffers that consist of physically contiguous chunks of one size,
 * for devices that want just that: hundreds of MiB, 64 KiB at a time.
 *
 * The memory is a CMA area's, so somebody else uses it in the meantime, and has
 * to be moved out. See alloc_chunks() for how.
 */
#define pr_fmt(fmt) "chunk_heap: " fmt

#include <linux/cma.h>
#include <linux/dma-heap.h>
#include <linux/dma-map-ops.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/of.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/string.h>

#include "heap-area.h"
#include "heap-helpers.h"

/* Of the parameter; a property has no default. */
#define DEFAULT_CHUNK	SZ_64K
#define CHUNK_PROPERTY	"linux,heap-chunk-bytes"

struct chunk_heap {
	struct cma *cma;
	unsigned int order;		/* of a chunk, in pages */
	const char *region;
	struct list_head node;		/* while heaps are being bound */
};

/* What an allocation has got so far. */
struct chunk_alloc {
	struct chunk_heap *heap;
	struct page **chunks;		/* the first page of each */
	unsigned long nr, got;
};

/* Whoever has been killed is told so; otherwise it's memory that is missing. */
static int chunk_error(long err)
{
	return err == -EINTR ? -EINTR : -ENOMEM;
}

/* Blocks of @per chunks each, at the start of @to, become chunks. */
static void split_blocks(struct chunk_alloc *alloc, struct page **to,
			 unsigned long nr, unsigned long per)
{
	unsigned long j;
	struct page *page;

	/* From the end, where there is room. */
	while (nr--) {
		page = to[nr];
		for (j = 0; j < per; j++)
			to[nr * per + j] =
				nth_page(page, j << alloc->heap->order);
	}
}

/* What can be had in blocks of 2^@order pages: @min of them, or none. */
static int alloc_blocks(struct chunk_alloc *alloc, unsigned int order,
			unsigned long min, gfp_t gfp)
{
	unsigned long per = 1UL << (order - alloc->heap->order);
	unsigned long want = (alloc->nr - alloc->got) / per;
	struct page **to = alloc->chunks + alloc->got;
	long got;

	if (!want)
		return 0;
	got = cma_alloc_bulk(alloc->heap->cma, order, want, min, to, gfp);
	if (got < 0)
		return chunk_error(got);
	split_blocks(alloc, to, got, per);
	alloc->got += got * per;
	return 0;
}

/*
 * Whole pageblocks are the cheapest to empty, and leave most of the others in
 * one piece. For each size, what can be had without waiting comes first, then
 * what has to be waited for; only then comes half the size. What is missing when
 * there is nothing smaller than a chunk is worth every effort: without it, all
 * has been in vain.
 */
static int alloc_chunks(struct chunk_alloc *alloc)
{
	const gfp_t gfp = GFP_KERNEL | __GFP_NOWARN;
	int chunk = alloc->heap->order, order, ret;

	for (order = max_t(int, chunk, pageblock_order); order >= chunk;
	     order--) {
		ret = alloc_blocks(alloc, order, 0, gfp | __GFP_NORETRY);
		if (!ret)
			ret = alloc_blocks(alloc, order, 0, gfp);
		if (ret || alloc->got == alloc->nr)
			return ret;
	}
	return alloc_blocks(alloc, chunk, alloc->nr - alloc->got,
			    GFP_KERNEL | __GFP_RETRY_MAYFAIL);
}

static int compare_pages(const void *a, const void *b)
{
	unsigned long x = page_to_pfn(*(struct page **)a);
	unsigned long y = page_to_pfn(*(struct page **)b);

	return x < y ? -1 : x > y;
}

/* They come by address already, unless it took more than one attempt. */
static void sort_chunks(struct chunk_alloc *alloc)
{
	unsigned long i;

	for (i = 1; i < alloc->nr; i++)
		if (compare_pages(&alloc->chunks[i - 1], &alloc->chunks[i]) > 0)
			break;
	if (i < alloc->nr)
		sort(alloc->chunks, alloc->nr, sizeof(*alloc->chunks),
		     compare_pages, NULL);
}

/*
 * Zeroes have to be in memory before a device writes, and not in a cache that
 * is written back later. Mapping the buffer sees to that, but who gets its
 * addresses otherwise, from a secure world, does not map it here.
 */
static int clear_chunks(struct chunk_alloc *alloc)
{
	unsigned int order = alloc->heap->order;
	unsigned long i;
	int ret;

	for (i = 0; i < alloc->nr; i++) {
		ret = heap_zero_pages(alloc->chunks[i], 1UL << order);
		if (ret)
			return ret;
		arch_sync_dma_for_device(page_to_phys(alloc->chunks[i]),
					 PAGE_SIZE << order, DMA_TO_DEVICE);
	}
	return 0;
}

static int get_chunks(struct chunk_alloc *alloc)
{
	int ret = alloc_chunks(alloc);

	if (!ret) {
		sort_chunks(alloc);
		ret = clear_chunks(alloc);
	}
	if (ret && alloc->got)
		cma_release_bulk(alloc->heap->cma, alloc->heap->order,
				 alloc->got, alloc->chunks);
	return ret;
}

static void chunk_heap_free(struct heap_buffer *buffer)
{
	struct chunk_heap *heap = buffer->priv;
	struct scatterlist *sg;
	int i;

	for_each_sgtable_sg(&buffer->sg_table, sg, i)
		cma_release(heap->cma, sg_page(sg), 1UL << heap->order);
	heap_buffer_free(buffer);
}

/* Fill in the table of @buffer, which has a segment for each chunk. */
static int fill_buffer(struct heap_buffer *buffer)
{
	struct chunk_alloc alloc = {
		.heap = buffer->priv,
		.nr = buffer->sg_table.orig_nents,
	};
	struct scatterlist *sg;
	int ret, i;

	alloc.chunks = kvmalloc_array(alloc.nr, sizeof(*alloc.chunks),
				      GFP_KERNEL);
	if (!alloc.chunks)
		return -ENOMEM;
	ret = get_chunks(&alloc);
	if (!ret)
		for_each_sgtable_sg(&buffer->sg_table, sg, i)
			sg_set_page(sg, alloc.chunks[i],
				    PAGE_SIZE << alloc.heap->order, 0);
	kvfree(alloc.chunks);
	return ret;
}

/* All that needs other memory comes before the chunks. */
static struct dma_buf *chunk_heap_allocate(struct dma_heap *dma_heap,
					   unsigned long len, u32 fd_flags,
					   u64 heap_flags)
{
	struct chunk_heap *heap = dma_heap_get_drvdata(dma_heap);
	unsigned long size = PAGE_SIZE << heap->order;
	struct heap_buffer *buffer;
	int ret;

	len = ALIGN(len, size);
	buffer = heap_buffer_alloc(len, chunk_heap_free);
	if (IS_ERR(buffer))
		return ERR_CAST(buffer);
	buffer->priv = heap;
	ret = heap_buffer_table(buffer, len / size);
	if (!ret)
		ret = fill_buffer(buffer);
	if (ret) {
		heap_buffer_free(buffer);
		return ERR_PTR(ret);
	}
	return heap_buffer_export(buffer, dma_heap, fd_flags);
}

static const struct dma_heap_ops chunk_heap_ops = {
	.allocate = chunk_heap_allocate,
};

/*
 * Binding heaps to memory: first all that the device tree and the command line
 * say is gathered, then the heaps get names.
 */
static LIST_HEAD(bound_heaps);

static bool __init is_bound(struct cma *cma, unsigned int order)
{
	struct chunk_heap *heap;

	list_for_each_entry(heap, &bound_heaps, node)
		if (heap->cma == cma && heap->order == order)
			return true;
	return false;
}

/* Why there can't be chunks of @bytes in @cma, or NULL. */
static const char * __init bad_chunk(struct cma *cma, u64 bytes)
{
	if (!is_power_of_2(bytes) || bytes < PAGE_SIZE)
		return "no power of two of at least a page";
	if (bytes > SZ_2G)
		return "more than 2 GiB";
	if (!cma || !cma_get_size(cma))
		return "there is no such CMA area";
	if (bytes > cma_get_size(cma))
		return "more than the area has";
	if (bytes < PAGE_SIZE << cma_get_order_per_bit(cma))
		return "less than the area gives at a time";
	if (is_bound(cma, ilog2(bytes) - PAGE_SHIFT))
		return "that heap is there already";
	return NULL;
}

/* @source: who says so, for the one message about what is wrong. */
static void __init bind_heap(const char *source, const char *region,
			     struct cma *cma, u64 bytes)
{
	const char *why = bad_chunk(cma, bytes);
	struct chunk_heap *heap;

	if (why) {
		pr_err("%s: no heap in %s with chunks of %llu bytes: %s\n",
		       source, region, bytes, why);
		return;
	}
	heap = kzalloc(sizeof(*heap), GFP_KERNEL);
	if (!heap)
		return;
	heap->cma = cma;
	heap->order = ilog2(bytes) - PAGE_SHIFT;
	heap->region = region;
	list_add_tail(&heap->node, &bound_heaps);
}

/* Would another heap have the same short name? */
static bool __init is_ambiguous(struct chunk_heap *heap)
{
	int len = heap_area_short_name(heap->region);
	struct chunk_heap *other;

	list_for_each_entry(other, &bound_heaps, node)
		if (other != heap && other->order == heap->order &&
		    heap_area_short_name(other->region) == len &&
		    !strncmp(other->region, heap->region, len))
			return true;
	return false;
}

/* The region, and what the buffers are: video-64K-chunks */
static char * __init heap_name(struct chunk_heap *heap)
{
	unsigned long kib = (PAGE_SIZE << heap->order) / SZ_1K;
	int len = heap_area_short_name(heap->region), unit = 0;

	if (!len || is_ambiguous(heap))
		len = strlen(heap->region);
	while (kib >= SZ_1K && unit < 2) {
		kib /= SZ_1K;
		unit++;
	}
	return kasprintf(GFP_KERNEL, "%.*s-%lu%c-chunks", len, heap->region,
			 kib, "KMG"[unit]);
}

static void __init add_heap(struct chunk_heap *heap)
{
	struct dma_heap_export_info exp_info = {
		.name = heap_name(heap),
		.ops = &chunk_heap_ops,
		.priv = heap,
		.max = ALIGN_DOWN(cma_get_size(heap->cma),
				  PAGE_SIZE << heap->order),
	};

	if (exp_info.name && !IS_ERR(dma_heap_add(&exp_info))) {
		pr_info("%s: in %s, %lu MiB\n", exp_info.name, heap->region,
			cma_get_size(heap->cma) / SZ_1M);
		return;
	}
	pr_err("%s: its heap could not be added\n", heap->region);
	list_del(&heap->node);
	kfree(exp_info.name);
	kfree(heap);
}

static void __init bind_node(struct device_node *node)
{
	struct property *property;
	struct cma *cma;
	u32 bytes;

	property = of_find_property(node, CHUNK_PROPERTY, NULL);
	if (!property)
		return;
	if (property->length != sizeof(bytes) ||
	    of_property_read_u32(node, CHUNK_PROPERTY, &bytes)) {
		pr_err("%pOF: " CHUNK_PROPERTY " is not one cell\n", node);
		return;
	}
	cma = heap_area_of_node(node);
	if (!cma) {
		pr_err("%pOF: " CHUNK_PROPERTY " is for a reusable pool\n", node);
		return;
	}
	bind_heap(CHUNK_PROPERTY, cma_get_name(cma), cma, bytes);
}

static void __init bind_nodes(void)
{
	struct device_node *parent, *node;

	parent = of_find_node_by_path("/reserved-memory");
	for_each_available_child_of_node(parent, node)
		bind_node(node);
	of_node_put(parent);
}

/* chunk_heap=area[:size], as often as there are heaps */
static char *parameters[HEAP_PARAMETERS] __initdata;
static unsigned int nr_parameters __initdata;

static int __init chunk_heap_setup(char *arg)
{
	if (nr_parameters < ARRAY_SIZE(parameters))
		parameters[nr_parameters++] = arg;
	else
		pr_err("chunk_heap=%s: more than %zu are too many\n", arg,
		       ARRAY_SIZE(parameters));
	return 1;
}
__setup("chunk_heap=", chunk_heap_setup);

static void __init bind_parameter(char *arg)
{
	char *size = strrchr(arg, ':'), *end = "";
	u64 bytes = DEFAULT_CHUNK;

	if (size) {
		*size++ = '\0';
		bytes = memparse(size, &end);
	}
	if (!*arg || *end || (size && !*size)) {
		pr_err("chunk_heap=%s%s%s: not the name of a CMA area and a size\n",
		       arg, size ? ":" : "", size ?: "");
		return;
	}
	bind_heap("chunk_heap", arg, heap_area_by_name(arg), bytes);
}

static int __init chunk_heap_init(void)
{
	struct chunk_heap *heap, *next;
	unsigned int i;

	bind_nodes();
	for (i = 0; i < nr_parameters; i++)
		bind_parameter(parameters[i]);
	list_for_each_entry_safe(heap, next, &bound_heaps, node)
		add_heap(heap);
	return 0;
}
module_init(chunk_heap_init);
