# SPDX-License-Identifier: GPL-2.0
# Sourced by the tests with programs that nobody here wrote: those and their libraries go
# to a disk of a guest that has none; what came of it is counted.
# shellcheck shell=bash disable=SC2034,SC2154
logs=$out/logs
files=$out/${0##*/}/files
passed=0 failed=0 skipped=0

# collect PROGRAM...: to begin the disk with.
collect()
{
	local program path

	rm -rf "$files"
	mkdir -p "$files"/{bin,lib}
	for program; do
		path=$(command -v "$program") || die "$program is missing; \"scripts/deps ${0##*/}\" installs it"
		cp "$path" "$files/bin/"
	done
}

# collect_libraries FILE...: theirs.
collect_libraries()
{
	ldd "$@" | grep -o '/[^ ]*' | grep -v ':$' | sort -u | xargs cp -L -t "$files/lib"
}

# guest_run KERNEL RUN WHAT OPTION...: on that disk.
guest_run()
{
	"$top/scripts/guest" "$1" "$2" --guest "${0##*/} $3" --append "cma=512M kunit.enable=0" \
		--files "$files" --timeout "${TIMEOUT:-900}" "${@:4}"
}

# result OK NAME
result()
{
	if [ "$1" = true ]; then
		passed=$((passed + 1))
		echo "ok $2"
	else
		failed=$((failed + 1))
		echo "not ok $2"
	fi
}

# skip NAME WHY
skip()
{
	skipped=$((skipped + 1))
	echo "ok $1 # SKIP $2"
}

summary()
{
	echo "$passed passed, $failed failed, $skipped skipped"
	[ $failed = 0 ]
}
