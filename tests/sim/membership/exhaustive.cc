// SPDX-License-Identifier: GPL-2.0
//
// Depth-first search over the orders of events, with a set of hashes of states already seen. Engines are saved and
// restored by copying their memory. See exhaustive.hh.
#include "tests/sim/membership/exhaustive.hh"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <memory>
#include <unistd.h>

#include "tests/sim/membership/checker.hh"
#include "tests/sim/world/hash.hh"

namespace krg::sim {

namespace {

constexpr unsigned max_nodes = 4;

/// Hashes seen, open addressing; 0 is free.
class Seen {
public:
    bool insert(u64 hash) {
        hash |= hash == 0 ? 1 : 0;
        if (2 * (count_ + 1) > slots_.size()) grow();
        if (!put(slots_, hash)) return false;
        count_++;
        return true;
    }
    [[nodiscard]] u64 count() const { return count_; }

private:
    static bool put(std::vector<u64>& slots, u64 hash) {
        std::size_t at = hash & (slots.size() - 1);
        while (slots[at] != 0) {
            if (slots[at] == hash) return false;
            at = (at + 1) & (slots.size() - 1);
        }
        slots[at] = hash;
        return true;
    }
    void grow() {
        std::vector<u64> bigger(slots_.size() * 2, 0);
        for (u64 hash : slots_)
            if (hash != 0) put(bigger, hash);
        slots_.swap(bigger);
    }
    std::vector<u64> slots_ = std::vector<u64>(1 << 16, 0);
    u64 count_ = 0;
};

/// Something that waits to happen to a node.
struct Item {
    enum class Kind : u8 { message, down, prepared } kind = Kind::message;
    u64 born = 0;  ///< step
    u64 epoch = 0;
    u64 hash = 0;
    std::shared_ptr<const std::vector<u8>> bytes;
};
using Queue = std::vector<Item>;

/// Everything but the engines' memory.
struct Small {
    u64 step = 0;
    bool alive[max_nodes + 1] = {};
    bool ticked[max_nodes + 1] = {};
    bool crashed = false;
    u64 crash_step = 0;
    Queue queue[max_nodes + 1][max_nodes + 1];  ///< from, to; from 0: the node's own subscribers
    std::vector<Checker> checker;               ///< one
};

class Explorer {
public:
    explicit Explorer(const ExhaustiveOptions& options) : options_(options), n_(static_cast<NodeId>(options.nodes)) {
        size_ = krg_mbr_size(n_);
        for (NodeId node = 1; node <= n_; node++) {
            memory_[node].assign(size_ / 8 + 2, 0);
            const auto base = reinterpret_cast<std::uintptr_t>(memory_[node].data());
            at_[node] = reinterpret_cast<u8*>(memory_[node].data()) + (base % 16 != 0 ? 8 : 0);
        }
        began_ = std::chrono::steady_clock::now();
    }

    int run();

private:
    [[nodiscard]] u64 now_ms() const { return now_ms_ + world_.step * step_ms; }
    Checker& checker() { return world_.checker.front(); }
    void step(NodeId node, krg_mbr_event event);
    void event(NodeId node, u32 type, NodeId peer = 0, u64 arg = 0);
    void form();
    void take(NodeId from, NodeId to, bool drop_rest);
    void crash(NodeId node);
    [[nodiscard]] u64 hash();
    void search();
    template<typename Change>
    void branch(NodeId touched, Change change);
    void leaf();
    void progress();
    [[nodiscard]] bool out_of_budget();
    [[nodiscard]] bool quiet() const;

    static constexpr u64 step_ms = 100;
    static constexpr krg_mbr_params params{800, 50, 100, 450, 50, 0};

