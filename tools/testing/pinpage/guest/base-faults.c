// SPDX-License-Identifier: GPL-2.0
/*
 * Faults of the base that are in the way of ours, each as a test: they fail on 6.12 as it
 * is, and pass once the first patches of the series are in. KTAP on stdout.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/io_uring.h>
#include <linux/udmabuf.h>
#include <linux/userfaultfd.h>

#include "guest.h"

#define PAGES	16
#define HUGE	(2UL << 20)

static char *map(size_t size, int fd, int flags)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static int memfd(size_t size, unsigned int flags)
{
	int fd = memfd_create("faults", MFD_ALLOW_SEALING | flags);

	if (fd < 0 || ftruncate(fd, size) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		die("memfd");
	return fd;
}

static int udmabuf(int fd, size_t size)
{
	struct udmabuf_create create = { .memfd = fd, .size = size };
	int dev = open("/dev/udmabuf", O_RDWR), buf;

	if (dev < 0)
		die("/dev/udmabuf");
	buf = ioctl(dev, UDMABUF_CREATE, &create);
	close(dev);
	return buf;
}

/* A ring of one entry, and what it takes to read into a registered buffer. */
struct ring {
	int fd;
	char *rings;
	struct io_uring_params p;
	struct io_uring_sqe *sqe;
};

static void ring_init(struct ring *ring)
{
	memset(ring, 0, sizeof(*ring));
	ring->fd = syscall(SYS_io_uring_setup, 1, &ring->p);
	if (ring->fd < 0)
		die("io_uring_setup");
	ring->rings = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	ring->sqe = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQES);
	if (ring->rings == MAP_FAILED || ring->sqe == MAP_FAILED)
		die("mmap of a ring");
}

static void ring_register(struct ring *ring, char *p, size_t size)
{
	struct iovec iov = { p, size };

	if (syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS, &iov, 1))
		die("IORING_REGISTER_BUFFERS");
}

static int ring_read(struct ring *ring, int fd, char *p, size_t size)
{
	uint32_t *head = (uint32_t *)(ring->rings + ring->p.cq_off.head);
	struct io_uring_cqe *cqe = (void *)(ring->rings + ring->p.cq_off.cqes);
	uint32_t mask = *(uint32_t *)(ring->rings + ring->p.cq_off.ring_mask);
	uint32_t *tail = (uint32_t *)(ring->rings + ring->p.sq_off.tail);
	int res;

	*ring->sqe = (struct io_uring_sqe) {
		.opcode = IORING_OP_READ_FIXED, .fd = fd, .addr = (uintptr_t)p, .len = size,
	};
	*(uint32_t *)(ring->rings + ring->p.sq_off.array) = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		die("io_uring_enter");
	res = cqe[*head & mask].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return res;
}

/* What the page cache has after reclaim, against what was written: pages that are wrong. */
static int lost(int fd, const char *want)
{
	char *p = map(PAGES * PAGE, fd, MAP_SHARED);
	int i, wrong = 0;

	if (madvise(p, PAGES * PAGE, MADV_POPULATE_READ) || madvise(p, PAGES * PAGE, MADV_PAGEOUT))
		die("madvise");
	for (i = 0; i < PAGES; i++)
		wrong += !!memcmp(p + i * PAGE, want + i * PAGE, PAGE);
	munmap(p, PAGES * PAGE);
	printf("# %d of %d pages are lost\n", wrong, PAGES);
	return wrong;
}

static void fill(char *p)
{
	size_t i;

	for (i = 0; i < PAGES * PAGE; i++)
		p[i] = 'a' + i % 25;
}

/* By a buffer whose file nobody has touched. */
static bool udmabuf_writes(void)
{
	char want[PAGES * PAGE], *p;
	int fd = memfd(sizeof(want), 0), buf = udmabuf(fd, sizeof(want));

	if (buf < 0)
		die("UDMABUF_CREATE");
	fill(want);
	p = map(sizeof(want), buf, MAP_SHARED);
	memcpy(p, want, sizeof(want));
	munmap(p, sizeof(want));
	close(buf);
	return !lost(fd, want);
}

