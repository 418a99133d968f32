# SPDX-License-Identifier: GPL-2.0
# Sourced by the checks: results as KTAP. A check is a command; what it prints is
# shown when it fails. ktap_end prints the whole, plan first.
# shellcheck shell=bash disable=SC2034
ktap_count=0
ktap_failed=0
ktap_file=$(mktemp)
trap 'rm -f "$ktap_file"' EXIT

# ktap_run NAME COMMAND...
ktap_run()
{
	local name=$1 said rc=0

	shift
	said=$("$@" 2>&1) || rc=$?
	ktap_count=$((ktap_count + 1))
	if [ $rc -eq 0 ]; then
		echo "ok $ktap_count $name"
	else
		printf '%s\n' "$said" | sed 's/^/# /'
		echo "not ok $ktap_count $name"
	fi >>"$ktap_file"
}

# ktap_skip NAME WHY
ktap_skip()
{
	ktap_count=$((ktap_count + 1))
	echo "ok $ktap_count $1 # SKIP $2" >>"$ktap_file"
}

ktap_end()
{
	echo "KTAP version 1"
	echo "1..$ktap_count"
	cat "$ktap_file"
}
