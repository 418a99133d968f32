// SPDX-License-Identifier: GPL-2.0
/*
 * bench-map PREFIX: what it costs to map a buffer of a heap, to touch all of it, to fork
 * and to unmap, for the system heap and for a heap of one contiguous piece, which on
 * the base maps a page when it is touched. Rows case,PREFIX_STEP,instructions.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/dma-heap.h>

#include "guest.h"

static const char *prefix;

static void step(const char *heap, size_t size, const char *what, uint64_t begin)
{
	printf("map/%s/%zuM,%s_%s,%llu\n", heap, size >> 20, prefix, what,
	       (unsigned long long)(now() - begin));
	fflush(stdout);
}

static void map(const char *heap, const char *path, size_t size)
{
	struct dma_heap_allocation_data arg = { .len = size, .fd_flags = O_RDWR };
	int fd = open(path, O_RDWR);
	volatile char *at;
	uint64_t begin;
	size_t i;
	pid_t pid;

	if (fd < 0 || ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &arg))
		die(path);
	/* The second time, what is allocated once is there. */
	munmap(mmap(NULL, size, PROT_READ, MAP_SHARED, arg.fd, 0), size);
	begin = now();
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, arg.fd, 0);
	if (at == MAP_FAILED)
		die("mmap");
	step(heap, size, "mmap", begin);
	begin = now();
	for (i = 0; i < size; i += 4096)
		at[i] = 1;
	step(heap, size, "touch", begin);
	begin = now();
	pid = fork();
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	step(heap, size, "fork", begin);
	begin = now();
	munmap((void *)at, size);
	step(heap, size, "munmap", begin);
	close(arg.fd);
	close(fd);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 64UL << 20, 512UL << 20 };
	size_t i;

	prefix = argc > 1 ? argv[1] : "ours";
	for (i = 0; i < 2; i++) {
		map("system", "/dev/dma_heap/system", sizes[i]);
		map("contiguous", "/dev/dma_heap/reserved", sizes[i]);
	}
	return 0;
}
