// SPDX-License-Identifier: GPL-2.0
/*
 * udmabufs whose folios move: idle, mapped by the CPU, attached to importers of
 * either kind. The importers are those of lib/test_dmabuf.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/udmabuf.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <lib/test_dmabuf_uapi.h>
#include <lib/test_noncoherent_uapi.h>

#include "../kselftest_harness.h"
#include "../pinpage/pinpage_util.h"

#define NR	((size_t)64)
#define LEN	(NR * PAGE)
#define WHO	"/sys/kernel/debug/pinpage/who"

/* enum dma_data_direction, not exported */
#define DMA_BIDIRECTIONAL	0
#define DMA_TO_DEVICE		1
#define DMA_FROM_DEVICE		2

/* drivers/dma-buf/sw_sync.c, not exported */
#define SW_SYNC			"/sys/kernel/debug/sync/sw_sync"

struct sw_sync_create_fence_data {
	__u32 value;
	char name[32];
	__s32 fence;
};

#define SW_SYNC_IOC_CREATE_FENCE _IOWR('W', 0, struct sw_sync_create_fence_data)
#define SW_SYNC_IOC_INC		_IOW('W', 1, __u32)

FIXTURE(udmabuf) {
	int dev;	/* /dev/udmabuf */
	int importer;	/* /dev/dmabuf_test */
	int memfd;
	int buf;
	char *at;	/* the memfd */
	char *mapped;	/* the dma-buf */
	bool stop;
	int64_t balance;
};

static int create(int dev, int memfd, size_t offset, size_t len)
{
	struct udmabuf_create arg = {
		.memfd = memfd, .offset = offset, .size = len, .flags = UDMABUF_FLAGS_CLOEXEC,
	};
	int fd = ioctl(dev, UDMABUF_CREATE, &arg);

	return fd < 0 ? -errno : fd;
}

/* Two ranges that have a page in common. */
static int create_overlapping(int dev, int memfd)
{
	struct {
		struct udmabuf_create_list head;
		struct udmabuf_create_item item[2];
	} arg = { .head = { .flags = UDMABUF_FLAGS_CLOEXEC, .count = 2 } };
	int fd;

	arg.item[0] = (struct udmabuf_create_item){ .memfd = memfd, .size = 4 * PAGE };
	arg.item[1] = (struct udmabuf_create_item){
		.memfd = memfd, .offset = 3 * PAGE, .size = 4 * PAGE };
	fd = ioctl(dev, UDMABUF_CREATE_LIST, &arg);
	return fd < 0 ? -errno : fd;
}

#define NR_RANGES	16

/* All of it, in as many ranges. */
static int create_ranges(int dev, int memfd)
{
	struct {
		struct udmabuf_create_list head;
		struct udmabuf_create_item item[NR_RANGES];
	} arg = { .head = { .flags = UDMABUF_FLAGS_CLOEXEC, .count = NR_RANGES } };
	int fd, i;

	for (i = 0; i < NR_RANGES; i++)
		arg.item[i] = (struct udmabuf_create_item){ .memfd = memfd,
			.offset = i * LEN / NR_RANGES, .size = LEN / NR_RANGES };
	fd = ioctl(dev, UDMABUF_CREATE_LIST, &arg);
	return fd < 0 ? -errno : fd;
}

