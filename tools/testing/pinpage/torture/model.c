// SPDX-License-Identifier: GPL-2.0
/*
 * What each page holds. A content belongs to a page, not to an address: what a region
 * and a buffer see of one page is one content, and two where the page was replaced
 * under one of them (MADV_DONTNEED, truncate, munmap).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <lib/test_pinpage_uapi.h>

#include "torture.h"

const char * const kind_names[NR_KINDS] = {
	"anon",	      "thp",  "shmem",	      "memfd", "hugetlb",
	"huge memfd", "ext4", "ext4 private", "tmpfs", "tmpfs private",
};

struct region regions[MAX_REGIONS];
struct buffer buffers[MAX_BUFFERS];
int device = -1, disk_file = -1;

static sigjmp_buf escape;
static volatile sig_atomic_t may_fault;

bool is_shared(const struct region *r)
{
	return r->kind == SHMEM || r->kind == MEMFD || r->kind == HUGE_MEMFD || r->kind == EXT4 ||
	       r->kind == TMPFS;
}

bool is_file(const struct region *r)
{
	return r->fd >= 0;
}

bool is_huge(const struct region *r)
{
	return r->kind == HUGETLB || r->kind == HUGE_MEMFD;
}

bool is_anon(const struct region *r)
{
	return r->kind == ANON || r->kind == THP;
}

static void *must(void *p)
{
	if (!p)
		found("malloc() fails");
	return p;
}

struct content *new_content(void)
{
	struct content *c = must(calloc(1, sizeof(*c)));

	c->zero = true;
	c->refs = 1;
	return c;
}

struct content *get_content(struct content *c)
{
	c->refs++;
	return c;
}

void put_content(struct content *c)
{
	if (!--c->refs)
		free(c);
}

struct content **share_contents(struct content **from, size_t nr)
{
	struct content **c = must(calloc(nr, sizeof(*c)));
	size_t i;

	for (i = 0; i < nr; i++)
		c[i] = from ? get_content(from[i]) : new_content();
	return c;
}

void drop_contents(struct content **c, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		put_content(c[i]);
	free(c);
}

void refresh(struct content *c)
{
	c->base = random_u64();
	c->zero = false;
}

void zero_span(struct region *r, struct span s)
{
	size_t i;

	for (i = s.first; i < s.first + s.nr; i++) {
		put_content(r->c[i]);
		r->c[i] = new_content();
	}
}

bool in_buffer(const struct content *c)
{
	return c->refs > 1;
}

bool is_content(const struct content *c, const void *at)
{
	const uint64_t *words = at;
	size_t i;

	if (!c->zero)
		return !test_pinpage_compare(at, 0, PAGE / 8, c->base, 0);
	for (i = 0; i < PAGE / 8; i++)
		if (words[i])
			return false;
	return true;
}

void write_content(const struct content *c, void *at)
{
	if (c->zero)
		memset(at, 0, PAGE);
	else
		test_pinpage_write(at, 0, PAGE / 8, c->base, 0);
}

void expect_page(const struct content *c, const void *at, const char *who, size_t page)
{
	static uint64_t copy[PAGE / 8], want[PAGE / 8];
	size_t i, first = PAGE / 8, bad = 0;

	__atomic_fetch_add(&shared->bytes, PAGE, __ATOMIC_RELAXED);
	if (is_content(c, at))
		return;
	memcpy(copy, at, PAGE);
	write_content(c, want);
	for (i = 0; i < PAGE / 8; i++) {
		if (copy[i] == want[i])
			continue;
		bad++;
		if (first == PAGE / 8)
			first = i;
	}
	if (first == PAGE / 8)
		found("%s, page %zu: wrong, and right when looked at again", who, page);
	found("%s, page %zu: %zu words are wrong, from %zu on: %#llx, not %#llx", who, page, bad,
	      first, (unsigned long long)copy[first], (unsigned long long)want[first]);
}

/* Choice */

struct region *any_region(void)
{
	struct region *r = &regions[below(MAX_REGIONS)];

	return r->at ? r : NULL;
}

struct buffer *any_buffer(void)
{
	struct buffer *b = &buffers[below(MAX_BUFFERS)];

	return b->c ? b : NULL;
}

struct buffer *free_buffer(void)
{
	struct buffer *b = &buffers[below(MAX_BUFFERS)];

	return b->c ? NULL : b;
}

/* A few pages, or all, or something in between. */
struct span any_span(const struct region *r)
{
	size_t units = r->pages / r->step, first, nr;

	if (one_in(4))
		return (struct span){ 0, r->pages };
	first = below(units);
	nr = 1 + below(one_in(2) ? 4 : units);
	if (nr > units - first)
		nr = units - first;
	return (struct span){ first * r->step, nr * r->step };
}

/* Signals */

static void handle(int sig, siginfo_t *info, void *context)
{
	if (may_fault)
		siglongjmp(escape, sig);
	found("signal %d, code %d, at %p", sig, info->si_code, info->si_addr);
}

void catch_signals(void)
{
	struct sigaction action = { .sa_sigaction = handle, .sa_flags = SA_SIGINFO };

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}

bool faults(const volatile char *at, bool write)
{
	bool faulted = false;

	may_fault = 1;
	if (sigsetjmp(escape, 1))
		faulted = true;
	else if (write)
		*(volatile char *)at = *at;
	else
		(void)*at;
	may_fault = 0;
	return faulted;
}

