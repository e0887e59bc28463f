// SPDX-License-Identifier: GPL-2.0
//
// The membership engine as a Process: what the kernel edge is on a real node. It turns the world's events into engine
// events and actions into sends, keeps the edge's promises (an expelled node is reborn as a new incarnation, an evicted
// one stays out), and reports every step to the checker. Whatever runs on top of membership (today a service that does
// operations while it may serve, later the coherence engine) is a Client.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "tests/sim/membership/checker.hh"
#include "tests/sim/world/process.hh"

namespace krg::sim {

/// What membership.h calls subscribers. One per life of a node.
class Client {
public:
    virtual ~Client() = default;
    virtual void start() = 0;
    virtual void prepare(const ViewRecord& view) = 0;
    virtual void commit(u64 epoch) = 0;
    virtual void suspend() = 0;
    virtual void resume() = 0;
    virtual void over() = 0;
    /// This end of the connection to @p peer came up or went down.
    virtual void connected(NodeId /*peer*/, bool /*up*/) {}
    /// True: it says subscriber_drained() itself when it is empty.
    [[nodiscard]] virtual bool drain(u64 /*epoch*/) { return false; }
    virtual void message(NodeId from, u64 incarnation, std::span<const u8> bytes) = 0;
    /// Tokens at or above first_token of Host::after() come here.
    virtual void call(u32 token, u64 arg) = 0;
    static constexpr u32 first_token = 16;
};

/// What a node is meant to do when it boots; survives crashes, as a configuration file does.
struct NodeIntent {
    enum class Role : u8 { out, create, join } role = Role::join;
    u64 cluster_id = 0;  ///< for create
    u32 cluster_hash = 1;
    u16 max_nodes = 0;
    u32 join_limit_ms = 0;
    NodeId clone_of = 0;  ///< configured with this other machine's id by mistake
};

/// A second machine with the id of another, as its peers see it. machine 0: there is none.
struct Clone {
    NodeId machine = 0;
    NodeId of = 0;
    u64 incarnation = 0;
};

struct ProcessKnobs {
    u64 prepare_ms = 0, drain_ms = 0, rejoin_ms = 100;
    krg_mbr_params params{};
};

/// Told when a node begins to propose a view: faults that wait for an agreement hang on this.
class AgreementWatcher {
public:
    virtual ~AgreementWatcher() = default;
    virtual void proposing(NodeId node) = 0;
};

class MembershipProcess final : public Process {
public:
    MembershipProcess(Host& host, const ProcessKnobs& knobs, NodeIntent& intent, Checker* checker, Clone* clone = nullptr);
    ~MembershipProcess() override;
    void set_watcher(AgreementWatcher* watcher) { watcher_ = watcher; }
    /// For measurements: sees every control message sent.
    void set_sent(std::function<void(std::span<const u8>)> sent) { sent_ = std::move(sent); }
    void set_client(std::unique_ptr<Client> client) { client_ = std::move(client); }

    void start() override;
    void peer_up(NodeId peer, u64 incarnation) override;
    void peer_down(NodeId peer, u64 incarnation) override;
    void hint(NodeId peer) override;
    void message(NodeId from, u64 incarnation, Class cls, std::span<const u8> bytes) override;
    void garbage(NodeId from, u64 incarnation, Class cls, std::span<const u8> bytes) override;
    void storage(std::span<const u8> reply) override;
    void call(u32 token, u64 arg) override;
    void tick() override;
    [[nodiscard]] u64 deadline_ms() const override { return krg_mbr_deadline(engine_); }

    /// The client is empty, as the DRAIN of @p epoch wanted.
    void subscriber_drained(u64 epoch) { host_.after(1, token_drained, epoch); }

    // Operators
    void join();
    void leave();
    void evict(NodeId victim);
    void recover();

    [[nodiscard]] u32 state() const { return krg_mbr_state(engine_); }
    [[nodiscard]] const krg_mbr* engine() const { return engine_; }
    [[nodiscard]] bool leaving() const { return leaving_ && !over_; }
    [[nodiscard]] bool over() const { return over_; }
    /// The edge's own copies, as krg_may_serve() reads them.
    [[nodiscard]] bool may_serve() const { return host_.now_ms() < serve_until_; }
    [[nodiscard]] u64 epoch() const { return view_.epoch; }
    [[nodiscard]] const ViewRecord& view() const { return view_; }
    [[nodiscard]] u64 proposals() const { return stats_.proposals; }
    [[nodiscard]] const krg_mbr_stats& stats() const { return stats_; }

private:
    enum Token : u32 { token_prepared = 1, token_drained };
    void step(const krg_mbr_event& event);
    [[nodiscard]] bool is_clone(NodeId machine) const { return clone_ && clone_->machine != 0 && machine == clone_->machine; }
    [[nodiscard]] NodeId self() const { return intent_.clone_of != 0 ? intent_.clone_of : host_.id(); }
    void act(const krg_mbr_action& action);
    void send(NodeId to, u64 incarnation, std::span<const u8> bytes);
    void show();
    void end(const krg_mbr_action& action);
    void trace_action(const krg_mbr_action& action);

    Host& host_;
    const ProcessKnobs& knobs_;
    NodeIntent& intent_;
    Checker* checker_;
    Clone* clone_;
    std::map<NodeId, u64> heard_of_;  ///< the incarnation that was connected last
    std::unique_ptr<Client> client_;
    AgreementWatcher* watcher_ = nullptr;
    std::function<void(std::span<const u8>)> sent_;
    std::vector<u64> memory_;
    krg_mbr* engine_ = nullptr;
    ViewRecord view_;
    krg_mbr_stats stats_{};
    u64 serve_until_ = 0;
    Time serve_end_ = 0;  ///< the same in true time
    u64 join_deadline_ms_ = ~u64{0};
    u64 garbage_ = 0;
    bool leaving_ = false;
    bool over_ = false;
};

}  // namespace krg::sim
