// SPDX-License-Identifier: GPL-2.0
/* What a process does with its memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mm/cma_test.h>

#include "torture.h"
#include "../../selftests/pinpage/pinpage_util.h"

#define COMMON		0x0123456789abcdefULL

/* Mapping */

static int open_backing(enum kind kind)
{
	char path[64];
	int fd;

	if (kind == MEMFD)
		return memfd_create("torture", MFD_CLOEXEC);
	if (kind == HUGE_MEMFD)
		return memfd_create("torture", MFD_CLOEXEC | MFD_HUGETLB);
	snprintf(path, sizeof(path), "%s/region.%d", kind < TMPFS ? "/mnt" : "/dev/shm", getpid());
	fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		unlink(path);
	return fd;
}

/* An address where nothing is, of that alignment; mapped, so that it stays so. */
static char *reserve(size_t pages, size_t align)
{
	char *at = mmap(NULL, (pages + align) * PAGE, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t head;

	if (at == MAP_FAILED)
		return NULL;
	head = -(uintptr_t)at & (align * PAGE - 1);
	if (head)
		munmap(at, head);
	munmap(at + head + pages * PAGE, align * PAGE - head);
	return at + head;
}

static int map_flags(const struct region *r)
{
	int flags = MAP_FIXED | (is_shared(r) ? MAP_SHARED : MAP_PRIVATE);

	if (r->fd < 0)
		flags |= MAP_ANONYMOUS;
	if (r->kind == HUGETLB)
		flags |= MAP_HUGETLB;
	return flags | (one_in(3) ? MAP_POPULATE : 0);
}

static bool map_region(struct region *r)
{
	size_t align = r->kind == THP || is_huge(r) ? HUGE_PAGES : 1;
	char *to;

	if (r->kind != ANON && r->kind != THP && r->kind != SHMEM && r->kind != HUGETLB) {
		r->fd = open_backing(r->kind);
		if (r->fd < 0 || ftruncate(r->fd, r->pages * PAGE))
			return false;
	}
	to = reserve(r->pages, align);
	if (!to)
		return false;
	r->at = mmap(to, r->pages * PAGE, PROT_READ | PROT_WRITE, map_flags(r), r->fd, 0);
	if (r->at == MAP_FAILED) {
		munmap(to, r->pages * PAGE);
		return false;
	}
	if (r->kind == THP || r->kind == ANON)
		madvise(r->at, r->pages * PAGE, r->kind == THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return true;
}

static const char * const mapped[NR_KINDS] = {
	"map anon",	  "map thp",  "map shmem",	  "map memfd", "map hugetlb",
	"map huge memfd", "map ext4", "map ext4 private", "map tmpfs", "map tmpfs private",
};

void op_map(void)
{
	struct region *r = &regions[below(MAX_REGIONS)], new = { .fd = -1, .step = 1 };

	if (r->at)
		return;
	new.kind = one_in(4) ? ANON : below(NR_KINDS);
	new.pages = 4 + below(60);
	if (new.kind == THP || is_huge(&new))
		new.pages = HUGE_PAGES * (1 + one_in(3));
	if (is_huge(&new))
		new.step = HUGE_PAGES;
	note("map %zu pages of %s", new.pages, kind_names[new.kind]);
	if (!map_region(&new)) {
		if (!soft(errno))
			found("mmap() of %s fails", kind_names[new.kind]);
		if (new.fd >= 0)
			close(new.fd);
		return;
	}
	new.c = share_contents(NULL, new.pages);
	*r = new;
	did(mapped[r->kind]);
	if (!one_in(4))
		write_span(r, (struct span){ 0, r->pages });
}

void op_write(void)
{
	struct region *r = any_region();
	struct span s;

	if (!r || r->readonly)
		return;
	s = any_span(r);
	note("write %s %zu+%zu", kind_names[r->kind], s.first, s.nr);
	if (write_span(r, s) && check_region(r))
		did("write");
}

void op_unmap(void)
{
	struct region *r = any_region();
	size_t nr;

	if (!r)
		return;
	nr = one_in(2) ? r->pages : r->step * (1 + below(r->pages / r->step));
	note("unmap the last %zu of %zu of %s", nr, r->pages, kind_names[r->kind]);
	did("munmap");
	if (nr == r->pages) {
		forget(r);
		return;
	}
	if (munmap(r->at + (r->pages - nr) * PAGE, nr * PAGE)) {
		if (!soft(errno))
			found("munmap() fails");
		return;
	}
	for (; nr; nr--)
		put_content(r->c[--r->pages]);
	if (!faults(r->at + r->pages * PAGE, false))
		did("something else is mapped there");
}

/* mremap() */

static bool remapped(struct region *r, void *to, const char *how)
{
	if (to != MAP_FAILED) {
		r->at = to;
		did(how);
		return true;
	}
	/* Several mappings with different advice don't move as one. */
	if (!soft(errno) && errno != EFAULT && !(is_huge(r) && errno == EINVAL))
		found("%s of %s fails", how, kind_names[r->kind]);
	return false;
}

static void move_mapping(struct region *r)
{
	char *to = reserve(r->pages, is_huge(r) || one_in(2) ? HUGE_PAGES : 1);

	if (!to)
		return;
	if (!remapped(r,
		      mremap(r->at, r->pages * PAGE, r->pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
			     to),
		      "mremap"))
		munmap(to, r->pages * PAGE);
}

/* The old place reads as zero, until it goes. */
static void leave_mapping(struct region *r)
{
	char *was = r->at;
	size_t page = below(r->pages);
	struct content zero = { .zero = true };
	void *to = mremap(r->at, r->pages * PAGE, r->pages * PAGE,
			  MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);

	if (!remapped(r, to, "mremap, the old mapping stays"))
		return;
	expect_page(&zero, was + page * PAGE, "what mremap() has left", page);
	while (munmap(was, r->pages * PAGE))
		usleep(1000);
}

static void grow_mapping(struct region *r)
{
	size_t more = 1 + below(16), i;
	void *to = mremap(r->at, r->pages * PAGE, (r->pages + more) * PAGE, MREMAP_MAYMOVE);
	struct content **c;

	if (!remapped(r, to, "mremap, larger"))
		return;
	c = share_contents(NULL, r->pages + more);
	for (i = 0; i < r->pages; i++) {
		put_content(c[i]);
		c[i] = get_content(r->c[i]);
	}
	drop_contents(r->c, r->pages);
	r->c = c;
	r->pages += more;
}

void op_remap(void)
{
	struct region *r = any_region();

	if (!r)
		return;
	note("mremap %s", kind_names[r->kind]);
	if (is_anon(r) && one_in(3) && r->pages < 2 * HUGE_PAGES)
		grow_mapping(r);
	else if (is_anon(r) && one_in(2))
		leave_mapping(r);
	else
		move_mapping(r);
	check_region(r);
}

/* mprotect(), mlock() */

static void set_protection(struct region *r, int prot)
{
	int tries;

	for (tries = 1000; tries; tries--) {
		if (!mprotect(r->at, r->pages * PAGE, prot))
			return;
		usleep(1000);
	}
	found("mprotect() fails");
}

void op_protect(void)
{
	struct region *r = any_region();
	size_t page;

	if (!r)
		return;
	page = below(r->pages);
	if (one_in(3)) {
		note("mprotect %s, nothing and again", kind_names[r->kind]);
		set_protection(r, PROT_NONE);
		if (!faults(r->at + page * PAGE, false))
			found("no fault at what is not to be read");
		set_protection(r, r->readonly ? PROT_READ : PROT_READ | PROT_WRITE);
		did("mprotect, nothing");
	} else if (r->readonly) {
		note("mprotect %s, write", kind_names[r->kind]);
		set_protection(r, PROT_READ | PROT_WRITE);
		r->readonly = false;
	} else {
		note("mprotect %s, read", kind_names[r->kind]);
		set_protection(r, PROT_READ);
		r->readonly = true;
		if (!faults(r->at + page * PAGE, true))
			found("no fault at what is not to be written");
		did("mprotect, read");
	}
	check_region(r);
}

void op_lock(void)
{
	struct region *r = any_region();
	struct span s;
	int err;

	if (!r || is_huge(r))
		return;
	s = any_span(r);
	if (one_in(2)) {
		note("mlock %s %zu+%zu", kind_names[r->kind], s.first, s.nr);
		err = mlock(r->at + s.first * PAGE, s.nr * PAGE);
		if (!err)
			did("mlock");
	} else {
		note("munlock %s", kind_names[r->kind]);
		err = munlock(r->at, r->pages * PAGE);
		if (!err)
			did("munlock");
	}
	if (err && !soft(errno))
		found("mlock() or munlock() fails");
	check_region(r);
}

/* madvise() that throws away */

static int advise(struct region *r, struct span s, int advice)
{
	return madvise(r->at + s.first * PAGE, s.nr * PAGE, advice);
}

/* What is not in use by a device may be gone, or not yet. */
static void may_be_gone(struct region *r, struct span s)
{
	struct content zero = { .zero = true };
	size_t i;

	for (i = s.first; i < s.first + s.nr; i++) {
		if (in_buffer(r->c[i]) || !is_content(&zero, r->at + i * PAGE))
			continue;
		put_content(r->c[i]);
		r->c[i] = new_content();
	}
	if (check_span(r, s))
		write_span(r, s);
	did("madvise free");
}

static void discard(struct region *r, struct span s)
{
	int advice = MADV_DONTNEED;

	if (munlock(r->at, r->pages * PAGE))
		advice = MADV_DONTNEED_LOCKED;
	if (advise(r, s, advice)) {
		if (!soft(errno))
			found("MADV_DONTNEED fails");
		forget(r);
		return;
	}
	if (!is_shared(r))
		zero_span(r, s);
	check_span(r, s);
	did("madvise dontneed");
}

void op_discard(void)
{
	struct region *r = any_region();
	struct span s;

	if (!r || is_huge(r))
		return;
	s = any_span(r);
	if (is_anon(r) && !r->readonly && one_in(2)) {
		note("free %s %zu+%zu", kind_names[r->kind], s.first, s.nr);
		if (!munlock(r->at, r->pages * PAGE) && !advise(r, s, MADV_FREE)) {
			usleep(below(20000));
			may_be_gone(r, s);
		} else {
			/* In part, perhaps. */
			forget(r);
		}
		return;
	}
	note("dontneed %s %zu+%zu", kind_names[r->kind], s.first, s.nr);
	discard(r, s);
}

/* and that does not */

static const struct {
	int advice;
	const char *name;
	bool huge, anon, write;
} hints[] = {
	{ MADV_COLD, "madvise cold" },
	{ MADV_PAGEOUT, "madvise pageout" },
	{ MADV_PAGEOUT, "madvise pageout" },
	{ MADV_WILLNEED, "madvise willneed" },
	{ MADV_POPULATE_READ, "madvise populate, read", .huge = true },
	{ MADV_POPULATE_WRITE, "madvise populate, write", .huge = true, .write = true },
	{ MADV_COLLAPSE, "madvise collapse" },
	{ MADV_COLLAPSE, "madvise collapse" },
	{ MADV_COLLAPSE, "madvise collapse" },
	{ MADV_HUGEPAGE, "madvise hugepage" },
	{ MADV_NOHUGEPAGE, "madvise nohugepage" },
	{ MADV_UNMERGEABLE, "madvise unmergeable", .anon = true },
	{ MADV_RANDOM, "madvise random" },
	{ MADV_NORMAL, "madvise normal" },
	{ MADV_DONTDUMP, "madvise dontdump" },
	{ MADV_DODUMP, "madvise dodump" },
};

void op_advise(void)
{
	struct region *r = any_region();
	size_t i = below(sizeof(hints) / sizeof(hints[0]));
	int advice = hints[i].advice;
	struct span s;

	if (!r || (is_huge(r) && !hints[i].huge) || (hints[i].anon && !is_anon(r)) ||
	    (hints[i].write && r->readonly))
		return;
	s = any_span(r);
	if (advice == MADV_COLLAPSE)
		s = (struct span){ 0, r->pages };
	note("%s %s %zu+%zu", hints[i].name, kind_names[r->kind], s.first, s.nr);
	if (!advise(r, s, advice))
		did(hints[i].name);
	else if (!soft(errno) && advice != MADV_COLLAPSE && advice != MADV_PAGEOUT &&
		 advice != MADV_COLD && !is_huge(r))
		found("%s of %s fails", hints[i].name, kind_names[r->kind]);
	check_region(r);
}

/* KSM makes one page of those of all workers. */
void op_merge(void)
{
	struct region *r = any_region();
	struct span s;
	size_t i;

	if (!r || !is_anon(r) || r->readonly)
		return;
	s = any_span(r);
	if (s.nr > 64)
		s.nr = 64;
	note("merge %s %zu+%zu", kind_names[r->kind], s.first, s.nr);
	if (advise(r, (struct span){ 0, r->pages }, MADV_MERGEABLE)) {
		if (!soft(errno))
			found("MADV_MERGEABLE fails");
		return;
	}
	for (i = s.first; i < s.first + s.nr; i++) {
		r->c[i]->base = COMMON + below(3);
		r->c[i]->zero = one_in(8);
		write_content(r->c[i], r->at + i * PAGE);
	}
	did("madvise mergeable");
}

/* Another page instead, and what was is healed. */
void op_soft_offline(void)
{
	struct region *r = any_region();
	uint64_t pfn;
	char *at;

	if (!r || is_huge(r) || !can_unpoison() || !one_in(4))
		return;
	at = r->at + below(r->pages) * PAGE;
	pfn = user_pfn(at);
	note("soft offline %s", kind_names[r->kind]);
	if (!madvise(at, PAGE, MADV_SOFT_OFFLINE))
		did("soft offline");
	else
		did("soft offline refused");
	check_region(r);
	if (pfn && page_flag(pfn, KPF_HWPOISON))
		unpoison(pfn);
}

/* Into the CMA area. */
void op_place(void)
{
	static int fd = -1;
	struct region *r = any_region();
	struct cma_test_place place;
	size_t i;

	if (!r || is_huge(r) || r->readonly)
		return;
	if (fd < 0)
		fd = contig_open();
	note("place %s in CMA", kind_names[r->kind]);
	for (i = 0; fd >= 0 && i < 4; i++) {
		place.addr = (uintptr_t)r->at + below(r->pages) * PAGE;
		place.pfn = area.base + below(area.count);
		if (!ioctl(fd, CMA_TEST_PLACE, &place))
			did("placed in CMA");
	}
	check_region(r);
}

void op_move(void)
{
	struct region *r = any_region();
	struct span s;

	if (!r)
		return;
	s = any_span(r);
	note("move %s %zu+%zu", kind_names[r->kind], s.first, s.nr);
	did_many("pages there after move_pages",
		 move_to(0, r->at + s.first * PAGE, s.nr, below(2)));
	check_region(r);
}
