// SPDX-License-Identifier: GPL-2.0
/* What must be so when all have gone. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "torture.h"
#include "../../selftests/pinpage/pinpage_util.h"

/* Slots of swap that are free are kept by each processor, still charged, until swapoff. */
#define SLOTS_CACHED	((int64_t)(sysconf(_SC_NPROCESSORS_CONF) * 64 * PAGE))
/* See scripts/scan-log, which has the last word. */
#define REPORT	"WARNING: |BUG: |kernel BUG at|KASAN: |UBSAN: |Oops|Bad (page|rss)|bad page|" \
		"list_(add|del) corruption|general protection|refcount_t: |blocked for more"
#define SYSTEMS_FILE	"/sys/kernel/debug/pinpage/systems"

struct cma area;

static int64_t used;
static int kmsg = -1;
static regex_t report;

static int64_t cma_used(void)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/debug/cma/%.63s/used", area.name);
	return read_number(path);
}

void check_begin(void)
{
	if (!find_cma(&area))
		found("no CMA area");
	used = cma_used();
	if (pin_balance())
		found("%lld pins before the first", (long long)pin_balance());
	if (regcomp(&report, REPORT, REG_EXTENDED | REG_NOSUB))
		found("regcomp() fails");
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

/* Has the kernel reported something since the last time? */
bool reported(char *line, size_t len)
{
	ssize_t got;

	while ((got = read(kmsg, line, len - 1)) > 0 || (got < 0 && errno == EPIPE)) {
		if (got < 0)
			continue;
		line[got] = 0;
		if (!regexec(&report, line, 0, NULL, 0))
			return true;
	}
	return false;
}

/* A worker that unpins may leave the last of it to others: a few times. */
static void check_pins(void)
{
	int64_t balance = pin_balance();
	int tries;

	for (tries = 100; balance && tries; tries--) {
		sleep_ms(50);
		balance = pin_balance();
	}
	if (balance)
		found("%lld pins were acquired and not released", (long long)balance);
}

/* A ring is closed by a worker of the kernel's, later. */
static int64_t count_sets(void)
{
	char line[512], name[64];
	FILE *f = fopen(SYSTEMS_FILE, "r");
	int64_t sum = 0;
	long sets;

	if (!f)
		found("no " SYSTEMS_FILE);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %ld", name, &sets) == 2)
			sum += sets;
	fclose(f);
	return sum;
}

static void check_sets(void)
{
	int tries;

	for (tries = 200; count_sets() && tries; tries--)
		sleep_ms(50);
	if (count_sets())
		found("%lld sets are left", (long long)count_sets());
}

/* Healed, or they are holes in the area. */
static void heal(void)
{
	static uint64_t flags[1 << 14];
	int fd = open("/proc/kpageflags", O_RDONLY);
	uint64_t pfn = 0;
	ssize_t got, i;

	while ((got = read(fd, flags, sizeof(flags))) > 0)
		for (i = 0; i < got / 8; i++, pfn++)
			if (flags[i] >> KPF_HWPOISON & 1 && !unpoison(pfn))
				did("healed");
	close(fd);
}

static void check_area(void)
{
	int err;

	if (cma_used() != used)
		found("%lld pages of the area are in use, not %lld", (long long)cma_used(),
		      (long long)used);
	err = cma_take_patiently(&area, area.count - used);
	if (err) {
		write_text("/proc/sys/vm/drop_caches", "3");
		err = cma_take_patiently(&area, area.count - used);
	}
	if (err)
		found("the area can't be taken as a whole any more: %d", err);
	cma_give(&area, area.count - used);
}

static int64_t charged(const char *what)
{
	char path[128], line[128], word[64];
	int64_t sum = 0;
	long value;
	int i;
	FILE *f;

	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/sys/fs/cgroup/torture%d/memory.stat", i);
		f = fopen(path, "r");
		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, "%63s %ld", word, &value) == 2 && !strcmp(word, what))
				sum += value;
		if (f)
			fclose(f);
	}
	return sum;
}

static int64_t swap_charged(void)
{
	return read_number("/sys/fs/cgroup/torture0/memory.swap.current") +
	       read_number("/sys/fs/cgroup/torture1/memory.swap.current");
}

/* Memory of processes and of files without a name: all of them are gone. */
static void check_charge(void)
{
	static const char * const kinds[] = { "anon", "shmem", "file_mapped", "unevictable" };
	size_t i;
	int tries;

	for (i = 0; i < 4; i++) {
		for (tries = 100; charged(kinds[i]) && tries; tries--) {
			write_text("/proc/sys/vm/drop_caches", "1");
			sleep_ms(50);
		}
		if (charged(kinds[i]))
			found("%lld bytes of %s are charged", (long long)charged(kinds[i]),
			      kinds[i]);
	}
	for (tries = 100; swap_charged() > SLOTS_CACHED && tries; tries--)
		sleep_ms(50);
	if (swap_charged() > SLOTS_CACHED)
		found("%lld bytes of swap are charged", (long long)swap_charged());
}

static bool in_d(const char *pid)
{
	char path[300], line[256] = "", *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.200s/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return false;
	p = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	return p && p[1] == ' ' && p[2] == 'D';
}

/* The same one all the time. */
static void check_tasks(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int times;

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		for (times = 0; in_d(entry->d_name); times++) {
			if (times == 600)
				found("task %s does not come back", entry->d_name);
			sleep_ms(50);
		}
	}
	if (dir)
		closedir(dir);
}

void check_round(void)
{
	heal();
	check_pins();
	check_sets();
	check_charge();
	check_tasks();
	check_area();
	did("rounds with nothing left behind");
}

/* Of those tasks that say so; rarely. */
void let_fail(bool on)
{
	static const char * const settings[][2] = {
		{ "task-filter", "Y" }, { "times", "-1" },	    { "interval", "5" },
		{ "verbose", "0" },	{ "ignore-gfp-wait", "N" }, { "ignore-gfp-highmem", "N" },
		{ "min-order", "0" },	{ "cache-filter", "N" },
	};
	static const char * const faults[] = { "failslab", "fail_page_alloc" };
	char path[128];
	size_t i, j;

	for (i = 0; i < 2; i++) {
		for (j = 0; on && j < sizeof(settings) / sizeof(settings[0]); j++) {
			snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", faults[i],
				 settings[j][0]);
			write_text(path, settings[j][1]);
		}
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/probability", faults[i]);
		write_text(path, on ? "1" : "0");
	}
}
