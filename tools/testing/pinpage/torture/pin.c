// SPDX-License-Identifier: GPL-2.0
/* Pins, and the devices that have them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "torture.h"
#include "../../selftests/pinpage/pinpage_util.h"

#define SYSTEMS	4

/* What is not in a file yet comes by a fault, and not as zero. */
bool pin_by_mapping;

static const char * const pinned[] = {
	[TEST_PINPAGE_USER] = "pin user",   [TEST_PINPAGE_SET] = "pin set",
	[TEST_PINPAGE_MEMFD] = "pin memfd", [TEST_PINPAGE_KERNEL] = "pin kernel",
	[TEST_PINPAGE_PLAIN] = "pin plain", [TEST_PINPAGE_LONGTERM] = "pin longterm",
};

int open_device(void)
{
	char why[128];
	int fd = device_open(why, sizeof(why));

	if (fd < 0 && !soft(errno))
		found("no device: %s", why);
	return fd;
}

static bool is_registered(const struct buffer *b)
{
	return b->holder == DEVICE && b->pin <= TEST_PINPAGE_KERNEL;
}

static int choose_kind(const struct region *r)
{
	if ((r->kind == MEMFD || r->kind == HUGE_MEMFD) && one_in(2) && !pin_by_mapping)
		return TEST_PINPAGE_MEMFD;
	if (one_in(12))
		return TEST_PINPAGE_LONGTERM;
	if (one_in(12))
		return TEST_PINPAGE_PLAIN;
	return one_in(3) ? TEST_PINPAGE_SET : TEST_PINPAGE_USER;
}

/* May a pin of that kind fail with @err, and if it must, did it? */
static void judge_pin(const struct region *r, int pin, bool write, int err)
{
	bool forbidden = write && pin != TEST_PINPAGE_MEMFD &&
			 (r->readonly || (r->kind == EXT4 && pin != TEST_PINPAGE_SET &&
					  pin != TEST_PINPAGE_PLAIN));

	if (forbidden && err > 0)
		found("a pin of %s that should be refused is not", kind_names[r->kind]);
	if (forbidden)
		did("pins refused that have to be");
	else if (err < 0 && !soft(-err) && err != -EHWPOISON && err != -EBUSY &&
		 !(is_huge(r) && err == -EFAULT))
		found("a pin of %s fails: %d", kind_names[r->kind], err);
}

static struct span span_to_pin(const struct region *r)
{
	struct span s = any_span(r);
	size_t first;

	if (one_in(2))
		return s;
	first = s.first + below(s.nr);
	return (struct span){ first, 1 + below(r->pages - first) };
}

static struct test_pinpage_pin choose_pin(const struct region *r, struct span s)
{
	struct test_pinpage_pin pin = { .kind = choose_kind(r), .len = s.nr * PAGE };

	/* One that only reads is no reason for a short-term pin to unshare. */
	pin.flags = pin.kind != TEST_PINPAGE_USER || !one_in(4) ? TEST_PINPAGE_WRITE : 0;
	if (r->readonly && !one_in(4) && pin.kind != TEST_PINPAGE_MEMFD)
		pin.flags = 0;
	if (!pin.flags)
		pin.kind = TEST_PINPAGE_USER;
	/*
	 * The base does not let a pin write for long there, and to write shortly is as wrong:
	 * the filesystem may have cleaned the page meanwhile, and warns when it is dirtied.
	 */
	if (r->kind == EXT4 && (pin.kind == TEST_PINPAGE_SET || pin.kind == TEST_PINPAGE_PLAIN))
		pin.flags = 0;
	if (pin.kind <= TEST_PINPAGE_KERNEL) {
		pin.system = below(SYSTEMS);
		pin.timeout_ms = one_in(2) ? 1000 : 1 + below(100);
		pin.flags |= one_in(20) ? TEST_PINPAGE_UNMOVABLE : 0;
	}
	pin.addr = (uintptr_t)r->at + s.first * PAGE;
	if (pin.kind == TEST_PINPAGE_MEMFD) {
		pin.addr = s.first * PAGE;
		pin.fd = r->fd;
	}
	return pin;
}

