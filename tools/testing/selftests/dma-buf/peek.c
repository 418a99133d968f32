// SPDX-License-Identifier: GPL-2.0
/*
 * A bad importer: each way of looking at the struct pages of an imported buffer
 * ends in a report that names the importer and the buffer, in the death of who
 * did it and of nothing else.
 *
 * Each way is tried in a process of its own, which the oops ends. This is not
 * among the tests that run by themselves, since the kernel is tainted after it,
 * and lockdep off.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/dma-buf.h>

#include "../kselftest.h"
#include "dmabuf_util.h"

#define SEGMENTS	2
#define SEGMENT_PAGES	4
#define PATIENCE	60	/* seconds */

#define SG_PAGE		"dereferenced sg_page()"
#define ITERATOR	"dereferenced a page of a page iterator"
#define CONTENT		"accessed the content by kmap() or page_address()"
#define PASSED_ON	"passed sg_page() on"

/* What ends a way; 1 for death. */
#define DIES	1
/* Whatever the kernel is built and booted with decides. */
#define EITHER	2

struct way {
	const char *name;
	int way;
	int end;
	const char *what;	/* NULL: no report */
};

static const struct way ways[] = {
	{ "flags", TEST_DMABUF_FLAGS, DIES, SG_PAGE },
	{ "get_page", TEST_DMABUF_GET_PAGE, DIES, SG_PAGE },
	{ "for_each_sgtable_page", TEST_DMABUF_ITERATOR, DIES, ITERATOR },
	{ "memcpy_from_page", TEST_DMABUF_KMAP, DIES, CONTENT },
	{ "kmap_local_page", TEST_DMABUF_KMAP_LOCAL, DIES, CONTENT },
	{ "sg_virt", TEST_DMABUF_SG_VIRT, DIES, CONTENT },
	{ "sg_miter_next", TEST_DMABUF_MITER, DIES, CONTENT },
	{ "sg_copy_to_buffer", TEST_DMABUF_COPY_FROM, DIES, CONTENT },
	{ "sg_copy_from_buffer", TEST_DMABUF_COPY_TO, DIES, CONTENT },
	{ "sg_phys", TEST_DMABUF_SG_PHYS, DIES, CONTENT },
	{ "page_to_pfn", TEST_DMABUF_PFN, DIES, SG_PAGE },
	{ "flags after unmap", TEST_DMABUF_STALE, DIES, SG_PAGE },
	/* Dies under KASAN, which looks at the source first. */
	{ "copy_to_user", TEST_DMABUF_TO_USER, EITHER, CONTENT },
	/* Refused, and reported nevertheless. */
	{ "vmap", TEST_DMABUF_VMAP, -ENOMEM, PASSED_ON },
#ifdef __x86_64__
	{ "memremap", TEST_DMABUF_MEMREMAP, -ENOMEM, PASSED_ON },
#else
	{ "memremap", TEST_DMABUF_MEMREMAP, EITHER, NULL },
#endif
	/* Not an access of the importer, and so without a report. */
	{ "copy_from_kernel_nofault", TEST_DMABUF_NOFAULT, -EFAULT, NULL },
	{ "pfn_valid", TEST_DMABUF_PFN_VALID, -ENOENT, NULL },
};

static int dev, kmsg;

static void drain_kmsg(void)
{
	char record[8192];

	while (read(kmsg, record, sizeof(record)) > 0 || errno == EPIPE)
		;
}

/*
 * Wait until the kernel has said that the importer did @what to the buffer @fd,
 * at most @seconds. With @what NULL: has it said anything of importers?
 */
