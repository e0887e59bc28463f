// SPDX-License-Identifier: GPL-2.0
//
// Lives of nodes whose coherence engine follows their membership engine. See client.hh.
#include "tests/sim/dsm/client.hh"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <utility>

namespace krg::sim::dsm {

namespace {

enum Token : u32 { token_program = Client::first_token, token_work, token_timer };
constexpr Time work_us = 60;           ///< mean time of a piece of work of the edge
constexpr Time calm_after = 500 * ms;  ///< of one view in which nothing is recovering or degraded
constexpr Time suspended_us = 5 * ms;  ///< between two looks at the lease

std::vector<u8> pack(const Packet& p) {
    std::vector<u8> out(10 + p.bytes.size());
    out[0] = p.has_page ? 1 : 0;
    out[1] = p.object;
    std::memcpy(&out[2], &p.value, sizeof p.value);
    std::copy(p.bytes.begin(), p.bytes.end(), out.begin() + 10);
    return out;
}

bool unpack(std::span<const u8> in, Packet& p) {
    if (in.size() < 10) return false;
    p.has_page = in[0] != 0;
    p.object = in[1];
    std::memcpy(&p.value, &in[2], sizeof p.value);
    p.bytes.assign(in.begin() + 10, in.end());
    return true;
}

}  // namespace

/// One life of one node.
class Fabric::Life final : public Client {
public:
    Life(Fabric& fabric, Host& host, MembershipProcess& process)
        : f_(fabric),
          host_(host),
          process_(process),
          id_(host.id()),
          edge_(*fabric.edge_[host.id()]) {
        f_.node_[id_] = {};
        f_.node_[id_].life = this;
    }
    ~Life() override { end(false, false); }

    void start() override {
        boot();
        host_.after(1 + host_.rng().exponential(f_.mean_us_), token_program, 0);
    }
    void prepare(const ViewRecord& view) override;
    void commit(u64 epoch) override;
    void suspend() override {}
    void resume() override {}
    void over() override { end(f_.node_[id_].drained, true); }
    [[nodiscard]] bool drain(u64 epoch) override;
    void message(NodeId from, u64 incarnation, std::span<const u8> bytes) override;
    void call(u32 token, u64 arg) override;

    /// As in the kernel: what finds no connection waits for one, until the epoch is over.
    void send(NodeId to, std::vector<u8> bytes) {
        if (up_[to])
            host_.send(to, Class::data, bytes);
        else
            letters_[to].push_back(std::move(bytes));
    }
    void connected(NodeId peer, bool up) override;
    void drained() {
        if (drain_epoch_ != 0) process_.subscriber_drained(drain_epoch_);
    }
    [[nodiscard]] bool serving() const { return edge_.running() && committed_ && process_.may_serve(); }
    [[nodiscard]] u64 incarnation() const { return host_.incarnation(); }
    [[nodiscard]] bool knows(const ViewRecord& view) const { return process_.view() == view; }
    void read(unsigned object) {
        edge_.begin(host_.true_time(), 0, Op::read, object);
        after_step();
    }

private:
    /// Before the first view: others may have it earlier, and what they say then must be kept. Who creates a cluster has
    /// its first view before start().
    void boot() {
        if (!edge_.running()) edge_.boot(host_.incarnation(), host_.true_time(), derive(host_.incarnation(), "coherence"));
    }
    void deliver(NodeId from, std::span<const u8> bytes);
    void end(bool in_order, bool left);
    void after_step();
    void operate();
    void work();
    [[nodiscard]] bool has_work() const;

