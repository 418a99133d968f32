/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The interface of /dev/pinpage_test, for the selftests in
 * tools/testing/selftests/pinpage and for nobody else.
 *
 * An open file holds buffers. A buffer is a set of pages that a pretended
 * device reads and writes by itself, by the page pointers it was given; most
 * kinds are registered with pinpage, so that their pages can move.
 */
#ifndef _LIB_TEST_PINPAGE_UAPI_H
#define _LIB_TEST_PINPAGE_UAPI_H

#include <linux/types.h>
#include <linux/ioctl.h>

/*
 * How a buffer gets its pages, for test_pinpage_pin.kind.
 *
 * Registered with pinpage:
 * USER: pinpage_pin_user(), a contiguous user range.
 * SET: pin_user_pages_fast() without FOLL_LONGTERM, then set_pinpage().
 * GET: get_user_pages_fast(), then set_pinpage(), which refuses: a user page is
 *	held by a pin, or not at all.
 * MEMFD: memfd_pin_folios() of @fd at file offset @addr, then set_pinpage().
 * KERNEL: pages of the driver's own, in folios of 2^@order pages, then
 *	set_pinpage(PINPAGE_KERNEL). With FROM, a second owner of the kernel
 *	pages of the buffer @from.
 *
 * Not registered, which is what a driver without pinpage looks like:
 * PLAIN: pin_user_pages_fast() without FOLL_LONGTERM.
 * LONGTERM: pin_user_pages_fast() with FOLL_LONGTERM.
 * REF: get_user_pages_fast(). With FROM, references to pages of @from.
 *
 * Not even references, but something that others wait for, for as long as the
 * buffer lives. Only to be looked at and let go, before the memory is.
 * WRITEBACK: the pages, of a file, are under writeback.
 * LOCK: the folio locks.
 * BUFFER: the locks of the first buffer heads of the pages, of a file.
 * ANON_VMA: the rmap lock of the first page, an anonymous one.
 * I_MMAP: that of the file of the first page.
 */
enum test_pinpage_kind {
	TEST_PINPAGE_USER,
	TEST_PINPAGE_SET,
	TEST_PINPAGE_GET,
	TEST_PINPAGE_MEMFD,
	TEST_PINPAGE_KERNEL,
	TEST_PINPAGE_PLAIN,
	TEST_PINPAGE_LONGTERM,
	TEST_PINPAGE_REF,
	TEST_PINPAGE_WRITEBACK,
	TEST_PINPAGE_LOCK,
	TEST_PINPAGE_BUFFER,
	TEST_PINPAGE_ANON_VMA,
	TEST_PINPAGE_I_MMAP,
	TEST_PINPAGE_NR_KINDS,
};

/* test_pinpage_pin.system: 0 to nr_systems - 1, or the one that has .migrate */
#define TEST_PINPAGE_SYSTEM_COPY	0x100

/* test_pinpage_pin.flags */
#define TEST_PINPAGE_WRITE	0x01	/* the device writes as well */
#define TEST_PINPAGE_UNMOVABLE	0x02	/* PINPAGE_UNMOVABLE */
#define TEST_PINPAGE_MAPPING	0x04	/* KERNEL: page->mapping is in use */
#define TEST_PINPAGE_FROM	0x08	/* share the pages of @from */
#define TEST_PINPAGE_TWICE	0x10	/* the last page is the first again */
#define TEST_PINPAGE_BAD_FLAGS	0x20	/* flags that pinpage doesn't know */
#define TEST_PINPAGE_HUGE	0x40	/* USER: the device maps huge pages only */
#define TEST_PINPAGE_WHOLE	0x80	/* all of it waits while a part is quiet */
#define TEST_PINPAGE_PIN_FLAGS	0xff

/*
 * Make a buffer of one page in each @stride pages of [@addr, @addr + @len).
 * MEMFD: the offset in the file. KERNEL: @addr is 0. FROM: @addr is the offset
 * in the other buffer. Returns the buffer in @id.
 */
struct test_pinpage_pin {
	__u64 addr;
	__u64 len;
	__u32 kind;
	__u32 flags;
	__u32 system;
	__u32 stride;		/* in pages; USER, MEMFD, KERNEL, FROM: 1 */
	__u32 timeout_ms;	/* of the set; 0: the default */
	__s32 fd;		/* MEMFD; 0 otherwise */
	__u32 from;		/* FROM; 0 otherwise */
	__u32 order;		/* KERNEL without FROM; 0 otherwise */
	__u32 id;		/* out */
	__u32 nodes;		/* of the set, a mask; 0: any */
	__u64 limit;		/* of the set; 0: none */
};

/* test_pinpage_unpin.flags */
#define TEST_PINPAGE_DIRTY	0x01	/* make_dirty */

