// SPDX-License-Identifier: GPL-2.0
// Telling a tracer what happens. While nobody listens a step costs one comparison.
// Which operation a step belongs to is known where the step is made: a message
// brings it, and whatever waits (a command, a request in a queue, a batch) keeps it.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

void Engine::set_trace(void (*tracer)(void*, const krg_dsm_trace*), void* context) {
    trace_ = tracer;
    trace_context_ = context;
}

void Engine::trace_step(krg_dsm_trace t, krg_dsm_trace_step step, u64 op) const {
    t.step = step;
    t.op = op;
    t.epoch = epoch_;
    if (!t.what) t.what = "";
    trace_(trace_context_, &t);
}

void Engine::trace_object(krg_dsm_trace_step step, u64 op, const Key& key, NodeId node, u8 mode, Version version) const {
    if (!trace_) return;
    krg_dsm_trace t{};
    t.container = key.container;
    t.index = key.index;
    t.node = node;
    t.mode = mode;
    t.version_epoch = version.epoch;
    t.version_count = version.count;
    trace_step(t, step, op);
}

void Engine::trace_message(krg_dsm_trace_step step, NodeId node, const Message& m) const {
    if (!trace_) return;
    krg_dsm_trace t{};
    t.container = m.key.container;
    t.index = m.key.index;
    t.node = node;
    t.mode = m.mode;
    t.error = static_cast<s32>(m.error);
    t.number = m.seq;
    t.version_epoch = m.version.epoch;
    t.version_count = m.version.count;
    t.what = name_of(m.type);
    trace_step(t, step, m.op);
}

void Engine::trace_number(krg_dsm_trace_step step, u64 op, u64 number, const char* what, s32 error, NodeId node) const {
    if (!trace_) return;
    krg_dsm_trace t{};
    t.node = node;
    t.number = number;
    t.error = error;
    t.what = what;
    trace_step(t, step, op);
}

}  // namespace krg::dsm