static void *map_shared(int fd)
{
	void *at = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

/* NULL, or why not; what could not be made is negative or NULL. */
static const char *make_buffer(struct _test_data_udmabuf *self)
{
	if (!have_two_nodes())
		return "one NUMA node";
	if (access(WHO, F_OK))
		return "no pinpage in debugfs";
	self->dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (self->dev < 0)
		return "no /dev/udmabuf";
	system("modprobe -q test_dmabuf >/dev/null 2>&1");
	self->importer = open("/dev/dmabuf_test", O_RDWR | O_CLOEXEC);
	self->balance = pin_balance();
	self->memfd = memfd_create("udmabuf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	self->buf = -1;
	if (ftruncate(self->memfd, LEN) || fcntl(self->memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		return NULL;
	self->at = map_shared(self->memfd);
	if (!self->at)
		return NULL;
	user_fill(self->at, NR, SEED_USER);
	self->buf = create(self->dev, self->memfd, 0, LEN);
	self->mapped = self->buf < 0 ? NULL : map_shared(self->buf);
	return NULL;
}

static void drop_buffer(struct _test_data_udmabuf *self)
{
	if (self->importer >= 0)
		close(self->importer);
	munmap(self->mapped, LEN);
	close(self->buf);
	munmap(self->at, LEN);
	close(self->memfd);
	close(self->dev);
}

FIXTURE_SETUP(udmabuf)
{
	const char *why = make_buffer(self);

	if (why)
		SKIP(return, "%s", why);
	ASSERT_LE(0, self->buf);
	ASSERT_NE(NULL, self->mapped);
}

FIXTURE_TEARDOWN(udmabuf)
{
	drop_buffer(self);
	EXPECT_EQ(self->balance, pin_balance());
}

static int attach(int dev, int fd, unsigned int flags)
{
	struct test_dmabuf_attach arg = { .fd = fd, .flags = flags };

	return ioctl(dev, TEST_DMABUF_ATTACH, &arg) ? -errno : (int)arg.id;
}

static int map_for(int dev, int id, int direction)
{
	struct test_dmabuf_map arg = { .attach = id, .direction = direction };

	return ioctl(dev, TEST_DMABUF_MAP, &arg) ? -errno : (int)arg.id;
}

static int map(int dev, int id)
{
	return map_for(dev, id, DMA_BIDIRECTIONAL);
}

static int by_id(int dev, unsigned long cmd, __u32 id)
{
	return ioctl(dev, cmd, &id) ? -errno : 0;
}

/* What the device of the importer sees: wrong bytes, or an error. */
static int64_t device_check(int dev, int id, uint64_t seed)
{
	char *data = malloc(LEN);
	struct test_dmabuf_access arg = { .map = id, .length = LEN, .data = (uintptr_t)data };
	int64_t ret;

	ret = ioctl(dev, TEST_DMABUF_ACCESS, &arg) ? -errno : (int64_t)user_check(data, NR, seed);
	free(data);
	return ret;
}

/* The device of the importer writes all of it. */
static int device_fill(int dev, int id, uint64_t seed)
{
	char *data = malloc(LEN);
	struct test_dmabuf_access arg = {
		.map = id, .write = 1, .length = LEN, .data = (uintptr_t)data };
	int ret;

	user_fill(data, NR, seed);
	ret = ioctl(dev, TEST_DMABUF_ACCESS, &arg) ? -errno : 0;
	free(data);
	return ret;
}

static int cpu_sync(int buf, __u64 flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	return ioctl(buf, DMA_BUF_IOCTL_SYNC, &sync) ? -errno : 0;
}

/* A fence of the buffer, as if a device were at work: the timeline, to be closed. */
static int add_fence(int buf)
{
	struct sw_sync_create_fence_data data = { .value = 1, .name = "udmabuf" };
	struct dma_buf_import_sync_file arg = { .flags = DMA_BUF_SYNC_RW };
	int timeline = open(SW_SYNC, O_RDWR | O_CLOEXEC), ret;

	if (timeline < 0)
		return -errno;
	ret = ioctl(timeline, SW_SYNC_IOC_CREATE_FENCE, &data) ? -errno : 0;
	if (!ret) {
		arg.fd = data.fence;
		ret = ioctl(buf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &arg) ? -errno : 0;
		close(data.fence);
	}
	if (!ret)
		return timeline;
	close(timeline);
	return ret;
}

TEST_F_TIMEOUT(udmabuf, idle, TEST_SECONDS)
{
	int round;

	for (round = 0; round < 4; round++) {
		EXPECT_EQ(NR, move_patiently(self->at, NR));
		EXPECT_EQ(0, user_check(self->at, NR, SEED_USER + round));
		EXPECT_EQ(0, user_check(self->mapped, NR, SEED_USER + round));
		user_fill(round % 2 ? self->at : self->mapped, NR, SEED_USER + round + 1);
		EXPECT_EQ(0, user_check(self->at, NR, SEED_USER + round + 1));
	}
}

/* The process writes by its mapping of the buffer while pages move. */
TEST_F_TIMEOUT(udmabuf, mmap, TEST_SECONDS)
{
	struct mover m;
	int round;

	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < rounds(100); round++) {
		user_fill(self->mapped, NR, round);
		EXPECT_EQ(0, user_check(self->at, NR, round));
		user_fill(self->at, NR, ~round);
		EXPECT_EQ(0, user_check(self->mapped, NR, ~round));
	}
	stop_mover(&m);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
}

/* CPU access begins, the pages move, and it ends. */
TEST_F_TIMEOUT(udmabuf, cpu_access, TEST_SECONDS)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_RW };
	int round;

	sync.flags = DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END;
	EXPECT_EQ(-1, ioctl(self->buf, DMA_BUF_IOCTL_SYNC, &sync));
	EXPECT_EQ(EINVAL, errno);
	for (round = 0; round < 4; round++) {
		sync.flags = DMA_BUF_SYNC_RW | DMA_BUF_SYNC_START;
		EXPECT_EQ(0, ioctl(self->buf, DMA_BUF_IOCTL_SYNC, &sync));
		user_fill(self->mapped, NR, round);
		EXPECT_EQ(NR, move_patiently(self->at, NR));
		EXPECT_EQ(0, user_check(self->mapped, NR, round));
		sync.flags = DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END;
		EXPECT_EQ(0, ioctl(self->buf, DMA_BUF_IOCTL_SYNC, &sync));
	}
}

/* An importer that can't cope: the buffer moves before it maps, and after. */
TEST_F_TIMEOUT(udmabuf, static_importer, TEST_SECONDS)
{
	char line[512], name[32];
	bool blamed = false;
	int id, mapping;
	uint64_t pfn;
	FILE *who;

	if (self->importer < 0)
		SKIP(return, "no test_dmabuf");
	id = attach(self->importer, self->buf, 0);
	ASSERT_LT(0, id);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	mapping = map(self->importer, id);
	ASSERT_LT(0, mapping);
	EXPECT_EQ(0, move_to(0, self->at, NR, !node_of(self->at)));
	EXPECT_EQ(0, device_check(self->importer, mapping, SEED_USER));

	/* Nobody waits for what is not going to move. */
	user_fill(self->mapped, NR, SEED_USER);
	EXPECT_EQ(0, cpu_sync(self->buf, DMA_BUF_SYNC_RW | DMA_BUF_SYNC_START));
	EXPECT_EQ(0, cpu_sync(self->buf, DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END));

	/* Who stands in the way says who it is, and for whom. */
	pfn = user_pfn(self->at);
	ASSERT_NE(0, pfn);
	snprintf(line, sizeof(line), "%llu %llu", (unsigned long long)pfn,
		 (unsigned long long)pfn + 1);
	ASSERT_EQ(0, write_text(WHO, line));
	who = fopen(WHO, "r");
	ASSERT_NE(NULL, who);
	snprintf(name, sizeof(name), "dmabuf_test.0");
	while (fgets(line, sizeof(line), who)) {
		TH_LOG("%s", line);
		if (strstr(line, "refused") && strstr(line, "udmabuf") && strstr(line, name))
			blamed = true;
	}
	fclose(who);
	EXPECT_TRUE(blamed);

	EXPECT_EQ(0, by_id(self->importer, TEST_DMABUF_UNMAP, mapping));
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	mapping = map(self->importer, id);
	ASSERT_LT(0, mapping);
	EXPECT_EQ(0, device_check(self->importer, mapping, SEED_USER));
	EXPECT_EQ(0, by_id(self->importer, TEST_DMABUF_UNMAP, mapping));
	EXPECT_EQ(0, by_id(self->importer, TEST_DMABUF_DETACH, id));
	EXPECT_EQ(NR, move_patiently(self->at, NR));
}

/* The kernel writes to its mapping whenever it likes. */
TEST_F_TIMEOUT(udmabuf, vmap, TEST_SECONDS)
{
	__s32 fd = self->buf;

	if (self->importer < 0)
		SKIP(return, "no test_dmabuf");
	ASSERT_EQ(0, ioctl(self->importer, TEST_DMABUF_MAP_KERNEL, &fd));
	EXPECT_EQ(0, move_to(0, self->at, NR, !node_of(self->at)));
	fd = -1;
	ASSERT_EQ(0, ioctl(self->importer, TEST_DMABUF_MAP_KERNEL, &fd));
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	EXPECT_EQ(0, user_check(self->mapped, NR, SEED_USER));
}

/* A dynamic importer is told, and maps again before its device goes on. */
TEST_F_TIMEOUT(udmabuf, dynamic_importer, TEST_SECONDS)
{
	int id, mapping, round;

	if (self->importer < 0)
		SKIP(return, "no test_dmabuf");
	id = attach(self->importer, self->buf, TEST_DMABUF_ATTACH_DYNAMIC);
	ASSERT_LT(0, id);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	for (round = 0; round < 4; round++) {
		mapping = map(self->importer, id);
		ASSERT_LT(0, mapping);
		EXPECT_EQ(0, device_check(self->importer, mapping, SEED_USER));
		EXPECT_EQ(NR, move_patiently(self->at, NR));
		/* Mapped no more, as far as the exporter is concerned. */
		EXPECT_EQ(NR, move_patiently(self->at, NR));
		EXPECT_EQ(0, by_id(self->importer, TEST_DMABUF_UNMAP, mapping));
	}
	EXPECT_EQ(0, by_id(self->importer, TEST_DMABUF_DETACH, id));
}

/*
 * A device is at work, so the buffer stays; whoever uses it by the CPU does not
 * wait for that, nor for those who would move it. It ends, and the buffer moves.
 */
TEST_F_TIMEOUT(udmabuf, fence, TEST_SECONDS)
{
	int timeline, round;
	struct mover m;
	__u32 one = 1;

	ASSERT_EQ(NR, move_patiently(self->at, NR));
	timeline = add_fence(self->buf);
	if (timeline < 0)
		SKIP(return, "sw_sync: %s", strerror(-timeline));
	EXPECT_EQ(0, move_to(0, self->at, NR, !node_of(self->at)));
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < rounds(20); round++) {
		user_fill(self->mapped, NR, round);
		munmap(self->mapped, LEN);
		self->mapped = map_shared(self->buf);
		ASSERT_NE(NULL, self->mapped);
		EXPECT_EQ(0, user_check(self->mapped, NR, round));
	}
	stop_mover(&m);
	EXPECT_EQ(0, ioctl(timeline, SW_SYNC_IOC_INC, &one));
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	EXPECT_EQ(0, user_check(self->mapped, NR, round - 1));
	close(timeline);
}

