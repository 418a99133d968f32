// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <mm/cma_test.h>

#include "../kselftest.h"
#include "pinpage_util.h"

int device_open(char *why, size_t len)
{
	const char *path = "/dev/pinpage_test";
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT &&
	    !system("modprobe -q test_pinpage >/dev/null 2>&1"))
		fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		snprintf(why, len, "%s: %s", path, strerror(errno));
	return fd;
}

static int do_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? -errno : 0;
}

unsigned int dev_user;

/* The thread alone, and its real user alone: it may do what it could. */
static void become(unsigned int user)
{
	syscall(__NR_setresuid, user, -1, -1);
}

int dev_pin(int fd, struct test_pinpage_pin pin)
{
	int ret;

	/* The machine under the test may stop for longer than a device may. */
	if (!pin.timeout_ms && pin.kind <= TEST_PINPAGE_KERNEL)
		pin.timeout_ms = PATIENT_MS;
	if (!pin.stride)
		pin.stride = 1;
	become(dev_user ? dev_user : FIRST_USER + getpid());
	ret = do_ioctl(fd, TEST_PINPAGE_PIN, &pin);
	become(0);
	return ret ? ret : (int)pin.id;
}

int dev_pin_range(int fd, int kind, void *at, size_t pages, int flags, int system)
{
	struct test_pinpage_pin pin = {
		.kind = kind,
		.addr = (uintptr_t)at,
		.len = pages * PAGE,
		.flags = flags,
		.system = system,
	};

	return dev_pin(fd, pin);
}

/* Pages that came back in the wrong place are an error here. */
int dev_unpin(int fd, int id)
{
	struct test_pinpage_unpin unpin = { .id = id, .flags = TEST_PINPAGE_DIRTY };
	int ret = do_ioctl(fd, TEST_PINPAGE_UNPIN, &unpin);

	return ret ? ret : unpin.misplaced ? -EUCLEAN : 0;
}

int dev_access(int fd, int id, void *data, size_t offset, size_t len, bool write,
	       int flags)
{
	struct test_pinpage_access access = {
		.id = id,
		.flags = flags,
		.offset = offset,
		.len = len,
		.ptr = (uintptr_t)data,
	};

	return do_ioctl(fd, write ? TEST_PINPAGE_WRITE_TO : TEST_PINPAGE_READ, &access);
}

static int64_t do_pattern(int fd, unsigned long cmd, int id, size_t pages, uint64_t seed)
{
	struct test_pinpage_fill fill = {
		.id = id,
		.nr = pages,
		.stride = 1,
		.seed = seed,
		.len = PAGE,
	};
	int ret = do_ioctl(fd, cmd, &fill);

	return ret ? ret : (int64_t)fill.bad_bytes;
}

int dev_fill(int fd, int id, size_t pages, uint64_t seed)
{
	return do_pattern(fd, TEST_PINPAGE_FILL, id, pages, seed);
}

int64_t dev_check(int fd, int id, size_t pages, uint64_t seed)
{
	return do_pattern(fd, TEST_PINPAGE_CHECK, id, pages, seed);
}

int64_t dev_order(int fd, int id)
{
	struct test_pinpage_order order = { .id = id };
	int ret = do_ioctl(fd, TEST_PINPAGE_ORDER, &order);

	return ret ? ret : (int64_t)order.misplaced;
}

int dev_policy(int fd, struct test_pinpage_policy policy)
{
	return do_ioctl(fd, TEST_PINPAGE_POLICY, &policy);
}

int dev_quiet(int fd, int id)
{
	uint32_t arg = id;

	return do_ioctl(fd, TEST_PINPAGE_QUIET, &arg);
}

struct test_pinpage_counters dev_count(int fd, int id)
{
	struct test_pinpage_counters count = { .id = id };

	/* Nobody takes this for a balanced account. */
	if (do_ioctl(fd, TEST_PINPAGE_COUNTERS, &count))
		count.violations = ~0ULL;
	return count;
}

int dev_places(int fd, int id, size_t pages, struct test_pinpage_place *places)
{
	struct test_pinpage_where where = {
		.id = id, .nr = pages, .ptr = (uintptr_t)places,
	};

	return do_ioctl(fd, TEST_PINPAGE_WHERE, &where);
}

struct test_pinpage_place dev_place(int fd, int id, size_t page)
{
	struct test_pinpage_place place = {};
	struct test_pinpage_where where = {
		.id = id,
		.first = page,
		.nr = 1,
		.ptr = (uintptr_t)&place,
	};

