// SPDX-License-Identifier: GPL-2.0
/*
 * What buffers of chunks cost, guest side: bench-heaps base|ours prints rows
 * "case,metric,value", in instructions.
 *
 * A buffer of 4800 x 64 KiB, and one of a frame of 95 MB: from the chunk heap, as
 * so many buffers of cma_heap, from the system heap, and by the algorithm of 2021,
 * through the test driver for CMA, which counts nothing but its calls of
 * cma_alloc(). That one does not clear what it gets; for the others, what clearing
 * costs is subtracted, and stands in a row of its own.
 *
 * The cases: a clean area; N percent of its pages in use by a process, pinned by a
 * pinpage system or not; N percent of its pages dirty, of a file that a process
 * never ceases to write, on a disk where that takes 10 ms. And what it costs to map a
 * buffer, now that it counts in RSS and PSS.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/dma-heap.h>

#include "../../../../lib/test_dmabuf_uapi.h"
#include "../../../../lib/test_pinpage_uapi.h"
#include "../../../../mm/cma_test.h"
#include "guest.h"

#define CHUNK		(64UL << 10)
#define CHUNK_ORDER	4
#define CHUNKS		4800
#define FRAME		((95000000 + CHUNK - 1) / CHUNK)
#define MAX_ALLOCS	5000
#define ATTEMPTS	3
#define DISK		"null_blk nr_devices=1 gb=1 bs=4096 memory_backed=1 irqmode=2 " \
			"completion_nsec=10000000"

static int dev;				/* /dev/cma_test */
static struct cma_test_info area;

/* What a way to allocate came to. */
struct result {
	uint64_t ns;
	bool ok;
};

/* So many bytes of a heap, in so many buffers. */
static struct result from_heap(const char *name, size_t size, unsigned int buffers)
{
	static int fds[MAX_ALLOCS];
	struct dma_heap_allocation_data arg;
	struct result result;
	unsigned int i;
	char path[64];
	uint64_t begin;
	int heap;

	snprintf(path, sizeof(path), "/dev/dma_heap/%s", name);
	heap = open(path, O_RDWR);
	if (heap < 0)
		die(path);
	begin = now();
	for (i = 0; i < buffers; i++) {
		memset(&arg, 0, sizeof(arg));
		arg.len = size;
		arg.fd_flags = O_RDWR;
		if (ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &arg))
			break;
		fds[i] = arg.fd;
	}
	result.ns = now() - begin;
	result.ok = i == buffers;
	while (i--)
		close(fds[i]);
	close(heap);
	return result;
}

static struct cma_test_alloc cma_one(uint64_t pages, int order, int flags)
{
	struct cma_test_alloc arg = {
		.how = CMA_TEST_ONE, .nr = pages, .order = order, .flags = flags,
	};

	if (ioctl(dev, CMA_TEST_ALLOC, &arg))
		die("cma_alloc()");
	return arg;
}

/*
 * What was posted in January 2021: blocks of a pageblock, or of a chunk if that is
 * more, without waiting until one can't be had like that, and from then on with
 * waiting; smaller blocks only for what is less than a block. On the base nobody
 * can ask not to wait.
 */
static struct result algorithm2021(unsigned int chunks, bool failfast)
{
	uint64_t left = chunks * (CHUNK / PAGE);
	int order = __builtin_ctzll(area.pageblock);
	int flags = failfast ? CMA_TEST_NORETRY : 0;
	struct result result = { .ok = true };
	struct cma_test_alloc got;

	while (left) {
		while (1ULL << order > left)
			order--;
		got = cma_one(1ULL << order, order, flags);
		result.ns += got.ns;
		if (got.got == 1) {
			left -= 1ULL << order;
		} else if (flags) {
			flags = 0;
		} else {
			result.ok = false;
			break;
		}
	}
	if (ioctl(dev, CMA_TEST_RELEASE, 0))
		die("release");
	return result;
}

static uint64_t zeroing(unsigned int chunks)
{
	struct test_dmabuf_clear clear = { .nr = chunks * (CHUNK / PAGE) };
	int fd = open("/dev/dmabuf_test", O_RDWR);

	if (fd < 0 && !system("modprobe test_dmabuf"))
		fd = open("/dev/dmabuf_test", O_RDWR);
	if (fd < 0 || ioctl(fd, TEST_DMABUF_CLEAR, &clear))
		die("/dev/dmabuf_test");
	close(fd);
	return clear.ns;
}

