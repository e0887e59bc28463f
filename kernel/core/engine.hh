// SPDX-License-Identifier: GPL-2.0
// The membership engine of one node.
//
// A view (epoch, members) is decided once per epoch by single-decree Paxos among
// the members of the view before it (propose.cc, accept.cc). A node serves only
// while a majority of its view has lately acknowledged its renewals (renew.cc),
// and a new view serves only when the leases of those it removed have run out
// (serve.cc, install.cc). Who is proposed follows from who reaches whom (plan.cc).
//
//	IDLE --create--> PREPARING --prepared, hold over, lease--> SERVING <--lease--> SUSPENDED
//	  \--join--> JOINING --decided--> PREPARING        SERVING, SUSPENDED --decided--> PREPARING
//	any of them --removed, left, refused--> IDLE (over: this incarnation never returns)
//
// Two rules carry the safety argument (Documentation/membership.md):
//  1. An acceptor that accepted anything for the next epoch acknowledges nobody
//     in this one, and its own lease stays as it is, until a later view is installed.
//  2. What it answers names two times: when the leases of the removed that it
//     acknowledged end (hold), and when every lease of this and all earlier epochs
//     ends (hold_all), which the next view needs if it removes somebody who may
//     never have heard of this one.
#pragma once

#include "kernel/core/clique.hh"
#include "kernel/core/message.hh"
#include "kernel/core/mutants.hh"
#include "kernel/core/view.hh"

namespace krg {

/// What this node knows of another node id. Times are 0 for "never".
struct Peer {
    // Connection, as the edge reports it.
    bool connected = false;
    u64 conn_incarnation = 0;
    Ms down_since = 0;  // last reset, until heard again

    // Hearing, in whatever epoch.
    Ms heard_at = 0;
    Ms hears_us = 0;  // send time of our newest renewal that it has heard
    u64 stamp = 0;    // its newest renewal that we have heard
    bool reset_seen = false;
    bool wants_epoch = false;  // its renewals say that it saw a reset
    bool returned = false;     // a newer incarnation of it knocks

    // Leases of this epoch.
    u64 epoch_stamp = 0;    // its newest renewal of this epoch
    Ms epoch_stamp_at = 0;  // and when that arrived
    Ms promised_at = 0;     // arrival of its newest renewal we acknowledged
    Ms acked = 0;           // send time of our newest renewal it acknowledged
    bool ack_sent = false;

    // Tallies of our own ballot.
    bool has_promised = false, has_accepted = false;

    // Wishes about it.
    u8 requests = 0;      // RequestKind bits
    u8 own_requests = 0;  // those we repeat until they are granted
    u64 request_incarnation = 0;

    // As a joiner.
    u64 join_incarnation = 0;
    Ms join_at = 0;

    // As a former member.
    u64 gone_incarnation = 0;
    u16 gone_reason = 0;
};

class Engine {
public:
    /// Lays the engine out in @arena; measures only when the arena has no memory.
    Engine(Arena& arena, const krg_mbr_config& cfg, Ms now);

    void step(Ms now, const krg_mbr_event& ev);
    [[nodiscard]] bool next_action(krg_mbr_action& act);
    [[nodiscard]] Ms deadline() const;

    [[nodiscard]] enum krg_mbr_state state() const { return state_; }
    [[nodiscard]] Ms serve_until() const { return state_ == KRG_MBR_SERVING ? effective_lease() : 0; }
    [[nodiscard]] const View& view() const { return view_; }
    [[nodiscard]] const krg_mbr_stats& stats() const { return stats_; }
    [[nodiscard]] bool has_quorum(Ms now);
    [[nodiscard]] enum krg_mbr_recovery may_recover(Ms now);
    [[nodiscard]] bool peer_info(NodeId node, Ms now, krg_mbr_peer_info& info);
    [[nodiscard]] u64 hash() const;

private:
    enum class Phase : u8 { Idle, One, Two };