/*
 * Let a buffer go. @misplaced: pages that did not come back at the position
 * where the device has them.
 */
struct test_pinpage_unpin {
	__u32 id;
	__u32 flags;
	__u64 misplaced;	/* out */
};

/* test_pinpage_access.flags and test_pinpage_fill.flags */
#define TEST_PINPAGE_NONBLOCK	0x01	/* -EBUSY where it is quiet */

/* The device copies between @ptr and the buffer at @offset. */
struct test_pinpage_access {
	__u32 id;
	__u32 flags;
	__u64 offset;
	__u64 len;
	__u64 ptr;
};

/*
 * The device writes, or checks, bytes [@offset, @offset + @len) of each of @nr
 * pages from @first with the pattern of @seed. Page i of the buffer has the
 * pattern of page i * @stride, see test_pinpage_word().
 */
struct test_pinpage_fill {
	__u32 id;
	__u32 flags;
	__u64 first;
	__u64 nr;
	__u64 stride;
	__u64 seed;
	__u32 offset;		/* in the page; multiples of 8 */
	__u32 len;
	__u64 bad_bytes;	/* out, CHECK; FILL: must be 0 */
};

/*
 * The device adds one, @count times, to the 64-bit word at @offset, as other
 * devices and CPUs may: the word is never read and written apart.
 */
struct test_pinpage_add {
	__u32 id;
	__u32 pad;
	__u64 offset;
	__u64 count;
};

/* How long the last pin and the last unpin took, without what is the driver's. */
struct test_pinpage_time {
	__u64 pin_ns;
	__u64 unpin_ns;
};

/* How long does it take to copy @nr pages, as a migration does? */
struct test_pinpage_copy {
	__u64 nr;
	__u64 ns;		/* out */
};

/* test_pinpage_place.flags */
#define TEST_PINPAGE_FLAGGED	0x01	/* the folio carries the page flag */
#define TEST_PINPAGE_PAUSED	0x02	/* quiet, until complete() */
#define TEST_PINPAGE_INTACT	0x04	/* KERNEL: private, index, mapping */

struct test_pinpage_place {
	__u64 pfn;
	__u32 refs;
	__u32 flags;
};

/* Where the device has pages @first to @first + @nr - 1: an array at @ptr. */
struct test_pinpage_where {
	__u32 id;
	__u32 pad;
	__u64 first;
	__u64 nr;
	__u64 ptr;
};

/*
 * How the owner of a buffer behaves from now on. All zero: at its best, that is
 * quiet at once.
 *
 * A prepare() for the pages [@busy_first, @busy_first + @busy_nr) finds them in
 * use and refuses. The next @refusals others return @refusal, whatever that is,
 * and do nothing. All others begin a pause. It is quiet @quiet_us later, by a
 * timer; with @hold, when a policy without @hold comes; with @early, before
 * prepare() has returned -EINPROGRESS. Until it is quiet the device goes on
 * reading and writing. complete() takes @complete_ms.
 * The next @migrate_refusals calls of migrate() return @migrate_refusal.
 *
 * With @bad_lock a callback takes a lock that it must not take, since
 * TEST_PINPAGE_ALLOC allocates memory under it: what lockdep is there for.
 */
struct test_pinpage_policy {
	__u32 id;
	__u32 hold;
	__u64 busy_first;
	__u64 busy_nr;
	__u32 refusals;
	__s32 refusal;
	__u32 quiet_us;
	__u32 early;
	__u32 complete_ms;
	__u32 migrate_refusals;
	__s32 migrate_refusal;
	__u32 bad_lock;
};

/* What has happened to a buffer. Times are in ns of CLOCK_MONOTONIC. */
struct test_pinpage_counters {
	__u32 id;
	__u32 open;		/* between prepare() and complete() */
	__u32 quiet;		/* and quiet */
	__u32 in_complete;
	__u64 prepares;		/* calls; of these ... */
	__u64 refused;		/* ... began no pause */
	__u64 inprogress;	/* ... returned -EINPROGRESS */
	__u64 completes;	/* calls; of these ... */
	__u64 cancelled;	/* ... came before it was quiet */
	__u64 items;		/* of prepares */
	__u64 largest;		/* most items in one prepare */
	__u64 asked;		/* pages, of prepares */
	__u64 paused;		/* pages that are paused now */
	__u64 moved;		/* pages */
	__u64 stayed;		/* pages, after a prepare that began a pause */
	__u64 migrates;		/* calls of migrate() that returned 0 */
	__u64 quiet_ns;		/* sum of the times from quiet to complete() */
	__u64 longest_ns;	/* and the longest */
	__u64 waited_ns;	/* the longest time from prepare() to complete() */
	__u64 violations;	/* breaches of the contract of pinpage.h */
};