static void report(const char *name, const char *metric, struct result result, uint64_t zero)
{
	char failed[64];

	row(name, metric, (long long)(result.ns - zero));
	if (result.ok)
		return;
	snprintf(failed, sizeof(failed), "%s_failed", metric);
	row(name, failed, 1);
}

static void clean(const char *name, unsigned int chunks)
{
	uint64_t zero = zeroing(chunks);

	row(name, "zeroing", zero);
	report(name, "chunk", from_heap("reserved-64K-chunks", chunks * CHUNK, 1), zero);
	report(name, "cma_heap_loop", from_heap("reserved", CHUNK, chunks), zero);
	report(name, "system", from_heap("system", chunks * CHUNK, 1), zero);
	report(name, "algorithm2021_patched", algorithm2021(chunks, true), 0);
}

/* In the way */

static char *map_pages(size_t pages, int file)
{
	char *at = mmap(NULL, (pages + 1) * PAGE, PROT_READ | PROT_WRITE,
			file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, file, 0);

	if (at == MAP_FAILED)
		die("mmap");
	madvise(at, (pages + 1) * PAGE, MADV_NOHUGEPAGE);
	memset(at, 1, pages * PAGE);
	return at;
}

/* The pages stand in the area, as far apart as can be. */
static void put_pages(const char *at, size_t pages)
{
	const struct timespec nap = { 0, 1000000 };
	struct cma_test_place place;
	int tries = 100;
	size_t i;

	for (i = 0; i < pages; i++) {
		place.addr = (uintptr_t)at + i * PAGE;
		place.pfn = area.base_pfn + i * area.count / pages;
		/* Reclaim or writeback may be at it. */
		while (ioctl(dev, CMA_TEST_PLACE, &place)) {
			if (!tries--)
				die("place");
			nanosleep(&nap, NULL);
		}
	}
}

static int pin_registered(char *at, size_t pages)
{
	struct test_pinpage_pin pin = {
		.kind = TEST_PINPAGE_USER, .addr = (uintptr_t)at,
		.len = pages * PAGE, .flags = TEST_PINPAGE_WRITE, .stride = 1,
	};
	int fd = open("/dev/pinpage_test", O_RDWR);

	if (fd < 0 && !system("modprobe test_pinpage"))
		fd = open("/dev/pinpage_test", O_RDWR);
	if (fd < 0 || ioctl(fd, TEST_PINPAGE_PIN, &pin))
		die("/dev/pinpage_test");
	return fd;
}

static void pinned(unsigned int percent, uint64_t zero)
{
	size_t pages = area.count * percent / 100;
	char *at = map_pages(pages, -1), name[64];
	struct result result;
	int i, fd, ok = 0;
	uint64_t most = 0;

	snprintf(name, sizeof(name), "pinned=%u%%/4800x64K", percent);
	put_pages(at, pages);
	report(name, "chunk_unpinned",
	       from_heap("reserved-64K-chunks", CHUNKS * CHUNK, 1), zero);
	fd = pin_registered(at, pages);
	for (i = 0; i < ATTEMPTS; i++) {
		put_pages(at, pages);
		result = from_heap("reserved-64K-chunks", CHUNKS * CHUNK, 1);
		ok += result.ok;
		if (result.ns > most)
			most = result.ns;
	}
	/* The one that cost most. */
	row(name, "chunk", most - zero);
	row(name, "ok", ok);
	row(name, "attempts", ATTEMPTS);
	put_pages(at, pages);
	report(name, "cma_heap_loop", from_heap("reserved", CHUNK, CHUNKS), zero);
	put_pages(at, pages);
	report(name, "algorithm2021_patched", algorithm2021(CHUNKS, true), 0);
	report(name, "system", from_heap("system", CHUNKS * CHUNK, 1), zero);
	close(fd);
	munmap(at, (pages + 1) * PAGE);
}

static void mount_disk(void)
{
	mkdir("/tmp/disk", 0700);
	if (system("modprobe " DISK) ||
	    system("mke2fs -b 4096 /dev/nullb0 131072 >/dev/null 2>&1") ||
	    mount("/dev/nullb0", "/tmp/disk", "ext4", 0, NULL))
		die("the disk");
}

static pid_t start_writer(char *at, size_t pages, int file)
{
	const struct timespec nap = { 0, 1000000 };
	struct sched_param param = {};
	pid_t pid;
	size_t i;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	sched_setscheduler(0, SCHED_IDLE, &param);
	for (;;) {
		for (i = 0; i < pages; i++)
			at[i * PAGE]++;
		sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WRITE);
		nanosleep(&nap, NULL);
	}
}

