/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM contig

#if !defined(_TRACE_CONTIG_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_CONTIG_H

#include <linux/tracepoint.h>
#include <linux/types.h>

/* enum page_blame of mm/blame.h, in its order */
#define show_page_blame(why)				\
	__print_symbolic(why,				\
			 { 0, "movable" },		\
			 { 1, "registered" },		\
			 { 2, "locked" },		\
			 { 3, "writeback" },		\
			 { 4, "refused" },		\
			 { 5, "referenced" },		\
			 { 6, "pinned" },		\
			 { 7, "unmovable" })

TRACE_EVENT(contig_wait,

	TP_PROTO(unsigned long pfn, int why, unsigned int steps,
		 unsigned long usecs, bool retry),

	TP_ARGS(pfn, why, steps, usecs, retry),

	TP_STRUCT__entry(
		__field(unsigned long, pfn)
		__field(int, why)
		__field(unsigned int, steps)
		__field(unsigned long, usecs)
		__field(bool, retry)
	),

	TP_fast_assign(
		__entry->pfn = pfn;
		__entry->why = why;
		__entry->steps = steps;
		__entry->usecs = usecs;
		__entry->retry = retry;
	),

	TP_printk("pfn=0x%lx why=%s steps=%u waited=%luus retry=%d",
		  __entry->pfn, show_page_blame(__entry->why),
		  __entry->steps, __entry->usecs, __entry->retry)
);

#endif /* _TRACE_CONTIG_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
