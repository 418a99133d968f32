/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The interface of /dev/dmabuf_test, for the selftests in
 * tools/testing/selftests/dma-buf and for nobody else.
 *
 * The driver exports buffers, and imports any dma-buf as one of two devices: those
 * of QEMU that are there for such a use (edu, pci-testdev), if there are two, which
 * may be behind an IOMMU; or else pretended ones, dmabuf_test.0 and dmabuf_test.1.
 * What a file has attached and mapped goes with it. Ids are positive.
 */
#ifndef _LIB_TEST_DMABUF_UAPI_H
#define _LIB_TEST_DMABUF_UAPI_H

#include <linux/types.h>
#include <linux/ioctl.h>

#define TEST_DMABUF_DEVICES	2
#define TEST_DMABUF_MAX_PAGES	16384

/* test_dmabuf_export.flags; without any, a table for each attachment. */
#define TEST_DMABUF_SHARED	0x01	/* one table for all attachments */
#define TEST_DMABUF_CACHED	0x02	/* cache_sgt_mapping */
#define TEST_DMABUF_DYNAMIC	0x04	/* has pin and unpin */
/*
 * Not coherent: the device sees a copy, as if it had all of the buffer in a
 * cache, and CPU access is synchronized page by page, as the pages of the table
 * of each attachment say.
 */
#define TEST_DMABUF_INCOHERENT	0x08
#define TEST_DMABUF_EXPORT_FLAGS 0x0f

/* A buffer of @segments segments of @pages pages each; gives @fd. */
struct test_dmabuf_export {
	__u32 segments;
	__u32 pages;
	__u32 flags;
	__s32 fd;
};

/* @wrong: pages of its own tables that the exporter did not know again. */
struct test_dmabuf_state {
	__s32 fd;
	__u32 mapped;
	__u64 wrong;
};

/* Attach @fd to @device; gives @id. */
#define TEST_DMABUF_ATTACH_DYNAMIC	0x01
#define TEST_DMABUF_ATTACH_FLAGS	0x01
struct test_dmabuf_attach {
	__s32 fd;
	__u32 device;
	__u32 flags;
	__u32 id;
};

/* Map the attachment @attach for @direction, an enum dma_data_direction. */
struct test_dmabuf_map {
	__u32 attach;
	__u32 direction;
	__u32 id;
	__u32 pad;
};

/* What the importer sees in the entry @index of the mapping @map. */
struct test_dmabuf_entry {
	__u32 map;
	__u32 index;
	__u32 nents;
	__u32 orig_nents;
	__u64 dma_address;
	__u32 dma_length;
	__u32 length;
	__u32 offset;
	__u32 pfn_valid;	/* there is a struct page behind the link */
	__u32 other;		/* another mapping, or 0 */
	__u32 same_table;	/* @other has the same table */
};

/* The device reads (or writes) by DMA addresses. */
struct test_dmabuf_access {
	__u32 map;
	__u32 write;
	__u64 offset;
	__u64 length;
	__u64 data;		/* address in user memory */
};

/*
 * Ways to misuse the pages of a table. Those marked are refused with an error
 * by the kernel; the others end in an oops, if they are caught.
 */
