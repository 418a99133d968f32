/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* /dev/cma_test: between the driver and tools/testing/selftests/cma */
#ifndef _MM_CMA_TEST_H
#define _MM_CMA_TEST_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define CMA_TEST_NAME_MAX	64

/* The area that this file is about, and what it looks like. */
struct cma_test_info {
	char name[CMA_TEST_NAME_MAX];	/* in: "" is the largest area */
	__u64 base_pfn;
	__u64 count;			/* pages */
	__u64 free;			/* pages, by the bitmap */
	__u64 pageblock;		/* pages */
	__u64 base_order;		/* of a bit in the bitmap */
};

/* How to go about it. Without a flag: GFP_KERNEL */
#define CMA_TEST_NORETRY	0x01
#define CMA_TEST_RETRY_MAYFAIL	0x02
#define CMA_TEST_WARN		0x04	/* else __GFP_NOWARN */
#define CMA_TEST_NOFAIL		0x08
#define CMA_TEST_NOWAIT		0x10	/* no direct reclaim */
#define CMA_TEST_COMP		0x20
#define CMA_TEST_ZERO		0x40
#define CMA_TEST_ACCOUNT	0x80	/* means nothing here */

enum cma_test_how {
	CMA_TEST_ONE,		/* cma_alloc(), nr pages, aligned to order */
	CMA_TEST_BULK,		/* cma_alloc_bulk(), nr chunks of order, min */
	CMA_TEST_LOOP,		/* nr times cma_alloc() of 2^order pages */
	CMA_TEST_RANGE,		/* alloc_contig_range() of nr pages at pfn */
	CMA_TEST_MOVABLE,	/* likewise, outside of CMA; the pageblocks become movable */
};

struct cma_test_alloc {
	__u32 how;
	__u32 flags;
	__u64 nr;
	__u64 min;
	__u64 pfn;		/* in: RANGE, MOVABLE; out: the first page */
	__u32 order;
	__u32 id;		/* out: to release it by; 0 if nothing was got */
	__u64 limit_ns;		/* LOOP: begin nothing after so long; 0: never */
	__s64 got;		/* out: chunks, or an error */
	__u64 ns;		/* out: how long the call took */
	__u64 end_ns;		/* out: when it returned, ktime_get() */
};

struct cma_test_pfns {
	__u32 id;
	__u32 pad;
	__u64 nr;		/* room in pfns */
	__u64 pfns;		/* where to store the first pfn of each chunk */
};

enum cma_test_hold {
	CMA_TEST_REF,		/* a reference, as fork() has it for a while */
	CMA_TEST_PIN,		/* FOLL_PIN */
	CMA_TEST_LOCK,		/* the folio lock */
	CMA_TEST_IMMAP,		/* i_mmap_rwsem of file addr, for writing */
};

struct cma_test_keep {
	__u64 addr;		/* of the page, or a file descriptor */
	__u32 hold;
	__u32 us;		/* for how long; 0: until CMA_TEST_LETGO */
};

struct cma_test_place {
	__u64 addr;		/* of a page that is mapped */
	__u64 pfn;		/* where it shall be */
};

/*
 * Do isolation and migration agree with what is said of each page? Those in use
 * are moved elsewhere in earnest.
 */
struct cma_test_agree {
	__u64 pfn;
	__u64 nr;
	__u32 steady;		/* in: who refers to a page goes on doing so */
	__u32 said;		/* out: of the page at wrong_pfn */
	__u64 looked;		/* out: pages */
	__u64 moved;		/* out: of these */
	__u64 stayed;		/* out: and of these, as they were said to */
	__u64 wrong;		/* out: which did what they were said not to do */
	__u64 wrong_pfn;	/* out: the last of them */
};

/* Pages of movable_operations, as a balloon has them. */
struct cma_test_balloon {
	__u64 nr;		/* in: this many more; 0: none any more */
	__u64 inside;		/* out: how many of all are in the area */
};

#define CMA_TEST_INFO		_IOWR('c', 0, struct cma_test_info)
#define CMA_TEST_ALLOC		_IOWR('c', 1, struct cma_test_alloc)
/* Give back what id stands for; 0: all. -EIO where it was overwritten. */
#define CMA_TEST_RELEASE	_IOW('c', 2, __u32)
#define CMA_TEST_PFNS		_IOWR('c', 3, struct cma_test_pfns)
#define CMA_TEST_KEEP		_IOW('c', 4, struct cma_test_keep)
/* Let go of everything that is held; returns when that was, ktime_get() */
#define CMA_TEST_LETGO		_IOR('c', 5, __u64)
#define CMA_TEST_PLACE		_IOW('c', 6, struct cma_test_place)

#define CMA_TEST_AGREE		_IOWR('c', 7, struct cma_test_agree)
#define CMA_TEST_BALLOON	_IOWR('c', 8, struct cma_test_balloon)

#endif /* _MM_CMA_TEST_H */
