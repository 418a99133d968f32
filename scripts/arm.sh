# SPDX-License-Identifier: GPL-2.0
# Sourced by the scripts of arm and arm64 guests, which have no shell: BUILD_ARCH is which.
# shellcheck shell=bash

# initramfs COLLECTION...: kselftests, each collection in a directory, and a PID 1 that
# runs one. Of pinpage-drivers those that need no other driver.
initramfs()
{
	local root=$dir/root file cross=aarch64-linux-gnu-

	[ "$BUILD_ARCH" != arm ] || cross=arm-linux-gnueabihf-
	rm -rf "$root" "$dir/install"
	mkdir -p "$root/dev" "${@/#/$root/}"
	kmake O="$dir" -j"$jobs" headers >"$dir/headers.log" 2>&1 || die "make headers failed; log in $dir/headers.log"
	make -C "$tree/tools/testing/selftests" -j"$jobs" ARCH="$BUILD_ARCH" CROSS_COMPILE=$cross O="$dir" TARGETS="$*" \
		FORCE_TARGETS=1 LDFLAGS=-static KSFT_INSTALL_PATH="$dir/install" install >"$dir/selftests.log" 2>&1 ||
		die "the selftests do not build; log in $dir/selftests.log"
	for file in "$dir"/install/{dma-buf,dmabuf-heaps}/* "$dir"/install/pinpage-drivers/{sample,udmabuf}; do
		[[ $file == *.sh || ! -x $file ]] || install -m 755 -t "$root/$(basename "$(dirname "$file")")" "$file"
	done
	${cross}gcc -O2 -Wall -Werror -static -o "$root/init" "$top/tools/testing/pinpage/arm64/init.c"
	{
		(cd "$root" && find . -mindepth 1 \( -type d -printf 'dir /%P 755 0 0\n' \) -o \( -type f -printf "file /%P $root/%P 0%m 0 0\n" \)) |
			sort -k 2,2
		echo 'nod /dev/console 600 0 0 c 5 1'
	} >"$dir/initramfs.list"
	"$dir/usr/gen_init_cpio" -t 1767225600 "$dir/initramfs.list" | gzip -n1 >"$dir/initramfs.gz"
}