void try_pin(struct region *r)
{
	struct buffer *b = free_buffer();
	struct span s = span_to_pin(r);
	struct test_pinpage_pin pin = choose_pin(r, s);

	if (!b)
		return;
	note("pin %s %zu+%zu, kind %u flags %#x system %u", kind_names[r->kind], s.first, s.nr,
	     pin.kind, pin.flags, pin.system);
	b->id = dev_pin(device, pin);
	judge_pin(r, pin.kind, pin.flags & TEST_PINPAGE_WRITE, b->id);
	if (b->id < 0)
		return;
	did(pinned[pin.kind]);
	b->holder = DEVICE;
	b->pin = pin.kind;
	b->system = pin.system;
	b->pages = s.nr;
	b->writes = pin.flags & TEST_PINPAGE_WRITE;
	b->shared = is_shared(r);
	b->c = share_contents(r->c + s.first, s.nr);
	check_buffer(b, false);
}

void op_pin(void)
{
	struct region *r = any_region();

	if (r)
		try_pin(r);
}

static struct buffer *find_kernel_buffer(void)
{
	size_t i;

	for (i = 0; i < MAX_BUFFERS; i++)
		if (buffers[i].c && buffers[i].holder == DEVICE &&
		    buffers[i].pin == TEST_PINPAGE_KERNEL)
			return &buffers[i];
	return NULL;
}

/* The driver's own pages, of which others may have some as well. */
void op_pin_kernel(void)
{
	struct buffer *b = free_buffer(), *from = one_in(2) ? find_kernel_buffer() : NULL;
	struct test_pinpage_pin pin = { .kind = TEST_PINPAGE_KERNEL };
	size_t first = 0;

	if (!b)
		return;
	b->pages = 16 << below(4);
	pin.order = below(5);
	pin.system = one_in(3) ? TEST_PINPAGE_SYSTEM_COPY : below(SYSTEMS);
	if (from) {
		first = below(from->pages);
		b->pages = 1 + below(from->pages - first);
		pin.flags = TEST_PINPAGE_FROM;
		pin.from = from->id;
		pin.addr = first * PAGE;
		pin.order = 0;
	}
	pin.len = b->pages * PAGE;
	note("pin %zu kernel pages of order %u, from %u, system %u", b->pages, pin.order, pin.from,
	     pin.system);
	b->id = dev_pin(device, pin);
	if (b->id < 0) {
		if (!soft(-b->id))
			found("a pin of kernel pages fails: %d", b->id);
		return;
	}
	did(pin.flags ? "pin kernel pages of another" : "pin kernel");
	b->holder = DEVICE;
	b->pin = pin.kind;
	b->system = pin.system;
	b->writes = true;
	b->c = share_contents(pin.flags ? from->c + first : NULL, b->pages);
	check_buffer(b, false);
}

static void check_account(struct buffer *b)
{
	struct test_pinpage_counters count = dev_count(device, b->id);

	if (count.violations || count.prepares != count.completes + count.refused + count.open)
		found("set %d: %llu violations; %llu prepares, %llu completes, %llu refused, %u open",
		      b->id, (unsigned long long)count.violations,
		      (unsigned long long)count.prepares, (unsigned long long)count.completes,
		      (unsigned long long)count.refused, count.open);
}

/* Only what the device has written is dirty: ext4 warns of what it does not know of. */
static int unpin_ioctl(struct buffer *b)
{
	struct test_pinpage_unpin arg = { .id = b->id };

	if (b->writes)
		arg.flags = TEST_PINPAGE_DIRTY;
	if (ioctl(device, TEST_PINPAGE_UNPIN, &arg))
		return -errno;
	return arg.misplaced ? -EUCLEAN : 0;
}

bool unpin(struct buffer *b)
{
	int err, tries = 1000;

	if (b->holder == RING) {
		ring_close(b);
	} else {
		if (is_registered(b))
			check_account(b);
		do {
			err = unpin_ioctl(b);
		} while (err == -ENOMEM && --tries);
		if (err)
			found("buffer %d does not go: %d", b->id, err);
	}
	drop_contents(b->c, b->pages);
	*b = (struct buffer){};
	did("unpin");
	return true;
}

void op_unpin(void)
{
	struct buffer *b = any_buffer();

	if (!b)
		return;
	note("unpin buffer %d, kind %d", b->id, b->pin);
	check_buffer(b, false);
	unpin(b);
}

