/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM pinpage

#if !defined(_TRACE_PINPAGE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_PINPAGE_H

#include <linux/migrate_mode.h>
#include <linux/pinpage.h>
#include <linux/tracepoint.h>

#define PINPAGE_STATS						\
	EM(PINPAGE_STAT_ASKED,		"asked")		\
	EM(PINPAGE_STAT_MOVED,		"moved")		\
	EM(PINPAGE_STAT_REFUSED,	"refused")		\
	EM(PINPAGE_STAT_TIMEDOUT,	"timedout")		\
	EMe(PINPAGE_STAT_FOREIGN,	"foreign")

#undef EM
#undef EMe
#define EM(a, b)	TRACE_DEFINE_ENUM(a);
#define EMe(a, b)	TRACE_DEFINE_ENUM(a);

PINPAGE_STATS

TRACE_DEFINE_ENUM(MIGRATE_ASYNC);
TRACE_DEFINE_ENUM(MIGRATE_SYNC_LIGHT);
TRACE_DEFINE_ENUM(MIGRATE_SYNC);

#undef EM
#undef EMe
#define EM(a, b)	{a, b},
#define EMe(a, b)	{a, b}

/* An owner was asked to let items of a set move: @ret is what it said. */
TRACE_EVENT(pinpage_prepare,
	TP_PROTO(const char *system, unsigned int nr, enum migrate_mode mode,
		 int ret),

	TP_ARGS(system, nr, mode, ret),

	TP_STRUCT__entry(
		__string(system, system)
		__field(unsigned int, nr)
		__field(unsigned int, mode)
		__field(int, ret)
	),

	TP_fast_assign(
		__assign_str(system);
		__entry->nr = nr;
		__entry->mode = mode;
		__entry->ret = ret;
	),

	TP_printk("system=%s items=%u mode=%s ret=%d", __get_str(system),
		  __entry->nr, __print_symbolic(__entry->mode,
						{ MIGRATE_ASYNC, "async" },
						{ MIGRATE_SYNC_LIGHT, "sync_light" },
						{ MIGRATE_SYNC, "sync" }),
		  __entry->ret)
);

/*
 * An owner is told to go on: @moved pages are elsewhere now. It was asked @asked
 * ns ago, and has been quiet for @paused ns; 0: it did not become quiet.
 */
TRACE_EVENT(pinpage_complete,
	TP_PROTO(const char *system, unsigned int nr, unsigned int moved,
		 u64 asked, u64 paused),

	TP_ARGS(system, nr, moved, asked, paused),

	TP_STRUCT__entry(
		__string(system, system)
		__field(unsigned int, nr)
		__field(unsigned int, moved)
		__field(u64, asked)
		__field(u64, paused)
	),

	TP_fast_assign(
		__assign_str(system);
		__entry->nr = nr;
		__entry->moved = moved;
		__entry->asked = asked;
		__entry->paused = paused;
	),

	TP_printk("system=%s items=%u moved=%u asked_ns=%llu paused_ns=%llu",
		  __get_str(system), __entry->nr, __entry->moved,
		  __entry->asked, __entry->paused)
);

/* Pages of a set stay where they are, for this reason. */
TRACE_EVENT(pinpage_refuse,
	TP_PROTO(const char *system, unsigned long pfn, unsigned int nr,
		 enum pinpage_stat reason),

	TP_ARGS(system, pfn, nr, reason),

	TP_STRUCT__entry(
		__string(system, system)
		__field(unsigned long, pfn)
		__field(unsigned int, nr)
		__field(unsigned int, reason)
	),

	TP_fast_assign(
		__assign_str(system);
		__entry->pfn = pfn;
		__entry->nr = nr;
		__entry->reason = reason;
	),

	TP_printk("system=%s pfn=0x%lx nr=%u reason=%s", __get_str(system),
		  __entry->pfn, __entry->nr,
		  __print_symbolic(__entry->reason, PINPAGE_STATS))
);

#endif /* _TRACE_PINPAGE_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
