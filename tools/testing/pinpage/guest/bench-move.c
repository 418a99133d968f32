// SPDX-License-Identifier: GPL-2.0
/*
 * What does it cost to move pages that are registered, and to register them?
 *
 * Prints rows "case,metric,value" in ns of guest time, which --icount makes
 * instructions:
 *   move/4K, move/2M     256 MiB by move_pages(2) from one node to the other:
 *                        registered with one owner, unpinned; without the copying,
 *                        which is "copy". CPU time: between two pauses the owner
 *                        runs for as long as it stood still
 *   register/4K, ../2M   pinpage_pin_user() and pinpage_unpin_user() of 256 MiB; the
 *                        same where a mover comes in between, and all is "indexed";
 *                        pin_user_pages_fast() and unpin_user_pages()
 * The figures are the least of ROUNDS: what is the same each time.
 *
 * And what does it cost an owner, or a caller?
 *   pause/512            from quiet to complete() of 512 pages; moving 512 unpinned ones
 *   pause/LOCK           the same, while a page among them has its LOCK held for two
 *                        seconds by somebody; and while nobody holds it
 *   wait/first, ../second  a call about 2000 sets that are never quiet, beyond what it
 *                        takes when they refuse; what is allowed
 *   reads/3-movers       reads in two seconds of a buffer that stops as a whole, while
 *                        three movers move the rest of it, or memory that is nobody's
 *   reads/slowest        the slowest of them; what is allowed
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../../../lib/test_pinpage_uapi.h"
#include "guest.h"

#define HUGE	(512 * PAGE)
#define BYTES	(256UL << 20)
#define PAGES	(BYTES / PAGE)
#define ROUNDS	3

static int fd;

static char *map(bool huge)
{
	char *at = mmap(NULL, BYTES + HUGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		die("mmap");
	at = (char *)(((uintptr_t)at + HUGE - 1) & ~(HUGE - 1));
	madvise(at, BYTES, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(at, 1, BYTES);
	return at;
}

/* Of this thread, without the time that it sleeps */
static uint64_t cpu_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

/* Move all, a page in each @step; returns the CPU time it took. */
static uint64_t move(char *at, unsigned long step, int node)
{
	static void *pages[PAGES];
	static int nodes[PAGES], status[PAGES];
	unsigned long i, nr = BYTES / step;
	uint64_t took;

	for (i = 0; i < nr; i++) {
		pages[i] = at + i * step;
		nodes[i] = node;
	}
	took = cpu_time();
	if (syscall(__NR_move_pages, 0, nr, pages, nodes, status, 2))
		die("move_pages");
	took = cpu_time() - took;
	for (i = 0; i < nr; i++) {
		if (status[i] != node) {
			fprintf(stderr, "bench-move: page %lu of %lu: status %d\n", i, nr,
				status[i]);
			exit(1);
		}
	}
	return took;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return !a || b < a ? b : a;
}

static uint64_t move_all(char *at, unsigned long step)
{
	uint64_t took = 0;
	int round;

	for (round = 0; round < ROUNDS; round++) {
		took = least(took, move(at, step, 1));
		took = least(took, move(at, step, 0));
	}
	return took;
}

static unsigned int pin(char *at, __u32 kind, __u32 flags)
{
	struct test_pinpage_pin pin = {
		.addr = (uintptr_t)at, .len = BYTES, .kind = kind, .stride = 1,
		.flags = TEST_PINPAGE_WRITE | flags,
	};

	if (ioctl(fd, TEST_PINPAGE_PIN, &pin))
		die("pin");
	return pin.id;
}

static void unpin(unsigned int id)
{
	struct test_pinpage_unpin unpin = { .id = id };

	if (ioctl(fd, TEST_PINPAGE_UNPIN, &unpin))
		die("unpin");
}