/* The same with a dynamic importer, which has been told in vain so far. */
TEST_F_TIMEOUT(udmabuf, fence_of_importer, TEST_SECONDS)
{
	int id, mapping, timeline;
	__u32 one = 1;

	if (self->importer < 0)
		SKIP(return, "no test_dmabuf");
	ASSERT_EQ(NR, move_patiently(self->at, NR));
	id = attach(self->importer, self->buf, TEST_DMABUF_ATTACH_DYNAMIC);
	ASSERT_LT(0, id);
	mapping = map(self->importer, id);
	ASSERT_LT(0, mapping);
	timeline = add_fence(self->buf);
	if (timeline < 0)
		SKIP(return, "sw_sync: %s", strerror(-timeline));
	EXPECT_EQ(0, move_to(0, self->at, NR, !node_of(self->at)));
	EXPECT_EQ(0, device_fill(self->importer, mapping, SEED_DEVICE));
	EXPECT_EQ(0, ioctl(timeline, SW_SYNC_IOC_INC, &one));
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	EXPECT_EQ(0, user_check(self->mapped, NR, SEED_DEVICE));
	EXPECT_EQ(0, by_id(self->importer, TEST_DMABUF_UNMAP, mapping));
	close(timeline);
}

/* Nothing is fetched where the other thread writes. */
static void *begin_and_end(void *arg)
{
	struct _test_data_udmabuf *self = arg;

	while (!__atomic_load_n(&self->stop, __ATOMIC_RELAXED)) {
		if (cpu_sync(self->buf, DMA_BUF_SYNC_WRITE | DMA_BUF_SYNC_START) ||
		    cpu_sync(self->buf, DMA_BUF_SYNC_WRITE | DMA_BUF_SYNC_END))
			return (void *)1;
	}
	return NULL;
}