/* @misplaced: pages where pinpage_get_pages() and the device don't agree. */
struct test_pinpage_order {
	__u32 id;
	__u32 pad;
	__u64 misplaced;	/* out */
};

/*
 * Calls that no driver should make. The ioctl returns what the call returned,
 * or -ENOTRECOVERABLE where it succeeded.
 */
enum test_pinpage_misuse {
	TEST_PINPAGE_NO_OPS,
	TEST_PINPAGE_NO_PREPARE,
	TEST_PINPAGE_NO_COMPLETE,
	TEST_PINPAGE_NO_NAME,
	TEST_PINPAGE_SAME_NAME,
	TEST_PINPAGE_REGISTER_TWICE,
	TEST_PINPAGE_UNREGISTER_UNKNOWN,
	TEST_PINPAGE_UNREGISTER_BUSY,	/* test0; the caller holds a set in it */
	TEST_PINPAGE_UNKNOWN_SYSTEM,
	TEST_PINPAGE_NO_PAGES,
	TEST_PINPAGE_SLAB_PAGE,
	TEST_PINPAGE_ZERO_PAGE,
	TEST_PINPAGE_SET_TWICE,
	TEST_PINPAGE_CLEAR_UNSET,
	TEST_PINPAGE_UNPIN_UNSET,
	TEST_PINPAGE_GET_UNSET,
	TEST_PINPAGE_GET_BEYOND,
	TEST_PINPAGE_NR_MISUSES,
};

struct test_pinpage_info {
	__u32 nr_systems;	/* without the one that has .migrate */
	__u32 pad;
	__u64 violations;	/* since the module was loaded */
};

#define TEST_PINPAGE_INFO	_IOR('P', 0x40, struct test_pinpage_info)
#define TEST_PINPAGE_PIN	_IOWR('P', 0x41, struct test_pinpage_pin)
#define TEST_PINPAGE_UNPIN	_IOWR('P', 0x42, struct test_pinpage_unpin)
#define TEST_PINPAGE_READ	_IOW('P', 0x43, struct test_pinpage_access)
#define TEST_PINPAGE_WRITE_TO	_IOW('P', 0x44, struct test_pinpage_access)
#define TEST_PINPAGE_FILL	_IOWR('P', 0x45, struct test_pinpage_fill)
#define TEST_PINPAGE_CHECK	_IOWR('P', 0x46, struct test_pinpage_fill)
#define TEST_PINPAGE_WHERE	_IOW('P', 0x47, struct test_pinpage_where)
#define TEST_PINPAGE_POLICY	_IOW('P', 0x48, struct test_pinpage_policy)
#define TEST_PINPAGE_COUNTERS	_IOWR('P', 0x49, struct test_pinpage_counters)
#define TEST_PINPAGE_ORDER	_IOWR('P', 0x4a, struct test_pinpage_order)
#define TEST_PINPAGE_MISUSE	_IOW('P', 0x4b, __u32)
#define TEST_PINPAGE_ADD	_IOW('P', 0x4c, struct test_pinpage_add)
#define TEST_PINPAGE_ALLOC	_IO('P', 0x4d)
#define TEST_PINPAGE_TIME	_IOR('P', 0x4e, struct test_pinpage_time)
#define TEST_PINPAGE_COPY	_IOWR('P', 0x4f, struct test_pinpage_copy)
/* Say that the buffer of this id is quiet though no pause of it is open. */
#define TEST_PINPAGE_QUIET	_IOW('P', 0x50, __u32)

/*
 * The pattern: no two pages of a seed have the same words, and a page's words
 * differ from one another.
 */
static inline __u64 test_pinpage_word(__u64 seed, __u64 page, __u32 word)
{
	return (seed ^ (page * 0x9e3779b97f4a7c15ULL)) +
	       word * 0x0101010101010101ULL;
}

static inline void test_pinpage_write(__u64 *to, __u32 first, __u32 nr,
				      __u64 seed, __u64 page)
{
	__u32 i;

	for (i = 0; i < nr; i++)
		to[i] = test_pinpage_word(seed, page, first + i);
}

/* Returns the number of wrong bytes. */
static inline __u64 test_pinpage_compare(const __u64 *at, __u32 first, __u32 nr,
					 __u64 seed, __u64 page)
{
	__u64 bad = 0, diff = 0;
	__u32 i;

	for (i = 0; i < nr; i++)
		diff |= at[i] ^ test_pinpage_word(seed, page, first + i);
	for (i = 0; diff && i < nr; i++) {
		__u64 wrong = at[i] ^ test_pinpage_word(seed, page, first + i);

		for (; wrong; wrong >>= 8)
			bad += !!(wrong & 0xff);
	}
	return bad;
}

#endif /* _LIB_TEST_PINPAGE_UAPI_H */