/* The driver has both of them time the calls alone. */
static uint64_t pin_all(char *at, __u32 kind)
{
	struct test_pinpage_time spent;
	uint64_t took = 0;
	int round;

	for (round = 0; round < ROUNDS; round++) {
		unpin(pin(at, kind, 0));
		if (ioctl(fd, TEST_PINPAGE_TIME, &spent))
			die("time");
		took = least(took, spent.pin_ns + spent.unpin_ns);
	}
	return took;
}

static void index_at_once(const char *yes)
{
	int knob = open("/sys/kernel/debug/pinpage/index_at_once", O_WRONLY);

	if (knob < 0 || write(knob, yes, 1) != 1)
		die("index_at_once");
	close(knob);
}

static uint64_t copy_all(void)
{
	struct test_pinpage_copy copy = { .nr = PAGES };

	if (ioctl(fd, TEST_PINPAGE_COPY, &copy))
		die("copy");
	return copy.ns;
}

static void bench(const char *size, bool huge)
{
	unsigned long step = huge ? HUGE : PAGE;
	uint64_t copy = copy_all(), unpinned, registered;
	char *at = map(huge), name[32];
	unsigned int id;

	move(at, step, 0);
	unpinned = move_all(at, step);
	/* A device that maps huge pages has an entry for each. */
	id = pin(at, TEST_PINPAGE_USER, huge ? TEST_PINPAGE_HUGE : 0);
	registered = move_all(at, step);
	unpin(id);
	snprintf(name, sizeof(name), "move/%s", size);
	row(name, "registered", registered - copy);
	row(name, "unpinned", unpinned - copy);
	row(name, "copy", copy);
	snprintf(name, sizeof(name), "register/%s", size);
	row(name, "register", pin_all(at, TEST_PINPAGE_USER));
	index_at_once("Y");
	row(name, "indexed", pin_all(at, TEST_PINPAGE_USER));
	index_at_once("N");
	row(name, "pin", pin_all(at, TEST_PINPAGE_PLAIN));
	munmap(at, BYTES);
}

/* Pauses: of two owners, and a page between them that is nobody's */
#define SMALL	512
#define HELD	(2 * SECOND)

static void move_small(char *at, unsigned long nr, int node)
{
	static void *pages[8192];
	static int nodes[8192], status[8192];
	unsigned long i;

	for (i = 0; i < nr; i++) {
		pages[i] = at + i * PAGE;
		nodes[i] = node;
	}
	syscall(__NR_move_pages, 0, nr, pages, nodes, status, 2);
}

static char *map_small(unsigned long nr)
{
	char *at = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		die("mmap");
	madvise(at, nr * PAGE, MADV_NOHUGEPAGE);
	memset(at, 1, nr * PAGE);
	move_small(at, nr, 0);
	return at;
}

static unsigned int pin_small(char *at, unsigned long nr, __u32 kind, __u32 flags)
{
	struct test_pinpage_pin pin = {
		.addr = (uintptr_t)at, .len = nr * PAGE, .kind = kind, .stride = 1,
		.flags = flags, .timeout_ms = kind == TEST_PINPAGE_USER ? 1000 : 0,
	};

	if (ioctl(fd, TEST_PINPAGE_PIN, &pin))
		die("pin");
	return pin.id;
}

static struct test_pinpage_counters count(unsigned int id)
{
	struct test_pinpage_counters count = { .id = id };

	if (ioctl(fd, TEST_PINPAGE_COUNTERS, &count))
		die("count");
	return count;
}

static void obey(struct test_pinpage_policy policy)
{
	if (ioctl(fd, TEST_PINPAGE_POLICY, &policy))
		die("policy");
}