static void dirty(unsigned int percent, uint64_t zero)
{
	const struct timespec nap = { 0, 100000000 };
	size_t pages = area.count * percent / 100;
	char *at, name[64];
	struct result result;
	int file, i, ok = 0;
	uint64_t most = 0;
	pid_t writer;

	snprintf(name, sizeof(name), "dirty=%u%%/4800x64K", percent);
	file = open("/tmp/disk/file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (file < 0 || ftruncate(file, (pages + 1) * PAGE))
		die("the file");
	at = map_pages(pages, file);
	for (i = 0; i < ATTEMPTS + 2; i++) {
		if (fsync(file))
			die("fsync");
		put_pages(at, pages);
		writer = start_writer(at, pages, file);
		nanosleep(&nap, NULL);
		if (i < ATTEMPTS)
			result = from_heap("reserved-64K-chunks", CHUNKS * CHUNK, 1);
		else if (i == ATTEMPTS)
			result = from_heap("reserved", CHUNK, CHUNKS);
		else
			result = algorithm2021(CHUNKS, true);
		kill(writer, SIGKILL);
		waitpid(writer, NULL, 0);
		if (i < ATTEMPTS) {
			ok += result.ok;
			if (result.ns > most)
				most = result.ns;
		} else if (i == ATTEMPTS) {
			report(name, "cma_heap_loop", result, zero);
		} else {
			report(name, "algorithm2021_patched", result, 0);
		}
	}
	row(name, "chunk", most - zero);
	row(name, "ok", ok);
	row(name, "attempts", ATTEMPTS);
	report(name, "system", from_heap("system", CHUNKS * CHUNK, 1), zero);
	munmap(at, (pages + 1) * PAGE);
	close(file);
	unlink("/tmp/disk/file");
}

/*
 * What it costs a process to map a buffer of the system heap, of 64 MiB, which
 * counts for it or, on the base, does not.
 */
static void mapping(bool counted)
{
	static const char name[] = "map/64M";
	size_t size = 64UL << 20;
	struct dma_heap_allocation_data arg = { .len = size, .fd_flags = O_RDWR };
	int heap = open("/dev/dma_heap/system", O_RDWR);
	uint64_t begin;
	pid_t pid;
	char *at;

	if (heap < 0 || ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &arg))
		die("/dev/dma_heap/system");
	/* The second time, what is allocated once is there. */
	munmap(mmap(NULL, size, PROT_READ, MAP_SHARED, arg.fd, 0), size);
	begin = now();
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, arg.fd, 0);
	if (at == MAP_FAILED)
		die("mmap");
	row(name, counted ? "mmap" : "base_mmap", now() - begin);
	fflush(stdout);
	begin = now();
	pid = fork();
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	row(name, counted ? "fork" : "base_fork", now() - begin);
	begin = now();
	munmap(at, size);
	row(name, counted ? "munmap" : "base_munmap", now() - begin);
	close(arg.fd);
	close(heap);
}

static void ours(void)
{
	static const unsigned int percents[] = { 1, 10, 30 };
	struct rlimit files = { MAX_ALLOCS + 100, MAX_ALLOCS + 100 };
	uint64_t zero;
	unsigned int i;

	if (setrlimit(RLIMIT_NOFILE, &files))
		die("file descriptors");
	mapping(true);
	clean("clean/4800x64K", CHUNKS);
	clean("clean/frame95MB", FRAME);
	zero = zeroing(CHUNKS);
	for (i = 0; i < sizeof(percents) / sizeof(*percents); i++)
		pinned(percents[i], zero);
	mount_disk();
	for (i = 0; i < sizeof(percents) / sizeof(*percents); i++)
		dirty(percents[i], zero);
}

static void base(void)
{
	mapping(false);
	report("clean/4800x64K", "algorithm2021", algorithm2021(CHUNKS, false), 0);
	report("clean/frame95MB", "algorithm2021", algorithm2021(FRAME, false), 0);
}

int main(int argc, char **argv)
{
	if (argc != 2 || (strcmp(argv[1], "base") && strcmp(argv[1], "ours"))) {
		fprintf(stderr, "usage: bench-heaps base|ours\n");
		return 2;
	}
	dev = open("/dev/cma_test", O_RDWR | O_CLOEXEC);
	if (dev < 0 || ioctl(dev, CMA_TEST_INFO, &area))
		die("/dev/cma_test");
	if (strcmp(argv[1], "base"))
		ours();
	else
		base();
	return 0;
}