/* Ranges that are paused one after the other: everybody gets a turn. */
TEST_F_TIMEOUT(udmabuf, ranges, TEST_SECONDS)
{
	struct mover m[3];
	pthread_t thread;
	void *failed;
	char *at;
	int fd, i;

	fd = create_ranges(self->dev, self->memfd);
	ASSERT_LE(0, fd);
	at = map_shared(fd);
	ASSERT_NE(NULL, at);
	close(self->buf);
	munmap(self->mapped, LEN);
	self->buf = fd;
	self->mapped = at;
	ASSERT_EQ(0, pthread_create(&thread, NULL, begin_and_end, self));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, start_mover(&m[i], self->at + i * 16 * PAGE, 16, 0));
	for (i = 0; i < rounds(50); i++) {
		user_fill(self->mapped, NR, i);
		EXPECT_EQ(0, user_check(self->at, NR, i));
	}
	for (i = 0; i < 3; i++)
		stop_mover(&m[i]);
	__atomic_store_n(&self->stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, &failed));
	EXPECT_EQ(NULL, failed);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
}

/* Importers of both kinds come and go while pages move. */
TEST_F_TIMEOUT(udmabuf, races, TEST_SECONDS)
{
	int round, id, mapping;
	struct mover m;

	if (self->importer < 0)
		SKIP(return, "no test_dmabuf");
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < rounds(50); round++) {
		id = attach(self->importer, self->buf,
			    round % 2 ? TEST_DMABUF_ATTACH_DYNAMIC : 0);
		ASSERT_LT(0, id);
		user_fill(self->mapped, NR, round);
		mapping = map(self->importer, id);
		ASSERT_LT(0, mapping);
		/* With pages that stay; a dynamic one would look at old ones. */
		if (round % 2 == 0)
			EXPECT_EQ(0, device_check(self->importer, mapping, round));
		EXPECT_EQ(0, by_id(self->importer, TEST_DMABUF_UNMAP, mapping));
		EXPECT_EQ(0, by_id(self->importer, TEST_DMABUF_DETACH, id));
	}
	stop_mover(&m);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
}

/* Buffers of the same folios, and a buffer with the same folio twice. */
TEST_F_TIMEOUT(udmabuf, nested, TEST_SECONDS)
{
	int second = create(self->dev, self->memfd, 8 * PAGE, 16 * PAGE);
	int third = create_overlapping(self->dev, self->memfd);
	char *at;

	ASSERT_LE(0, second);
	ASSERT_LE(0, third);
	at = mmap(NULL, 8 * PAGE, PROT_READ, MAP_SHARED, third, 0);
	ASSERT_NE(MAP_FAILED, at);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	EXPECT_EQ(0, memcmp(at, self->at, 4 * PAGE));
	EXPECT_EQ(0, memcmp(at + 4 * PAGE, self->at + 3 * PAGE, 4 * PAGE));
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	EXPECT_EQ(0, memcmp(at, self->at, 4 * PAGE));
	munmap(at, 8 * PAGE);
	close(second);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	close(third);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
}