	if (do_ioctl(fd, TEST_PINPAGE_WHERE, &where))
		place.pfn = 0;
	return place;
}

uint64_t dev_pfn(int fd, int id, size_t page)
{
	return dev_place(fd, id, page).pfn;
}

int dev_add(int fd, int id, size_t offset, uint64_t count)
{
	struct test_pinpage_add add = { .id = id, .offset = offset, .count = count };

	return do_ioctl(fd, TEST_PINPAGE_ADD, &add);
}

int dev_misuse(int fd, unsigned int misuse)
{
	return do_ioctl(fd, TEST_PINPAGE_MISUSE, &misuse);
}

bool account_balanced(const struct test_pinpage_counters *c)
{
	return !c->violations && !c->paused && !c->open && !c->in_complete &&
	       c->prepares == c->completes + c->refused;
}

static void *move_once(void *arg)
{
	struct one_move *m = arg;

	m->there = move_to(0, m->at, m->pages, m->node);
	__atomic_store_n(&m->done, true, __ATOMIC_RELEASE);
	return NULL;
}

int start_move(struct one_move *m, void *at, size_t pages, int node)
{
	*m = (struct one_move){ .at = at, .pages = pages, .node = node };
	return pthread_create(&m->thread, NULL, move_once, m);
}

bool move_is_over(struct one_move *m)
{
	return __atomic_load_n(&m->done, __ATOMIC_ACQUIRE);
}

size_t end_move(struct one_move *m)
{
	pthread_join(m->thread, NULL);
	return m->there;
}

bool wait_open(int fd, int id, struct one_move *m)
{
	while (!move_is_over(m)) {
		if (dev_count(fd, id).open)
			return true;
		sched_yield();
	}
	return false;
}

void *map_anon(size_t pages)
{
	void *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	madvise(at, pages * PAGE, MADV_NOHUGEPAGE);
	return at;
}

int make_memfd(size_t pages)
{
	int fd = memfd_create("pinpage", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, pages * PAGE)) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool on_disk(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type != TMPFS_MAGIC &&
	       fs.f_type != RAMFS_MAGIC;
}

int make_file(size_t pages)
{
	static const char * const dirs[] = { ".", "/mnt", "/var/tmp" };
	char path[64];
	unsigned int i;
	int fd;

	for (i = 0; i < 3; i++) {
		if (!on_disk(dirs[i]))
			continue;
		snprintf(path, sizeof(path), "%s/pinpage.XXXXXX", dirs[i]);
		fd = mkostemp(path, O_CLOEXEC);
		if (fd < 0)
			continue;
		unlink(path);
		if (!ftruncate(fd, pages * PAGE))
			return fd;
		close(fd);
	}
	return -1;
}

void user_fill(void *at, size_t pages, uint64_t seed)
{
	size_t i;

	for (i = 0; i < pages; i++)
		test_pinpage_write((__u64 *)((char *)at + i * PAGE), 0, PAGE / 8, seed, i);
}

uint64_t user_check(const void *at, size_t pages, uint64_t seed)
{
	uint64_t bad = 0;
	size_t i;

	for (i = 0; i < pages; i++)
		bad += test_pinpage_compare((const __u64 *)((const char *)at + i * PAGE),
					    0, PAGE / 8, seed, i);
	return bad;
}

/* Of numbers, a file in /proc: opened once, for that costs more than to read it. */
struct table {
	const char *path;
	uint64_t opened;	/* process << 32 | file descriptor; or 0 */
};

/*
 * "self" is somebody else after fork(), and what is inherited another's. Two
 * threads may both come first: one of them keeps what it has opened.
 */
