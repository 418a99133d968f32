// SPDX-License-Identifier: GPL-2.0
/*
 * The proof, guest side: does CMA get its memory where pinned pages stand?
 *
 * run-proof [on|off|base] prints rows "case,metric,value". Without an argument it
 * is "off" when the kernel was booted with pinpage=off. On the base, which has no
 * device to write with, the driver of the CMA benchmarks pins.
 *
 * Per case, one process (the holder) fills 1200 MiB, has N pages of it pinned,
 * evenly spread, by one or two owners, and lets the "device" write to them;
 * another one (the taker) makes 32 allocations of 16 MiB from the CMA area. A
 * taker that exceeds TAKE_NS of guest time is cut. Then the holder verifies
 * each byte of its memory, and the device each byte that it wrote.
 *
 * In a machine fresh from boot the first holder gets the end of the area, and
 * half of the takers find nothing there to move. A first case that is not
 * printed makes all others begin alike.
 *
 * These are processes of their own, since a fork() copies pinned pages, and
 * since an allocation from CMA ends early for a fatal signal only.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../../lib/test_pinpage_uapi.h"
#include "../../../../mm/cma_test.h"
#include "guest.h"

#define MIB		1048576UL
#define HELD		(1200 * MIB)
#define HELD_PAGES	(HELD / PAGE)
#define TAKES		32
#define TAKE		(16 * MIB)
#define TAKE_NS		10000000000ULL
#define LONGTERM	(1280 * MIB)
#define LONGTERM_STEP	(64 * MIB)

#define HOLDER_SEED	0x686f6c646572ULL
#define DEVICE_SEED	0x646576696365ULL
/* Each owner's device writes so many words of a page, one behind the other. */
#define DEVICE_WORD	256
#define DEVICE_WORDS	8

struct result {
	__u64 attempts, ok, total_ns, first_ns, slowest_ns, bad_bytes;
	__u64 begun;		/* when the attempt in progress began */
	bool held, verified;
};

static struct result *result;	/* shared */
static const char *mode;
static bool on_base;
static bool indexed;
static char cma_dir[256];

static int write_number(const char *path, __u64 value)
{
	char text[32];
	int fd = open(path, O_WRONLY), len, ret;

	if (fd < 0)
		return -errno;
	len = snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	ret = write(fd, text, len) == len ? 0 : -errno;
	close(fd);
	return ret;
}

static __u64 read_number(const char *path)
{
	unsigned long long value = 0;
	FILE *f = fopen(path, "r");

	if (f) {
		if (fscanf(f, "%llu", &value) != 1)
			value = 0;
		fclose(f);
	}
	return value;
}

/* A kernel that does not count this has not done any of it. */
static __u64 read_event(const char *name)
{
	unsigned long long value, found = 0;
	char line[128], word[64];
	FILE *f = fopen("/proc/vmstat", "r");

	if (!f)
		die("/proc/vmstat");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %llu", word, &value) == 2 &&
		    !strcmp(word, name))
			found = value;
	fclose(f);
	return found;
}

static bool booted_off(void)
{
	char line[4096] = "";
	FILE *f = fopen("/proc/cmdline", "r");

	if (f && !fgets(line, sizeof(line), f))
		line[0] = 0;
	if (f)
		fclose(f);
	return strstr(line, "pinpage=off") || strstr(line, "pinpage=0");
}

/* The largest area. */
static void find_cma(void)
{
	const char *root = "/sys/kernel/debug/cma";
	DIR *dir = opendir(root);
	__u64 count, most = 0;
	struct dirent *entry;
	char path[512];

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%.128s/count", root, entry->d_name);
		count = read_number(path);
		if (count <= most)
			continue;
		most = count;
		snprintf(cma_dir, sizeof(cma_dir), "%s/%.128s", root, entry->d_name);
	}
	if (dir)
		closedir(dir);
	if (most * PAGE < TAKES * TAKE) {
		errno = ENOENT;
		die("no CMA area of 512 MiB in debugfs, boot with cma=1G");
	}
}

