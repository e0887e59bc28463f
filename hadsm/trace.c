// SPDX-License-Identifier: GPL-2.0
/*
 * The tracepoints that trace.h declares, and which step of the engine goes to which.
 */
#include "domain.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* Every term is a jump that is patched out while nobody listens. */
static bool trace_wanted(void)
{
	return trace_hadsm_request_enabled() ||
	       trace_hadsm_send_enabled() ||
	       trace_hadsm_receive_enabled() ||
	       trace_hadsm_grant_enabled() ||
	       trace_hadsm_invalidate_enabled() ||
	       trace_hadsm_downgrade_enabled() ||
	       trace_hadsm_snapshot_enabled() ||
	       trace_hadsm_stage_enabled() ||
	       trace_hadsm_staged_enabled() ||
	       trace_hadsm_decide_enabled() ||
	       trace_hadsm_recover_enabled() ||
	       trace_hadsm_lost_enabled() ||
	       trace_hadsm_view_enabled();
}

static void trace_step(void *context, const struct krg_dsm_trace *t)
{
	const struct hadsm_domain *d = context;

	switch (t->step) {
	case KRG_DSM_T_REQUEST:
		trace_hadsm_request(d->id, t);
		break;
	case KRG_DSM_T_SEND:
		trace_hadsm_send(d->id, t);
		break;
	case KRG_DSM_T_RECEIVE:
		trace_hadsm_receive(d->id, t);
		break;
	case KRG_DSM_T_GRANT:
		trace_hadsm_grant(d->id, t);
		break;
	case KRG_DSM_T_INVALIDATE:
		trace_hadsm_invalidate(d->id, t);
		break;
	case KRG_DSM_T_DOWNGRADE:
		trace_hadsm_downgrade(d->id, t);
		break;
	case KRG_DSM_T_SNAPSHOT:
		trace_hadsm_snapshot(d->id, t);
		break;
	case KRG_DSM_T_STAGE:
		trace_hadsm_stage(d->id, t);
		break;
	case KRG_DSM_T_STAGED:
		trace_hadsm_staged(d->id, t);
		break;
	case KRG_DSM_T_DECIDE:
		trace_hadsm_decide(d->id, t);
		break;
	case KRG_DSM_T_RECOVER:
		trace_hadsm_recover(d->id, t);
		break;
	case KRG_DSM_T_LOST:
		trace_hadsm_lost(d->id, t);
		break;
	case KRG_DSM_T_VIEW:
		trace_hadsm_view(d->id, t);
		break;
	}
}

void hadsm_trace_check(struct hadsm_domain *d)
{
	bool wanted = trace_wanted();

	lockdep_assert_held(&d->lock);
	if (likely(wanted == d->traced))
		return;
	d->traced = wanted;
	krg_dsm_set_trace(d->engine, wanted ? trace_step : NULL, d);
}
