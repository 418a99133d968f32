// SPDX-License-Identifier: GPL-2.0
/* Others that hold pages for a moment, and io_uring, which holds them for long. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "torture.h"

static char bounce[16 * 4096] __attribute__((aligned(4096)));

/* At most what the bounce buffer holds. */
static bool choose(struct region **r, struct span *s, bool write)
{
	*r = any_region();
	if (!*r || is_huge(*r) || (write && (*r)->readonly))
		return false;
	*s = any_span(*r);
	if (s->nr > sizeof(bounce) / PAGE)
		s->nr = sizeof(bounce) / PAGE;
	return true;
}

static void new_contents(struct region *r, struct span s)
{
	size_t i;

	for (i = 0; i < s.nr; i++) {
		refresh(r->c[s.first + i]);
		write_content(r->c[s.first + i], bounce + i * PAGE);
	}
}

static void check_bounce(struct region *r, struct span s, const char *how)
{
	size_t i;

	for (i = 0; i < s.nr; i++)
		expect_page(r->c[s.first + i], bounce + i * PAGE, how, s.first + i);
}

static bool whole(ssize_t got, struct span s, const char *what)
{
	if (got == (ssize_t)(s.nr * PAGE))
		return true;
	if (got < 0 && !soft(errno))
		found("%s fails", what);
	return false;
}

/* What was begun is brought to its end, or it is not known what is there. */
static void read_direct(struct region *r, struct span s, off_t at)
{
	new_contents(r, s);
	while (!whole(pwrite(disk_file, bounce, s.nr * PAGE, at), s, "direct write"))
		usleep(1000);
	while (!whole(pread(disk_file, r->at + s.first * PAGE, s.nr * PAGE, at), s, "direct read"))
		usleep(1000);
	did("direct read");
}

void op_direct(void)
{
	off_t at = below(32) * PAGE;
	struct region *r;
	struct span s;

	if (disk_file < 0 || !choose(&r, &s, true))
		return;
	note("direct I/O %s %zu+%zu", kind_names[r->kind], s.first, s.nr);
	/* As of a pin, ext4 does not expect to be written to by a device: see try_pin(). */
	if (r->kind != EXT4 && one_in(2)) {
		read_direct(r, s, at);
	} else if (whole(pwrite(disk_file, r->at + s.first * PAGE, s.nr * PAGE, at), s,
			 "direct write") &&
		   whole(pread(disk_file, bounce, s.nr * PAGE, at), s, "direct read")) {
		check_bounce(r, s, "written directly");
		did("direct write");
	}
	check_all(false);
}

void op_process_vm(void)
{
	struct region *r;
	struct span s;
	struct iovec there, here = { .iov_base = bounce };

	if (!choose(&r, &s, true))
		return;
	here.iov_len = s.nr * PAGE;
	there = (struct iovec){ r->at + s.first * PAGE, s.nr * PAGE };
	if (one_in(2)) {
		note("process_vm_writev %s %zu+%zu", kind_names[r->kind], s.first, s.nr);
		new_contents(r, s);
		while (!whole(process_vm_writev(getpid(), &here, 1, &there, 1, 0), s,
			      "process_vm_writev()"))
			usleep(1000);
		did("process_vm_writev");
	} else {
		note("process_vm_readv %s %zu+%zu", kind_names[r->kind], s.first, s.nr);
		if (whole(process_vm_readv(getpid(), &here, 1, &there, 1, 0), s,
			  "process_vm_readv()")) {
			check_bounce(r, s, "process_vm_readv()");
			did("process_vm_readv");
		}
	}
	check_all(false);
}

/* The pipe refers to the pages, until they are read. */
void op_vmsplice(void)
{
	int fds[2];
	struct iovec from;
	struct region *r;
	struct span s;

	if (!choose(&r, &s, false))
		return;
	note("vmsplice %s %zu+%zu", kind_names[r->kind], s.first, s.nr);
	if (pipe2(fds, O_CLOEXEC))
		return;
	from = (struct iovec){ r->at + s.first * PAGE, s.nr * PAGE };
	if (whole(vmsplice(fds[1], &from, 1, SPLICE_F_NONBLOCK), s, "vmsplice()")) {
		usleep(below(5000));
		if (one_in(2))
			try_pin(r);
		if (whole(read(fds[0], bounce, s.nr * PAGE), s, "read()")) {
			check_bounce(r, s, "vmsplice()");
			did("vmsplice");
		}
	}
	close(fds[0]);
	close(fds[1]);
	check_all(false);
}

/* io_uring with a registered buffer */

struct ring {
	int fd;
	char *at;
	size_t size;
	struct io_uring_sqe *sqes;
	struct io_uring_params p;
	char *pages;		/* where they were registered: the address counts from there */
};

static void ring_free(struct ring *ring)
{
	if (ring->sqes && ring->sqes != MAP_FAILED)
		munmap(ring->sqes, PAGE);
	if (ring->at && ring->at != MAP_FAILED)
		munmap(ring->at, ring->size);
	if (ring->fd >= 0)
		close(ring->fd);
	free(ring);
}