/* Owners that refuse, are slow, are never quiet. */
void op_policy(void)
{
	struct buffer *b = any_buffer();
	struct test_pinpage_policy p = {};

	if (!b || !is_registered(b))
		return;
	p.id = b->id;
	switch (below(7)) {
	case 0:
		p.refusals = 1 + below(20);
		p.refusal = -EBUSY;
		break;
	case 1:
		p.busy_first = below(b->pages);
		p.busy_nr = 1 + below(4);
		break;
	case 2:
		p.quiet_us = below(2000);
		break;
	case 3:
		p.quiet_us = below(one_in(4) ? 300000 : 20000);
		break;
	case 4:
		p.hold = 1;
		break;
	case 5:
		p.early = 1;
		p.complete_ms = below(3);
		break;
	}
	if (p.id && b->system == TEST_PINPAGE_SYSTEM_COPY && one_in(3)) {
		p.migrate_refusals = 1 + below(4);
		p.migrate_refusal = one_in(2) ? -EBUSY : -EAGAIN;
	}
	note("policy of buffer %d: refusals %u busy %llu quiet %u hold %u early %u", b->id,
	     p.refusals, (unsigned long long)p.busy_nr, p.quiet_us, p.hold, p.early);
	if (dev_policy(device, p))
		found("no policy for buffer %d", b->id);
	did(p.hold		    ? "owner never quiet" :
	    p.refusals || p.busy_nr ? "owner refuses" :
	    p.quiet_us		    ? "owner slow" :
				      "owner quiet");
}

void op_device(void)
{
	struct buffer *b = any_buffer();

	if (!b)
		return;
	if (!b->writes || one_in(3)) {
		note("device reads buffer %d", b->id);
		check_buffer(b, one_in(8));
		did("device reads");
		return;
	}
	note("device writes buffer %d", b->id);
	write_buffer(b);
	did("device writes");
	check_all(false);
}

/* CPU and device count in one word: no addition is lost while the page moves. */

struct adder {
	struct buffer *b;
	size_t offset;
	unsigned int times;
	int ret;
};

static void *device_adds(void *arg)
{
	struct adder *a = arg;

	a->ret = dev_add(device, a->b->id, a->offset, a->times);
	return NULL;
}

/* A page of @b that a region maps for writing. */
static char *find_mapped(struct buffer *b, size_t *page, struct content **c)
{
	size_t i, j;

	*page = below(b->pages);
	for (i = 0; i < MAX_REGIONS; i++) {
		struct region *r = &regions[i];

		if (!r->at || r->readonly || is_huge(r))
			continue;
		for (j = 0; j < r->pages; j++) {
			if (r->c[j] != b->c[*page])
				continue;
			*c = r->c[j];
			return r->at + j * PAGE;
		}
	}
	return NULL;
}

void op_count(void)
{
	struct buffer *b = any_buffer();
	struct adder adder = { .b = b, .times = 200 + below(2000) };
	struct content *c;
	pthread_t thread;
	uint64_t *word;
	unsigned int i;
	size_t page;
	char *at;

	if (!b || b->holder != DEVICE || !b->writes)
		return;
	at = find_mapped(b, &page, &c);
	if (!at)
		return;
	word = (uint64_t *)at + below(PAGE / 8);
	adder.offset = page * PAGE + (uintptr_t)word % PAGE;
	note("count in page %zu of buffer %d", page, b->id);
	__atomic_store_n(word, 0, __ATOMIC_RELAXED);
	if (!pthread_create(&thread, NULL, device_adds, &adder)) {
		for (i = 0; i < adder.times; i++)
			__atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
		if (adder.ret || *word != 2 * adder.times)
			found("CPU and device counted to %llu, not to %u: %d",
			      (unsigned long long)*word, 2 * adder.times, adder.ret);
		did("CPU and device count");
	}
	refresh(c);
	write_content(c, at);
	check_buffer(b, false);
}

void op_order(void)
{
	struct buffer *b = any_buffer();
	int64_t wrong;

	if (!b || !is_registered(b))
		return;
	note("order of buffer %d", b->id);
	wrong = dev_order(device, b->id);
	if (wrong)
		found("buffer %d: %lld pages are not where they are said to be", b->id,
		      (long long)wrong);
	did("order");
}