    struct Known {
        krg_dsm_member member;
        u64 incarnation;
    };
    Fabric& f_;
    Host& host_;
    MembershipProcess& process_;
    NodeId id_;
    Edge& edge_;
    std::vector<Known> known_;
    bool committed_ = false, working_ = false;
    std::array<bool, nodes_max + 1> up_{};
    std::array<std::vector<std::vector<u8>>, nodes_max + 1> letters_;
    std::array<std::vector<std::vector<u8>>, nodes_max + 1> early_;  ///< came before the first view
    u64 drain_epoch_ = 0;
    u64 timer_ = 0;  ///< the only one that counts
    u64 timer_at_ = ~u64{0};
};

void Fabric::Life::connected(NodeId peer, bool up) {
    if (peer >= up_.size()) return;
    up_[peer] = up;
    early_[peer].clear();
    if (!up) return;
    for (const std::vector<u8>& letter : letters_[peer]) host_.send(peer, Class::data, letter);
    letters_[peer].clear();
}

/// As in the kernel: since when, for a life seen before; for others, this node's first view of it.
void Fabric::Life::prepare(const ViewRecord& view) {
    if (f_.node_[id_].life != this) return;
    boot();
    if (edge_.at().epoch == 0) f_.node_[id_].dead = false;
    f_.view(view);
    std::vector<Known> known;
    for (const MemberRecord& m : view.members) {
        u64 since = view.epoch;
        for (const Known& k : known_)
            if (k.member.node == m.node && k.incarnation == m.incarnation) since = k.member.since;
        const u16 leaving = (m.flags & KRG_MBR_F_DRAINING) != 0 ? 1 : 0;
        known.push_back({{m.node, leaving, 0, since}, m.incarnation});
    }
    known_ = std::move(known);
    std::vector<krg_dsm_member> members;
    for (const Known& k : known_) members.push_back(k.member);
    committed_ = false;
    for (auto& letters : letters_) letters.clear();
    f_.node_[id_].drained = false;
    edge_.prepare(host_.true_time(), view.epoch, members);
    for (size_t n = 1; n < early_.size(); n++)
        for (const std::vector<u8>& bytes : std::exchange(early_[n], {})) deliver(static_cast<NodeId>(n), bytes);
    after_step();
}

void Fabric::Life::commit(u64 epoch) {
    if (!edge_.running() || epoch != process_.view().epoch) return;
    f_.committed(id_, process_.view());
    committed_ = true;
    edge_.commit(host_.true_time());
    after_step();
}

bool Fabric::Life::drain(u64 epoch) {
    if (!edge_.running()) return false;
    drain_epoch_ = epoch;
    if (f_.node_[id_].drained) drained();
    after_step();
    return true;
}

/// The transport connects lives: what another life of a member has sent is not its word.
void Fabric::Life::message(NodeId from, u64 incarnation, std::span<const u8> bytes) {
    if (!edge_.running()) return;
    const MemberRecord* member = process_.view().find(from);
    if (member && member->incarnation != incarnation) return;
    // As in the kernel, where it waits in the connection: an earlier life of the sender, in an earlier cluster with the same
    // epochs, may have said it, and then it goes with that life.
    if (edge_.at().epoch == 0 && from < early_.size())
        early_[from].emplace_back(bytes.begin(), bytes.end());
    else
        deliver(from, bytes);
    after_step();
}

void Fabric::Life::deliver(NodeId from, std::span<const u8> bytes) {
    Packet packet;
    if (unpack(bytes, packet)) edge_.receive(host_.true_time(), from, packet);
}

void Fabric::Life::end(bool in_order, bool left) {
    if (f_.node_[id_].life != this) return;
    if (edge_.running()) {
        f_.dies(id_, in_order);
        if (in_order)
            edge_.stop(host_.true_time());
        else
            edge_.crash();
        // The last one has left: that is the end of the memory, as the operator wanted it.
        if (known_.size() == 1 && left && process_.view() == f_.newest_ && !f_.anybody_lives()) {
            f_.forget_all(false);
            f_.newest_ = {};
        }
    }
    f_.node_[id_].life = nullptr;
    f_.judge();
}

void Fabric::Life::call(u32 token, u64 arg) {
    switch (token) {
    case token_program:
        host_.after(1 + host_.rng().exponential(f_.mean_us_), token_program, 0);
        f_.look_for_calm();
        operate();
        break;
    case token_work:
        working_ = false;
        if (edge_.running()) work();
        break;
    case token_timer:
        if (arg != timer_ || !edge_.running()) return;
        timer_at_ = ~u64{0};
        edge_.tick(host_.true_time());
        break;
    default: return;
    }
    after_step();
}

bool Fabric::Life::has_work() const {
    const EdgeState& s = edge_.at();
    bool any = s.snapshot || !s.orphan_grants.empty() || (drain_epoch_ != 0 && !s.draining);
    for (const Program& p : s.program) any = any || p.phase == Program::Phase::granted;
    for (unsigned o = 0; o < f_.setup_.objects.size(); o++) any = any || s.edge[o] != 0;
    return any;
}

/// What follows every step: the checkers, and when this node has to be looked at again.
void Fabric::Life::after_step() {
    f_.judge();
    if (!edge_.running()) return;
    if (!working_ && has_work()) {
        working_ = true;
        host_.after(1 + (serving() ? host_.rng().exponential(work_us) : suspended_us), token_work, 0);
    }
    const u64 deadline = edge_.deadline();
    if (deadline >= timer_at_) return;
    timer_at_ = deadline;
    const Time now = host_.true_time();
    host_.after(deadline > now ? deadline - now : 1, token_timer, ++timer_);
}

/// A program that has nothing to do does something.
void Fabric::Life::operate() {
    if (!serving() || drain_epoch_ != 0 || f_.ending_) return;
    Rng& rng = host_.rng();
    const auto object = static_cast<unsigned>(rng.below(f_.setup_.objects.size()));
    const Time now = host_.true_time();
    const EdgeState& s = edge_.at();
    if (f_.setup_.evict_weight != 0 && rng.chance(1, 12) && s.evictions.empty()) return edge_.evict(now, object);
    if (f_.setup_.sync_weight != 0 && rng.chance(1, 12) && s.syncs.empty()) return edge_.sync(now);
    const auto program = static_cast<unsigned>(rng.below(f_.setup_.programs));
    if (s.program[program].phase != Program::Phase::idle) return;
    const u64 kind = rng.below(100);
    const u32 writes = f_.setup_.writes_pct;
    edge_.begin(now, program,
                kind < writes                           ? Op::write
                : kind < writes + f_.setup_.updates_pct ? Op::update
                                                        : Op::read,
                object);
}

/// One piece of what the edge has to do. Pages may be taken away at any time, but used only with a lease.
void Fabric::Life::work() {
    const Time now = host_.true_time();
    const EdgeState& s = edge_.at();
    if (serving()) {
        for (unsigned p = 0; p < f_.setup_.programs; p++)
            if (s.program[p].phase == Program::Phase::granted) return edge_.use(now, p);
        if (!s.orphan_grants.empty()) return edge_.use_orphan(now);
    }
    if (s.snapshot && edge_.can_snapshot()) return edge_.snapshot_step(now, false);
    for (unsigned o = 0; o < f_.setup_.objects.size(); o++)
        if (s.edge[o] != 0 && edge_.can_complete(o)) return edge_.complete(now, o);
    if (drain_epoch_ != 0 && !s.draining && committed_ && !edge_.programs_wait()) edge_.drain(now);
}

Fabric::Fabric(const Setup& setup, u64 mean_us, bool trace) : setup_(setup), mean_us_(mean_us), trace_(trace) {
    std::vector<Promise> promises;
    for (const krg_dsm_object& o : setup_.objects) promises.push_back(promise_of(o));
    checker_ = Checker(setup_.nodes, promises);
    edge_.emplace_back(nullptr);
    for (NodeId n = 1; n <= setup_.nodes; n++) edge_.push_back(std::make_unique<Edge>(n, setup_, checker_, *this));
}

Fabric::~Fabric() = default;

void Fabric::begin(sim::World& world, sim::Checker& judge) {
    world_ = &world;
    judge_ = &judge;
}

std::unique_ptr<Client> Fabric::client(Host& host, MembershipProcess& process) {
    return std::make_unique<Life>(*this, host, process);
}

void Fabric::say(NodeId node, std::string line) { world_->note(node, Detail::short_log, '.', std::move(line)); }

void Fabric::send(NodeId from, NodeId to, std::shared_ptr<const Packet> packet) {
    messages_++;
    pages_ += packet->has_page ? 1 : 0;
    if (trace_) {
        char text[160] = "";
        krg_dsm_describe(packet->bytes.data(), static_cast<u32>(packet->bytes.size()), text, sizeof text);
        world_->note(from, Detail::full_log, '>', fmt::format("to n{}: {}", to, text));
    }
    if (node_[from].life) node_[from].life->send(to, pack(*packet));
}

void Fabric::reset_wanted(NodeId from, NodeId to, u16 reason) {
    if (reason == KRG_DSM_R_PROTOCOL && !edge_[from]->outlived())
        judge_->fail(world_->now(), from, "contract", fmt::format("wants a reset because node {} broke the protocol", to));
    for (NodeId n = 1; n <= setup_.nodes; n++)
        if (n != from && (to == 0 || n == to)) world_->network().reset(world_->now(), from, n, ms);
}

void Fabric::drained(NodeId node) {
    node_[node].drained = true;
    if (node_[node].life) node_[node].life->drained();
}

void Fabric::recovered(NodeId node, u64 /*epoch*/) {
    recoveries_++;
    node_[node].served = true;
}

// Views, as all nodes together see them

void Fabric::view(const ViewRecord& view) {
    if (view.cluster != newest_.cluster && newest_.cluster != 0) {
        // An operator began anew: nothing of the old cluster is left.
        for (NodeId n = 1; n <= setup_.nodes; n++) {
            if (!edge_[n]->running() || edge_[n]->at().epoch == 0) continue;
            edge_[n]->outlive();
            node_[n].dead = true;
        }
        forget_all(false);
        met_.clear();
        newest_ = {};
    }
    if (view.epoch <= newest_.epoch) return;
    for (const MemberRecord& m : view.members) {
        met_.emplace(m.node, m.incarnation);
        const Life* life = node_[m.node].life;
        if (!life || life->incarnation() != m.incarnation || !edge_[m.node]->outlived()) continue;
        // Those who went on without it have all died, and an operator took up the cluster here: with the memory it had.
        went_back_ = true;
        edge_[m.node]->outlive(false);
    }
    newest_ = view;
    quiet_since_ = never;
    count_copies(false);
}

/// Nobody is left who has anything of what there was: the memory is a new one. @p known: not that it was never written.
void Fabric::forget_all(bool known) {
    checker_.start_over(known);
    for (NodeId n = 1; n <= setup_.nodes; n++) {
        if (!edge_[n]->running() || edge_[n]->outlived()) continue;
        checker_.boot(n, edge_[n]->writes());
        for (const Program& p : edge_[n]->at().program)
            if (p.phase != Program::Phase::idle && p.mode == KRG_DSM_WRITE) checker_.wants_write(p.object);
    }
    able_ = 0;
}

/// Somebody who has been a member, and as far as the checker knows still is.
bool Fabric::anybody_lives() const {
    for (NodeId n = 1; n <= setup_.nodes; n++)
        if (!node_[n].dead && edge_[n]->running() && !edge_[n]->outlived() && edge_[n]->at().epoch != 0) return true;
    return false;
}

bool Fabric::has_something(NodeId node) const {
    return edge_[node]->running() && std::any_of(setup_.objects.begin(), setup_.objects.end(), [&](const krg_dsm_object& o) {
               krg_dsm_copy copy{};
               krg_dsm_inspect(edge_[node]->engine(), &o, &copy);
               return copy.state != KRG_DSM_I || copy.staged != 0;
           });
}

/// The first to serve in a view without a node is the end of that node.
void Fabric::committed(NodeId node, const ViewRecord& view) {
    node_[node].committed = view.epoch;
    bool all = view == newest_;
    for (NodeId n = 1; n <= setup_.nodes; n++) {
        Life* life = node_[n].life;
        const bool in = life && view.has(n, life->incarnation());
        if (in) {
            all = all && node_[n].committed == view.epoch;
        } else if (!node_[n].dead && edge_[n]->at().epoch != 0 && edge_[n]->at().epoch < view.epoch) {
            dies(n, node_[n].drained);
            edge_[n]->outlive();
        }
    }
    const bool anybody = std::any_of(view.members.begin(), view.members.end(), [&](const MemberRecord& m) {
        const Life* life = node_[m.node].life;
        return life && life->incarnation() == m.incarnation && (node_[m.node].served || has_something(m.node));
    });
    if (!anybody && view.epoch != begun_) forget_all(true);
    const bool told = std::any_of(view.members.begin(), view.members.end(), [&](const MemberRecord& m) {
        const Life* life = node_[m.node].life;
        return life && life->incarnation() == m.incarnation && node_[m.node].served;
    });
    const bool gone = std::any_of(met_.begin(), met_.end(), [&](const auto& m) { return !view.has(m.first, m.second); });
    if (!told && gone) checker_.nobody_knows();
    begun_ = view.epoch;
    count_copies(all);
    if (all) quiet_since_ = world_->now();
}

void Fabric::count_copies(bool all) {
    unsigned now = 0;
    for (const MemberRecord& m : newest_.members) now += (m.flags & KRG_MBR_F_DRAINING) != 0 ? 0 : 1;
    const unsigned able = all || able_ == 0 ? now : std::min(now, able_);
    if (able == able_) return;
    able_ = able;
    checker_.able(std::max(able, 1U));
}

void Fabric::dies(NodeId node, bool in_order) {
    if (node_[node].dead) return;
    node_[node].dead = true;
    if (in_order) {
        drained_lives_++;
        checker_.left(node);
        return;
    }
    u32 frozen = 0;
    for (NodeId n = 1; n <= setup_.nodes; n++) {
        if (n == node || !edge_[n]->running() || edge_[n]->outlived()) continue;
        for (unsigned o = 0; o < setup_.objects.size(); o++) {
            krg_dsm_copy copy{};
            krg_dsm_inspect(edge_[n]->engine(), &setup_.objects[o], &copy);
            if (copy.state == KRG_DSM_F) frozen |= 1U << o;
        }
    }
    checker_.crash(node, frozen);
}

void Fabric::judge() {
    checker_.judge();
    if (checker_.broken() && !went_back_)
        judge_->fail(world_->now(), 0, "coherence", checker_.broken().rule + ": " + checker_.broken().text);
    for (NodeId n = 1; n <= setup_.nodes; n++)
        if (const Broken& b = edge_[n]->broken()) judge_->fail(world_->now(), n, "coherence", b.rule + ": " + b.text);
}

/// For some time one view, in which everything has been repaired.
void Fabric::look_for_calm() {
    if (quiet_since_ == never || world_->now() - quiet_since_ < calm_after) return;
    for (const MemberRecord& m : newest_.members) {
        const Life* life = node_[m.node].life;
        if (!life || !life->knows(newest_) || !edge_[m.node]->running()) return;
        krg_dsm_stats stats{};
        krg_dsm_get_stats(edge_[m.node]->engine(), &stats);
        if (stats.recovering != 0 || (stats.degraded != 0 && enough())) return;
    }
    calms_++;
    checker_.calm();
    quiet_since_ = world_->now();
}

// The end

std::string Fabric::why_busy() const {
    for (const MemberRecord& m : newest_.members) {
        const Edge& edge = *edge_[m.node];
        if (!edge.running()) return fmt::format("node {} has no engine", m.node);
        if (const std::string busy = edge.busy(); !busy.empty()) return fmt::format("node {}: {}", m.node, busy);
        krg_dsm_stats stats{};
        krg_dsm_get_stats(edge.engine(), &stats);
        if (stats.recovering != 0) return fmt::format("node {} has not recovered", m.node);
    }
    return {};
}

std::string Fabric::end() {
    ending_ = true;
    if (std::string busy = why_busy(); !busy.empty()) return busy;
    // Every member reads every object: what was lost must say so, what was seen must be there.
    bool more = false;
    for (const MemberRecord& m : newest_.members) {
        Life* life = node_[m.node].life;
        if (!life || !life->serving()) return fmt::format("node {} does not serve", m.node);
        if (read_[m.node] == setup_.objects.size()) continue;
        life->read(read_[m.node]++);
        more = true;
    }
    if (more) return "the last reads are under way";
    if (enough() && !went_back_) checker_.judge_repaired();
    judge();
    return {};
}

/// As many members as copies are promised.
bool Fabric::enough() const {
    return std::all_of(setup_.objects.begin(), setup_.objects.end(),
                       [&](const krg_dsm_object& o) { return o.policy.replicas <= able_; });
}

void Fabric::hash(RunHash& hash) {
    for (NodeId n = 1; n <= setup_.nodes; n++) edge_[n]->hash(hash);
    hash.mix(messages_);
}

u64 Fabric::operations() const {
    u64 sum = 0;
    for (NodeId n = 1; n <= setup_.nodes; n++) sum += edge_[n]->operations();
    return sum;
}

u64 Fabric::failed_operations() const {
    u64 sum = 0;
    for (NodeId n = 1; n <= setup_.nodes; n++) sum += edge_[n]->failed_operations();
    return sum;
}

}  // namespace krg::sim::dsm
