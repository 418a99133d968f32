// SPDX-License-Identifier: GPL-2.0
/*
 * pinpage-who: whose pages keep contiguous memory from being allocated?
 *
 * Reads debugfs pinpage/who for a range of pfns or a CMA area, and prints a line
 * per owner and reason. With -a it counts registered pages as well, which are
 * in nobody's way as long as their owners let them move.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WHO	"/sys/kernel/debug/pinpage/who"

struct line {
	char owner[64];
	char reason[32];
	char text[128];			/* of the first set met */
	unsigned long pages, runs, first;
};

static struct line *lines;
static size_t nr_lines;

static void die(const char *what)
{
	fprintf(stderr, "pinpage-who: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void help(void)
{
	fprintf(stderr, "usage: pinpage-who [-a] START END (pfns)\n"
			"       pinpage-who [-a] cma NAME\n");
	exit(2);
}

static struct line *find_line(const char *owner, const char *reason)
{
	struct line *line;
	size_t i;

	for (i = 0; i < nr_lines; i++)
		if (!strcmp(lines[i].owner, owner) && !strcmp(lines[i].reason, reason))
			return &lines[i];
	line = realloc(lines, (nr_lines + 1) * sizeof(*lines));
	if (!line)
		die("memory");
	lines = line;
	line += nr_lines++;
	memset(line, 0, sizeof(*line));
	snprintf(line->owner, sizeof(line->owner), "%s", owner);
	snprintf(line->reason, sizeof(line->reason), "%s", reason);
	return line;
}

/* "PFN PAGES REASON OWNER [TEXT]" */
static bool add(char *row, bool all)
{
	char reason[32], owner[64];
	unsigned long pfn, pages;
	struct line *line;
	int text = 0;

	row[strcspn(row, "\n")] = 0;
	if (sscanf(row, "%lx %lu %31s %63s %n", &pfn, &pages, reason, owner, &text) < 4)
		return false;
	if (!all && !strcmp(reason, "registered"))
		return true;
	line = find_line(owner, reason);
	if (!line->runs++) {
		line->first = pfn;
		snprintf(line->text, sizeof(line->text), "%.127s", row + text);
	}
	line->pages += pages;
	return true;
}

static int compare(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return (x->pages < y->pages) - (x->pages > y->pages);
}

static void ask(const char *first, const char *second, bool all)
{
	int fd = open(WHO, O_RDWR);
	char *row = NULL;
	size_t size = 0;
	FILE *f;

	if (fd < 0)
		die(WHO);
	if (dprintf(fd, "%s %s\n", first, second) < 0 || lseek(fd, 0, SEEK_SET))
		die(errno == ENOENT ? "no such CMA area" : "not a range");
	f = fdopen(fd, "r");
	if (!f)
		die(WHO);
	while (getline(&row, &size, f) > 0)
		if (!add(row, all)) {
			fprintf(stderr, "pinpage-who: what is this? %s\n", row);
			exit(1);
		}
	free(row);
	fclose(f);
}

int main(int argc, char **argv)
{
	bool all = false;
	size_t i;
	int opt;

	while ((opt = getopt(argc, argv, "ah")) != -1) {
		if (opt != 'a')
			help();
		all = true;
	}
	if (argc - optind != 2)
		help();
	ask(argv[optind], argv[optind + 1], all);
	qsort(lines, nr_lines, sizeof(*lines), compare);
	printf("%-16s %-11s %9s %9s %14s  %s\n", "OWNER", "REASON", "PAGES", "RUNS",
	       "FIRST-PFN", "SET");
	for (i = 0; i < nr_lines; i++)
		printf("%-16s %-11s %9lu %9lu %#14lx  %s\n", lines[i].owner,
		       lines[i].reason, lines[i].pages, lines[i].runs, lines[i].first,
		       lines[i].text);
	free(lines);
	return 0;
}
