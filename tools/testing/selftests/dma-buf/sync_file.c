// SPDX-License-Identifier: GPL-2.0
/*
 * The fences of a dma-buf as a sync_file, and the other way round:
 * DMA_BUF_IOCTL_EXPORT_SYNC_FILE and DMA_BUF_IOCTL_IMPORT_SYNC_FILE. The fences
 * are those of sw_sync.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/dma-buf.h>
#include <linux/sync_file.h>

#include "../kselftest_harness.h"
#include "dmabuf_util.h"

/* drivers/dma-buf/sw_sync.c, not exported */
struct sw_sync_create_fence_data {
	__u32 value;
	char name[32];
	__s32 fence;
};

#define SW_SYNC_IOC_CREATE_FENCE	_IOWR('W', 0, struct sw_sync_create_fence_data)
#define SW_SYNC_IOC_INC			_IOW('W', 1, __u32)

/* A buffer, and a timeline that makes fences. */
FIXTURE(sync_file) {
	int fd;
	int timeline;
};

FIXTURE_SETUP(sync_file) {
	self->timeline = open("/sys/kernel/debug/sync/sw_sync", O_RDWR | O_CLOEXEC);
	if (self->timeline < 0)
		SKIP(return, "no sw_sync");
	/* Not first udmabuf: DMA-API debugging objects to its change of direction. */
	self->fd = buf_heap("system", page_size());
	if (self->fd < 0)
		self->fd = buf_udmabuf(page_size());
	if (self->fd < 0)
		SKIP(return, "no udmabuf and no system heap");
}

FIXTURE_TEARDOWN(sync_file)
{
	close(self->fd);
	close(self->timeline);
}

/* A fence that signals when the timeline gets to @value. */
static int fence_at(int timeline, unsigned int value)
{
	struct sw_sync_create_fence_data arg = { .value = value, .name = "fence" };

	return ioctl(timeline, SW_SYNC_IOC_CREATE_FENCE, &arg) < 0 ? -errno : arg.fence;
}

static void advance(int timeline, __u32 by)
{
	ioctl(timeline, SW_SYNC_IOC_INC, &by);
}

static int export(int fd, __u32 flags)
{
	struct dma_buf_export_sync_file arg = { .flags = flags, .fd = -1 };

	return ioctl(fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &arg) < 0 ? -errno : arg.fd;
}

static int import(int fd, __u32 flags, int fence)
{
	struct dma_buf_import_sync_file arg = { .flags = flags, .fd = fence };

	return ioctl(fd, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &arg) < 0 ? -errno : 0;
}

static bool ready(int fd, short events)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	return poll(&pfd, 1, 0) == 1 && pfd.revents & events;
}

/* What a fence's file knows: 1 signalled, 0 not yet. */
static int status(int fence, unsigned int *num)
{
	struct sync_file_info info = {};

	if (ioctl(fence, SYNC_IOC_FILE_INFO, &info))
		return -errno;
	*num = info.num_fences;
	return info.status;
}

static void expect_export(struct __test_metadata *_metadata, int fd, __u32 flags,
			  bool signalled, unsigned int fences)
{
	int fence = export(fd, flags);
	unsigned int num = 0;

	ASSERT_LE(0, fence);
	EXPECT_EQ(signalled, status(fence, &num));
	EXPECT_EQ(signalled, ready(fence, POLLIN));
	if (fences)
		EXPECT_EQ(fences, num);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fence, F_GETFD));
	close(fence);
}

/* No fence at all is one that has signalled. */
TEST_F(sync_file, export_of_idle)
{
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_READ, true, 0);
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_WRITE, true, 0);
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_RW, true, 0);
}

/* Who wants to read waits for writers, who wants to write for everybody. */
TEST_F(sync_file, write_fence)
{
	int fence = fence_at(self->timeline, 1);

	ASSERT_LE(0, fence);
	ASSERT_EQ(0, import(self->fd, DMA_BUF_SYNC_WRITE, fence));
	close(fence);
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_READ, false, 1);
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_WRITE, false, 1);
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_RW, false, 1);
	EXPECT_FALSE(ready(self->fd, POLLIN));
	EXPECT_FALSE(ready(self->fd, POLLOUT));
	advance(self->timeline, 1);
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_READ, true, 0);
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_WRITE, true, 0);
	EXPECT_TRUE(ready(self->fd, POLLIN));
	EXPECT_TRUE(ready(self->fd, POLLOUT));
}

TEST_F(sync_file, read_fence)
{
	int fence = fence_at(self->timeline, 1);

	ASSERT_LE(0, fence);
	ASSERT_EQ(0, import(self->fd, DMA_BUF_SYNC_READ, fence));
	close(fence);
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_READ, true, 0);
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_WRITE, false, 1);
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_RW, false, 1);
	EXPECT_TRUE(ready(self->fd, POLLIN));
	EXPECT_FALSE(ready(self->fd, POLLOUT));
	advance(self->timeline, 1);
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_WRITE, true, 0);
	EXPECT_TRUE(ready(self->fd, POLLOUT));
}