    // engine.cc: dispatch
    void event(const krg_mbr_event& ev);
    void create(u64 cluster_id);
    void join(Ms give_up_after);
    void peer_up(NodeId node, u64 incarnation);
    void peer_down(NodeId node, u64 incarnation);
    void message(NodeId from, u64 incarnation, const u8* data, u32 length);
    void dispatch(NodeId from, const Header& h, Reader& r);
    void stranger(NodeId from, u64 incarnation, const Header& h, Reader& r);
    void request(NodeId node, RequestKind kind);
    void drained(u64 epoch);
    void over(u32 action, u16 reason, NodeId by);
    void after_event();
    void failed(u32 line);

    // output.cc: actions and messages out
    krg_mbr_action* act(u32 type);
    [[nodiscard]] Writer open(MsgType type);
    u32 close(const Writer& w);  // length, 0: did not fit
    void send(NodeId node, u32 length);
    void send_to_members(u32 length);

    // renew.cc
    void renew_all();
    void ask_strangers();
    void renew(NodeId node);
    void on_renew(NodeId from, const Header& h, Reader& r);
    [[nodiscard]] bool frozen() const;
    void acknowledge(Peer& p, Ms stamp);
    void recompute_lease();
    [[nodiscard]] Ms effective_lease() const { return lease_until_; }

    // join.cc
    [[nodiscard]] u32 write_join_req();
    void knock();
    void on_join_req(NodeId from, u64 incarnation, const Header& h, Reader& r);
    void on_join_wait(NodeId from, Reader& r);
    void on_refuse(NodeId from, Reader& r);
    void refuse(NodeId node, u64 incarnation, u16 reason);
    void join_timeout();
    void on_request(NodeId from, Reader& r);
    void repeat_requests();

    // plan.cc
    [[nodiscard]] bool reaches(NodeId node) const;
    [[nodiscard]] bool healed_reset(NodeId node) const;
    void my_row(NodeSet& out) const;
    void known_conflicts();
    void make_plan(bool with_promises);
    void choose_candidates(NodeSet& out);
    [[nodiscard]] bool epoch_wanted() const;
    [[nodiscard]] bool stalled() const;
    void review();
    void add_joiners();
    [[nodiscard]] u64 plan_hash() const;
    [[nodiscard]] bool plan_differs() const;
    [[nodiscard]] Ms plan_delay() const;
    void watch_quorum();
    [[nodiscard]] bool plan_gives_up_on_somebody() const;
    [[nodiscard]] Ms patience_limit() const { return quorum_back_ ? quorum_back_ + 3ull * params().suspect_ms : 0; }
    [[nodiscard]] Ms patience_end() const;
    [[nodiscard]] Ms proposal_due() const;
    [[nodiscard]] u32 reachable_members() const;

    // propose.cc
    void propose();
    void start_phase_one();
    void start_phase_two();
    void build_value();
    void ask_witness(u32 length);
    void on_p1b(NodeId from, Reader& r);
    void on_p2b(NodeId from, Reader& r);
    void on_nack(NodeId from, Reader& r);
    void promise_from(NodeId from);
    [[nodiscard]] bool plan_within_reach() const;
    [[nodiscard]] bool kept_have_promised() const;
    [[nodiscard]] bool stayers_promised() const;
    void accepted_by(NodeId from, Ms hold, Ms hold_all);
    void accept_last();
    void decide();
    void give_up_ballot(Ms pause);
    [[nodiscard]] bool tally(bool accepted) const;

    // accept.cc
    void on_p1a(NodeId from, const Header& h, Reader& r);
    void on_p2a(NodeId from, const Header& h, Reader& r);
    [[nodiscard]] bool same_target(NodeId from, const Header& h, u64 target);
    void accept(Ballot b, const View& value, Ms& hold, Ms& hold_all);
    void nack(NodeId to, u64 target);
    void put_broken_pairs(Writer& w);

