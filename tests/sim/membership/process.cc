// SPDX-License-Identifier: GPL-2.0
//
// Events in, actions out, and the edge's own duties. See process.hh.
#include "tests/sim/membership/process.hh"

#include <fmt/format.h>

namespace krg::sim {

namespace {

krg_mbr_event event_of(krg_mbr_event_type type, NodeId node = 0, u64 incarnation = 0, u64 arg = 0) {
    krg_mbr_event event{};
    event.type = type;
    event.node = node;
    event.incarnation = incarnation;
    event.arg = arg;
    return event;
}

}  // namespace

MembershipProcess::MembershipProcess(Host& host, const ProcessKnobs& knobs, NodeIntent& intent, Checker* checker, Clone* clone)
    : host_(host),
      knobs_(knobs),
      intent_(intent),
      checker_(checker),
      clone_(clone) {
    if (intent.clone_of != 0) *clone = {host.id(), intent.clone_of, host.incarnation()};
    krg_mbr_config config{};
    config.self = self();
    config.max_nodes = intent.max_nodes;
    config.cluster_hash = intent.cluster_hash;
    config.incarnation = host.incarnation();
    config.seed = host.rng().next();
    config.params = knobs.params;
    // Not zeroed, so that a field the engine forgets to set is noticed.
    const u64 size = krg_mbr_size(intent.max_nodes);
    memory_.assign((size + 7) / 8 + 1, 0xa5a5a5a5a5a5a5a5);
    const auto base = reinterpret_cast<std::uintptr_t>(memory_.data());
    engine_ = krg_mbr_init(memory_.data() + (base % 16 != 0 ? 1 : 0), size, &config, host.now_ms());
    if (checker_) {
        checker_->booted(host.id(), host.incarnation());
        if (!engine_) checker_->fail(host.true_time(), host.id(), "engine", "krg_mbr_init refused the configuration");
    }
}

MembershipProcess::~MembershipProcess() {
    if (checker_) checker_->gone(host_.id());
}

void MembershipProcess::start() {
    if (intent_.role == NodeIntent::Role::create) {
        intent_.role = NodeIntent::Role::join;
        step(event_of(KRG_MBR_EV_CREATE, 0, 0, intent_.cluster_id));
    } else if (intent_.role == NodeIntent::Role::join) {
        join();
    }
    if (client_) client_->start();
}

void MembershipProcess::join() {
    intent_.role = NodeIntent::Role::join;
    if (intent_.join_limit_ms != 0) join_deadline_ms_ = host_.now_ms() + intent_.join_limit_ms;
    step(event_of(KRG_MBR_EV_JOIN, 0, 0, intent_.join_limit_ms));
}

void MembershipProcess::leave() {
    leaving_ = true;
    intent_.role = NodeIntent::Role::out;
    if (checker_) checker_->asked_leave(host_.id());
    step(event_of(KRG_MBR_EV_LEAVE));
}

void MembershipProcess::evict(NodeId victim) { step(event_of(KRG_MBR_EV_EVICT, victim)); }

void MembershipProcess::recover() {
    if (checker_) checker_->asked_recover();
    step(event_of(KRG_MBR_EV_RECOVER));
}

// Peers refuse the connection of a second machine with a known id; only what it said in its request to join gets through.
void MembershipProcess::peer_up(NodeId peer, u64 incarnation) {
    if (is_clone(peer) || peer == self()) return;
    heard_of_[peer] = incarnation;
    step(event_of(KRG_MBR_EV_PEER_UP, peer, incarnation));
    if (client_) client_->connected(peer, true);
}

void MembershipProcess::peer_down(NodeId peer, u64 incarnation) {
    if (is_clone(peer) || peer == self()) return;
    if (checker_) checker_->reset(host_.id(), peer, incarnation);
    if (client_) client_->connected(peer, false);
    step(event_of(KRG_MBR_EV_PEER_DOWN, peer, incarnation));
}

void MembershipProcess::hint(NodeId peer) { step(event_of(KRG_MBR_EV_LINK_HINT, peer)); }
void MembershipProcess::tick() { step(event_of(KRG_MBR_EV_TICK)); }

void MembershipProcess::message(NodeId from, u64 incarnation, Class cls, std::span<const u8> bytes) {
    if (cls == Class::data) {
        if (client_) client_->message(from, incarnation, bytes);
        return;
    }
    if (from == self()) return;
    krg_mbr_event event = event_of(KRG_MBR_EV_MSG, is_clone(from) ? clone_->of : from, incarnation);
    event.data = bytes.data();
    event.len = static_cast<u32>(bytes.size());
    step(event);
}

void MembershipProcess::garbage(NodeId from, u64 incarnation, Class cls, std::span<const u8> bytes) {
    if (cls == Class::data) return;
    const u32 state = krg_mbr_state(engine_);
    const u64 epoch = view_.epoch;
    garbage_++;
    message(from, incarnation, cls, bytes);
    // A lease may have run out meanwhile: that is time's doing, not the garbage's.
    const bool tired = state == KRG_MBR_SERVING && krg_mbr_state(engine_) == KRG_MBR_SUSPENDED;
    if (checker_)
        checker_->garbage(host_.true_time(), host_.id(), epoch != view_.epoch || (state != krg_mbr_state(engine_) && !tired));
}

void MembershipProcess::storage(std::span<const u8> reply) {
    krg_mbr_event event = event_of(KRG_MBR_EV_MSG, KRG_MBR_WITNESS);
    event.data = reply.data();
    event.len = static_cast<u32>(reply.size());
    step(event);
}

void MembershipProcess::call(u32 token, u64 arg) {
    switch (token) {
    case token_prepared:
        if (checker_) checker_->prepared(host_.id(), arg);
        step(event_of(KRG_MBR_EV_PREPARED, 0, 0, arg));
        break;
    case token_drained:
        if (checker_) checker_->drained(host_.id());
        step(event_of(KRG_MBR_EV_DRAINED, 0, 0, arg));
        break;
    default:
        if (client_) client_->call(token, arg);
        break;
    }
}

void MembershipProcess::step(const krg_mbr_event& event) {
    const u64 now_ms = host_.now_ms();
    krg_mbr_step(engine_, now_ms, &event);
    krg_mbr_action action{};
    while (krg_mbr_next_action(engine_, &action) != 0) act(action);
    show();
}

void MembershipProcess::show() {
    const u64 serve_until = krg_mbr_serve_until(engine_);
    const u64 proposals = stats_.proposals;
    krg_mbr_get_stats(engine_, &stats_);
    if (watcher_ && stats_.proposals != proposals) watcher_->proposing(host_.id());
    if (serve_until != serve_until_ || serve_until == 0) serve_end_ = serve_until != 0 ? host_.when(serve_until) : 0;
    serve_until_ = serve_until;
    if (!checker_) return;
    struct krg_mbr_view now_view {};
    krg_mbr_get_view(engine_, &now_view);
    NodeShown shown;
    shown.state = krg_mbr_state(engine_);
    shown.epoch = now_view.epoch;
    shown.serve_end = serve_end_;
    const Time now = host_.true_time();
    const bool too_long = serve_until > host_.now_ms() + now_view.params.lease_ms;
    checker_->shown(now, host_.id(), shown, too_long);
    checker_->engine_health(now, host_.id(), stats_.actions_dropped, stats_.bad_messages, garbage_);
}

/// What is meant for one of two machines with the same id does not reach the other, also when the first has gone meanwhile.
void MembershipProcess::send(NodeId to, u64 incarnation, std::span<const u8> bytes) {
    const bool doubtful = clone_ && clone_->machine != 0 && to == clone_->of && incarnation != 0;
    if (doubtful && incarnation == clone_->incarnation)
        to = clone_->machine;
    else if (doubtful && incarnation != heard_of_[to])
        return;
    host_.send(to, Class::control, bytes);
}

void MembershipProcess::act(const krg_mbr_action& action) {
    const Time now = host_.true_time();
    if (action.type == KRG_MBR_ACT_SEND) {
        const std::span<const u8> bytes(action.data, action.len);
        if (sent_) sent_(bytes);
        if (checker_) checker_->sent(host_.true_time(), host_.id(), bytes);
        if (action.node == KRG_MBR_WITNESS)
            host_.storage(bytes);
        else
            send(action.node, action.incarnation, bytes);
        return;
    }
    if (action.type == KRG_MBR_ACT_PREPARE) {
        struct krg_mbr_view installed {};
        krg_mbr_get_view(engine_, &installed);
        view_ = record(installed);
        serve_until_ = 0;
        serve_end_ = 0;
        if (checker_) checker_->prepare(now, host_.id(), view_);
        if (client_) client_->prepare(view_);
        const Time busy = knobs_.prepare_ms != 0 ? host_.rng().exponential(knobs_.prepare_ms * ms) : 0;
        host_.after(busy, token_prepared, action.epoch);
    } else if (checker_) {
        const bool limit_passed = host_.now_ms() >= join_deadline_ms_;
        const u64 detail = action.type == KRG_MBR_ACT_FAILED ? action.arg : action.epoch;
        checker_->action(now, host_.id(), action.type, detail, action.reason, limit_passed);
    }
    if (host_.tracing()) trace_action(action);
    switch (action.type) {
    case KRG_MBR_ACT_COMMIT:
        if (client_) client_->commit(action.epoch);
        break;
    case KRG_MBR_ACT_SUSPEND:
        if (client_) client_->suspend();
        break;
    case KRG_MBR_ACT_RESUME:
        if (client_) client_->resume();
        break;
    case KRG_MBR_ACT_DRAIN:
        if (client_ && client_->drain(action.epoch)) break;
        host_.after(knobs_.drain_ms != 0 ? host_.rng().exponential(knobs_.drain_ms * ms) : 0, token_drained, action.epoch);
        break;
    case KRG_MBR_ACT_EXPELLED:
    case KRG_MBR_ACT_LEFT:
    case KRG_MBR_ACT_REFUSED: end(action); break;
    default: break;
    }
}

void MembershipProcess::end(const krg_mbr_action& action) {
    over_ = true;
    if (client_) client_->over();
    const u32 reason = action.reason;
    const bool final_refusal = action.type == KRG_MBR_ACT_REFUSED &&
                               (reason == KRG_MBR_R_VERSION || reason == KRG_MBR_R_CLUSTER || reason == KRG_MBR_R_ID_RANGE);
    const bool stays_out = action.type == KRG_MBR_ACT_LEFT ||
                           (action.type == KRG_MBR_ACT_EXPELLED && reason == KRG_MBR_R_EVICTED);
    if (final_refusal || stays_out) intent_.role = NodeIntent::Role::out;
    if (intent_.role == NodeIntent::Role::out) return;
    // Lost, or nobody answered in time: a new, empty incarnation tries again.
    host_.reincarnate(1 + host_.rng().exponential(knobs_.rejoin_ms * ms));
}

void MembershipProcess::trace_action(const krg_mbr_action& action) {
    std::string text;
    switch (action.type) {
    case KRG_MBR_ACT_PREPARE: text = "view " + view_.text(); break;
    case KRG_MBR_ACT_COMMIT: text = fmt::format("serves in view {}", view_.text()); break;
    case KRG_MBR_ACT_SUSPEND: text = "suspended: lease is out"; break;
    case KRG_MBR_ACT_RESUME: text = "resumes"; break;
    case KRG_MBR_ACT_DRAIN: text = "drains"; break;
    case KRG_MBR_ACT_EXPELLED: text = fmt::format("expelled: {}", reason_name(action.reason)); break;
    case KRG_MBR_ACT_LEFT: text = "has left"; break;
    case KRG_MBR_ACT_REFUSED: text = fmt::format("join refused by n{}: {}", action.node, reason_name(action.reason)); break;
    case KRG_MBR_ACT_PEER_REFUSED: text = fmt::format("refuses n{}: {}", action.node, reason_name(action.reason)); break;
    case KRG_MBR_ACT_FAILED: text = fmt::format("FAILED at line {}", action.arg); break;
    default: text = fmt::format("action {}", action.type); break;
    }
    host_.note(false, '#', std::move(text));
}

}  // namespace krg::sim
