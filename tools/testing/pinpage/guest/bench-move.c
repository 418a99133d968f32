// SPDX-License-Identifier: GPL-2.0
/*
 * What does it cost to move pages that are registered, and to register them?
 *
 * Prints rows "case,metric,value" in ns of guest time, which --icount makes
 * instructions:
 *   move/4K, move/2M     256 MiB by move_pages(2) from one node to the other:
 *                        registered with one owner, unpinned; without the copying,
 *                        which is "copy"
 *   register/4K, ../2M   pinpage_pin_user() and pinpage_unpin_user() of 256 MiB;
 *                        pin_user_pages_fast() and unpin_user_pages()
 * The figures are the least of ROUNDS: what is the same each time.
 */
#define _GNU_SOURCE
#include <fcntl.h>
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

/* Move all, a page in each @step; returns the time it took. */
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
	took = now();
	if (syscall(__NR_move_pages, 0, nr, pages, nodes, status, 2))
		die("move_pages");
	took = now() - took;
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
	row(name, "pin", pin_all(at, TEST_PINPAGE_PLAIN));
	munmap(at, BYTES);
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
	return 0;
}