static void bench_pause(void)
{
	uint64_t pause = 0, unpinned = 0, start;
	char *at = map_small(SMALL);
	struct test_pinpage_counters c;
	unsigned int id;
	int round;

	for (round = 0; round < 2 * ROUNDS; round++) {
		start = now();
		move_small(at, SMALL, !(round % 2));
		unpinned = least(unpinned, now() - start);
	}
	for (round = 0; round < 2 * ROUNDS; round++) {
		id = pin_small(at, SMALL, TEST_PINPAGE_USER, TEST_PINPAGE_WRITE);
		move_small(at, SMALL, !(round % 2));
		c = count(id);
		if (c.moved != SMALL)
			die("pages have not moved");
		pause = least(pause, c.longest_ns);
		unpin(id);
	}
	row("pause/512", "pause", pause);
	row("pause/512", "unpinned", unpinned);
	munmap(at, SMALL * PAGE);
}

static const struct lock {
	const char *name;
	__u32 kind;
	bool file, disk;
} locks[] = {
	{ "page-lock", TEST_PINPAGE_LOCK },
	{ "writeback", TEST_PINPAGE_WRITEBACK, .file = true },
	{ "buffer-lock", TEST_PINPAGE_BUFFER, .file = true, .disk = true },
	{ "anon_vma", TEST_PINPAGE_ANON_VMA },
	{ "i_mmap", TEST_PINPAGE_I_MMAP, .file = true },
};

/* SMALL pages, and one in the middle that the lock is of. */
static char *map_around(const struct lock *lock)
{
	char *at = map_small(SMALL + 1), *mid = at + SMALL / 2 * PAGE;
	int file = -1, flags = MAP_PRIVATE | MAP_ANONYMOUS;

	if (lock->file) {
		file = lock->disk ? open("/mnt/bench", O_RDWR | O_CREAT | O_TRUNC, 0600) :
				    memfd_create("bench", 0);
		flags = MAP_SHARED;
		if (file < 0 || ftruncate(file, PAGE))
			die("file");
	}
	if (mmap(mid, PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, file, 0) != mid)
		die("mmap");
	/* A mapping of its own, and so an rmap lock. */
	madvise(mid, PAGE, MADV_DONTFORK);
	*mid = 1;
	if (file >= 0) {
		fsync(file);
		close(file);
	}
	move_small(at, SMALL + 1, 0);
	return at;
}

static void *move_around(void *at)
{
	move_small(at, SMALL + 1, 1);
	return NULL;
}

static uint64_t pause_around(const struct lock *lock, bool hold)
{
	char *at = map_around(lock);
	unsigned int held = 0, ids[2];
	uint64_t pause = 0, longest;
	struct timespec t = { HELD / SECOND };
	pthread_t mover;
	int i;

	for (i = 0; i < 2; i++)
		ids[i] = pin_small(at + i * (SMALL / 2 + 1) * PAGE, SMALL / 2,
				   TEST_PINPAGE_USER, TEST_PINPAGE_WRITE);
	if (hold)
		held = pin_small(at + SMALL / 2 * PAGE, 1, lock->kind, 0);
	if (pthread_create(&mover, NULL, move_around, at))
		die("pthread_create");
	nanosleep(&t, NULL);
	if (hold)
		unpin(held);
	pthread_join(mover, NULL);
	for (i = 0; i < 2; i++) {
		if (count(ids[i]).moved != SMALL / 2)
			die("pages have not moved");
		longest = count(ids[i]).longest_ns;
		pause = longest > pause ? longest : pause;
		unpin(ids[i]);
	}
	munmap(at, (SMALL + 1) * PAGE);
	return pause;
}

static void bench_locks(void)
{
	uint64_t held, nobody;
	char name[32];
	size_t i;
	int round;

	for (i = 0; i < sizeof(locks) / sizeof(locks[0]); i++) {
		for (round = 0, held = nobody = 0; round < ROUNDS; round++) {
			nobody = least(nobody, pause_around(&locks[i], false));
			held = least(held, pause_around(&locks[i], true));
		}
		snprintf(name, sizeof(name), "pause/%s", locks[i].name);
		row(name, "held", held);
		row(name, "free", nobody);
	}
}

/* Sets that are never quiet */
#define SETS	2000