/* The buffer goes in the middle of moves, by close() and by the end of a process. */
TEST_F_TIMEOUT(udmabuf, release, TEST_SECONDS)
{
	int round, fd, status;
	struct mover m;
	pid_t pid;

	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < rounds(100); round++) {
		fd = create(self->dev, self->memfd, 0, LEN);
		ASSERT_LE(0, fd);
		close(fd);
	}
	for (round = 0; round < 5; round++) {
		pid = fork();
		if (!pid) {
			for (;;) {
				fd = create(self->dev, self->memfd, 0, LEN);
				self->mapped = map_shared(fd);
				user_fill(self->mapped, 1, 1);
				munmap(self->mapped, LEN);
				close(fd);
			}
		}
		ASSERT_LT(0, pid);
		sleep_ms(20);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
	}
	stop_mover(&m);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
}

/*
 * Whose content it is, the CPU's or the device's, and who gets to see it after a
 * move. As the machine is, where bounce buffers show what is not synchronized
 * (swiotlb=force), and with devices that are not coherent.
 */
FIXTURE(content) {
	struct _test_data_udmabuf b;
	int noncoherent;
	int id;		/* of the attachment */
};

FIXTURE_VARIANT(content) {
	bool noncoherent;
	unsigned int flags;
};

FIXTURE_VARIANT_ADD(content, as_it_is) {
};

FIXTURE_VARIANT_ADD(content, noncoherent) {
	.noncoherent = true,
};

FIXTURE_VARIANT_ADD(content, as_it_is_dynamic) {
	.flags = TEST_DMABUF_ATTACH_DYNAMIC,
};

FIXTURE_VARIANT_ADD(content, noncoherent_dynamic) {
	.noncoherent = true,
	.flags = TEST_DMABUF_ATTACH_DYNAMIC,
};

static int make_noncoherent(int fd, const char *name)
{
	struct test_noncoherent_device device = {};

	snprintf(device.name, sizeof(device.name), "%s", name);
	return ioctl(fd, TEST_NONCOHERENT_DEVICE, &device) ? -errno : 0;
}

/* As a process does it that obeys the rules. */
static int cpu_fill(const struct _test_data_udmabuf *b, uint64_t seed)
{
	int ret = cpu_sync(b->buf, DMA_BUF_SYNC_WRITE | DMA_BUF_SYNC_START);

	if (ret)
		return ret;
	user_fill(b->mapped, NR, seed);
	return cpu_sync(b->buf, DMA_BUF_SYNC_WRITE | DMA_BUF_SYNC_END);
}

static int64_t cpu_check(const struct _test_data_udmabuf *b, uint64_t seed)
{
	int ret = cpu_sync(b->buf, DMA_BUF_SYNC_READ | DMA_BUF_SYNC_START);
	int64_t wrong;

	if (ret)
		return ret;
	wrong = user_check(b->mapped, NR, seed);
	ret = cpu_sync(b->buf, DMA_BUF_SYNC_READ | DMA_BUF_SYNC_END);
	return ret ?: wrong;
}

FIXTURE_SETUP(content)
{
	const char *why = make_buffer(&self->b);

	self->noncoherent = -1;
	if (!why && self->b.importer < 0)
		why = "no test_dmabuf";
	if (why)
		SKIP(return, "%s", why);
	ASSERT_NE(NULL, self->b.mapped);
	if (variant->noncoherent) {
		system("modprobe -q test_noncoherent >/dev/null 2>&1");
		self->noncoherent = open("/dev/noncoherent_test", O_RDWR | O_CLOEXEC);
		if (self->noncoherent < 0)
			SKIP(return, "/dev/noncoherent_test: %s", strerror(errno));
		ASSERT_EQ(0, make_noncoherent(self->noncoherent, "udmabuf"));
		ASSERT_EQ(0, make_noncoherent(self->noncoherent, "dmabuf_test.0"));
	}
	self->id = attach(self->b.importer, self->b.buf, variant->flags);
	ASSERT_LT(0, self->id);
	/* All on one node. */
	ASSERT_EQ(NR, move_patiently(self->b.at, NR));
	ASSERT_EQ(0, cpu_fill(&self->b, SEED_USER));
}

FIXTURE_TEARDOWN(content)
{
	drop_buffer(&self->b);
	if (self->noncoherent >= 0)
		close(self->noncoherent);
	EXPECT_EQ(self->b.balance, pin_balance());
}

