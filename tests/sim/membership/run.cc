// SPDX-License-Identifier: GPL-2.0
//
// The phases of a run. See run.hh.
#include "tests/sim/membership/run.hh"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "tests/sim/membership/clique.hh"
#include "tests/sim/membership/service.hh"

namespace krg::sim {

namespace {

constexpr u64 event_limit = 20000000;  ///< a run that has more is a storm

WorldKnobs world_knobs(const Knobs& k) {
    WorldKnobs w;
    w.nodes = k.nodes + (k.intruder != 0 ? 1 : 0);
    w.skew_ppm = k.skew_ppm;
    w.offset_ms = k.offset_ms;
    w.timer_lag_us = k.timer_lag_us;
    w.storage_ms = k.storage_ms;
    w.wake_timer_first = k.wake_timer_first;
    w.freeze_resets = k.freeze_resets;
    w.network = {k.latency_us, k.jitter_us,    k.slow_ppm,      k.slow_us,    k.connect_ms,
                 k.retry_ms,   k.tolerance_ms, k.duplicate_ppm, k.garbage_ppm};
    return w;
}

ProcessKnobs process_knobs(const Knobs& k) {
    ProcessKnobs p;
    p.prepare_ms = k.prepare_ms;
    p.drain_ms = k.drain_ms;
    p.rejoin_ms = k.rejoin_ms;
    p.params.lease_ms = static_cast<u32>(k.lease_ms);
    p.params.drift_ms = static_cast<u32>(k.drift_ms);
    p.params.renew_ms = static_cast<u32>(k.renew_ms);
    p.params.suspect_ms = static_cast<u32>(k.suspect_ms);
    p.params.settle_ms = static_cast<u32>(k.settle_ms);
    p.params.witness = static_cast<u32>(k.witness);
    return p;
}

class Run final : ProcessFactory, Director, Cluster, AgreementWatcher {
public:
    explicit Run(const RunOptions& options)
        : options_(options),
          k_(options.knobs),
          process_knobs_(process_knobs(k_)),
          rng_(derive(options.seed, "run")),
          checker_(static_cast<unsigned>(world_knobs(k_).nodes)),
          intents_(world_knobs(k_).nodes + 1),
          processes_(world_knobs(k_).nodes + 1, nullptr),
          world_(world_knobs(k_), options.seed, *this, options.trace),
          injector_(k_, options.seed, world_, *this, options.only_faults ? &*options.only_faults : nullptr) {
        world_.set_director(this);
        world_.stop_on(checker_.alarm());
        if (options.tenant) options.tenant->begin(world_, checker_);
    }

    RunResult result();

private:
    // phases
    void form();
    void safety();
    void heal();
    bool converge(const char* after);
    void stay_stable(const char* after);
    void end_tenant();
    void operators_wish();
    void scatter();
    void final_cut();
    void expect_clique(const std::vector<NodeId>& nodes, const ViewRecord& before);
    bool advance(Time until);
    void violate(const char* rule, const std::string& text) { checker_.fail(world_.now(), 0, rule, text); }

    // what should be
    [[nodiscard]] bool wanted(NodeId node) const;
    [[nodiscard]] std::vector<NodeId> wanted_nodes() const;
    [[nodiscard]] std::string disagreement(const std::vector<NodeId>& expected) const;
    [[nodiscard]] bool serves(NodeId node) const { return checker_.serving(node, world_.now()); }
    [[nodiscard]] std::vector<NodeId> members_if_serving(NodeId node) const;
    [[nodiscard]] bool quorum_dead() const;
    void operator_recovers();
    [[nodiscard]] Time bound() const;

    // ProcessFactory
    std::unique_ptr<Process> boot(Host& host) override;
    void gone(NodeId node) override;
    bool storage(NodeId node, std::span<const u8> request, std::vector<u8>& reply) override;
    std::string describe(Class cls, std::span<const u8> bytes) const override;
    // Director
    void cue(u32 what, u64 arg) override { injector_.cue(what, arg); }
    // Cluster
    bool may_lose(NodeId node) override;
    bool leave(NodeId node) override;
    bool evict(NodeId at, NodeId victim) override;
    void join_again(NodeId node) override;
    // AgreementWatcher
    void proposing(NodeId node) override { injector_.agreement(node); }