    // install.cc
    void on_decide(NodeId from, Reader& r);
    void on_not_member(NodeId from, const Header& h, Reader& r);
    void send_decide(NodeId to);
    u32 write_decide(const View& v, Ms hold, Ms hold_all);
    void install(const View& v, Ms hold_until, Ms hold_all_until);
    void remember_gone(const View& next);
    void recover();

    // serve.cc
    void serve();
    void commit();

    [[nodiscard]] Peer& peer(NodeId node) { return peer_[node]; }
    [[nodiscard]] const Peer& peer(NodeId node) const { return peer_[node]; }
    [[nodiscard]] bool known(NodeId node) const { return node && node <= cfg_.max_nodes; }
    [[nodiscard]] bool is_member(NodeId node, u64 incarnation) const;
    [[nodiscard]] bool in_view() const { return view_.epoch != 0; }
    [[nodiscard]] Ms reconnect_ms() const { return sooner(2ull * params().renew_ms, params().suspect_ms); }
    [[nodiscard]] const krg_mbr_params& params() const { return in_view() ? view_.params : cfg_.params; }
    [[nodiscard]] u64 random();
    [[nodiscard]] Ms jitter(Ms below) { return below ? random() % below : 0; }

    krg_mbr_config cfg_;
    enum krg_mbr_state state_ = KRG_MBR_IDLE;
    bool over_ = false;
    bool witness_new_ = false;  // we created the cluster, and the witness has not confirmed it
    Ms now_ = 0;
    u64 rng_;
    krg_mbr_stats stats_{};

    View view_;
    Peer* peer_ = nullptr;
    NodeSet* row_ = nullptr;  // who a peer says it reaches

    // Renewing and serving.
    Ms next_renew_ = never;
    Ms epoch_since_ = 0;  // when this view was installed
    Ms lease_base_ = 0;   // send time that a majority has acknowledged
    u32 above_base_ = 0;  // acknowledgements newer than it
    Ms lease_until_ = 0;
    Ms hold_until_ = 0, hold_all_until_ = 0;
    bool prepared_ = false, committed_ = false, drain_asked_ = false, drained_ = false;

    // Joining.
    Ms join_deadline_ = never;
    bool heard_quorum_ = false, heard_members_ = false;
    NodeSet cluster_;  // the members that JOIN_WAIT named

    // What should be, and since when we think so.
    bool plan_dirty_ = true;
    NodeSet plan_, alive_, scratch_;
    u64 plan_hash_ = 0;
    Ms plan_since_ = 0;
    bool plan_needed_ = false, plan_hard_ = false, plan_plain_ = true;
    Ms next_review_ = 0;
    bool quorum_near_ = true;  // a quorum was in reach when last looked
    Ms quorum_back_ = 0;       // since when it is again; 0: it never went
    Clique clique_;

    // Acceptor of the next epoch.
    Ballot promised_, accepted_;
    View accepted_value_;
    Ms accepted_at_ = 0;

    // Proposer of the next epoch.
    Phase phase_ = Phase::Idle;
    Ballot ballot_, best_;
    View value_, incoming_;
    bool fast_used_ = false, witness_promised_ = false, witness_accepted_ = false, has_best_ = false;
    u32 max_round_ = 0;
    Ms phase_deadline_ = never, retry_at_ = 0;
    Ms value_hold_ = 0, value_hold_all_ = 0;

    // Actions of this step.
    krg_mbr_action* action_ = nullptr;
    u32 actions_max_ = 0, actions_ = 0, taken_ = 0;
    u8* out_ = nullptr;
    u32 out_max_ = 0, out_used_ = 0, out_last_ = 0;
};

}  // namespace krg

/// An impossible state: this node stops (fences itself) instead of going on.
#define KRG_CHECK(condition)                                                                                                   \
    do {                                                                                                                       \
        if (!(condition)) {                                                                                                    \
            failed(__LINE__);                                                                                                  \
            return;                                                                                                            \
        }                                                                                                                      \
    } while (0)
