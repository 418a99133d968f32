// SPDX-License-Identifier: GPL-2.0
/*
 * PID 1 of the arm64 guest, where there is no shell: runs each program of a directory,
 * with output to hvc0 as kselftest's runner has it, and turns the machine off. The
 * directory is a collection of kselftests, collection=NAME on the kernel command line.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED	4	/* kselftest's exit status */

static int is_test(const struct dirent *entry)
{
	return *entry->d_name != '.';
}

static void mount_all(void)
{
	static const char *const mounts[][2] = {
		{ "devtmpfs", "/dev" }, { "proc", "/proc" }, { "sysfs", "/sys" },
		{ "debugfs", "/sys/kernel/debug" }, { "tmpfs", "/tmp" },
	};
	unsigned int i;

	for (i = 0; i < sizeof(mounts) / sizeof(*mounts); i++) {
		mkdir(mounts[i][1], 0755);
		mount(mounts[i][0], mounts[i][1], mounts[i][0], 0, NULL);
	}
}

/* Each line of it with "# " before. Returns the exit status. */
static int run(const char *path)
{
	char line[4096];
	int fds[2], status;
	FILE *out;
	pid_t pid;

	if (pipe(fds))
		return 1;
	pid = fork();
	if (!pid) {
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		execl(path, path, NULL);
		_exit(127);
	}
	close(fds[1]);
	out = fdopen(fds[0], "r");
	while (out && fgets(line, sizeof(line), out))
		printf("# %s%s", line, strchr(line, '\n') ? "" : "\n");
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int run_all(const char *collection)
{
	struct dirent **tests;
	int nr = scandir(collection, &tests, is_test, alphasort), i, ret, failed = 0;
	char path[512];

	printf("TAP version 13\n1..%d\n", nr);
	for (i = 0; i < nr; i++) {
		printf("# selftests: %s: %s\n", collection, tests[i]->d_name);
		snprintf(path, sizeof(path), "%s/%s", collection, tests[i]->d_name);
		ret = run(path);
		failed += ret && ret != SKIPPED;
		printf("%sok %d selftests: %s: %s%s\n", ret && ret != SKIPPED ? "not " : "",
		       i + 1, collection, tests[i]->d_name, ret == SKIPPED ? " # SKIP" : "");
	}
	return nr <= 0 || failed;
}

int main(void)
{
	const char *collection = getenv("collection");
	int fd, ret;

	mount_all();
	fd = open("/dev/hvc0", O_RDWR);
	if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		reboot(RB_POWER_OFF);
	setvbuf(stdout, NULL, _IOLBF, 0);
	ret = run_all(collection ? collection : "");
	printf("guest: exit %d\n", ret);
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	return 0;
}