/* The region as a whole; buffers keep what they have. */
void forget(struct region *r)
{
	int tries = 1000;

	while (munmap(r->at, r->pages * PAGE) && --tries)
		usleep(1000);
	if (!tries)
		found("munmap() of %s fails", kind_names[r->kind]);
	drop_contents(r->c, r->pages);
	if (r->fd >= 0)
		close(r->fd);
	*r = (struct region){ .fd = -1 };
}

/* Accesses. A huge page may not be there to be had any more. */

static void write_pages(struct region *r, struct span s)
{
	size_t i;

	for (i = s.first; i < s.first + s.nr; i++) {
		refresh(r->c[i]);
		write_content(r->c[i], r->at + i * PAGE);
	}
}

static void check_pages(struct region *r, struct span s)
{
	size_t i;

	for (i = s.first; i < s.first + s.nr; i++)
		expect_page(r->c[i], r->at + i * PAGE, kind_names[r->kind], i);
}

static bool access_span(struct region *r, struct span s,
			void (*fn)(struct region *r, struct span s))
{
	if (!is_huge(r)) {
		fn(r, s);
		return true;
	}
	if (!sigsetjmp(escape, 1)) {
		may_fault = 1;
		fn(r, s);
		may_fault = 0;
		return true;
	}
	may_fault = 0;
	note("no huge page any more");
	did("a huge page was not to be had");
	/* What the device has of it may be written in part. */
	forget(r);
	return false;
}

bool write_span(struct region *r, struct span s)
{
	struct span one;
	size_t i;

	if (!is_huge(r))
		return access_span(r, s, write_pages);
	/* So that contents that were not written are not taken for new ones. */
	for (i = s.first; i < s.first + s.nr; i++) {
		one = (struct span){ i, 1 };
		if (!access_span(r, one, check_pages) || !access_span(r, one, write_pages))
			return false;
	}
	return true;
}

bool check_span(struct region *r, struct span s)
{
	return access_span(r, s, check_pages);
}

/* Large ones in part, or nothing else would be done. */
bool check_region(struct region *r)
{
	size_t nr = r->pages > 96 ? 32 : r->pages;

	return check_span(r, (struct span){ below(r->pages - nr + 1), nr });
}

/* The device */

static int device_ioctl(unsigned long cmd, struct buffer *b, size_t page, uint64_t base,
			uint64_t *bad)
{
	struct test_pinpage_fill fill = {
		.id = b->id, .first = page, .nr = 1, .stride = 1, .len = PAGE,
		.seed = base ^ page * 0x9e3779b97f4a7c15ULL,
	};

	if (ioctl(device, cmd, &fill))
		return -errno;
	*bad = fill.bad_bytes;
	return 0;
}

static int device_copy(unsigned long cmd, struct buffer *b, size_t page, void *data)
{
	struct test_pinpage_access access = {
		.id = b->id, .offset = page * PAGE, .len = PAGE, .ptr = (uintptr_t)data
	};

	return ioctl(device, cmd, &access) ? -errno : 0;
}

static bool read_page(struct buffer *b, size_t page, void *to)
{
	int err;

	if (b->holder == RING)
		return ring_read(b, page, to);
	err = device_copy(TEST_PINPAGE_READ, b, page, to);
	if (err && !soft(-err))
		found("the device can't read page %zu: %d", page, err);
	return !err;
}

static void check_buffer_page(struct buffer *b, size_t page)
{
	static char copy[PAGE] __attribute__((aligned(4096)));
	uint64_t bad = 0;

	if (b->holder == DEVICE && !b->c[page]->zero &&
	    !device_ioctl(TEST_PINPAGE_CHECK, b, page, b->c[page]->base, &bad) && !bad) {
		__atomic_fetch_add(&shared->bytes, PAGE, __ATOMIC_RELAXED);
		return;
	}
	if (read_page(b, page, copy))
		expect_page(b->c[page], copy, b->holder == RING ? "ring" : "device", page);
	else
		did("an access of a device without memory");
}

void check_buffer(struct buffer *b, bool all)
{
	size_t nr = all || b->pages < 12 ? b->pages : 12, first = below(b->pages - nr + 1), i;

	for (i = first; i < first + nr; i++)
		check_buffer_page(b, i);
}

static void write_buffer_page(struct buffer *b, size_t page)
{
	struct content was = *b->c[page];
	uint64_t bad;
	int err;

	refresh(b->c[page]);
	if (b->holder == RING) {
		if (!ring_write(b, page))
			b->c[page]->base = was.base, b->c[page]->zero = was.zero;
		return;
	}
	err = device_ioctl(TEST_PINPAGE_FILL, b, page, b->c[page]->base, &bad);
	if (err)
		found("the device can't write page %zu: %d", page, err);
}

void write_buffer(struct buffer *b)
{
	size_t first = below(b->pages), nr = 1 + below(12), i;

	for (i = first; i < first + nr && i < b->pages; i++)
		write_buffer_page(b, i);
}

void check_all(bool all)
{
	size_t i;

	for (i = 0; i < MAX_REGIONS; i++) {
		struct region *r = &regions[i];

		if (r->at)
			all ? check_span(r, (struct span){ 0, r->pages }) : check_region(r);
	}
	for (i = 0; i < MAX_BUFFERS; i++)
		if (buffers[i].c)
			check_buffer(&buffers[i], all);
}
