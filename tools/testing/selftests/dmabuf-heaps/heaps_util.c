// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/dma-heap.h>

#include "heaps_util.h"

#define HEAPS	"/dev/dma_heap"

/* REGION-64K-chunks */
static size_t chunk_size(const char *name)
{
	const char *end = strrchr(name, '-'), *units = "KMG", *unit;
	unsigned long size;
	char *after;

	if (!end || strcmp(end, "-chunks"))
		return 0;
	while (end > name && end[-1] != '-')
		end--;
	size = strtoul(end, &after, 10);
	unit = size ? strchr(units, *after) : NULL;
	return unit ? size << (10 * (unit - units + 1)) : 0;
}

static int compare_heaps(const void *a, const void *b)
{
	return strcmp(((struct heap *)a)->name, ((struct heap *)b)->name);
}

int find_heaps(struct heap *heaps, bool chunks_only)
{
	DIR *dir = opendir(HEAPS);
	struct dirent *entry;
	int nr = 0;

	while (dir && nr < MAX_HEAPS && (entry = readdir(dir))) {
		if (*entry->d_name == '.')
			continue;
		snprintf(heaps[nr].name, sizeof(heaps[nr].name), "%s", entry->d_name);
		heaps[nr].chunk = chunk_size(entry->d_name);
		if (heaps[nr].chunk || !chunks_only)
			nr++;
	}
	if (dir)
		closedir(dir);
	qsort(heaps, nr, sizeof(*heaps), compare_heaps);
	return nr;
}

int heap_open(const struct heap *heap)
{
	char path[sizeof(HEAPS) + NAME_MAX_HEAP];
	int fd;

	snprintf(path, sizeof(path), HEAPS "/%s", heap->name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int heap_alloc(const struct heap *heap, size_t size)
{
	struct dma_heap_allocation_data arg = {
		.len = size,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	int fd = heap_open(heap), ret = 0;

	if (fd < 0)
		return fd;
	if (ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &arg))
		ret = -errno;
	close(fd);
	return ret ?: (int)arg.fd;
}

size_t buf_size(int fd)
{
	return lseek(fd, 0, SEEK_END);
}

void *buf_mmap(int fd, size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

struct usage mapping_usage(const void *at)
{
	struct usage usage = {};
	unsigned long start, kib;
	bool here = false;
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%*x ", &start) == 1 && strchr(line, '-'))
			here = start == (uintptr_t)at;
		else if (here && sscanf(line, "Rss: %lu", &kib) == 1)
			usage.rss = kib << 10;
		else if (here && sscanf(line, "Pss: %lu", &kib) == 1)
			usage.pss = kib << 10;
	}
	if (f)
		fclose(f);
	return usage;
}

long proc_kib(const char *path, const char *field)
{
	char line[256], format[32];
	FILE *f = fopen(path, "r");
	long kib = -1;

	snprintf(format, sizeof(format), "%s: %%ld", field);
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, format, &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

size_t process_rss(void)
{
	return (size_t)proc_kib("/proc/self/smaps_rollup", "Rss") << 10;
}

int64_t cma_used(void)
{
	DIR *dir = opendir("/sys/kernel/debug/cma");
	char path[512], text[32];
	struct dirent *entry;
	int64_t used = -ENOENT;

	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/cma/%s/used", entry->d_name);
		if (*entry->d_name == '.' || !*read_text(path, text, sizeof(text)))
			continue;
		used = (used < 0 ? 0 : used) + strtoll(text, NULL, 10);
	}
	if (dir)
		closedir(dir);
	return used;
}

/* Whom it hits comes before that it hits, and the other way round afterwards. */
static int set_failing(const char *kind, unsigned int one_in)
{
	const char *settings[][3] = {
		/* on, off */
		{ "task-filter", "Y", "N" },
		{ "ignore-gfp-wait", "N", "Y" },
		/* Of pages; else only more than one would fail. */
		{ "min-order", "0", "1" },
		{ "times", "-1", "1" },
		{ "verbose", "0", "2" },
		{ "interval", "1", "1" },
		{ "probability", "100", "0" },
	};
	int nr = sizeof(settings) / sizeof(*settings), i, ret;
	const char **setting;
	char path[128], text[16];

	for (i = 0; i < nr; i++) {
		setting = settings[one_in ? i : nr - 1 - i];
		snprintf(text, sizeof(text), "%s", setting[one_in ? 1 : 2]);
		if (one_in && !strcmp(setting[0], "interval"))
			snprintf(text, sizeof(text), "%u", one_in);
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", kind, setting[0]);
		ret = write_text(path, text);
		if (ret && strcmp(setting[0], "min-order"))
			return ret;
	}
	return 0;
}

int fail_allocations(unsigned int one_in)
{
	/* Opened before, since an open would fail as well. */
	static int task = -1;
	int ret;

	if (task < 0)
		task = open("/proc/self/make-it-fail", O_WRONLY | O_CLOEXEC);
	if (task < 0)
		return -ENOENT;
	if (!one_in && pwrite(task, "0", 1, 0) != 1)
		return -errno;
	ret = set_failing("failslab", one_in);
	if (!ret)
		ret = set_failing("fail_page_alloc", one_in);
	if (!ret && one_in && pwrite(task, "1", 1, 0) != 1)
		ret = -errno;
	return ret;
}

const char *cmdline_next(const char *name, const char *after, char *value, size_t len)
{
	static char cmdline[4096];
	size_t n = strlen(name);
	const char *at = after;

	if (!at)
		at = read_text("/proc/cmdline", cmdline, sizeof(cmdline));
	while ((at = strstr(at, name))) {
		if ((at == cmdline || at[-1] == ' ') && at[n] == '=') {
			snprintf(value, len, "%.*s", (int)strcspn(at + n + 1, " "), at + n + 1);
			return at + n;
		}
		at += n;
	}
	return NULL;
}

int count_log(const char *text)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC), count = 0;
	unsigned long seq = 1;
	bool first = true;
	char line[8192];
	ssize_t got;

	if (fd < 0)
		return -errno;
	for (;;) {
		got = read(fd, line, sizeof(line) - 1);
		if (got < 0 && errno == EPIPE)
			continue;
		if (got <= 0)
			break;
		line[got] = 0;
		/* PRIORITY,NUMBER,... */
		if (first)
			sscanf(line, "%*u,%lu", &seq);
		first = false;
		count += !!strstr(line, text);
	}
	close(fd);
	return seq ? -ENODATA : count;
}
