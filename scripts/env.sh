# SPDX-License-Identifier: GPL-2.0
# Sourced by the shell scripts: where things are, and how to fail.
# shellcheck shell=bash disable=SC2034
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$top/out
tree=${TREE:-$out/tree}
jobs=${JOBS:-$(nproc)}
export LC_ALL=C
# Any clone may use what another has built; what a file includes is told by the compiler,
# not by preprocessing it once more.
export CCACHE_BASEDIR=$top CCACHE_NOHASHDIR=1 CCACHE_DEPEND=1

# The caller's git configuration must not decide what the tree looks like.
while read -r var; do unset "$var"; done < <(compgen -e GIT_ || true)
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1

die()
{
	echo "${0##*/}: $*" >&2
	exit 1
}

# need_space MIB FOR: refuse early rather than fill the disk.
need_space()
{
	local free

	mkdir -p "$out"
	free=$(($(df -Pk "$out" | awk 'NR == 2 { print $4 }') / 1024))
	[ "$free" -ge "$1" ] || die "$2 needs $1 MiB below $out, and $free are free; make room and run it again"
}

# Same bytes from the same source, on any machine and in any directory. BUILD_ARCH is
# another architecture than this one: arm, arm64, powerpc, s390.
kmake()
{
	local cached='' cross='' arch=()

	case ${BUILD_ARCH:-} in
	arm)	cross=arm-linux-gnueabihf- ;;
	arm64)	cross=aarch64-linux-gnu- ;;
	powerpc) cross=powerpc64le-linux-gnu- ;;
	s390)	cross=s390x-linux-gnu- ;;
	esac
	[ -z "$cross" ] || arch=(ARCH="$BUILD_ARCH" CROSS_COMPILE="$cross")
	if command -v ccache >/dev/null; then
		cached="$top/scripts/ccache "
	fi
	env -u KERNEL -u CONFIG -u FRAGMENT -u FORCE make -C "$tree" "${arch[@]}" CC="$cached${cross}gcc" HOSTCC="${cached}gcc" \
		KBUILD_BUILD_USER=pinpage KBUILD_BUILD_HOST=pinpage \
		KBUILD_BUILD_TIMESTAMP="2026-01-01 00:00:00 UTC" KBUILD_BUILD_VERSION=1 LOCALVERSION= "$@"
}
