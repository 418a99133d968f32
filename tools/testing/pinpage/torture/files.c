// SPDX-License-Identifier: GPL-2.0
/* Files lose pages: a device that has them keeps them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "torture.h"

/* Of the device's direct I/O. */
int open_disk_file(void)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/mnt/direct.%d", getpid());
	fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_DIRECT, 0600);
	if (fd < 0)
		return fd;
	unlink(path);
	if (!ftruncate(fd, 64 * PAGE))
		return fd;
	close(fd);
	return -1;
}

void op_truncate(void)
{
	struct region *r = any_region();
	struct span s;

	if (!r || !is_file(r))
		return;
	s.first = r->step * below(r->pages / r->step);
	s.nr = r->pages - s.first;
	note("truncate %s to %zu", kind_names[r->kind], s.first);
	if (ftruncate(r->fd, s.first * PAGE)) {
		if (!soft(errno))
			found("ftruncate() of %s fails", kind_names[r->kind]);
		forget(r);
		return;
	}
	if (!faults(r->at + s.first * PAGE, false))
		found("no fault beyond the end of %s", kind_names[r->kind]);
	if (ftruncate(r->fd, r->pages * PAGE)) {
		if (!soft(errno))
			found("ftruncate() of %s fails", kind_names[r->kind]);
		forget(r);
		return;
	}
	zero_span(r, s);
	did("truncate");
	if (check_span(r, s))
		check_all(false);
}

/* A private mapping keeps what is its own; and the file has nothing else. */
void op_punch(void)
{
	struct region *r = any_region();
	bool advise = one_in(3);
	struct span s;
	int err;

	if (!r)
		return;
	s = any_span(r);
	if (advise && (!is_shared(r) || is_huge(r) || r->readonly))
		return;
	if (!advise && !is_file(r))
		return;
	note("%s %s %zu+%zu", advise ? "remove" : "punch", kind_names[r->kind], s.first, s.nr);
	if (advise) {
		/* Not of what is locked. */
		if (munlock(r->at, r->pages * PAGE))
			return;
		err = madvise(r->at + s.first * PAGE, s.nr * PAGE, MADV_REMOVE);
	} else {
		err = fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, s.first * PAGE,
				s.nr * PAGE);
	}
	if (err) {
		if (!soft(errno))
			found("a hole in %s fails", kind_names[r->kind]);
		forget(r);
		return;
	}
	if (is_shared(r))
		zero_span(r, s);
	did(advise ? "madvise remove" : "punch");
	if (check_span(r, s))
		check_all(false);
}