/* The device writes between map and unmap; nobody has begun CPU access when it moves. */
TEST_F_TIMEOUT(content, device_wrote, TEST_SECONDS)
{
	int mapping, round;
	uint64_t seed;

	for (round = 0; round < 3; round++) {
		seed = SEED_DEVICE + round;
		mapping = map(self->b.importer, self->id);
		ASSERT_LT(0, mapping);
		EXPECT_EQ(0, device_fill(self->b.importer, mapping, seed));
		EXPECT_EQ(0, by_id(self->b.importer, TEST_DMABUF_UNMAP, mapping));
		EXPECT_EQ(NR, move_patiently(self->b.at, NR));
		if (round)
			EXPECT_EQ(0, cpu_check(&self->b, seed));
		/* In the first round without CPU access in between. */
		mapping = map(self->b.importer, self->id);
		ASSERT_LT(0, mapping);
		EXPECT_EQ(0, device_check(self->b.importer, mapping, seed));
		EXPECT_EQ(0, by_id(self->b.importer, TEST_DMABUF_UNMAP, mapping));
		EXPECT_EQ(0, cpu_check(&self->b, seed));
	}
}

/* Whoever reads after a move must not see what was in that memory before. */
TEST_F_TIMEOUT(content, move_then_read, TEST_SECONDS)
{
	int round;

	for (round = 0; round < 3; round++) {
		EXPECT_EQ(NR, move_patiently(self->b.at, NR));
		EXPECT_EQ(0, cpu_check(&self->b, SEED_USER + round));
		ASSERT_EQ(0, cpu_fill(&self->b, SEED_USER + round + 1));
	}
}

/* CPU access has ended, the buffer moves, and the device reads it. */
TEST_F_TIMEOUT(content, cpu_wrote, TEST_SECONDS)
{
	int mapping, round;

	for (round = 0; round < 3; round++) {
		ASSERT_EQ(0, cpu_fill(&self->b, SEED_USER + round));
		EXPECT_EQ(NR, move_patiently(self->b.at, NR));
		mapping = map_for(self->b.importer, self->id, DMA_TO_DEVICE);
		ASSERT_LT(0, mapping);
		EXPECT_EQ(0, device_check(self->b.importer, mapping, SEED_USER + round));
		EXPECT_EQ(0, by_id(self->b.importer, TEST_DMABUF_UNMAP, mapping));
	}
}

/* In the middle of CPU access the CPU owns it, whatever importers do then. */
TEST_F_TIMEOUT(content, cpu_writes, TEST_SECONDS)
{
	int mapping;

	ASSERT_EQ(0, cpu_sync(self->b.buf, DMA_BUF_SYNC_RW | DMA_BUF_SYNC_START));
	user_fill(self->b.mapped, NR / 2, SEED_USER + 1);
	EXPECT_EQ(NR, move_patiently(self->b.at, NR));
	EXPECT_EQ(0, user_check(self->b.mapped, NR / 2, SEED_USER + 1));
	mapping = map(self->b.importer, self->id);
	ASSERT_LT(0, mapping);
	user_fill(self->b.mapped, NR, SEED_USER + 2);
	EXPECT_EQ(0, by_id(self->b.importer, TEST_DMABUF_UNMAP, mapping));
	EXPECT_EQ(0, user_check(self->b.mapped, NR, SEED_USER + 2));
	EXPECT_EQ(NR, move_patiently(self->b.at, NR));
	EXPECT_EQ(0, user_check(self->b.mapped, NR, SEED_USER + 2));
	ASSERT_EQ(0, cpu_sync(self->b.buf, DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END));
	mapping = map(self->b.importer, self->id);
	ASSERT_LT(0, mapping);
	EXPECT_EQ(0, device_check(self->b.importer, mapping, SEED_USER + 2));
	EXPECT_EQ(0, by_id(self->b.importer, TEST_DMABUF_UNMAP, mapping));
}

/* The CPU writes a part, and says that it is not going to read: the rest is the device's. */
TEST_F_TIMEOUT(content, cpu_writes_part, TEST_SECONDS)
{
	int mapping = map(self->b.importer, self->id);
	char *data = malloc(LEN), *want = malloc(LEN);
	struct test_dmabuf_access arg = { .length = LEN, .data = (uintptr_t)data };

	ASSERT_LT(0, mapping);
	user_fill(want, NR, SEED_DEVICE);
	user_fill(want, NR / 2, SEED_USER + 1);
	EXPECT_EQ(0, device_fill(self->b.importer, mapping, SEED_DEVICE));
	EXPECT_EQ(0, by_id(self->b.importer, TEST_DMABUF_UNMAP, mapping));
	ASSERT_EQ(0, cpu_sync(self->b.buf, DMA_BUF_SYNC_WRITE | DMA_BUF_SYNC_START));
	user_fill(self->b.mapped, NR / 2, SEED_USER + 1);
	EXPECT_EQ(NR, move_patiently(self->b.at, NR));
	ASSERT_EQ(0, cpu_sync(self->b.buf, DMA_BUF_SYNC_WRITE | DMA_BUF_SYNC_END));
	mapping = map(self->b.importer, self->id);
	ASSERT_LT(0, mapping);
	arg.map = mapping;
	ASSERT_EQ(0, ioctl(self->b.importer, TEST_DMABUF_ACCESS, &arg));
	EXPECT_EQ(0, memcmp(data, want, LEN));
	EXPECT_EQ(0, by_id(self->b.importer, TEST_DMABUF_UNMAP, mapping));
	free(data);
	free(want);
}

