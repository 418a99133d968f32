#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Pins through pinpage from a shell: gup_test -P holds 16 MiB while a cpuset takes
# them from node to node. They move, and gup_test reads what it has written.
ksft_skip=4
systems=/sys/kernel/debug/pinpage/systems
group=/tmp/pinpage.cgroup

skip()
{
	echo "SKIP: $1"
	exit $ksft_skip
}

# moved: pages of gup_test that have moved so far; nothing: it is not registered
moved()
{
	# system sets asked moved refused timedout foreign
	awk '$1 == "gup_test" { print $4 }' $systems
}

[ -e /sys/kernel/debug/gup_test ] || skip "no gup_test in debugfs"
[ -e $systems ] || skip "no pinpage in debugfs"
[ -e /sys/devices/system/node/node1 ] || skip "one NUMA node"
! grep -qE 'pinpage=(off|0|n)' /proc/cmdline || skip "pinpage=off"
mkdir -p $group
mount -t cgroup2 none $group || skip "no cgroup2"
trap 'rmdir $group/gup_test 2>/dev/null; umount $group; rm -f gup_test.log' EXIT
echo +cpuset >$group/cgroup.subtree_control || skip "no cpusets"
mkdir -p $group/gup_test
echo 0 >$group/gup_test/cpuset.mems

rc=0
./gup_test -P -T -m 16 -s 10 >gup_test.log 2>&1 &
pid=$!
tries=0
until grep -q "PIN_LONGTERM_TEST, pinpage" gup_test.log || [ $tries -gt 600 ]; do
	sleep 0.1
	tries=$((tries + 1))
done
echo $pid >$group/gup_test/cgroup.procs || rc=1
before=$(moved)
after=
# From node to node, until they have followed; a slow machine moves them once.
for node in 1 0 1 0 1; do
	echo $node >$group/gup_test/cpuset.mems || rc=1
	sleep 0.5
	now=$(moved)
	[ -n "$now" ] || break
	after=$now
	[ "$after" -lt $((${before:-0} + 4096)) ] || break
done
echo "moved: ${before:-none} before, ${after:-none} after"
[ "${after:-0}" -ge $((${before:-0} + 4096)) ] || rc=1
wait $pid || rc=1
cat gup_test.log
[ -z "$(moved)" ] || rc=1
exit $rc