static uint64_t call_about(char *at)
{
	uint64_t start = now();

	move_small(at, SETS, 1);
	return now() - start;
}

static void bench_wait(void)
{
	static unsigned int ids[SETS];
	uint64_t refused, first, second;
	char *at = map_small(SETS);
	int i;

	for (i = 0; i < SETS; i++) {
		ids[i] = pin_small(at + i * PAGE, 1, TEST_PINPAGE_USER, TEST_PINPAGE_WRITE);
		obey((struct test_pinpage_policy){
			.id = ids[i], .refusals = 1000, .refusal = -EBUSY });
	}
	refused = least(call_about(at), call_about(at));
	for (i = 0; i < SETS; i++)
		obey((struct test_pinpage_policy){ .id = ids[i], .hold = 1 });
	first = call_about(at);
	second = call_about(at);
	row("wait/first", "waited", first - refused);
	row("wait/first", "allowed", SECOND + SECOND / 100);
	row("wait/second", "waited", second > refused ? second - refused : 0);
	row("wait/second", "allowed", SECOND / 100);
	for (i = 0; i < SETS; i++)
		unpin(ids[i]);
	munmap(at, SETS * PAGE);
}

/* Movers that never let go */
#define MOVERS	3
#define PART	512

static bool stop;

struct part {
	pthread_t thread;
	char *at;
};

static void *keep_moving(void *arg)
{
	void *pages[PART];
	int nodes[PART], status[PART], i, node;
	struct part *part = arg;

	for (node = 1; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); node = !node) {
		for (i = 0; i < PART; i++) {
			pages[i] = part->at + i * PAGE;
			nodes[i] = node;
		}
		syscall(__NR_move_pages, 0, PART, pages, nodes, status, 2);
	}
	return NULL;
}

/* Of the page before them. */
static uint64_t reads_beside(char *at, unsigned int id, uint64_t *slowest)
{
	struct part parts[MOVERS];
	uint64_t reads = 0, end, start, word;
	struct test_pinpage_access access = {
		.id = id, .len = sizeof(word), .ptr = (uintptr_t)&word,
	};
	int i;

	stop = false;
	for (i = 0; i < MOVERS; i++) {
		parts[i].at = at + (1 + i * PART) * PAGE;
		if (pthread_create(&parts[i].thread, NULL, keep_moving, &parts[i]))
			die("pthread_create");
	}
	for (start = now(), end = start + 2 * SECOND; start < end; reads++) {
		if (ioctl(fd, TEST_PINPAGE_READ, &access))
			die("read");
		word = now() - start;
		*slowest = word > *slowest ? word : *slowest;
		start += word;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < MOVERS; i++)
		pthread_join(parts[i].thread, NULL);
	return reads;
}

static void bench_reads(void)
{
	unsigned long nr = MOVERS * PART + 1;
	char *at = map_small(nr), *plain = map_small(nr);
	uint64_t plain_slowest = 0, slowest = 0;
	unsigned int id;

	id = pin_small(at, nr, TEST_PINPAGE_USER, TEST_PINPAGE_WRITE | TEST_PINPAGE_WHOLE);
	row("reads/3-movers", "unregistered", reads_beside(plain, id, &plain_slowest));
	row("reads/3-movers", "registered", reads_beside(at, id, &slowest));
	row("reads/slowest", "slowest", slowest);
	row("reads/slowest", "allowed", SECOND / 10);
	unpin(id);
	munmap(at, nr * PAGE);
	munmap(plain, nr * PAGE);
}

int main(void)
{
	fd = open("/dev/pinpage_test", O_RDWR);
	if (fd < 0 && !system("modprobe test_pinpage"))
		fd = open("/dev/pinpage_test", O_RDWR);
	if (fd < 0)
		die("/dev/pinpage_test");
	bench("4K", false);
	bench("2M", true);
	bench_pause();
	bench_locks();
	bench_wait();
	bench_reads();
	return 0;
}