/* Into pages that are mapped for writing, and clean. */
static bool registered_writes(void)
{
	char want[PAGES * PAGE], *p;
	int fd = memfd(sizeof(want), 0), from = memfd(sizeof(want), 0);
	struct ring ring;

	fill(want);
	if (pwrite(from, want, sizeof(want), 0) != sizeof(want))
		die("pwrite");
	p = map(sizeof(want), fd, MAP_SHARED);
	if (madvise(p, sizeof(want), MADV_POPULATE_READ))
		die("madvise");
	ring_init(&ring);
	ring_register(&ring, p, sizeof(want));
	if (ring_read(&ring, from, p, sizeof(want)) != sizeof(want))
		die("READ_FIXED");
	if (syscall(SYS_io_uring_register, ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0))
		die("IORING_UNREGISTER_BUFFERS");
	munmap(p, sizeof(want));
	return !lost(fd, want);
}

static long long hugetlb(const char *name)
{
	char line[256];
	long long n = -1;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			n = strtoull(line + strlen(name) + 1, NULL, 10);
	if (f)
		fclose(f);
	return n;
}

/* A huge page for a file without a reservation comes out of somebody's, or below zero. */
static bool untouched_hugetlb(void)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "w");
	long long before, during, after, total;
	int fd, buf;

	if (!f || fputs("4", f) < 0 || fclose(f))
		die("nr_hugepages");
	total = hugetlb("HugePages_Total:");
	before = hugetlb("HugePages_Rsvd:");
	fd = memfd(HUGE, MFD_HUGETLB);
	buf = udmabuf(fd, HUGE);
	during = hugetlb("HugePages_Rsvd:");
	close(buf);
	close(fd);
	after = hugetlb("HugePages_Rsvd:");
	printf("# %lld huge pages; reserved: %lld, %lld with the buffer (%s), %lld after it\n", total, before, during,
	       buf < 0 ? "which failed" : "made", after);
	return total && buf >= 0 && during == before && after == before && hugetlb("HugePages_Free:") == total;
}

static int move_page(char *dst, char *src)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	struct uffdio_register reg = { .range = { (uintptr_t)dst, HUGE }, .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_move move = { .dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = PAGE };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		die("userfaultfd");
	return ioctl(fd, UFFDIO_MOVE, &move) ? errno : 0;
}

/* One page of a huge one that is mapped by PTEs and pinned: refused, at once or never. */
static int move_pinned_page(void)
{
	char *area = map(4 * HUGE, -1, MAP_PRIVATE), *src, *dst;
	struct ring ring;
	int err;

	src = (char *)(((uintptr_t)area + HUGE - 1) & ~(HUGE - 1));
	dst = src + HUGE;
	if (madvise(src, HUGE, MADV_HUGEPAGE))
		die("madvise");
	memset(src, 1, HUGE);
	/* No entry for all of it any more, but one folio still. */
	if (mprotect(src + PAGE, PAGE, PROT_READ) || mprotect(src + PAGE, PAGE, PROT_READ | PROT_WRITE))
		die("mprotect");
	ring_init(&ring);
	ring_register(&ring, src, HUGE);
	err = move_page(dst, src);
	printf("# UFFDIO_MOVE: %s\n", strerror(err));
	return err == EBUSY ? 0 : 1;
}

static bool move_pinned(void)
{
	int status, i;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		exit(move_pinned_page());
	/* It has a minute, for a system call. */
	for (i = 0; i < 600; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) && !WEXITSTATUS(status);
		usleep(100000);
	}
	printf("# UFFDIO_MOVE spins\n");
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return false;
}

static const struct {
	const char *name;
	bool (*run)(void);
} tests[] = {
	{ "what is written to a udmabuf outlives reclaim", udmabuf_writes },
	{ "what is read into a registered buffer outlives reclaim", registered_writes },
	{ "UFFDIO_MOVE refuses a pinned page of a large folio", move_pinned },
	/* The last one: on a debug kernel it ends in an oops. */
	{ "a udmabuf of an untouched hugetlb memfd reserves its pages", untouched_hugetlb },
};

int main(void)
{
	unsigned int i, n = sizeof(tests) / sizeof(tests[0]), failed = 0;
	bool ok;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("KTAP version 1\n1..%u\n", n);
	for (i = 0; i < n; i++) {
		ok = tests[i].run();
		failed += !ok;
		printf("%s %u %s\n", ok ? "ok" : "not ok", i + 1, tests[i].name);
	}
	return !!failed;
}
