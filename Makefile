# SPDX-License-Identifier: GPL-2.0
# The front door; "make help" says what is behind it. Everything made goes to out/.

S := $(CURDIR)/scripts
SELFTESTS ?= pinpage pinpage-drivers cma dma-buf dmabuf-heaps
export KERNEL CONFIG FRAGMENT SELFTESTS FORCE JOBS ACCEL TIMEOUT
ifdef KUNIT
export KUNIT
endif
ifdef KERNELS
export KERNELS
endif
MAKEFLAGS += --no-print-directory

# Options of this make are not meant for the makes inside.
unexport MAKEFLAGS MFLAGS MAKELEVEL

.PHONY: help run run-base test test-arm test-io test-v4l callers coverage htmldocs kcsan model mutate torture faults workloads lab lab-check bench-idle bench-move bench-cma bench-io bench-debug bench-heaps bench-map defects series tree fold kernel guest-plain guest-debug shell bisect deb menuconfig clean deps base
help:
	@sed -n 's/^#: \{0,1\}//p' Makefile

#: pinpage: a Linux kernel patch series, and what builds, tests and mails it.
#: The base is Debian's linux-source-6.12; all that is made stands in out/.
#:
#: The two that matter, from a fresh machine (as root they install what is missing):
#:   make run         build the patched kernel, boot it in QEMU, print the proof; out/run.csv
#:   make test        static checks, round trip, KUnit, kselftests on a debug and a plain kernel
run: guest-plain
	@$S/run

test: deps
	@$S/deps test
	@$S/mkbase
	@$S/test

#:
#: Benchmarks, in instructions, with rows in out/NAME.csv:
#:   make run-base    the plain pins of "make run", on the base
run-base: deps tree
	@$S/run-base

#:   make bench-idle  what it costs everybody else; base and patched kernel
bench-idle: guest-plain
	@$S/bench-idle

#:   make bench-move  moving registered pages against unpinned ones; registering
bench-move: guest-plain
	@$S/bench-move

#:   make bench-cma   contiguous memory, base and patched kernel: out/cma.csv, out/cma.png
bench-cma: deps tree
	@$S/deps plot
	@$S/bench-cma

#:   make bench-heaps buffers of chunks, by their heap and as before: out/heaps.csv, out/heaps.png
bench-heaps: deps tree
	@$S/deps plot
	@$S/bench-heaps

#:   make bench-map   mapping buffers of heaps, base and patched kernel: out/map.csv
bench-map: guest-plain
	@$S/bench-map

#:   make bench-io    a request of io_uring, base and patched kernel: out/io.csv
bench-io: guest-plain
	@$S/bench-io

#:
#: Drivers on pinpage, under programs that nobody here wrote:
#:   make test-io     fio and liburing's tests, while registered buffers move
test-io: guest-plain
	@$S/deps io
	@$S/io

#:   make test-v4l    v4l2-ctl and v4l2-compliance, while video buffers of theirs move
test-v4l: guest-plain
	@$S/deps v4l
	@$S/v4l

#:   make workloads   stress-ng, selftests of mm and memfd, fio, trinity; base and patched kernel
workloads: guest-plain
	@$S/deps workloads
	@$S/workloads

#:
#: More tests:
#:   make coverage    how many lines of mm/pinpage the tests run; out/coverage.csv
coverage: deps tree
	@$S/coverage

#:   make htmldocs    the documentation, without a warning about ours
htmldocs: deps tree
	@$S/deps docs
	@$S/htmldocs

#:   make callers     all who call cma_alloc() build: x86-64, s390, powerpc, allmodconfig
callers: deps tree
	@$S/deps callers
	@$S/callers

#:   make model       the protocol, all its states, by spin; each property broken once; out/model.csv
model: deps
	@$S/deps model
	@$S/model

#:   make mutate FILE=mm/cma_search.c [COUNT=40 SEED=1]
#:                    breaks one line of it at a time; what does no KUnit test notice?
mutate: deps tree
	@$S/mutate "$(FILE)" $(or $(COUNT),40) $(or $(SEED),1)