/* RW is a write. */
TEST_F(sync_file, read_write_fence)
{
	int fence = fence_at(self->timeline, 1);

	ASSERT_LE(0, fence);
	ASSERT_EQ(0, import(self->fd, DMA_BUF_SYNC_RW, fence));
	close(fence);
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_READ, false, 1);
	advance(self->timeline, 1);
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_RW, true, 0);
}

TEST_F(sync_file, signalled_fence)
{
	int fence;

	advance(self->timeline, 1);
	fence = fence_at(self->timeline, 1);
	ASSERT_LE(0, fence);
	ASSERT_EQ(0, import(self->fd, DMA_BUF_SYNC_WRITE, fence));
	close(fence);
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_RW, true, 0);
}

/* Of two timelines, both count; and what was exported stays what it was. */
TEST_F(sync_file, several_fences)
{
	int other = open("/sys/kernel/debug/sync/sw_sync", O_RDWR | O_CLOEXEC);
	int fence[2], both, write;
	unsigned int num;

	ASSERT_LE(0, other);
	fence[0] = fence_at(self->timeline, 1);
	fence[1] = fence_at(other, 1);
	ASSERT_LE(0, fence[0]);
	ASSERT_LE(0, fence[1]);
	ASSERT_EQ(0, import(self->fd, DMA_BUF_SYNC_WRITE, fence[0]));
	ASSERT_EQ(0, import(self->fd, DMA_BUF_SYNC_READ, fence[1]));
	both = export(self->fd, DMA_BUF_SYNC_WRITE);
	write = export(self->fd, DMA_BUF_SYNC_READ);
	ASSERT_LE(0, both);
	ASSERT_LE(0, write);
	EXPECT_EQ(0, status(both, &num));
	EXPECT_EQ(2, num);
	EXPECT_EQ(0, status(write, &num));
	EXPECT_EQ(1, num);

	/* A merged fence goes in as those it is made of. */
	ASSERT_EQ(0, import(self->fd, DMA_BUF_SYNC_READ, both));
	advance(self->timeline, 1);
	EXPECT_EQ(1, status(write, &num));
	EXPECT_EQ(0, status(both, &num));
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_READ, true, 0);
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_WRITE, false, 0);
	advance(other, 1);
	EXPECT_EQ(1, status(both, &num));
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_WRITE, true, 0);
	close(both);
	close(write);
	close(fence[0]);
	close(fence[1]);
	close(other);
}

/* CPU access waits; here it need not, or it would take for ever. */
TEST_F(sync_file, cpu_access)
{
	int fence = fence_at(self->timeline, 1);

	ASSERT_LE(0, fence);
	ASSERT_EQ(0, import(self->fd, DMA_BUF_SYNC_READ, fence));
	EXPECT_EQ(0, buf_sync(self->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ));
	EXPECT_EQ(0, buf_sync(self->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ));
	advance(self->timeline, 1);
	EXPECT_EQ(0, buf_sync(self->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
	EXPECT_EQ(0, buf_sync(self->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
	close(fence);
}

TEST_F(sync_file, bad_flags)
{
	static const __u32 flags[] = { 0, DMA_BUF_SYNC_END, 8, 1U << 31, ~0U,
				       DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END };
	int fence = fence_at(self->timeline, 1);
	size_t i;

	ASSERT_LE(0, fence);
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		EXPECT_EQ(-EINVAL, export(self->fd, flags[i]));
		EXPECT_EQ(-EINVAL, import(self->fd, flags[i], fence));
	}
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_RW, true, 0);
	close(fence);
}

TEST_F(sync_file, bad_fds)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int closed = dup(null), fence = fence_at(self->timeline, 1);
	int next;

	ASSERT_LE(0, fence);
	close(closed);
	EXPECT_EQ(-EINVAL, import(self->fd, DMA_BUF_SYNC_WRITE, -1));
	EXPECT_EQ(-EINVAL, import(self->fd, DMA_BUF_SYNC_WRITE, closed));
	EXPECT_EQ(-EINVAL, import(self->fd, DMA_BUF_SYNC_WRITE, null));
	EXPECT_EQ(-EINVAL, import(self->fd, DMA_BUF_SYNC_WRITE, self->fd));
	EXPECT_EQ(-EINVAL, import(self->fd, DMA_BUF_SYNC_WRITE, self->timeline));
	/* Not a dma-buf. */
	EXPECT_EQ(-EBADF, export(-1, DMA_BUF_SYNC_RW));
	EXPECT_EQ(-ENOTTY, export(null, DMA_BUF_SYNC_RW));
	EXPECT_EQ(-ENOTTY, import(fence, DMA_BUF_SYNC_RW, fence));
	/* Not an argument. */
	EXPECT_EQ(-1, ioctl(self->fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->fd, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, NULL));
	EXPECT_EQ(EFAULT, errno);
	expect_export(_metadata, self->fd, DMA_BUF_SYNC_RW, true, 0);
	/* No descriptor was left behind. */
	next = dup(null);
	EXPECT_EQ(closed, next);
	close(next);
	close(fence);
	close(null);
}

TEST_HARNESS_MAIN
