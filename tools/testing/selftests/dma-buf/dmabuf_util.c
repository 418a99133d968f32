// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>

#include "dmabuf_util.h"

#define SWITCH	"/sys/module/dma_buf/parameters/debug"

size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
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

const char *read_text(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = 0;

	if (fd >= 0) {
		got = read(fd, buf, len - 1);
		close(fd);
	}
	buf[got > 0 ? got : 0] = 0;
	buf[strcspn(buf, "\n")] = 0;
	return buf;
}

int debug_get(void)
{
	char buf[16];

	if (!*read_text(SWITCH, buf, sizeof(buf)))
		return -ENOENT;
	return !strcmp(buf, "on");
}

int debug_set(bool on)
{
	return write_text(SWITCH, on ? "on" : "off");
}

bool dma_bounces(void)
{
	char cmdline[4096];

	return strstr(read_text("/proc/cmdline", cmdline, sizeof(cmdline)), "swiotlb=force");
}

int device_open(char *why, size_t len)
{
	const char *path = "/dev/dmabuf_test";
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT &&
	    !system("modprobe -q test_dmabuf >/dev/null 2>&1"))
		fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		snprintf(why, len, "%s: %s", path, strerror(errno));
	return fd;
}

static int do_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? -errno : 0;
}

bool behind_iommu(int dev)
{
	struct test_dmabuf_device arg = {};

	return !do_ioctl(dev, TEST_DMABUF_DEVICE, &arg) && arg.iommu;
}

int buf_export(int dev, unsigned int segments, unsigned int pages,
	       unsigned int flags)
{
	struct test_dmabuf_export arg = {
		.segments = segments,
		.pages = pages,
		.flags = flags,
	};
	int ret = do_ioctl(dev, TEST_DMABUF_EXPORT, &arg);

	return ret ? ret : arg.fd;
}

int buf_heap(const char *heap, size_t size)
{
	struct dma_heap_allocation_data arg = {
		.len = size,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	char path[64];
	int fd, ret;

	snprintf(path, sizeof(path), "/dev/dma_heap/%s", heap);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = do_ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &arg);
	close(fd);
	return ret ? ret : (int)arg.fd;
}

int buf_udmabuf(size_t size)
{
	struct udmabuf_create arg = {
		.flags = UDMABUF_FLAGS_CLOEXEC,
		.size = size,
	};
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), ret = -ENODEV;

	if (dev < 0)
		return -errno;
	arg.memfd = memfd_create("udmabuf", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	if ((int)arg.memfd >= 0 && !ftruncate(arg.memfd, size) &&
	    !fcntl(arg.memfd, F_ADD_SEALS, F_SEAL_SHRINK)) {
		ret = ioctl(dev, UDMABUF_CREATE, &arg);
		if (ret < 0)
			ret = -errno;
	}
	close(arg.memfd);
	close(dev);
	return ret;
}

int buf_attach(int dev, int fd, unsigned int device, unsigned int flags)
{
	struct test_dmabuf_attach arg = {
		.fd = fd,
		.device = device,
		.flags = flags,
	};
	int ret = do_ioctl(dev, TEST_DMABUF_ATTACH, &arg);

	return ret ? ret : (int)arg.id;
}

int buf_map(int dev, int attach, unsigned int direction)
{
	struct test_dmabuf_map arg = {
		.attach = attach,
		.direction = direction,
	};
	int ret = do_ioctl(dev, TEST_DMABUF_MAP, &arg);

	return ret ? ret : (int)arg.id;
}

int buf_detach(int dev, int attach)
{
	uint32_t id = attach;

	return do_ioctl(dev, TEST_DMABUF_DETACH, &id);
}

int buf_unmap(int dev, int map)
{
	uint32_t id = map;

	return do_ioctl(dev, TEST_DMABUF_UNMAP, &id);
}

int buf_entry(int dev, int map, unsigned int index,
	      struct test_dmabuf_entry *entry)
{
	memset(entry, 0, sizeof(*entry));
	entry->map = map;
	entry->index = index;
	return do_ioctl(dev, TEST_DMABUF_ENTRY, entry);
}

int buf_same_table(int dev, int map, int other)
{
	struct test_dmabuf_entry entry = { .map = map, .other = other };
	int ret = do_ioctl(dev, TEST_DMABUF_ENTRY, &entry);

	return ret ? ret : (int)entry.same_table;
}

int buf_state(int dev, int fd, struct test_dmabuf_state *state)
{
	memset(state, 0, sizeof(*state));
	state->fd = fd;
	return do_ioctl(dev, TEST_DMABUF_STATE, state);
}

static int buf_access(int dev, int map, void *data, size_t len, bool write)
{
	struct test_dmabuf_access arg = {
		.map = map,
		.write = write,
		.length = len,
		.data = (uintptr_t)data,
	};

	return do_ioctl(dev, TEST_DMABUF_ACCESS, &arg);
}

int buf_read(int dev, int map, void *data, size_t len)
{
	return buf_access(dev, map, data, len, false);
}

int buf_write(int dev, int map, const void *data, size_t len)
{
	return buf_access(dev, map, (void *)data, len, true);
}

int buf_sync(int fd, uint64_t flags)
{
	struct dma_buf_sync arg = { .flags = flags };

	return do_ioctl(fd, DMA_BUF_IOCTL_SYNC, &arg);
}

static unsigned char pattern(size_t at, unsigned int seed)
{
	return (at * 7 + (at >> 8) * 13 + (at >> 12) * 31) ^ (seed * 0x55);
}

void fill(void *data, size_t len, unsigned int seed)
{
	unsigned char *byte = data;
	size_t i;

	for (i = 0; i < len; i++)
		byte[i] = pattern(i, seed);
}

size_t count_wrong(const void *data, size_t len, unsigned int seed)
{
	const unsigned char *byte = data;
	size_t i, wrong = 0;

	for (i = 0; i < len; i++)
		wrong += byte[i] != pattern(i, seed);
	return wrong;
}