/* With the buffer mapped all the time, CPU and device see what the other has written. */
TEST_F_TIMEOUT(content, mapped, TEST_SECONDS)
{
	int mapping = map(self->b.importer, self->id), round;

	ASSERT_LT(0, mapping);
	for (round = 0; round < 3; round++) {
		EXPECT_EQ(0, device_fill(self->b.importer, mapping, SEED_DEVICE + round));
		EXPECT_EQ(0, cpu_check(&self->b, SEED_DEVICE + round));
		ASSERT_EQ(0, cpu_fill(&self->b, SEED_USER + round));
		EXPECT_EQ(0, device_check(self->b.importer, mapping, SEED_USER + round));
	}
	EXPECT_EQ(0, by_id(self->b.importer, TEST_DMABUF_UNMAP, mapping));
	EXPECT_EQ(NR, move_patiently(self->b.at, NR));
	EXPECT_EQ(0, cpu_check(&self->b, SEED_USER + round - 1));
}

/*
 * The device writes by a mapping that the importer still has when the buffer
 * moves: that is fetched then. Nothing is when the importer unmaps at last, for
 * the memory behind the old mapping is somebody else's. A static importer's
 * buffer stays.
 */
TEST_F_TIMEOUT(content, mapping_kept, TEST_SECONDS)
{
	int mapping = map(self->b.importer, self->id), again;
	size_t moves = variant->flags ? NR : 0;

	ASSERT_LT(0, mapping);
	EXPECT_EQ(0, device_fill(self->b.importer, mapping, SEED_DEVICE));
	EXPECT_EQ(moves, moves ? move_patiently(self->b.at, NR) :
				 move_to(0, self->b.at, NR, !node_of(self->b.at)));
	EXPECT_EQ(0, cpu_check(&self->b, SEED_DEVICE));
	again = map(self->b.importer, self->id);
	ASSERT_LT(0, again);
	EXPECT_EQ(0, device_check(self->b.importer, again, SEED_DEVICE));
	EXPECT_EQ(0, by_id(self->b.importer, TEST_DMABUF_UNMAP, again));
	ASSERT_EQ(0, cpu_sync(self->b.buf, DMA_BUF_SYNC_RW | DMA_BUF_SYNC_START));
	user_fill(self->b.mapped, NR, SEED_USER + 1);
	EXPECT_EQ(0, by_id(self->b.importer, TEST_DMABUF_UNMAP, mapping));
	EXPECT_EQ(0, user_check(self->b.mapped, NR, SEED_USER + 1));
	ASSERT_EQ(0, cpu_sync(self->b.buf, DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END));
	EXPECT_EQ(NR, move_patiently(self->b.at, NR));
	EXPECT_EQ(0, cpu_check(&self->b, SEED_USER + 1));
}

/* Where the buffer was, its new owner finds what it has written there. */
TEST_F_TIMEOUT(content, old_place, TEST_SECONDS)
{
	int mapping = map(self->b.importer, self->id);
	size_t nr = 4 * NR;
	char *others;

	ASSERT_LT(0, mapping);
	EXPECT_EQ(0, device_fill(self->b.importer, mapping, SEED_DEVICE));
	if (variant->flags)
		EXPECT_EQ(NR, move_patiently(self->b.at, NR));
	/* Freed last, given first. */
	prefer_node(!node_of(self->b.at));
	others = map_anon(nr);
	ASSERT_NE(NULL, others);
	user_fill(others, nr, SEED_USER + 5);
	prefer_node(-1);
	EXPECT_EQ(0, by_id(self->b.importer, TEST_DMABUF_UNMAP, mapping));
	EXPECT_EQ(0, user_check(others, nr, SEED_USER + 5));
	munmap(others, nr * PAGE);
}

/* A memfd with folios in the CMA area, and those before it that had none. */
#define AREA_NR		((size_t)2048)
#define TRIES		96

FIXTURE(area) {
	struct cma cma;
	int dev, importer;
	int memfd, buf;
	char *at;
	char *filler[TRIES];
	int nr_filler;
};

static size_t count_in_area(struct _test_data_area *self)
{
	size_t i, in = 0;

	for (i = 0; i < AREA_NR; i++)
		in += in_cma(&self->cma, user_pfn(self->at + i * PAGE));
	return in;
}

static void drop_filler(struct _test_data_area *self)
{
	while (self->nr_filler)
		munmap(self->filler[--self->nr_filler], AREA_NR * PAGE);
}