static int open_device(void)
{
	const char *path = on_base ? "/dev/cma_test" : "/dev/pinpage_test";
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 && !on_base && !system("modprobe test_pinpage"))
		fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die(path);
	return fd;
}

static char *map_pages(unsigned long len)
{
	char *at = mmap(NULL, len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		die("mmap");
	if (madvise(at, len, MADV_NOHUGEPAGE) && errno != EINVAL)
		die("MADV_NOHUGEPAGE");
	return at;
}

static void fill(char *at, unsigned long pages)
{
	unsigned long i;

	for (i = 0; i < pages; i++)
		test_pinpage_write((__u64 *)(at + i * PAGE), 0, PAGE / 8,
				   HOLDER_SEED, i);
}

/*
 * One page in @stride has the words of the devices as well; the words that are
 * theirs are checked through the mapping too.
 */
static __u64 verify(char *at, unsigned long pages, unsigned long stride,
		    unsigned int owners)
{
	unsigned int word, owner;
	unsigned long i;
	__u64 bad = 0, *page;

	for (i = 0; i < pages; i++) {
		page = (__u64 *)(at + i * PAGE);
		word = 0;
		if (stride && i % stride == 0) {
			bad += test_pinpage_compare(page, 0, DEVICE_WORD,
						    HOLDER_SEED, i);
			word = DEVICE_WORD;
			for (owner = 0; owner < owners; owner++) {
				bad += test_pinpage_compare(page + word, word,
							    DEVICE_WORDS,
							    DEVICE_SEED + owner, i);
				word += DEVICE_WORDS;
			}
		}
		bad += test_pinpage_compare(page + word, word, PAGE / 8 - word,
					    HOLDER_SEED, i);
	}
	return bad;
}

static int pin_on_base(int fd, char *at, unsigned long len, __u32 stride)
{
	struct cma_test_keep keep = { .hold = CMA_TEST_PIN };
	unsigned long i;

	for (i = 0; i < len; i += stride * PAGE) {
		keep.addr = (uintptr_t)at + i;
		if (ioctl(fd, CMA_TEST_KEEP, &keep))
			return -errno;
	}
	return 0;
}

static int pin(int fd, char *at, unsigned long len, __u32 kind,
	       __u32 stride, __u32 system)
{
	struct test_pinpage_pin pin = {
		.addr = (uintptr_t)at,
		.len = len,
		.kind = kind,
		.flags = TEST_PINPAGE_WRITE,
		.stride = stride,
		.system = system,
	};

	if (on_base)
		return pin_on_base(fd, at, len, stride);
	return ioctl(fd, TEST_PINPAGE_PIN, &pin) ? -errno : (int)pin.id;
}

/* What device @owner has written, or shall write: returns wrong bytes. */
static __u64 pattern(int fd, int id, unsigned long cmd, unsigned long nr,
		     unsigned long stride, unsigned int owner)
{
	struct test_pinpage_fill fill = {
		.id = id,
		.nr = nr,
		.stride = stride,
		.seed = DEVICE_SEED + owner,
		.offset = (DEVICE_WORD + owner * DEVICE_WORDS) * 8,
		.len = DEVICE_WORDS * 8,
	};

	if (on_base)
		return 0;
	if (ioctl(fd, cmd, &fill))
		die("the device");
	return fill.bad_bytes;
}

static void wait_byte(int fd)
{
	char byte;

	if (read(fd, &byte, 1) != 1)
		exit(1);
}

/* Hold memory until @go says that the taker is done. */
static void holder(int fd, unsigned int owners, unsigned long pinned, int ready,
		   int go)
{
	unsigned long stride = pinned ? HELD_PAGES / pinned : 0;
	__u32 kind = TEST_PINPAGE_PLAIN;
	bool on = !strcmp(mode, "on");
	unsigned int owner;
	char *at;
	int id[2];

	/* Sparse pages are one set; a range can be pinned as one, too. */
	if (on)
		kind = stride == 1 ? TEST_PINPAGE_USER : TEST_PINPAGE_SET;
	at = map_pages(HELD);
	fill(at, HELD_PAGES);
	for (owner = 0; pinned && owner < owners; owner++) {
		id[owner] = pin(fd, at, pinned * stride * PAGE, kind, stride,
				on ? owner : 0);
		if (id[owner] < 0) {
			errno = -id[owner];
			die("pin");
		}
		pattern(fd, id[owner], TEST_PINPAGE_FILL, pinned, stride, owner);
	}
	result->held = true;
	if (write(ready, "", 1) != 1)
		die("pipe");
	wait_byte(go);
	for (owner = 0; pinned && owner < owners; owner++)
		result->bad_bytes += pattern(fd, id[owner], TEST_PINPAGE_CHECK,
					     pinned, stride, owner);
	result->bad_bytes += verify(at, HELD_PAGES, on_base ? 0 : stride, owners);
	result->verified = true;
	exit(0);
}

static void taker(void)
{
	char path[300];
	__u64 took;
	int i, ret;

	snprintf(path, sizeof(path), "%s/alloc", cma_dir);
	for (i = 0; i < TAKES; i++) {
		result->attempts = i + 1;
		result->begun = now();
		ret = write_number(path, TAKE / PAGE);
		took = now() - result->begun;
		result->begun = 0;
		result->ok += !ret;
		result->total_ns += took;
		if (!i)
			result->first_ns = took;
		if (took > result->slowest_ns)
			result->slowest_ns = took;
	}
	exit(0);
}

/* Let the taker run for TAKE_NS; what it was cut in counts as well. */
static void watch(pid_t pid)
{
	const struct timespec nap = { .tv_nsec = 20000000 };
	__u64 end = now() + TAKE_NS, took;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		nanosleep(&nap, NULL);
		if (now() < end)
			continue;
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		break;
	}
	if (!result->begun)
		return;
	took = now() - result->begun;
	result->total_ns += took;
	if (took > result->slowest_ns)
		result->slowest_ns = took;
}