enum test_dmabuf_way {
	TEST_DMABUF_FLAGS,	/* sg_page()->flags */
	TEST_DMABUF_GET_PAGE,	/* get_page(sg_page()) */
	TEST_DMABUF_ITERATOR,	/* second page of for_each_sgtable_page() */
	TEST_DMABUF_KMAP,	/* memcpy_from_page() */
	TEST_DMABUF_KMAP_LOCAL,	/* write after kmap_local_page() */
	TEST_DMABUF_SG_VIRT,	/* read at sg_virt() */
	TEST_DMABUF_MITER,	/* read by sg_miter_next() */
	TEST_DMABUF_COPY_FROM,	/* sg_copy_to_buffer() */
	TEST_DMABUF_COPY_TO,	/* sg_copy_from_buffer() */
	TEST_DMABUF_SG_PHYS,	/* read at phys_to_virt(sg_phys()) */
	TEST_DMABUF_PFN,	/* pfn_to_page(page_to_pfn())->flags */
	TEST_DMABUF_STALE,	/* sg_page()->flags, unmapped before */
	TEST_DMABUF_TO_USER,	/* copy_to_user() from page_address(): -EFAULT */
	TEST_DMABUF_VMAP,	/* vmap(): -ENOMEM */
	TEST_DMABUF_MEMREMAP,	/* memremap(sg_phys()): -ENOMEM */
	TEST_DMABUF_DMA_MAP,	/* dma_map_page(), for the other device */
	TEST_DMABUF_NOFAULT,	/* copy_from_kernel_nofault(): -EFAULT */
	TEST_DMABUF_PFN_VALID,	/* -ENOENT if no such pfn is valid */
	TEST_DMABUF_DMA_SG,	/* dma_map_sgtable(), for the other device */
	TEST_DMABUF_DMA_RESOURCE, /* dma_map_resource(sg_phys()), likewise */
	TEST_DMABUF_IOMMU_SG,	/* iommu_map_sgtable(); -ENODEV without IOMMU */
	TEST_DMABUF_IOMMU_PHYS,	/* iommu_map(sg_phys()); likewise */
	TEST_DMABUF_KEEP,	/* keep sg_page() beyond the mapping; 0 */
	TEST_DMABUF_KEPT,	/* the flags of that one; needs no mapping */
	TEST_DMABUF_NR_WAYS,
};

struct test_dmabuf_peek {
	__u32 map;
	__u32 way;
	__u64 data;		/* TO_USER: address of a byte */
};

/*
 * Corrupt the page table that maps the address @at of the caller: the entry at a
 * level, 1 for that of a page, 2 and 3 for those above, leads where no memory is. It
 * stays in @saved what it was. -EOPNOTSUPP where that can't be done, or where the
 * processor would not notice. Nothing but a throw-away guest should try this.
 */
struct test_dmabuf_corrupt {
	__u64 at;
	__u64 saved;
	__u32 level;
	__u32 restore;		/* put @saved back */
};

/* The device @device, its name, and what there is on this architecture. */
struct test_dmabuf_device {
	__u32 device;
	__u32 iommu;		/* whether it is behind an IOMMU */
	__u32 special;		/* whether page table entries can be special */
	__u32 pad;
	char name[48];
};

/* Map and unmap the attachment @attach @rounds times; gives the time. */
struct test_dmabuf_bench {
	__u32 attach;
	__u32 rounds;
	__u64 ns;
};

/* How long does it take to clear @nr pages, as for a new buffer? */
struct test_dmabuf_clear {
	__u64 nr;
	__u64 ns;
};

#define TEST_DMABUF_EXPORT	_IOWR('D', 0x00, struct test_dmabuf_export)
#define TEST_DMABUF_STATE	_IOWR('D', 0x01, struct test_dmabuf_state)
#define TEST_DMABUF_ATTACH	_IOWR('D', 0x02, struct test_dmabuf_attach)
#define TEST_DMABUF_DETACH	_IOW('D', 0x03, __u32)
#define TEST_DMABUF_MAP		_IOWR('D', 0x04, struct test_dmabuf_map)
#define TEST_DMABUF_UNMAP	_IOW('D', 0x05, __u32)
#define TEST_DMABUF_ENTRY	_IOWR('D', 0x06, struct test_dmabuf_entry)
#define TEST_DMABUF_ACCESS	_IOW('D', 0x07, struct test_dmabuf_access)
#define TEST_DMABUF_PEEK	_IOW('D', 0x08, struct test_dmabuf_peek)
#define TEST_DMABUF_BENCH	_IOWR('D', 0x09, struct test_dmabuf_bench)
#define TEST_DMABUF_CLEAR	_IOWR('D', 0x0a, struct test_dmabuf_clear)
/* Map a dma-buf for the kernel, one for each file; -1: unmap it. */
#define TEST_DMABUF_MAP_KERNEL _IOW('D', 0x0b, __s32)
#define TEST_DMABUF_CORRUPT	_IOWR('D', 0x0c, struct test_dmabuf_corrupt)
#define TEST_DMABUF_DEVICE	_IOWR('D', 0x0d, struct test_dmabuf_device)

/*
 * mmap() of the device maps the pages of a table to userspace: the offset is
 * the id of a mapping in pages, times two; plus one page for the pfn, by
 * remap_pfn_range(), instead of vm_insert_page().
 */
#define TEST_DMABUF_MMAP_PFN	1

#endif
