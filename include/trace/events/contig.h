/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM contig

#if !defined(_TRACE_CONTIG_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_CONTIG_H

#include <linux/tracepoint.h>
#include <linux/types.h>

/* enum contig_state of mm/contig.h, in its order */
#define show_contig_state(state)			\
	__print_symbolic(state,				\
			 { 0, "free" },			\
			 { 1, "movable" },		\
			 { 2, "refused" },		\
			 { 3, "hugetlb" },		\
			 { 4, "locked" },		\
			 { 5, "writeback" },		\
			 { 6, "referenced" },		\
			 { 7, "pinned" },		\
			 { 8, "unmovable" })

TRACE_EVENT(contig_wait,

	TP_PROTO(unsigned long pfn, int state, unsigned int steps,
		 unsigned long usecs, bool retry),

	TP_ARGS(pfn, state, steps, usecs, retry),

	TP_STRUCT__entry(
		__field(unsigned long, pfn)
		__field(int, state)
		__field(unsigned int, steps)
		__field(unsigned long, usecs)
		__field(bool, retry)
	),

	TP_fast_assign(
		__entry->pfn = pfn;
		__entry->state = state;
		__entry->steps = steps;
		__entry->usecs = usecs;
		__entry->retry = retry;
	),

	TP_printk("pfn=0x%lx state=%s steps=%u waited=%luus retry=%d",
		  __entry->pfn, show_contig_state(__entry->state),
		  __entry->steps, __entry->usecs, __entry->retry)
);

#endif /* _TRACE_CONTIG_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
