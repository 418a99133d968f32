// SPDX-License-Identifier: GPL-2.0
/* Faults that userspace resolves: by a thread, while the CPU or a pin wants the page. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "torture.h"

struct watch {
	int fd;
	int pipe[2];
	struct region *r;
	struct span s;
	uint64_t mode;
	pthread_t thread;
	uint64_t resolved;
};

static struct uffdio_range range_of(const struct watch *w)
{
	return (struct uffdio_range){ (uintptr_t)w->r->at + w->s.first * PAGE, w->s.nr * PAGE };
}

/* EEXIST: it has been; EAGAIN: the memory is changing. */
static void resolve(struct watch *w, uint64_t at)
{
	static __thread char data[PAGE] __attribute__((aligned(4096)));
	size_t page = (at - (uintptr_t)w->r->at) / PAGE;
	int ret;

	at &= ~(uint64_t)(PAGE - 1);
	do {
		if (w->mode == UFFDIO_REGISTER_MODE_MISSING) {
			struct uffdio_copy copy = { .dst = at,
						    .src = (uintptr_t)data,
						    .len = PAGE };

			write_content(w->r->c[page], data);
			ret = ioctl(w->fd, UFFDIO_COPY, &copy);
		} else if (w->mode == UFFDIO_REGISTER_MODE_MINOR) {
			struct uffdio_continue more = { .range = { at, PAGE } };

			ret = ioctl(w->fd, UFFDIO_CONTINUE, &more);
		} else {
			struct uffdio_writeprotect off = { .range = { at, PAGE } };

			ret = ioctl(w->fd, UFFDIO_WRITEPROTECT, &off);
		}
	} while (ret && (errno == EAGAIN || errno == ENOMEM));
	if (ret && errno != EEXIST && errno != EFAULT)
		found("userfaultfd has nothing for page %zu of %s", page, kind_names[w->r->kind]);
	w->resolved++;
	/* Who faulted may have to be told, where the page was there. */
	ioctl(w->fd, UFFDIO_WAKE, &(struct uffdio_range){ at, PAGE });
}

static void *watch_fn(void *arg)
{
	struct watch *w = arg;
	struct pollfd fds[2] = { { .fd = w->fd, .events = POLLIN },
				 { .fd = w->pipe[0], .events = POLLIN } };
	struct uffd_msg msg;

	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents)
			return NULL;
		while (read(w->fd, &msg, sizeof(msg)) == sizeof(msg))
			if (msg.event == UFFD_EVENT_PAGEFAULT)
				resolve(w, msg.arg.pagefault.address);
	}
}

static int open_uffd(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return fd;
	if (!ioctl(fd, UFFDIO_API, &api))
		return fd;
	close(fd);
	return -1;
}

static bool begin_watch(struct watch *w, uint64_t features)
{
	struct uffdio_register reg;

	w->fd = open_uffd(features);
	if (w->fd < 0)
		return false;
	reg = (struct uffdio_register){ .range = range_of(w), .mode = w->mode };
	if (ioctl(w->fd, UFFDIO_REGISTER, &reg)) {
		if (!soft(errno))
			found("userfaultfd does not take %s", kind_names[w->r->kind]);
		goto close;
	}
	if (pipe2(w->pipe, O_CLOEXEC))
		goto close;
	if (!pthread_create(&w->thread, NULL, watch_fn, w))
		return true;
	close(w->pipe[0]);
	close(w->pipe[1]);
close:
	close(w->fd);
	return false;
}

/* Closing it lets go of the range, and of who waits. */
static void end_watch(struct watch *w, const char *what)
{
	if (write(w->pipe[1], "", 1) != 1)
		found("the pipe of a thread fails");
	pthread_join(w->thread, NULL);
	close(w->pipe[0]);
	close(w->pipe[1]);
	close(w->fd);
	did_many(what, w->resolved);
}

static bool choose(struct watch *w, bool shared)
{
	*w = (struct watch){ .r = any_region() };
	if (!w->r || w->r->readonly ||
	    !(is_anon(w->r) || (shared && (w->r->kind == SHMEM || w->r->kind == MEMFD))))
		return false;
	w->s = any_span(w->r);
	if (w->s.nr > 32)
		w->s.nr = 32;
	return true;
}

