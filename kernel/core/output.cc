// SPDX-License-Identifier: GPL-2.0
// The way out: the queue of actions and the buffer their messages live in until
// the next step. Both are sized for the worst step at init.
#include "kernel/core/engine.hh"

namespace krg {

krg_mbr_action* Engine::act(u32 type) {
    if (actions_ == actions_max_) {
        stats_.actions_dropped++;
        return nullptr;
    }
    krg_mbr_action* a = &action_[actions_++];
    *a = {};
    a->type = type;
    a->epoch = view_.epoch;
    return a;
}

bool Engine::next_action(krg_mbr_action& out) {
    if (taken_ == actions_) return false;
    out = action_[taken_++];
    return true;
}

/// Begins a message. It is sent with send(node, close(writer)), as often as wanted before the next open().
Writer Engine::open(MsgType type) {
    Writer w(out_ + out_used_, out_max_ - out_used_);
    Header h;
    h.type = type;
    h.cluster_id = view_.cluster_id;
    h.epoch = view_.epoch;
    h.put(w);
    return w;
}

u32 Engine::close(const Writer& w) {
    if (!w.ok()) {
        stats_.actions_dropped++;
        return 0;
    }
    out_last_ = out_used_;
    out_used_ += w.length();
    return w.length();
}

void Engine::send(NodeId node, u32 length) {
    if (!length || (node != KRG_MBR_WITNESS && (!known(node) || !peer(node).connected))) return;
    krg_mbr_action* a = act(KRG_MBR_ACT_SEND);
    if (!a) return;
    a->node = node;
    a->incarnation = node == KRG_MBR_WITNESS ? 0 : peer(node).conn_incarnation;
    a->data = out_ + out_last_;
    a->len = length;
    stats_.messages_out++;
    stats_.bytes_out += length;
}

void Engine::send_to_members(u32 length) {
    for (u32 i = 0; i < view_.count(); i++) {
        const krg_mbr_member& m = view_.members()[i];
        if (m.node != cfg_.self && peer(m.node).conn_incarnation == m.incarnation) send(m.node, length);
    }
}

}  // namespace krg