static pid_t new_child(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork");
	return pid;
}

/* The pages are in the index before the first allocation: false, if that can't be. */
static bool index_at_once(bool on)
{
	int fd = open("/sys/kernel/debug/pinpage/index_at_once", O_WRONLY);
	bool done = fd >= 0 && write(fd, on ? "Y" : "N", 1) == 1;

	if (fd >= 0)
		close(fd);
	indexed = done && on;
	return done;
}

/* One case; false if it could not be carried out. No owners: not printed. */
static bool run_case(unsigned int owners, unsigned long pinned)
{
	__u64 asked = read_event("pinpage_asked"), moved = read_event("pinpage_moved");
	__u64 migrated = read_event("pgmigrate_success");
	int ready[2], go[2], status;
	char name[64], path[300];
	pid_t holding, taking;
	bool good;

	if (pinned == HELD_PAGES)
		snprintf(name, sizeof(name), "%s/systems=%u/pinned=all%s", mode, owners,
			 indexed ? "/indexed" : "");
	else
		snprintf(name, sizeof(name), "%s/systems=%u/pinned=%lu", mode, owners,
			 pinned);
	memset(result, 0, sizeof(*result));
	if (pipe(ready) || pipe(go))
		die("pipe");
	holding = new_child();
	if (!holding) {
		close(ready[0]);
		close(go[1]);
		/* A file of its own, so that all is released with it. */
		holder(open_device(), owners, pinned, ready[1], go[0]);
	}
	close(ready[1]);
	close(go[0]);
	/* End of file if the holder dies. */
	if (read(ready[0], path, 1) == 1) {
		taking = new_child();
		if (!taking)
			taker();
		watch(taking);
		if (write(go[1], "", 1) != 1)
			perror("run-proof: pipe");
	}
	close(ready[0]);
	close(go[1]);
	waitpid(holding, &status, 0);
	snprintf(path, sizeof(path), "%s/free", cma_dir);
	write_number(path, TAKES * TAKE / PAGE);

	good = result->held && result->verified;
	if (!good)
		fprintf(stderr, "run-proof: %s: the holder failed, status %#x\n",
			name, status);
	if (!owners)
		return good;
	row(name, "attempts", result->attempts);
	row(name, "ok", result->ok);
	row(name, "total_ns", result->total_ns);
	row(name, "slowest_ns", result->slowest_ns);
	row(name, "moved", read_event("pinpage_moved") - moved);
	row(name, "asked", read_event("pinpage_asked") - asked);
	row(name, "first_ns", result->first_ns);
	row(name, "migrated", read_event("pgmigrate_success") - migrated);
	row(name, "bad_bytes", good ? result->bad_bytes : HELD);
	if (result->begun)
		fprintf(stderr, "run-proof: %s: cut after %llu s\n", name,
			TAKE_NS / 1000000000);
	return good;
}