/* Nothing is there until the thread has put something there. */
void op_uffd_missing(void)
{
	struct watch w;
	size_t i;

	if (!choose(&w, true))
		return;
	note("uffd missing %s %zu+%zu", kind_names[w.r->kind], w.s.first, w.s.nr);
	w.mode = UFFDIO_REGISTER_MODE_MISSING;
	if (munlock(w.r->at, w.r->pages * PAGE) || !begin_watch(&w, 0))
		return;
	/* What faults from here on is new; nobody looks before it is known what. */
	if (madvise(w.r->at + w.s.first * PAGE, w.s.nr * PAGE,
		    is_anon(w.r) ? MADV_DONTNEED : MADV_REMOVE)) {
		if (!soft(errno))
			found("no hole for userfaultfd");
		end_watch(&w, "userfaultfd missing");
		forget(w.r);
		return;
	}
	zero_span(w.r, w.s);
	for (i = w.s.first; i < w.s.first + w.s.nr; i++)
		refresh(w.r->c[i]);
	pin_by_mapping = true;
	if (one_in(2))
		try_pin(w.r);
	pin_by_mapping = false;
	check_span(w.r, w.s);
	end_watch(&w, "userfaultfd missing");
	check_all(false);
}

void op_uffd_wp(void)
{
	struct uffdio_writeprotect on = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	struct watch w;
	int i;

	if (!choose(&w, true))
		return;
	note("uffd wp %s %zu+%zu", kind_names[w.r->kind], w.s.first, w.s.nr);
	w.mode = UFFDIO_REGISTER_MODE_WP;
	if (!begin_watch(&w, UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM))
		return;
	on.range = range_of(&w);
	for (i = 0; i < 2; i++) {
		if (ioctl(w.fd, UFFDIO_WRITEPROTECT, &on))
			continue;
		if (one_in(2))
			try_pin(w.r);
		write_span(w.r, w.s);
		check_all(false);
	}
	end_watch(&w, "userfaultfd wp");
	check_all(false);
}

/* The page is in the file, and not in the mapping. */
void op_uffd_minor(void)
{
	struct watch w;

	if (!choose(&w, true) || is_anon(w.r))
		return;
	note("uffd minor %s %zu+%zu", kind_names[w.r->kind], w.s.first, w.s.nr);
	w.mode = UFFDIO_REGISTER_MODE_MINOR;
	if (munlock(w.r->at, w.r->pages * PAGE) || !begin_watch(&w, UFFD_FEATURE_MINOR_SHMEM))
		return;
	madvise(w.r->at + w.s.first * PAGE, w.s.nr * PAGE, MADV_DONTNEED);
	if (one_in(2))
		try_pin(w.r);
	check_span(w.r, w.s);
	end_watch(&w, "userfaultfd minor");
	check_all(false);
}

/* Where a page went, it is the one that it was; a pinned one stays. */
static size_t move_pages_to(int fd, struct watch *w, char *to)
{
	struct uffdio_move move;
	size_t i, page, moved = 0;

	for (i = 0; i < w->s.nr; i++) {
		page = w->s.first + i;
		move = (struct uffdio_move){
			.dst = (uintptr_t)to + i * PAGE,
			.src = (uintptr_t)w->r->at + page * PAGE,
			.len = PAGE,
		};
		if (ioctl(fd, UFFDIO_MOVE, &move))
			continue;
		if (in_buffer(w->r->c[page]))
			found("userfaultfd moved page %zu, which is pinned", page);
		expect_page(w->r->c[page], to + i * PAGE, "moved by userfaultfd", page);
		zero_span(w->r, (struct span){ page, 1 });
		moved++;
	}
	return moved;
}

void op_uffd_move(void)
{
	struct watch w;
	struct uffdio_register reg;
	char *to;
	int fd;

	if (!choose(&w, false))
		return;
	note("uffd move %s %zu+%zu", kind_names[w.r->kind], w.s.first, w.s.nr);
	to = mmap(NULL, w.s.nr * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (to == MAP_FAILED || munlock(w.r->at, w.r->pages * PAGE))
		goto unmap;
	fd = open_uffd(UFFD_FEATURE_MOVE);
	if (fd < 0)
		goto unmap;
	reg = (struct uffdio_register){
		.range = { (uintptr_t)to, w.s.nr * PAGE }, .mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	if (!ioctl(fd, UFFDIO_REGISTER, &reg))
		did_many("userfaultfd move", move_pages_to(fd, &w, to));
	close(fd);
unmap:
	if (to != MAP_FAILED)
		munmap(to, w.s.nr * PAGE);
	check_all(false);
}