    const RunOptions& options_;
    const Knobs& k_;
    ProcessKnobs process_knobs_;
    Rng rng_;
    Checker checker_;
    std::vector<NodeIntent> intents_;
    std::vector<MembershipProcess*> processes_;
    std::vector<u8> witness_state_;
    Clone clone_;
    RunResult result_;
    World world_;
    Injector injector_;
    std::set<NodeId> dead_;  ///< for good
    u64 clusters_ = 0;
};

std::unique_ptr<Process> Run::boot(Host& host) {
    auto process = std::make_unique<MembershipProcess>(host, process_knobs_, intents_[host.id()], &checker_, &clone_);
    process->set_watcher(this);
    if (options_.tenant)
        process->set_client(options_.tenant->client(host, *process));
    else
        process->set_client(std::make_unique<Service>(host, *process, checker_, k_.op_ms));
    processes_[host.id()] = process.get();
    return process;
}

void Run::gone(NodeId node) {
    const krg_mbr_stats& stats = processes_[node]->stats();
    result_.proposals += stats.proposals;
    result_.ballots += stats.ballots;
    result_.suspends += stats.suspends;
    result_.resumes += stats.resumes;
    processes_[node] = nullptr;
}

bool Run::storage(NodeId node, std::span<const u8> request, std::vector<u8>& reply) {
    u8 answer[4096];
    u32 answer_len = sizeof answer;
    auto length = static_cast<u32>(witness_state_.size());
    witness_state_.resize(KRG_MBR_WITNESS_STATE_MAX);
    const u64 cluster = processes_[node] ? processes_[node]->view().cluster : 0;
    const int done = krg_mbr_witness(witness_state_.data(), &length, KRG_MBR_WITNESS_STATE_MAX, cluster, request.data(),
                                     static_cast<u32>(request.size()), answer, &answer_len);
    witness_state_.resize(length);
    if (world_.tracing())
        world_.note(node, Detail::full_log, '>', fmt::format("witness answers {} ({} bytes)", done, done < 0 ? 0 : answer_len));
    if (done < 0 || answer_len == 0) return false;
    reply.assign(answer, answer + answer_len);
    checker_.sent(world_.now(), KRG_MBR_WITNESS, reply);
    return true;
}

std::string Run::describe(Class cls, std::span<const u8> bytes) const {
    if (cls == Class::data) return "operation";
    if (bytes.empty()) return "nothing";
    // As in the engine's message.hh.
    static constexpr const char* names[] = {"?",      "renewal",  "join request", "join wait", "refusal", "not a member",
                                            "behind", "request",  "P1A",          "P1B",       "P2A",     "P2B",
                                            "NACK",   "decision", "new witness"};
    const u64 type = bytes.size() > 1 ? bytes[1] : 0;
    u64 epoch = 0;
    for (unsigned i = 0; i < 8 && bytes.size() >= 20; i++) epoch |= static_cast<u64>(bytes[12 + i]) << (8 * i);
    return fmt::format("{} of epoch {} ({} bytes)", type < std::size(names) ? names[type] : "?", epoch, bytes.size());
}

bool Run::may_lose(NodeId node) {
    const ViewRecord* newest = checker_.latest();
    if (newest == nullptr) return false;
    std::size_t alive = 0;
    for (const MemberRecord& member : newest->members) {
        if (member.node == node || world_.incarnation(member.node) != member.incarnation) continue;
        // Who was admitted and has not heard of it is no help: nobody else may know of that view.
        const MembershipProcess* process = processes_[member.node];
        if (process && process->state() != KRG_MBR_JOINING) alive++;
    }
    return newest->quorum(alive, false);
}

bool Run::leave(NodeId node) {
    MembershipProcess* process = processes_[node];
    if (!process || process->over() || process->leaving() || process->state() != KRG_MBR_SERVING) return false;
    if (process->view().members.size() < 3 && k_.keep_quorum != 0) return false;
    process->leave();
    world_.touched(node);
    return true;
}

bool Run::evict(NodeId at, NodeId victim) {
    MembershipProcess* process = processes_[at];
    if (!process || process->over() || process->state() != KRG_MBR_SERVING || process->view().members.size() < 3) return false;
    const MemberRecord* member = process->view().find(victim);
    if (!member) return false;
    checker_.asked_evict(victim, member->incarnation);
    process->evict(victim);
    world_.touched(at);
    return true;
}

void Run::join_again(NodeId node) {
    NodeIntent& intent = intents_[node];
    if (intent.role != NodeIntent::Role::out) return;
    const bool idle = processes_[node] == nullptr || processes_[node]->over();
    // A leave that is under way (or was forgotten when the node crashed) is let through first.
    if (!idle) return;
    intent.role = NodeIntent::Role::join;
    world_.note(node, Detail::short_log, '*', "is asked to join");
    world_.crash(node, false);
    world_.boot(node);
}

bool Run::advance(Time until) {
    while (world_.now() < until && !checker_.violation()) {
        if (!world_.run_until(std::min(until, world_.now() + second))) return false;
        if (world_.events() > event_limit) violate("engine", "more events than any cluster needs: a storm");
    }
    return !checker_.violation();
}

void Run::form() {
    const auto nodes = static_cast<NodeId>(k_.nodes);
    const auto creator = static_cast<NodeId>(1 + rng_.below(nodes));
    const Time drawn = rng_.log_uniform(1, 3000) * ms;
    const Time spread = k_.spread_ms != 0 ? k_.spread_ms * ms : drawn;
    const auto last = static_cast<NodeId>(world_.nodes());
    for (NodeId node = 1; node <= last; node++) {
        NodeIntent& intent = intents_[node];
        intent.max_nodes = static_cast<u16>(nodes + (k_.intruder == 1 ? 1 : 0));
        intent.join_limit_ms = rng_.chance(1, 2) ? 0 : static_cast<u32>(rng_.between(5, 20) * (k_.suspect_ms + k_.lease_ms));
        if (node == creator) {
            intent.role = NodeIntent::Role::create;
            intent.cluster_id = derive(options_.seed, "cluster", ++clusters_) | 1;
        } else if (node > nodes) {
            constexpr u32 reasons[] = {KRG_MBR_R_NONE, KRG_MBR_R_CLUSTER, KRG_MBR_R_ID_RANGE, KRG_MBR_R_ID_TAKEN};
            checker_.expect_refusal(node, reasons[k_.intruder]);
            if (k_.intruder == 1) intent.cluster_hash = 2;
            if (k_.intruder == 2) intent.max_nodes = static_cast<u16>(nodes + 1);
            if (k_.intruder == 3) intent.clone_of = static_cast<NodeId>(1 + rng_.below(nodes));
        }
        world_.boot_at(1 + rng_.below(spread), node);
    }
    if (k_.even_start == 0) return;
    world_.network().set_calm(true);
    converge("forming");
    world_.network().set_calm(false);
}

void Run::safety() {
    const Time start = world_.now();
    const Time length = k_.seconds * second;
    injector_.arm(start, length);
    if (!advance(start + (options_.until != 0 ? std::min(length, options_.until * second) : length))) return;
    // Faults that waited for an agreement may still be missing: a run has at least five (or what it was allowed).
    for (int i = 0; i < 40 && !options_.only_faults && options_.until == 0 && injector_.executed() < 5; i++) {
        injector_.wait_no_longer();
        if (!advance(world_.now() + second)) return;
    }
}

void Run::heal() {
    world_.note(0, Detail::short_log, '~', "faults stop, everything heals");
    injector_.heal_all();
    world_.network().set_calm(true);
    const auto all = static_cast<NodeId>(world_.nodes());
    for (NodeId node = 1; node <= all; node++) {
        while (world_.frozen(node)) world_.thaw(node);
        world_.set_storage(node, true);
        if (!world_.up(node) && intents_[node].role != NodeIntent::Role::out) world_.boot(node);
    }
    for (u64 i = 0; i < k_.dead; i++) {
        const auto victim = static_cast<NodeId>(1 + rng_.below(k_.nodes));
        if (!world_.up(victim) || !may_lose(victim)) continue;
        world_.note(victim, Detail::short_log, '!', "dies for good");
        world_.crash(victim, rng_.chance(1, 2));
        world_.forget_boot(victim);
        dead_.insert(victim);
    }
}

/// Should it be a member when all is well? A machine between two lives should.
bool Run::wanted(NodeId node) const {
    const MembershipProcess* process = processes_[node];
    return node <= k_.nodes && intents_[node].role != NodeIntent::Role::out && !dead_.contains(node) &&
           !(process && process->leaving());
}

std::vector<NodeId> Run::wanted_nodes() const {
    std::vector<NodeId> out;
    for (NodeId node = 1; node <= k_.nodes; node++)
        if (wanted(node)) out.push_back(node);
    return out;
}

/// Empty: exactly the expected nodes serve in one view. Otherwise what is wrong, for people.
std::string Run::disagreement(const std::vector<NodeId>& expected) const {
    const ViewRecord* view = nullptr;
    for (NodeId node = 1; node <= k_.nodes; node++) {
        const MembershipProcess* process = processes_[node];
        const bool should = std::find(expected.begin(), expected.end(), node) != expected.end();
        if (process && process->leaving()) return fmt::format("n{} was asked to leave and has not left", node);
        if (!should) {
            if (process && serves(node)) return fmt::format("n{} serves and should not", node);
            continue;
        }
        if (checker_.needs_epoch(node))
            return fmt::format("n{} lost messages of a fellow member in epoch {} and is still in it", node, process->epoch());
        if (!serves(node))
            return fmt::format("n{} does not serve ({})", node, process ? state_name(process->state()) : "between two lives");
        if (view == nullptr) view = &process->view();
        if (process->view() != *view)
            return fmt::format("n{} has view {}, others {}", node, process->view().text(), view->text());
    }
    if (view == nullptr) return {};
    if (view->members.size() != expected.size()) return fmt::format("the view is {}", view->text());
    for (NodeId node : expected)
        if (!view->has(node, world_.incarnation(node))) return fmt::format("the view {} lacks n{}", view->text(), node);
    return {};
}

std::vector<NodeId> Run::members_if_serving(NodeId node) const {
    std::vector<NodeId> out;
    if (processes_[node] && serves(node))
        for (const MemberRecord& member : processes_[node]->view().members) out.push_back(member.node);
    return out;
}

Time Run::bound() const {
    const u64 slow = k_.prepare_ms + k_.drain_ms + k_.rejoin_ms + k_.retry_ms + k_.connect_ms + k_.storage_ms;
    return (8 * (k_.lease_ms + k_.drift_ms + k_.suspect_ms + k_.nodes * k_.settle_ms) + 15 * slow + 5000) * ms;
}

bool Run::quorum_dead() const {
    // Of a view that nobody alive has, nothing is left.
    const ViewRecord* newest = nullptr;
    for (NodeId node = 1; node <= k_.nodes; node++) {
        const MembershipProcess* process = processes_[node];
        if (!process || process->over() || process->view().members.empty()) continue;
        if (newest == nullptr || process->view().epoch > newest->epoch) newest = &process->view();
    }
    if (newest == nullptr) newest = checker_.latest();
    if (newest == nullptr) return false;
    std::size_t alive = 0;
    for (const MemberRecord& member : newest->members) {
        const MembershipProcess* process = processes_[member.node];
        if (process && world_.incarnation(member.node) == member.incarnation && !process->over()) alive++;
    }
    return !newest->quorum(alive, true);
}

void Run::operator_recovers() {
    // A survivor with the newest view; another of them if the first could not (it may be on its way out).
    std::vector<NodeId> survivors;
    u64 newest = 0;
    for (NodeId node = 1; node <= k_.nodes; node++) {
        const MembershipProcess* process = processes_[node];
        if (!process || process->over() || process->view().members.empty() || process->epoch() < newest) continue;
        if (process->epoch() > newest) survivors.clear();
        newest = process->epoch();
        survivors.push_back(node);
    }
    if (!survivors.empty()) {
        const NodeId node = survivors[result_.recoveries % survivors.size()];
        world_.note(node, Detail::short_log, '*', "quorum is dead: operator recovers here");
        processes_[node]->recover();
        world_.touched(node);
        return;
    }
    const std::vector<NodeId> nodes = wanted_nodes();
    if (nodes.empty()) return;
    const NodeId node = nodes[rng_.below(nodes.size())];
    world_.note(node, Detail::short_log, '*', "no member is left: operator creates the cluster anew");
    intents_[node].role = NodeIntent::Role::create;
    intents_[node].cluster_id = derive(options_.seed, "cluster", ++clusters_) | 1;
    witness_state_.clear();
    world_.crash(node, false);
    world_.boot(node);
}

bool Run::converge(const char* after) {
    const Time start = world_.now();
    Time deadline = start + bound();
    // Connections that come back may still ask for a new epoch: calm has to last.
    const Time calm = (2 * k_.suspect_ms + 2 * k_.settle_ms + k_.retry_ms + k_.connect_ms) * ms;
    Time dead_since = never;
    Time good_since = never;
    u64 views = 0;
    unsigned operators = 0;
    for (;;) {
        if (!advance(world_.now() + 20 * ms)) return false;
        const std::string wrong = disagreement(wanted_nodes());
        if (!wrong.empty() || checker_.views() != views)
            good_since = never;
        else if (good_since == never)
            good_since = world_.now();
        views = checker_.views();
        if (good_since != never && world_.now() - good_since >= calm) break;
        if (wrong.empty()) continue;
        if (!quorum_dead()) {
            dead_since = never;
        } else if (dead_since == never) {
            dead_since = world_.now();
        } else if (world_.now() - dead_since > (k_.lease_ms + k_.suspect_ms) * ms) {
            result_.recoveries++;
            operator_recovers();
            dead_since = never;
            if (++operators < 4) deadline = world_.now() + bound();
        }
        if (world_.now() > deadline) {
            violate(rule_converge, fmt::format("{} s after {}: {}", (world_.now() - start) / second, after, wrong));
            return false;
        }
    }
    result_.converge_ms = std::max(result_.converge_ms, (good_since - start) / ms);
    result_.converge_bound_ms = std::max(result_.converge_bound_ms, bound() / ms);
    return true;
}

void Run::stay_stable(const char* after) {
    const u64 views = checker_.views();
    const std::vector<NodeId> nodes = wanted_nodes();
    const Time end = world_.now() + (3 * k_.suspect_ms + k_.lease_ms) * ms;
    while (world_.now() < end) {
        if (!advance(std::min(end, world_.now() + 100 * ms))) return;
        const std::string wrong = disagreement(nodes);
        const bool evicted = std::any_of(nodes.begin(), nodes.end(),
                                         [&](NodeId node) { return intents_[node].role == NodeIntent::Role::out; });
        if (evicted) {
            // As an operator asked while faults went on: only now did it come to somebody who could do it.
            if (converge("a late eviction")) stay_stable("a late eviction");
            return;
        }
        if (!wrong.empty() || checker_.views() != views) {
            violate(rule_stable, fmt::format("after {}, with no fault: {}", after, wrong.empty() ? "a new view" : wrong));
            return;
        }
    }
}

/// In a calm cluster every program of the tenant gets its answer, and nothing is left over.
void Run::end_tenant() {
    const Time deadline = world_.now() + 30 * second;
    for (std::string wrong = "?"; !wrong.empty();) {
        if (!advance(world_.now() + 5 * ms)) return;
        wrong = options_.tenant->end();
        if (!wrong.empty() && world_.now() > deadline) return violate("liveness", wrong);
    }
}

/// In a calm cluster a leave or an eviction has to be done, not forgotten.
void Run::operators_wish() {
    const std::vector<NodeId> nodes = wanted_nodes();
    if (nodes.size() < 3) return;
    const NodeId at = nodes[rng_.below(nodes.size())];
    NodeId victim = nodes[rng_.below(nodes.size())];
    const bool by_itself = k_.final_operator == 1 || victim == at;
    if (by_itself) victim = at;
    world_.note(at, Detail::short_log, '*', by_itself ? "is asked to leave" : fmt::format("is asked to evict n{}", victim));
    if (!(by_itself ? leave(at) : evict(at, victim))) return;
    const Time deadline = world_.now() + bound() + 20 * k_.drain_ms * ms;
    std::string wrong = "nothing ran";
    while (world_.now() < deadline && !wrong.empty()) {
        if (!advance(world_.now() + 20 * ms)) return;
        wrong = intents_[victim].role == NodeIntent::Role::out ? disagreement(wanted_nodes())
                                                               : fmt::format("n{} is not out", victim);
    }
    if (!wrong.empty())
        violate(rule_converge, fmt::format("n{} was asked to {} n{}: {}", at, by_itself ? "leave," : "evict", victim, wrong));
}

/// All are cut off from all, for longer than a lease; then links come back one by one. Those that come back while a majority
/// that met earlier still has to wait for them bring back the members that they had: nobody starts anew, nobody's work is lost.
void Run::scatter() {
    const std::vector<NodeId> nodes = wanted_nodes();
    if (nodes.size() < 3) return;
    const ViewRecord before = processes_[nodes.front()]->view();
    // What a link needs from its heal until everybody knows that it is back.
    const u64 slow = k_.retry_ms + k_.connect_ms + 3 * k_.renew_ms +
                     (8 * (k_.latency_us + k_.jitter_us + k_.timer_lag_us)) / 1000 + 20;
    if (slow >= k_.suspect_ms * 9 / 10) return;  // even links that heal at once may come back too late
    world_.note(0, Detail::short_log, '!', "all are cut off from all");
    std::vector<std::pair<NodeId, NodeId>> links;
    for (NodeId a : nodes) {
        for (NodeId b : nodes) {
            if (a == b) continue;
            world_.network().block(world_.now(), a, b);
            if (a < b) links.emplace_back(a, b);
        }
    }
    if (!advance(world_.now() + (2 * k_.lease_ms + k_.suspect_ms) * ms)) return;
    for (NodeId node : nodes)
        if (serves(node)) return violate(rule_silent, fmt::format("n{} serves alone", node));
    world_.note(0, Detail::short_log, '~', "the links come back one by one");
    const Time apart = (k_.suspect_ms * 9 / 10 - slow) * ms / links.size();
    for (std::size_t left = links.size(); left > 0; left--) {
        std::swap(links[left - 1], links[rng_.below(left)]);
        const auto [a, b] = links[left - 1];
        world_.network().unblock(world_.now(), a, b);
        world_.network().unblock(world_.now(), b, a);
        if (!advance(world_.now() + apart)) return;
    }
    if (!converge("all met again")) return;
    const ViewRecord& after = processes_[nodes.front()]->view();
    if (after.members != before.members)
        violate(rule_regather, fmt::format("all met again in time, but {} became {}", before.text(), after.text()));
}

void Run::final_cut() {
    const std::vector<NodeId> nodes = wanted_nodes();
    if (nodes.size() < 3) return;
    const ViewRecord before = processes_[nodes.front()]->view();
    const auto cut = [&](NodeId from, NodeId to) {
        if (from == to) return;
        world_.note(from, Detail::short_log, '!', fmt::format("final cut to n{}", to));
        world_.network().block(world_.now(), from, to);
    };
    const NodeId a = nodes[rng_.below(nodes.size())];
    const NodeId b = nodes[rng_.below(nodes.size())];
    switch (static_cast<FinalCut>(k_.final_cut)) {
    case FinalCut::pair:
        cut(a, b);
        cut(b, a);
        break;
    case FinalCut::one_way: cut(a, b); break;
    case FinalCut::isolate:
        for (NodeId peer : nodes) {
            cut(a, peer);
            if (rng_.chance(1, 2)) cut(peer, a);
        }
        break;
    case FinalCut::split: {
        std::vector<u8> side(k_.nodes + 1, 0);
        for (NodeId node : nodes) side[node] = static_cast<u8>(rng_.below(2));
        const bool both = rng_.chance(1, 2);
        for (NodeId from : nodes)
            for (NodeId to : nodes)
                if (side[from] != side[to] && (both || side[from] == 0)) cut(from, to);
        break;
    }
    default:
        for (u64 i = rng_.between(1, nodes.size()); i > 0; i--) {
            const NodeId from = nodes[rng_.below(nodes.size())];
            const NodeId to = nodes[rng_.below(nodes.size())];
            cut(from, to);
            if (rng_.chance(1, 2)) cut(to, from);
        }
        break;
    }
    expect_clique(nodes, before);
    if (checker_.violation() || k_.heal_after == 0) return;
    world_.note(0, Detail::short_log, '~', "the final cut heals");
    for (NodeId from : nodes)
        for (NodeId to : nodes)
            while (from != to && world_.network().blocked(from, to)) world_.network().unblock(world_.now(), from, to);
    if (converge("the final cut healed")) stay_stable("the final cut healed");
}

void Run::expect_clique(const std::vector<NodeId>& nodes, const ViewRecord& before) {
    const auto edge = [&](NodeId a, NodeId b) { return !world_.network().blocked(a, b) && !world_.network().blocked(b, a); };
    const std::vector<NodeId> clique = maximum_clique(nodes, edge);
    const bool tie = 2 * clique.size() == before.members.size();
    const bool decides = before.quorum(clique.size(), true);
    // Connected by detours but without a clique that has a quorum: nodes may keep the old view alive, no view is demanded.
    const bool open = !decides && before.quorum(largest_component(nodes, edge), true);
    // Two halves that cannot hear each other: whoever reaches the witness first stays. And where evidence comes in over a
    // longer time than it has to be stable for, nodes go one by one: what stays is a clique that nobody could join.
    const bool exact = k_.settle_ms >= 2 * k_.renew_ms + (4 * (k_.latency_us + k_.jitter_us) + 8 * k_.timer_lag_us) / 1000;
    const auto acceptable = [&](const std::vector<NodeId>& members, std::size_t least) {
        if (members.size() < least || members.empty() || maximum_clique(members, edge).size() != members.size()) return false;
        return std::none_of(nodes.begin(), nodes.end(), [&](NodeId node) {
            return std::find(members.begin(), members.end(), node) == members.end() &&
                   std::all_of(members.begin(), members.end(), [&](NodeId member) { return edge(node, member); });
        });
    };
    const Time start = world_.now();
    const Time deadline = start + bound();
    std::string wrong = "nothing ran";
    while (world_.now() < deadline) {
        if (!advance(world_.now() + 20 * ms)) return;
        wrong = decides ? disagreement(clique) : "";
        if (decides && !wrong.empty() && (tie || !exact)) {
            for (const NodeId node : nodes) {
                const std::vector<NodeId> other = members_if_serving(node);
                if (acceptable(other, tie ? clique.size() : 1) && disagreement(other).empty()) wrong.clear();
            }
        }
        if (decides && wrong.empty()) break;
    }
    if (decides && !wrong.empty()) {
        violate(rule_clique, fmt::format("{} s after a stable cut, maximum clique {}: {}", (world_.now() - start) / second,
                                         fmt::join(clique, " "), wrong));
        return;
    }
    if (decides) {
        result_.converge_ms = std::max(result_.converge_ms, (world_.now() - start) / ms);
        return;
    }
    for (NodeId node : nodes)
        if (!open && serves(node))
            violate(rule_silent,
                    fmt::format("n{} serves in {} without a quorum in reach", node, processes_[node]->view().text()));
}

RunResult Run::result() {
    form();
    if (!checker_.violation()) safety();
    if (!checker_.violation()) {
        heal();
        if (converge("faults stopped")) stay_stable("faults stopped");
        if (!checker_.violation() && options_.tenant) end_tenant();
        if (!checker_.violation() && k_.final_operator != 0) operators_wish();
        if (!checker_.violation() && k_.scatter != 0) scatter();
        if (!checker_.violation() && k_.final_cut != 0) final_cut();
    }
    result_.violation = checker_.violation();
    result_.virtual_time = world_.now();
    result_.events = world_.events();
    result_.views = checker_.views();
    result_.commits = checker_.commits();
    result_.operations = checker_.accepted_ops();
    result_.refused_operations = checker_.refused_ops();
    result_.faults = injector_.executed();
    result_.network = world_.network().counts();
    result_.by_kind = injector_.counts();
    result_.happened = injector_.happened();
    for (const MembershipProcess* process : processes_) {
        if (!process) continue;
        world_.hash().mix(krg_mbr_hash(process->engine()));
        result_.proposals += process->stats().proposals;
        result_.ballots += process->stats().ballots;
        result_.suspends += process->stats().suspends;
        result_.resumes += process->stats().resumes;
    }
    if (options_.tenant) options_.tenant->hash(world_.hash());
    result_.hash = world_.hash().value();
    if (result_.violation)
        world_.note(result_.violation->node, Detail::short_log, '!',
                    fmt::format("VIOLATION {}: {}", result_.violation->rule, result_.violation->text));
    return result_;
}

}  // namespace

bool is_liveness(const std::string& rule) {
    return rule == rule_converge || rule == rule_stable || rule == rule_clique || rule == rule_silent || rule == rule_regather;
}

RunResult run(const RunOptions& options) { return Run(options).result(); }

}  // namespace krg::sim