/*
 * Half of the free memory has to be in the area before it is used. What takes the
 * other half is huge where it can be, a page at a time is slow on a debug kernel.
 */
static void fill_around_area(struct _test_data_area *self)
{
	size_t i, in = 0;
	char *at;

	while (!in && self->nr_filler < TRIES) {
		at = map_anon(AREA_NR);
		if (!at)
			return;
		madvise(at, AREA_NR * PAGE, MADV_HUGEPAGE);
		prefer_node(self->nr_filler % 2);
		for (i = 0; i < AREA_NR; i++) {
			at[i * PAGE] = 1;
			if (i % 64 == 0)
				in += in_cma(&self->cma, user_pfn(at + i * PAGE));
		}
		if (in)
			munmap(at, AREA_NR * PAGE);
		else
			self->filler[self->nr_filler++] = at;
	}
}

static bool try_memfd(struct _test_data_area *self)
{
	self->memfd = memfd_create("area", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (self->memfd < 0 || ftruncate(self->memfd, AREA_NR * PAGE) ||
	    fcntl(self->memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		return false;
	self->at = mmap(NULL, AREA_NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			self->memfd, 0);
	if (self->at == MAP_FAILED)
		return false;
	user_fill(self->at, AREA_NR, SEED_USER);
	return true;
}

static bool make_in_area(struct _test_data_area *self)
{
	fill_around_area(self);
	while (self->nr_filler < TRIES) {
		prefer_node(self->nr_filler % 2);
		if (!try_memfd(self))
			break;
		if (count_in_area(self)) {
			prefer_node(-1);
			/* What leaves the area needs room. */
			drop_filler(self);
			return true;
		}
		self->filler[self->nr_filler++] = self->at;
		close(self->memfd);
	}
	prefer_node(-1);
	return false;
}

FIXTURE_SETUP(area)
{
	if (access(WHO, F_OK) || !find_cma(&self->cma))
		SKIP(return, "no pinpage or no CMA area in debugfs");
	self->dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	system("modprobe -q test_dmabuf >/dev/null 2>&1");
	self->importer = open("/dev/dmabuf_test", O_RDWR | O_CLOEXEC);
	if (self->dev < 0 || self->importer < 0)
		SKIP(return, "no udmabuf, or no test_dmabuf");
	if (!make_in_area(self))
		SKIP(return, "the allocator gives no pages of CMA");
	self->buf = create(self->dev, self->memfd, 0, AREA_NR * PAGE);
	ASSERT_LE(0, self->buf);
	/* Where they were is where they are. */
	ASSERT_NE(0, count_in_area(self));
}

FIXTURE_TEARDOWN(area)
{
	if (self->at) {
		EXPECT_EQ(0, user_check(self->at, AREA_NR, SEED_USER));
		munmap(self->at, AREA_NR * PAGE);
	}
	drop_filler(self);
	close(self->buf);
	close(self->memfd);
	close(self->importer);
	close(self->dev);
}

static void expect_evicted(struct __test_metadata *_metadata, struct _test_data_area *self)
{
	EXPECT_EQ(0, cma_take_patiently(&self->cma, self->cma.count));
	EXPECT_EQ(0, count_in_area(self));
	cma_give(&self->cma, self->cma.count);
}

TEST_F_TIMEOUT(area, idle, TEST_SECONDS)
{
	expect_evicted(_metadata, self);
}

TEST_F_TIMEOUT(area, dynamic_importer, TEST_SECONDS)
{
	int id = attach(self->importer, self->buf, TEST_DMABUF_ATTACH_DYNAMIC);

	ASSERT_LT(0, id);
	ASSERT_LT(0, map(self->importer, id));
	expect_evicted(_metadata, self);
}

/* Is there a message with both words among those since @fd was at the end? */
static bool logged(int fd, const char *one, const char *other)
{
	char line[2048];
	ssize_t len;

	for (;;) {
		len = read(fd, line, sizeof(line) - 1);
		if (len < 0 && errno == EPIPE)
			continue;
		if (len <= 0)
			return false;
		line[len] = 0;
		if (strstr(line, one) && strstr(line, other))
			return true;
	}
}

TEST_F_TIMEOUT(area, static_importer, TEST_SECONDS)
{
	int id = attach(self->importer, self->buf, 0), mapping;
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	size_t in = count_in_area(self);

	ASSERT_LT(0, id);
	ASSERT_LE(0, log);
	mapping = map(self->importer, id);
	ASSERT_LT(0, mapping);
	lseek(log, 0, SEEK_END);
	EXPECT_NE(0, cma_take(&self->cma, self->cma.count));
	EXPECT_TRUE(logged(log, "alloc failed", "udmabuf"));
	EXPECT_EQ(in, count_in_area(self));
	EXPECT_EQ(0, by_id(self->importer, TEST_DMABUF_UNMAP, mapping));
	expect_evicted(_metadata, self);
	close(log);
}

TEST_HARNESS_MAIN