/* Pin as much as goes; the OOM killer shall take us, not the one who counts. */
static void pinner(int fd)
{
	__u32 kind = !strcmp(mode, "on") ? TEST_PINPAGE_USER : TEST_PINPAGE_LONGTERM;
	unsigned long done;
	__u64 took;
	char *at;
	int id;

	write_number("/proc/self/oom_score_adj", 1000);
	at = map_pages(LONGTERM);
	fill(at, LONGTERM / PAGE);
	for (done = 0; done < LONGTERM; done += LONGTERM_STEP) {
		took = now();
		id = pin(fd, at + done, LONGTERM_STEP, kind, 1, 0);
		took = now() - took;
		result->total_ns += took;
		if (took > result->slowest_ns)
			result->slowest_ns = took;
		if (id < 0)
			break;
		result->ok += LONGTERM_STEP / MIB;
	}
	result->bad_bytes = verify(at, LONGTERM / PAGE, 0, 0);
	result->verified = true;
	exit(0);
}

static bool run_pinner(void)
{
	__u64 asked = read_event("pinpage_asked"), moved = read_event("pinpage_moved");
	__u64 oom = read_event("oom_kill");
	char name[64];
	int status;
	pid_t pid;

	snprintf(name, sizeof(name), "%s/longterm=1280M", mode);
	memset(result, 0, sizeof(*result));
	result->attempts = LONGTERM / MIB;
	pid = new_child();
	if (!pid)
		pinner(open_device());
	waitpid(pid, &status, 0);
	row(name, "attempts", result->attempts);
	row(name, "ok", result->ok);
	row(name, "total_ns", result->total_ns);
	row(name, "slowest_ns", result->slowest_ns);
	row(name, "moved", read_event("pinpage_moved") - moved);
	row(name, "asked", read_event("pinpage_asked") - asked);
	/* A process that was killed has no bytes left to be wrong. */
	row(name, "bad_bytes", result->bad_bytes);
	row(name, "oom_kill", read_event("oom_kill") - oom);
	return WIFEXITED(status) ? !WEXITSTATUS(status) :
	       WTERMSIG(status) == SIGKILL;
}

int main(int argc, char **argv)
{
	static const unsigned long pinned[4] = { 0, 16, 256, HELD_PAGES };
	unsigned int owners, i;
	bool good;

	mode = argc > 1 ? argv[1] : booted_off() ? "off" : "on";
	on_base = !strcmp(mode, "base");
	if (argc > 2 || (!on_base && strcmp(mode, "on") && strcmp(mode, "off"))) {
		fprintf(stderr, "usage: run-proof [on|off|base]\n");
		return 2;
	}
	result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (result == MAP_FAILED)
		die("mmap");
	find_cma();
	close(open_device());
	good = run_case(0, 0);
	for (owners = 1; owners <= (on_base ? 1 : 2); owners++)
		for (i = 0; i < 4; i++)
			good &= run_case(owners, pinned[i]);
	if (!strcmp(mode, "on"))
		good &= index_at_once(true) && run_case(1, HELD_PAGES) &&
			index_at_once(false);
	if (!on_base)
		good &= run_pinner();
	return good ? 0 : 1;
}