static int open_table(struct table *table)
{
	uint64_t was = __atomic_load_n(&table->opened, __ATOMIC_ACQUIRE), now;
	int fd;

	if (was >> 32 == (uint64_t)getpid())
		return (int)was;
	fd = open(table->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fd;
	now = (uint64_t)getpid() << 32 | fd;
	if (__atomic_compare_exchange_n(&table->opened, &was, now, false,
					__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return fd;
	close(fd);
	return (int)was;
}

static uint64_t read_entry(struct table *table, uint64_t index)
{
	uint64_t entry;
	int fd = open_table(table);

	return pread(fd, &entry, sizeof(entry), index * sizeof(entry)) == sizeof(entry) ?
	       entry : 0;
}

uint64_t user_pfn(const void *at)
{
	static struct table pagemap = { "/proc/self/pagemap" };
	uint64_t entry = read_entry(&pagemap, (uintptr_t)at / PAGE);

	return entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

bool page_flag(uint64_t pfn, int bit)
{
	static struct table flags = { "/proc/kpageflags" };

	return read_entry(&flags, pfn) >> bit & 1;
}

uint64_t read_event(const char *name)
{
	unsigned long long value, found = 0;
	char line[128], word[64];
	FILE *f = fopen("/proc/vmstat", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %llu", word, &value) == 2 && !strcmp(word, name))
			found = value;
	if (f)
		fclose(f);
	return found;
}

int64_t pin_balance(void)
{
	/* What the processors have not added up yet is missing otherwise. */
	write_text("/proc/sys/vm/stat_refresh", "1");
	return read_event("nr_foll_pin_acquired") - read_event("nr_foll_pin_released");
}

int64_t read_number(const char *path)
{
	long long value;
	FILE *f = fopen(path, "r");

	if (!f)
		return -errno;
	if (fscanf(f, "%lld", &value) != 1)
		value = -EINVAL;
	fclose(f);
	return value;
}

int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

bool have_two_nodes(void)
{
	return !access("/sys/devices/system/node/node0", F_OK) &&
	       !access("/sys/devices/system/node/node1", F_OK);
}

/* A line of words. */
void make_known(uint64_t pfn)
{
	const char *who = "/sys/kernel/debug/pinpage/who";
	char text[256];
	FILE *f;

	snprintf(text, sizeof(text), "%llu %llu", (unsigned long long)pfn,
		 (unsigned long long)pfn + 1);
	if (write_text(who, text))
		return;
	f = fopen(who, "r");
	while (f && fgets(text, sizeof(text), f))
		;
	if (f)
		fclose(f);
}

static char *next_word(char **line)
{
	char *word;

	do {
		word = strsep(line, "\n ");
	} while (word && !*word);
	return word;
}

int64_t system_number(const char *system, const char *column)
{
	FILE *f = fopen("/sys/kernel/debug/pinpage/systems", "r");
	char first[512] = "", line[512] = "", *names = first, *numbers = line;
	char *name, *number;
	int64_t found = -1;

	if (f && !fgets(first, sizeof(first), f))
		first[0] = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, system, strlen(system)) && line[strlen(system)] == ' ')
			break;
		line[0] = 0;
	}
	if (!f)
		return found;
	fclose(f);
	while ((name = next_word(&names)) && (number = next_word(&numbers)))
		if (!strcmp(name, column))
			found = atoll(number);
	return found;
}

static long do_move_pages(int pid, size_t pages, void **at, int *nodes, int *status)
{
	return syscall(__NR_move_pages, pid, pages, at, nodes, status, MPOL_MF_MOVE);
}

int node_of(const void *at)
{
	void *page = (void *)at;
	int status = -1;

	return do_move_pages(0, 1, &page, NULL, &status) ? -errno : status;
}

int move_shared(void *at, int node)
{
	int tries, status = -EBUSY;

	for (tries = 100; tries && status != node; tries--)
		if (syscall(__NR_move_pages, 0, 1, &at, &node, &status, MPOL_MF_MOVE_ALL))
			return -errno;
	return status == node ? 0 : status < 0 ? status : -EBUSY;
}

size_t move_list(int pid, void **at, size_t pages, int node)
{
	int *nodes = calloc(pages, sizeof(*nodes));
	int *status = calloc(pages, sizeof(*status));
	size_t i, there = 0;

	for (i = 0; i < pages && nodes && status; i++)
		nodes[i] = node;
	/* What it says of pages that failed is not exact: ask. */
	do_move_pages(pid, pages, at, nodes, status);
	if (!do_move_pages(pid, pages, at, NULL, status))
		for (i = 0; i < pages; i++)
			there += status[i] == node;
	free(nodes);
	free(status);
	return there;
}

size_t move_to(int pid, void *at, size_t pages, int node)
{
	void **list = calloc(pages, sizeof(*list));
	size_t i, there;

	for (i = 0; list && i < pages; i++)
		list[i] = (char *)at + i * PAGE;
	there = list ? move_list(pid, list, pages, node) : 0;
	free(list);
	return there;
}

size_t move_away(void *at, size_t pages)
{
	size_t i, left = 0;
	char *page = at;

	for (i = 0; i < pages; i++, page += PAGE)
		left += move_to(0, page, 1, !node_of(page));
	return left;
}

static void *keep_moving(void *arg)
{
	struct mover *m = arg;

	while (!__atomic_load_n(&m->stop, __ATOMIC_ACQUIRE))
		move_to(m->pid, m->at, m->pages,
			__atomic_add_fetch(&m->rounds, 1, __ATOMIC_RELAXED) % 2);
	return NULL;
}

int start_mover(struct mover *m, char *at, size_t pages, int pid)
{
	*m = (struct mover){ .at = at, .pages = pages, .pid = pid };
	return pthread_create(&m->thread, NULL, keep_moving, m);
}

void stop_mover(struct mover *m)
{
	__atomic_store_n(&m->stop, true, __ATOMIC_RELEASE);
	pthread_join(m->thread, NULL);
}

size_t move_patiently(void *at, size_t pages)
{
	int to = !node_of(at), tries = 500;
	size_t moved;

	do {
		moved = move_to(0, at, pages, to);
		if (moved < pages)
			sleep_ms(20);
	} while (moved < pages && --tries);
	return moved;
}

int bind_here(void *at, size_t pages, int node)
{
	unsigned long mask = 1UL << node;

	return syscall(__NR_mbind, at, pages * PAGE, MPOL_BIND, &mask, 64UL,
		       MPOL_MF_MOVE) ? -errno : 0;
}

/* Negative: wherever. */
int prefer_node(int node)
{
	unsigned long mask = node < 0 ? 0 : 1UL << node;

	return syscall(__NR_set_mempolicy, node < 0 ? MPOL_DEFAULT : MPOL_PREFERRED,
		       node < 0 ? NULL : &mask, 64UL) ? -errno : 0;
}

#define PCP_FRACTION	"/proc/sys/vm/percpu_pagelist_high_fraction"

/*
 * Free each other page above @pfn, and all below: how many holes are above? Those
 * of even numbers, for compaction that has found none in a block or two looks at
 * every 32nd page only.
 */
static size_t punch(char *at, size_t pages, uint64_t pfn)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	size_t i, nr = 0;
	size_t size = pages * sizeof(uint64_t);
	uint64_t *entries = malloc(size), at_pfn;

	if (fd < 0 || !entries ||
	    pread(fd, entries, size, (uintptr_t)at / PAGE * sizeof(*entries)) != (ssize_t)size)
		pages = 0;
	for (i = 0; i < pages; i++) {
		at_pfn = entries[i] & ((1ULL << 55) - 1);
		if (at_pfn > pfn) {
			if (at_pfn % 2)
				continue;
			nr++;
		}
		madvise(at + i * PAGE, PAGE, MADV_DONTNEED);
	}
	free(entries);
	if (fd >= 0)
		close(fd);
	return nr;
}

bool add_filler(struct holes *holes)
{
	char *at;
	size_t i;

	if (holes->nr == MAX_FILLER)
		return false;
	at = map_anon(holes->pages);
	if (!at)
		return false;
	prefer_node(0);
	for (i = 0; i < holes->pages; i++)
		at[i * PAGE] = 1;
	prefer_node(-1);
	holes->at[holes->nr++] = at;
	return true;
}

size_t punch_holes(struct holes *holes, uint64_t pfn)
{
	size_t nr = 0;
	int i;

	/* Free pages that wait on a list of their processor are no holes. */
	write_text(PCP_FRACTION, "1000000");
	for (i = 0; i < holes->nr; i++)
		nr += punch(holes->at[i], holes->pages, pfn);
	return nr;
}

void drop_holes(struct holes *holes)
{
	while (holes->nr)
		munmap(holes->at[--holes->nr], holes->pages * PAGE);
	write_text(PCP_FRACTION, "0");
}

static int64_t cma_number(const char *name, const char *what)
{
	char path[512];

	snprintf(path, sizeof(path), "/sys/kernel/debug/cma/%s/%s", name, what);
	return read_number(path);
}

/* The area with the most room: devices may have memory in one. */
bool find_cma(struct cma *cma)
{
	DIR *dir = opendir("/sys/kernel/debug/cma");
	struct dirent *entry;
	int64_t count, free, most = 0;

	memset(cma, 0, sizeof(*cma));
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		count = cma_number(entry->d_name, "count");
		free = count - cma_number(entry->d_name, "used");
		if (free <= most)
			continue;
		most = free;
		cma->count = count;
		cma->base = cma_number(entry->d_name, "base_pfn");
		snprintf(cma->name, sizeof(cma->name), "%.63s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	return cma->count;
}

bool in_cma(const struct cma *cma, uint64_t pfn)
{
	return pfn >= cma->base && pfn < cma->base + cma->count;
}

static int cma_write(const struct cma *cma, const char *what, size_t pages)
{
	char path[512], text[32];

	snprintf(path, sizeof(path), "/sys/kernel/debug/cma/%s/%s", cma->name, what);
	snprintf(text, sizeof(text), "%zu", pages);
	return write_text(path, text);
}

int cma_take(const struct cma *cma, size_t pages)
{
	return cma_write(cma, "alloc", pages);
}

int contig_open(void)
{
	int fd = open("/dev/cma_test", O_RDWR | O_CLOEXEC);
	struct cma_test_info info = {};

	if (fd < 0)
		return -errno;
	/* The largest area, if there is one; what needs it will say so. */
	ioctl(fd, CMA_TEST_INFO, &info);
	return fd;
}

int contig_take(int fd, uint64_t pfn, uint64_t pages, bool in_cma)
{
	struct cma_test_alloc alloc = {
		.how = in_cma ? CMA_TEST_RANGE : CMA_TEST_MOVABLE, .pfn = pfn, .nr = pages,
	};
	int ret = do_ioctl(fd, CMA_TEST_ALLOC, &alloc);

	return ret ? ret : alloc.got < 0 ? (int)alloc.got : (int)alloc.id;
}

int contig_place(int fd, void *at, uint64_t pfn)
{
	struct cma_test_place place = { .addr = (uintptr_t)at, .pfn = pfn };
	int tries, ret = -EBUSY;

	/* Somebody may look at the page in between. */
	for (tries = 100; ret == -EBUSY && tries; tries--) {
		ret = do_ioctl(fd, CMA_TEST_PLACE, &place);
		if (ret == -EBUSY)
			sleep_ms(1);
	}
	return ret;
}

int cma_take_patiently(const struct cma *cma, size_t pages)
{
	int tries = 50, ret;

	do {
		ret = cma_take(cma, pages);
		if (ret)
			sleep_ms(20);
	} while (ret && --tries);
	return ret;
}

void cma_give(const struct cma *cma, size_t pages)
{
	if (pages)
		cma_write(cma, "free", pages);
}

uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ULL + t.tv_nsec / 1000000;
}

bool debug_kernel(void)
{
	return !access("/sys/kernel/debug/kmemleak", F_OK);
}

int rounds(int nr)
{
	return debug_kernel() ? nr / 5 : nr;
}

void sleep_ms(unsigned int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

/* Those that may sleep, too; all caches, all orders, all zones. */
static void let_all_fail(void)
{
	static const char * const settings[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "failslab/cache-filter", "N" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/verbose", "0" },
	};
	char path[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", settings[i][0]);
		write_text(path, settings[i][1]);
	}
}

bool fail_order(int order)
{
	char text[16];

	let_all_fail();
	snprintf(text, sizeof(text), "%d", order > 0 ? order : 0);
	write_text("/sys/kernel/debug/fail_page_alloc/min-order", text);
	write_text("/sys/kernel/debug/fail_page_alloc/task-filter", order > 0 ? "Y" : "N");
	write_text("/sys/kernel/debug/fail_page_alloc/times", "-1");
	write_text("/proc/thread-self/make-it-fail", order > 0 ? "1" : "0");
	return !write_text("/sys/kernel/debug/fail_page_alloc/probability",
			   order > 0 ? "100" : "0");
}

int open_fail_nth(void)
{
	let_all_fail();
	return open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
}

void fail_nth(int nth, unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	if (pwrite(nth, text, len, 0) != len)
		abort();
}

bool has_failed(int nth)
{
	char text[16] = "";

	if (pread(nth, text, sizeof(text) - 1, 0) <= 0)
		abort();
	fail_nth(nth, 0);
	return !atoi(text);
}

#define UNPOISON	"/sys/kernel/debug/hwpoison/unpoison-pfn"

bool can_unpoison(void)
{
	return !access(UNPOISON, W_OK);
}

/* A poisoned page would be a hole in CMA, or be given to somebody else. */
int unpoison(uint64_t pfn)
{
	char text[32];
	int tries, err = -EBUSY;

	snprintf(text, sizeof(text), "%llu", (unsigned long long)pfn);
	for (tries = 100; err && tries; tries--) {
		err = write_text(UNPOISON, text);
		if (err)
			sleep_ms(20);
	}
	return err;
}