#:   make faults      faults of the base that the first patches mend, on both kernels
faults: deps tree
	@$S/faults

#:   make kcsan       the tests of races, on a kernel that looks for data races
kcsan: deps tree
	@$S/kcsan

#:   make torture [SECONDS=240 SEED=N KERNELS=debug]
#:                    random operations and movers of all kinds at once, each byte checked
torture: guest-$(firstword $(KERNELS) debug)
	@$S/torture $(firstword $(KERNELS) debug) "$(or $(SECONDS),240)" "$(SEED)"

#:
#: The series:
#:   make series      mails for git am, in out/series/
#:   make tree        out/tree: a git tree of the base, one commit for each patch
#:   make fold        the way back: commits of out/tree into patches/ and new files
#:   make bisect      each patch builds on its own, with and without CONFIG_PINPAGE
series:
	@$S/mkseries
	@if [ -n "$(KERNEL)" ] || [ -f /usr/src/linux-source-6.12.tar.xz ]; then \
		$S/mkbase && $S/am-base out/series out/am; \
	else \
		echo "no base here (linux-source-6.12), so not checked by git am"; \
	fi

tree: base
	@$S/mktree

fold:
	@$S/fold

bisect: tree
	@$S/bisect

#:
#: For labs:
#:   make lab         kernel, modules, kselftests, initramfs, a LAVA job, a list of tests: out/lab/
#:   make lab-check   that job, by LAVA's own dispatcher
lab: guest-plain
	@$S/lab

lab-check: lab
	@$S/deps lab
	@$S/lab check

#:
#: Kernels:
#:   make kernel      build out/tree: the guest of the tests, or CONFIG=/path/to/.config
#:   make menuconfig  choose what the series adds; every later build follows
#:   make deb         Debian packages for CONFIG=/path/to/.config, in out/deb/
#:   make shell       boot the patched guest to a prompt
kernel: tree
	@$S/kernel $(if $(CONFIG),user,plain)

menuconfig: tree
	@$S/deps menu
	@$S/menuconfig

deb:
	@$S/deps deb
	@$S/mkbase
	@$S/mktree
	@$S/mkdeb

guest-plain guest-debug: guest-%: tree
	@$S/kernel $*
	@$S/mkinitramfs $* $(SELFTESTS)

shell: guest-plain
	@$S/guest plain shell --shell

#:
#: Checked importers of dma-bufs:
#:   make bench-debug what the check costs, in instructions; out/debug.csv
#:   make defects     its tests on the base, where three must fail
bench-debug: guest-plain
	@$S/bench-debug

defects: guest-plain
	@$S/defects

#:   make test-arm    importers and heaps on 32 bits, on an arm guest
test-arm: deps tree
	@$S/deps arm
	@$S/arm build
	@$S/arm run

#:
#: Upkeep:
#:   make deps        install missing packages, or name them
#:   make clean       remove what was built (out/tree stays: your work may be in it)
#:   make distclean   remove out/
deps:
	@$S/deps

base: deps
	@$S/mkbase

.PHONY: distclean
clean:
	rm -rf out/build out/kunit out/bisect out/defects out/roundtrip out/am out/series out/logs out/deb out/*.csv

distclean:
	@$S/distclean

#:
#: Settings:
#:   KERNEL=DIR       another 6.12.y tree as the base; copied, never changed
#:   CONFIG=FILE      the .config to build for (kernel, deb)
#:   FRAGMENT=FILE    instead of what menuconfig or pinpage.config sets
#:   SELFTESTS=LIST   kselftest directories to build and run
#:   FORCE=1          tree: drop work in out/tree; fold: overwrite patches/ with out/tree
#:   JOBS=N           instead of one for each processor
#:   ACCEL=kvm        guests by KVM instead of emulation
#:   TIMEOUT=S        seconds a test guest may take
#:   KUNIT=LIST       where make test runs KUnit by itself, of: um i386
#:   KERNELS=LIST     the kernels that make test boots, of: debug plain arm64