static struct ring *ring_new(void)
{
	struct ring *ring = calloc(1, sizeof(*ring));
	size_t cq;

	if (!ring)
		return NULL;
	ring->fd = syscall(__NR_io_uring_setup, 4, &ring->p);
	if (ring->fd < 0)
		goto free;
	ring->size = ring->p.sq_off.array + ring->p.sq_entries * sizeof(uint32_t);
	cq = ring->p.cq_off.cqes + ring->p.cq_entries * sizeof(struct io_uring_cqe);
	if (cq > ring->size)
		ring->size = cq;
	ring->at = mmap(NULL, ring->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			ring->fd, IORING_OFF_SQ_RING);
	ring->sqes = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd,
			  IORING_OFF_SQES);
	if (ring->at != MAP_FAILED && ring->sqes != MAP_FAILED)
		return ring;
free:
	ring_free(ring);
	return NULL;
}

static uint32_t *ring_word(struct ring *ring, uint32_t offset)
{
	return (uint32_t *)(ring->at + offset);
}

/* One request, from its begin to its end: what came of it. */
static int ring_request(struct ring *ring, int opcode, size_t page, off_t at)
{
	uint32_t *tail = ring_word(ring, ring->p.sq_off.tail),
		 *head = ring_word(ring, ring->p.cq_off.head);
	uint32_t index = *tail & (ring->p.sq_entries - 1);
	struct io_uring_cqe *cqe;
	int ret;

	ring->sqes[index] = (struct io_uring_sqe){
		.opcode = opcode,
		.fd = disk_file,
		.off = at,
		.addr = (uintptr_t)ring->pages + page * PAGE,
		.len = PAGE,
	};
	ring_word(ring, ring->p.sq_off.array)[index] = index;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	do {
		ret = syscall(__NR_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0);
	} while (ret < 0 && soft(errno));
	if (ret != 1)
		found("io_uring_enter() returns %d", ret);
	while (__atomic_load_n(ring_word(ring, ring->p.cq_off.tail), __ATOMIC_ACQUIRE) == *head)
		syscall(__NR_io_uring_enter, ring->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
	cqe = (struct io_uring_cqe *)(ring->at + ring->p.cq_off.cqes) +
	      (*head & (ring->p.cq_entries - 1));
	ret = cqe->res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return ret;
}

static bool ring_do(struct buffer *b, int opcode, size_t page, off_t at)
{
	int ret = ring_request(b->ring, opcode, page, at), tries = 1000;

	while (ret < 0 && soft(-ret) && --tries) {
		usleep(1000);
		ret = ring_request(b->ring, opcode, page, at);
	}
	if (ret != (int)PAGE && !soft(-ret))
		found("io_uring: page %zu: %d", page, ret);
	return ret == (int)PAGE;
}

#define RING_AT		((off_t)(48 * PAGE))

/* The file's page goes to the buffer's. */
bool ring_write(struct buffer *b, size_t page)
{
	struct span one = { 0, 1 };

	write_content(b->c[page], bounce);
	while (!whole(pwrite(disk_file, bounce, PAGE, RING_AT), one, "direct write"))
		usleep(1000);
	return ring_do(b, IORING_OP_READ_FIXED, page, RING_AT);
}

bool ring_read(struct buffer *b, size_t page, void *to)
{
	struct span one = { 0, 1 };

	if (!ring_do(b, IORING_OP_WRITE_FIXED, page, RING_AT))
		return false;
	return whole(pread(disk_file, to, PAGE, RING_AT), one, "direct read");
}

void ring_close(struct buffer *b)
{
	if (one_in(2))
		syscall(__NR_io_uring_register, b->ring->fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
	ring_free(b->ring);
}

static bool register_buffer(struct ring *ring, struct region *r, struct span s)
{
	struct iovec iov = { r->at + s.first * PAGE, s.nr * PAGE };

	ring->pages = iov.iov_base;
	if (!syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS, &iov, 1))
		return true;
	if (!soft(errno) && !is_huge(r) && errno != EBUSY && r->kind != EXT4)
		found("a ring does not take %s", kind_names[r->kind]);
	return false;
}

void op_ring(void)
{
	struct region *r = any_region();
	struct buffer *b = free_buffer();
	struct ring *ring;
	struct span s;

	if (!r || !b || r->readonly || disk_file < 0)
		return;
	s = any_span(r);
	note("io_uring %s %zu+%zu", kind_names[r->kind], s.first, s.nr);
	ring = ring_new();
	if (!ring)
		return;
	if (!register_buffer(ring, r, s)) {
		ring_free(ring);
		return;
	}
	did("io_uring buffer");
	b->holder = RING;
	b->pin = -1;
	b->ring = ring;
	b->pages = s.nr;
	b->writes = true;
	b->shared = is_shared(r);
	b->c = share_contents(r->c + s.first, s.nr);
	write_buffer(b);
	check_all(false);
}