static bool reported(const char *what, int fd, const char *exporter, const char *state,
		     int seconds)
{
	time_t end = time(NULL) + seconds;
	char record[8192], who[192], whose[192];
	bool named = false;
	struct stat st;
	ssize_t len;

	fstat(fd, &st);
	snprintf(who, sizeof(who), "dma-buf: importer dmabuf_test.0 (driver dmabuf_test) %s, page ",
		 what ?: "");
	snprintf(whose, sizeof(whose),
		 "dma-buf: the buffer is of exporter %s, inode %lu, size %lu; it %s", exporter,
		 (unsigned long)st.st_ino, (unsigned long)st.st_size, state);
	do {
		len = read(kmsg, record, sizeof(record) - 1);
		if (len <= 0) {
			if (len < 0 && errno == EAGAIN)
				usleep(20000);
			continue;
		}
		record[len] = 0;
		if (!what && strstr(record, "dma-buf: importer"))
			return true;
		named |= !!strstr(record, who);
		if (what && named && strstr(record, whose))
			return true;
	} while (time(NULL) < end);
	return false;
}

/* In the child: dies, or says how it went. */
static void misbehave(int map, const struct way *way)
{
	struct test_dmabuf_peek arg = { .map = map, .way = way->way };
	char byte = 0;

	arg.data = (uintptr_t)&byte;
	_exit(ioctl(dev, TEST_DMABUF_PEEK, &arg) < 0 ? errno : 0);
}

/* How a child ended: DIES, or a negative errno. */
static int end_of(pid_t pid)
{
	time_t end = time(NULL) + PATIENCE;
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (time(NULL) > end)
			return -ETIME;
		usleep(10000);
	}
	return WIFEXITED(status) ? -WEXITSTATUS(status) : DIES;
}

/* All of this process that must not hang on to what others wait for. */
static pid_t fork_quiet(void)
{
	pid_t pid = fork();

	if (!pid) {
		close(STDIN_FILENO);
		close(STDOUT_FILENO);
		close(STDERR_FILENO);
	}
	return pid;
}

static void try_way(const struct way *way, int fd, const char *exporter)
{
	const char *state = way->way == TEST_DMABUF_STALE ? "has been unmapped" : "is mapped";
	int attach = buf_attach(dev, fd, 0, 0), map, end;
	bool said, good;
	pid_t pid;

	map = buf_map(dev, attach, DMA_BIDIRECTIONAL);
	drain_kmsg();
	pid = fork_quiet();
	if (!pid)
		misbehave(map, way);
	end = end_of(pid);
	said = reported(way->what, fd, exporter, state, way->what ? 5 : 1);
	good = said == !!way->what && (end == way->end || way->end == EITHER);
	if (way->way != TEST_DMABUF_STALE)
		good &= !buf_unmap(dev, map);
	good &= !buf_detach(dev, attach);
	ksft_test_result(good, "%s of a buffer of %s: %s, %s\n", way->name, exporter,
			 said ? "reported" : "no report",
			 end == DIES ? "killed" : strerror(-end));
}

/*
 * Only what looks into the memory sees it: a bounce buffer does, and dma-debug.
 * Without them the device gets an address that is not there.
 */
static void try_dma_map(int fd)
{
	static const struct way dma_map = { "dma_map_page", TEST_DMABUF_DMA_MAP };
	char disabled[8];
	int attach = buf_attach(dev, fd, 0, 0), map, end;
	bool bounces = dma_bounces(), watched, good;
	pid_t pid;

	read_text("/sys/kernel/debug/dma-api/disabled", disabled, sizeof(disabled));
	watched = *disabled == 'N';
	map = buf_map(dev, attach, DMA_BIDIRECTIONAL);
	drain_kmsg();
	pid = fork_quiet();
	if (!pid)
		misbehave(map, &dma_map);
	end = end_of(pid);
	if (bounces)
		good = end == DIES && reported(CONTENT, fd, "test_dmabuf", "is mapped", 5);
	else if (watched)
		good = !end && reported(PASSED_ON, fd, "test_dmabuf", "is mapped", 5);
	else
		good = !end && !reported(NULL, fd, "", "", 1);
	buf_unmap(dev, map);
	buf_detach(dev, attach);
	ksft_test_result(good, "dma_map_page: %s\n", bounces ? "its bounce buffer is reported" :
			 watched ? "dma-debug reports" : "unseen, as documented");
}

