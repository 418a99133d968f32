// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/PID/fdinfo of a dma-buf: right, readable by a process of the same user
 * that need not be able to attach, and by nobody else.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/dma-buf.h>

#include "../kselftest_harness.h"
#include "dmabuf_util.h"

#define UID_OWNER	12345
#define UID_OTHER	12346
#define PAGES		5

struct fdinfo {
	long long ino;
	long long size;
	long long count;
	char exp_name[64];
	char name[64];
};

/* The owner: a process with the buffer as its fd, which waits to be killed. */
FIXTURE(fdinfo) {
	int fd;
	int alive[2];
	pid_t owner;
};

static void become(uid_t uid)
{
	if (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
		_exit(KSFT_FAIL);
}

static void owner(int ready, bool dumpable)
{
	become(UID_OWNER);
	/* Who changes users is not dumpable, and then it is root's to look. */
	prctl(PR_SET_DUMPABLE, dumpable);
	if (write(ready, "", 1) != 1)
		_exit(KSFT_FAIL);
	while (1)
		pause();
}

static pid_t start_owner(int *alive, bool dumpable)
{
	pid_t pid = fork();
	char byte;

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		owner(alive[1], dumpable);
	}
	if (pid > 0 && read(alive[0], &byte, 1) != 1)
		return -1;
	return pid;
}

static void stop_owner(pid_t pid)
{
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
}

FIXTURE_SETUP(fdinfo) {
	self->fd = -1;
	self->owner = -1;
	if (getuid())
		SKIP(return, "not root");
	self->fd = buf_udmabuf(PAGES * page_size());
	if (self->fd < 0)
		self->fd = buf_heap("system", PAGES * page_size());
	if (self->fd < 0)
		SKIP(return, "no udmabuf and no system heap");
	ASSERT_EQ(0, ioctl(self->fd, DMA_BUF_SET_NAME_A, (unsigned long)"fdinfo-test"));
	ASSERT_EQ(0, pipe2(self->alive, O_CLOEXEC));
	self->owner = start_owner(self->alive, true);
	ASSERT_LT(0, self->owner);
}

FIXTURE_TEARDOWN(fdinfo)
{
	stop_owner(self->owner);
	close(self->fd);
}

/* The value of a line "key:\tvalue\n", or NULL if that's not the key. */
static char *value_of(char *line, const char *key)
{
	size_t len = strlen(key);

	if (strncmp(line, key, len) || line[len] != ':')
		return NULL;
	line[strcspn(line, "\n")] = 0;
	return line + len + 1 + strspn(line + len + 1, " \t");
}

static void take_line(struct fdinfo *info, char *line)
{
	char *value;

	value = value_of(line, "ino");
	if (value)
		info->ino = atoll(value);
	value = value_of(line, "size");
	if (value)
		info->size = atoll(value);
	value = value_of(line, "count");
	if (value)
		info->count = atoll(value);
	value = value_of(line, "exp_name");
	if (value)
		snprintf(info->exp_name, sizeof(info->exp_name), "%.63s", value);
	value = value_of(line, "name");
	if (value)
		snprintf(info->name, sizeof(info->name), "%.63s", value);
}

static int read_fdinfo(pid_t pid, int fd, struct fdinfo *info)
{
	char path[64], line[256];
	FILE *file;

	memset(info, 0, sizeof(*info));
	info->ino = -1;
	info->size = -1;
	info->count = -1;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	file = fopen(path, "r");
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file))
		take_line(info, line);
	fclose(file);
	return 0;
}

/* As @uid: the fdinfo of the owner's buffer, or why not. */
static int read_as(uid_t uid, pid_t pid, int fd, struct fdinfo *info)
{
	struct {
		int ret;
		struct fdinfo info;
	} answer = { .ret = -EPIPE };
	int channel[2];
	pid_t reader;

	if (pipe2(channel, O_CLOEXEC))
		return -errno;
	reader = fork();
	if (!reader) {
		become(uid);
		answer.ret = read_fdinfo(pid, fd, &answer.info);
		_exit(write(channel[1], &answer, sizeof(answer)) != sizeof(answer));
	}
	close(channel[1]);
	if (read(channel[0], &answer, sizeof(answer)) != sizeof(answer))
		answer.ret = -EPIPE;
	close(channel[0]);
	waitpid(reader, NULL, 0);
	*info = answer.info;
	return answer.ret;
}

TEST_F(fdinfo, content)
{
	struct fdinfo info;
	struct stat st;

	ASSERT_EQ(0, fstat(self->fd, &st));
	ASSERT_EQ(0, read_fdinfo(getpid(), self->fd, &info));
	EXPECT_EQ(st.st_ino, info.ino);
	EXPECT_EQ(PAGES * page_size(), info.size);
	EXPECT_EQ(st.st_size, info.size);
	EXPECT_STREQ("fdinfo-test", info.name);
	EXPECT_NE(0, strlen(info.exp_name));
	EXPECT_LE(1, info.count);
}

/* Inodes tell buffers apart, and are those of the same buffer elsewhere. */
TEST_F(fdinfo, inode)
{
	int other = buf_udmabuf(page_size()), same = dup(self->fd);
	struct fdinfo info, other_info, same_info;

	if (other < 0)
		other = buf_heap("system", page_size());
	ASSERT_LE(0, other);
	ASSERT_EQ(0, read_fdinfo(self->owner, self->fd, &info));
	ASSERT_EQ(0, read_fdinfo(getpid(), other, &other_info));
	ASSERT_EQ(0, read_fdinfo(getpid(), same, &same_info));
	EXPECT_NE(info.ino, other_info.ino);
	EXPECT_EQ(info.ino, same_info.ino);
	EXPECT_EQ(page_size(), other_info.size);
	close(other);
	close(same);
}

TEST_F(fdinfo, of_same_user)
{
	struct fdinfo info;
	struct stat st;

	ASSERT_EQ(0, fstat(self->fd, &st));
	ASSERT_EQ(0, read_as(UID_OWNER, self->owner, self->fd, &info));
	EXPECT_EQ(st.st_ino, info.ino);
	EXPECT_EQ(PAGES * page_size(), info.size);
}

TEST_F(fdinfo, of_other_user)
{
	struct fdinfo info;

	EXPECT_EQ(-EACCES, read_as(UID_OTHER, self->owner, self->fd, &info));
	EXPECT_EQ(-1, info.ino);
	EXPECT_EQ(-1, info.size);
}

TEST_F(fdinfo, of_root)
{
	struct fdinfo info;

	EXPECT_EQ(0, read_as(0, self->owner, self->fd, &info));
	EXPECT_EQ(PAGES * page_size(), info.size);
}

/* A process that must not be looked into is not, by its own user either. */
TEST_F(fdinfo, of_undumpable)
{
	pid_t pid = start_owner(self->alive, false);
	struct fdinfo info;

	ASSERT_LT(0, pid);
	EXPECT_EQ(-EACCES, read_as(UID_OWNER, pid, self->fd, &info));
	EXPECT_EQ(-1, info.ino);
	stop_owner(pid);
}

/* The list of fds goes by the same rule. */
TEST_F(fdinfo, gone)
{
	struct fdinfo info;

	EXPECT_EQ(-ENOENT, read_as(UID_OWNER, self->owner, 999, &info));
	stop_owner(self->owner);
	EXPECT_EQ(-ENOENT, read_as(UID_OWNER, self->owner, self->fd, &info));
	self->owner = -1;
}

TEST_HARNESS_MAIN