    const ExhaustiveOptions& options_;
    NodeId n_;
    u64 size_ = 0;
    u64 now_ms_ = 1000;
    std::vector<u64> memory_[max_nodes + 1];
    u8* at_[max_nodes + 1] = {};
    krg_mbr* engine_[max_nodes + 1] = {};
    Small world_;
    Seen seen_;
    std::vector<std::string> path_;
    u64 transitions_ = 0, leaves_ = 0, deepest_ = 0, merged_ = 0;
    u64 slowest_step_ = 0;
    bool exploring_ = false, stopped_ = false, truncated_ = false;
    std::optional<Violation> violation_;
    std::vector<std::string> bad_path_;
    std::chrono::steady_clock::time_point began_;
};

void Explorer::event(NodeId node, u32 type, NodeId peer, u64 arg) {
    krg_mbr_event e{};
    e.type = type;
    e.node = peer;
    e.incarnation = peer != 0 ? 100 + peer : 0;
    e.arg = arg;
    step(node, e);
}

void Explorer::step(NodeId node, krg_mbr_event e) {
    const Time now = now_ms() * ms;
    krg_mbr_step(engine_[node], now_ms(), &e);
    krg_mbr_action action{};
    while (krg_mbr_next_action(engine_[node], &action) != 0) {
        switch (action.type) {
        case KRG_MBR_ACT_SEND: {
            if (action.node == KRG_MBR_WITNESS || action.node > n_ || !world_.alive[action.node]) break;
            checker().sent(now, node, {action.data, action.len});
            Item item;
            item.born = world_.step;
            item.bytes = std::make_shared<const std::vector<u8>>(action.data, action.data + action.len);
            RunHash h;
            h.mix(*item.bytes);
            item.hash = h.value();
            world_.queue[node][action.node].push_back(std::move(item));
            break;
        }
        case KRG_MBR_ACT_PREPARE: {
            struct krg_mbr_view view {};
            krg_mbr_get_view(engine_[node], &view);
            checker().prepare(now, node, record(view));
            Item item;
            item.kind = Item::Kind::prepared;
            item.born = world_.step;
            item.epoch = action.epoch;
            item.hash = action.epoch;
            world_.queue[0][node].push_back(std::move(item));
            break;
        }
        default: checker().action(now, node, action.type, action.epoch, action.reason, false); break;
        }
    }
    struct krg_mbr_view view {};
    krg_mbr_get_view(engine_[node], &view);
    const u64 until = krg_mbr_serve_until(engine_[node]);
    checker().shown(now, node, {static_cast<u32>(krg_mbr_state(engine_[node])), view.epoch, until * ms},
                    until > now_ms() + view.params.lease_ms);
    krg_mbr_stats stats{};
    krg_mbr_get_stats(engine_[node], &stats);
    checker().engine_health(now, node, stats.actions_dropped, stats.bad_messages, 0);
}

/// One cluster of all nodes that serve, reached by one fixed order of events.
void Explorer::form() {
    world_.checker.emplace_back(n_);
    for (NodeId node = 1; node <= n_; node++) {
        krg_mbr_config config{};
        config.self = node;
        config.max_nodes = n_;
        config.cluster_hash = 1;
        config.incarnation = 100 + node;
        config.seed = node;
        config.params = params;
        engine_[node] = krg_mbr_init(at_[node], size_, &config, now_ms());
        world_.alive[node] = true;
        checker().booted(node, 100 + node);
    }
    event(1, KRG_MBR_EV_CREATE, 0, 77);
    for (NodeId a = 1; a <= n_; a++)
        for (NodeId b = 1; b <= n_; b++)
            if (a != b) event(a, KRG_MBR_EV_PEER_UP, b);
    for (NodeId node = 2; node <= n_; node++) event(node, KRG_MBR_EV_JOIN);
    for (unsigned round = 0; round < 200; round++) {
        for (bool any = true; any;) {
            any = false;
            for (NodeId from = 0; from <= n_; from++)
                for (NodeId to = 1; to <= n_; to++)
                    if (!world_.queue[from][to].empty()) {
                        take(from, to, false);
                        any = true;
                    }
        }
        bool done = true;
        for (NodeId node = 1; node <= n_; node++) {
            struct krg_mbr_view view {};
            krg_mbr_get_view(engine_[node], &view);
            done = done && krg_mbr_state(engine_[node]) == KRG_MBR_SERVING && view.count == n_;
        }
        if (done && round > 20) return;
        now_ms_ += step_ms / 4;
        for (NodeId node = 1; node <= n_; node++) event(node, KRG_MBR_EV_TICK);
    }
    checker().fail(now_ms() * ms, 0, "converge", "the small world did not form a cluster");
}

/// The head of a queue happens. @p drop_rest: what stands before the notice of a reset is lost.
void Explorer::take(NodeId from, NodeId to, bool drop_rest) {
    Queue& queue = world_.queue[from][to];
    if (drop_rest) queue.erase(queue.begin(), queue.end() - 1);
    const Item item = queue.front();
    queue.erase(queue.begin());
    switch (item.kind) {
    case Item::Kind::message: {
        krg_mbr_event e{};
        e.type = KRG_MBR_EV_MSG;
        e.node = from;
        e.incarnation = 100 + from;
        e.data = item.bytes->data();
        e.len = static_cast<u32>(item.bytes->size());
        step(to, e);
        break;
    }
    case Item::Kind::down: event(to, KRG_MBR_EV_PEER_DOWN, from); break;
    case Item::Kind::prepared:
        checker().prepared(to, item.epoch);
        event(to, KRG_MBR_EV_PREPARED, 0, item.epoch);
        break;
    }
}

void Explorer::crash(NodeId node) {
    world_.alive[node] = false;
    world_.crashed = true;
    world_.crash_step = world_.step;
    world_.ticked[node] = true;
    checker().gone(node);
    for (NodeId peer = 0; peer <= n_; peer++) world_.queue[peer][node].clear();
    for (NodeId peer = 1; peer <= n_; peer++) {
        if (peer == node) continue;
        Item item;
        item.kind = Item::Kind::down;
        item.born = world_.step;
        item.hash = 0xd0;
        world_.queue[node][peer].push_back(std::move(item));
    }
}

u64 Explorer::hash() {
    RunHash h;
    h.mix(world_.step);
    h.mix(world_.crash_step << 1 | (world_.crashed ? 1 : 0));
    for (NodeId node = 1; node <= n_; node++) {
        h.mix(world_.alive[node] ? krg_mbr_hash(engine_[node]) : 0);
        h.mix(world_.ticked[node] ? 1 : 2);
    }
    for (NodeId from = 0; from <= n_; from++)
        for (NodeId to = 1; to <= n_; to++) {
            h.mix(0xffff);
            for (const Item& item : world_.queue[from][to]) {
                h.mix(item.hash);
                h.mix(item.born);
            }
        }
    h.mix(checker().hash());
    return h.value();
}

bool Explorer::out_of_budget() {
    if (seen_.count() >= options_.max_states ||
        ((transitions_ & 0xfff) == 0 && std::chrono::steady_clock::now() - began_ > std::chrono::seconds(options_.seconds)))
        truncated_ = stopped_ = true;
    if ((transitions_ & 0xfffff) == 0xfffff) progress();
    return stopped_;
}

void Explorer::progress() {
    if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r{} states, {} transitions ", seen_.count(), transitions_);
}

/// Tries one change and comes back.
template<typename Change>
void Explorer::branch(NodeId touched, Change change) {
    if (out_of_budget()) return;
    transitions_++;
    Small before = world_;
    std::vector<u8> engine;
    if (touched != 0) engine.assign(at_[touched], at_[touched] + size_);
    change();
    if (checker().violation() && !violation_) {
        violation_ = checker().violation();
        bad_path_ = path_;
        stopped_ = true;
    }
    if (!stopped_) {
        if (seen_.insert(hash())) {
            deepest_ = std::max<u64>(deepest_, path_.size());
            search();
        } else {
            merged_++;
        }
    }
    path_.pop_back();
    if (touched != 0) std::copy(engine.begin(), engine.end(), at_[touched]);
    world_ = std::move(before);
}

void Explorer::search() {
    bool may_advance = true;
    for (NodeId node = 1; node <= n_; node++) {
        if (!world_.alive[node] || world_.ticked[node]) continue;
        may_advance = false;
        path_.push_back(fmt::format("tick n{}", node));
        branch(node, [&] {
            world_.ticked[node] = true;
            event(node, KRG_MBR_EV_TICK);
        });
    }
    for (NodeId from = 0; from <= n_; from++)
        for (NodeId to = 1; to <= n_; to++) {
            const Queue& queue = world_.queue[from][to];
            if (queue.empty()) continue;
            if (queue.front().born + options_.late <= world_.step) may_advance = false;
            const char* what = queue.front().kind == Item::Kind::message ? "message"
                               : queue.front().kind == Item::Kind::down  ? "reset"
                                                                         : "prepared";
            path_.push_back(fmt::format("{} {}n{}", what, from != 0 ? fmt::format("n{} -> ", from) : "", to));
            branch(to, [&] { take(from, to, false); });
            if (queue.size() < 2 || queue.back().kind != Item::Kind::down) continue;
            path_.push_back(fmt::format("reset n{} -> n{}, {} messages lost", from, to, queue.size() - 1));
            branch(to, [&] { take(from, to, true); });
        }
    if (!world_.crashed && world_.step < options_.crash_steps)
        for (NodeId node = 1; node <= n_; node++) {
            path_.push_back(fmt::format("crash n{}", node));
            branch(0, [&] { crash(node); });
        }
    if (!may_advance || stopped_) return;
    if (world_.step >= options_.steps) {
        leaf();
        return;
    }
    path_.push_back(fmt::format("-- {} ms", (world_.step + 1) * step_ms));
    branch(0, [&] {
        world_.step++;
        for (NodeId node = 1; node <= n_; node++) world_.ticked[node] = !world_.alive[node];
    });
}

/// The end of time: whoever is alive serves in one view of exactly the living.
void Explorer::leaf() {
    leaves_++;
    // How long it may take until a late world serves again is not bounded by these steps: there only safety is checked.
    if (options_.late != 0) return;
    NodeId living = 0;
    for (NodeId node = 1; node <= n_; node++) living += world_.alive[node] ? 1 : 0;
    for (NodeId node = 1; node <= n_ && !violation_; node++) {
        if (!world_.alive[node]) continue;
        struct krg_mbr_view view {};
        krg_mbr_get_view(engine_[node], &view);
        if (krg_mbr_state(engine_[node]) == KRG_MBR_SERVING && view.count == living) continue;
        violation_ = Violation{"converge",
                               fmt::format("at the end of time node {} is {} in {}", node,
                                           state_name(krg_mbr_state(engine_[node])), record(view).text()),
                               now_ms() * ms, node};
        bad_path_ = path_;
        stopped_ = true;
    }
}

int Explorer::run() {
    form();
    if (!checker().violation()) {
        seen_.insert(hash());
        exploring_ = true;
        search();
    } else {
        violation_ = checker().violation();
    }
    if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r{:60}\r", "");
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began_).count();
    if (violation_) {
        fmt::print("FAILED {}: {}\nthe order of events:\n", violation_->rule, violation_->text);
        for (const std::string& line : bad_path_) fmt::print("  {}\n", line);
    }
    fmt::print("exhaustive: {} nodes, a crash of any one of them anywhere in {} steps of {} ms or none, {} steps in all, "
               "messages up to {} steps late: {} states, "
               "{} transitions ({} met a known state), {} ends, {} events deep, {} KiB an engine, {}.{} s, {}, {} violations\n",
               n_, options_.crash_steps, step_ms, options_.steps, options_.late, seen_.count(), transitions_, merged_, leaves_,
               deepest_, size_ / 1024, took / 1000, took % 1000 / 100,
               truncated_   ? "TRUNCATED"
               : violation_ ? "stopped"
                            : "complete",
               violation_ ? 1 : 0);
    if (violation_) return violation_->rule == "converge" ? 3 : 1;
    return truncated_ ? 1 : 0;
}

}  // namespace

void add_options(CLI::App& app, ExhaustiveOptions& options) {
    app.add_option("--nodes", options.nodes, "machines (default 3)")->check(CLI::Range(2, static_cast<int>(max_nodes)));
    app.add_option("--steps", options.steps, "steps of time");
    app.add_option("--crash-steps", options.crash_steps, "the crash happens in one of the first so many steps");
    app.add_option("--late", options.late, "steps a message may stay in flight");
    app.add_option("--max-states", options.max_states, "give up after so many");
    app.add_option("--max-seconds", options.seconds, "give up after so many seconds of real time");
}

int explore(const ExhaustiveOptions& options) { return Explorer(options).run(); }

}  // namespace krg::sim