/* The page mapped to userspace, by its struct page, which is seen at once. */
static void try_vm_insert_page(int fd)
{
	int attach = buf_attach(dev, fd, 0, 0);
	int map = buf_map(dev, attach, DMA_BIDIRECTIONAL);
	pid_t pid;
	bool good;

	drain_kmsg();
	pid = fork_quiet();
	if (!pid) {
		mmap(NULL, page_size(), PROT_READ, MAP_SHARED, dev, 2UL * map * page_size());
		_exit(0);
	}
	/* It died with its own mmap_lock, so it never ends. */
	good = reported(SG_PAGE, fd, "test_dmabuf", "is mapped", PATIENCE);
	ksft_test_result(good, "vm_insert_page: reported\n");
}

/*
 * And by its page frame number, which nobody looks at. A processor that knows of no
 * such memory finds the page table bad, and x86 says whose page it is. Others read
 * what a bus gives where nothing is; it is not the buffer.
 */
static void try_remap_pfn_range(int fd, const char *cpu)
{
	int attach = buf_attach(dev, fd, 0, 0);
	int map = buf_map(dev, attach, DMA_BIDIRECTIONAL), end;
	bool said;
	pid_t pid;

	drain_kmsg();
	pid = fork_quiet();
	if (!pid) {
		char *at = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, dev,
				(2UL * map + TEST_DMABUF_MMAP_PFN) * page_size());

		if (at == MAP_FAILED)
			_exit(errno);
		memset(at, 0xba, 64);
		_exit(!memcmp(at, cpu, 64) ? EEXIST : 0);
	}
	end = end_of(pid);
	said = reported(PASSED_ON, fd, "test_dmabuf", "is mapped", 1);
	buf_unmap(dev, map);
	buf_detach(dev, attach);
#ifdef __x86_64__
	ksft_test_result(said == (end == DIES) && end != -EEXIST && end != -ETIME,
			 "remap_pfn_range: %s\n", said ? "reported" : "unseen, as documented");
#else
	ksft_test_result(!said && end != -EEXIST && end != -ETIME,
			 "remap_pfn_range: unseen, as documented\n");
#endif
}

static void try_exporters(void)
{
	int fd;

	fd = buf_heap("system", SEGMENT_PAGES * page_size());
	if (fd >= 0)
		try_way(&ways[0], fd, "system");
	else
		ksft_test_result_skip("no system heap\n");
	close(fd);
	fd = buf_udmabuf(SEGMENT_PAGES * page_size());
	if (fd >= 0)
		try_way(&ways[0], fd, "udmabuf");
	else
		ksft_test_result_skip("no udmabuf\n");
	close(fd);
}

int main(void)
{
	size_t size = SEGMENTS * SEGMENT_PAGES * page_size(), i;
	struct test_dmabuf_state state;
	char why[128], buf[16], *cpu;
	int fd;

	ksft_print_header();
	if (atoi(read_text("/proc/sys/kernel/panic_on_oops", buf, sizeof(buf))) ||
	    atoi(read_text("/proc/sys/kernel/panic_on_warn", buf, sizeof(buf))))
		ksft_exit_skip("an oops panics\n");
	dev = device_open(why, sizeof(why));
	if (dev < 0)
		ksft_exit_skip("%s\n", why);
	if (debug_set(true))
		ksft_exit_skip("no CONFIG_DMABUF_DEBUG\n");
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	fd = buf_export(dev, SEGMENTS, SEGMENT_PAGES, 0);
	if (kmsg < 0 || fd < 0)
		ksft_exit_fail_msg("/dev/kmsg %d, buffer %d\n", kmsg, fd);
	cpu = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fill(cpu, size, 3);
	ksft_set_plan(ARRAY_SIZE(ways) + 6);

	for (i = 0; i < ARRAY_SIZE(ways); i++)
		try_way(&ways[i], fd, "test_dmabuf");
	try_exporters();
	try_dma_map(fd);
	try_remap_pfn_range(fd, cpu);
	ksft_test_result(!count_wrong(cpu, size, 3) && !buf_state(dev, fd, &state) &&
			 !state.wrong && !state.mapped, "buffer and tables are as they were\n");
	/* Last, as this one keeps its mapping. */
	try_vm_insert_page(fd);
	ksft_finished();
}
