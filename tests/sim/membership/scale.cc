// SPDX-License-Identifier: GPL-2.0
//
// Forms a cluster of each size, watches it, crashes two of its nodes one after the other. See scale.hh.
#include "tests/sim/membership/scale.hh"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <optional>
#include <unistd.h>

#include "tests/sim/membership/process.hh"
#include "tests/sim/world/world.hh"

namespace krg::sim {

namespace {

/// What one crash cost.
struct Crash {
    u64 detect_ms = 0;  ///< until the first proposal: silence or a reset, and the settling of the evidence
    u64 agree_ms = 0;   ///< until the first survivor has the new view
    u64 serve_ms = 0;   ///< until all survivors serve in it
    u64 messages = 0;   ///< beside renewals
    u64 bytes = 0;
};

struct Measured {
    u64 nodes = 0;
    u64 form_ms = 0, form_views = 0;
    u64 engine_bytes = 0;
    u64 messages_per_s = 0, bytes_per_s = 0;  ///< sent, per node
    u64 largest_message = 0;
    Crash silent, reset;
    u64 real_ms = 0;
};

class Measurement final : ProcessFactory, AgreementWatcher {
public:
    Measurement(u64 nodes, const ScaleOptions& options)
        : nodes_(static_cast<NodeId>(nodes)),
          intents_(nodes + 1),
          processes_(nodes + 1, nullptr) {
        knobs_.params = {static_cast<u32>(options.lease_ms),  static_cast<u32>(options.drift_ms),
                         static_cast<u32>(options.renew_ms),  static_cast<u32>(options.suspect_ms),
                         static_cast<u32>(options.settle_ms), 0};
        WorldKnobs world;
        world.nodes = nodes;
        world.network.slow_ppm = 0;
        world.network.tolerance_ms = options.tolerance_ms;
        world_.reset(new World(world, nodes, *this, nullptr));
        for (NodeId node = 1; node <= nodes_; node++) {
            intents_[node].max_nodes = nodes_;
            if (node == 1) {
                intents_[node].role = NodeIntent::Role::create;
                intents_[node].cluster_id = 42;
            }
            world_->boot_at(1 + 50 * node, node);
        }
    }
    ~Measurement() override { world_.reset(); }
    Measurement(const Measurement&) = delete;
    Measurement& operator=(const Measurement&) = delete;

    std::optional<Measured> measured() {
        const auto began = std::chrono::steady_clock::now();
        Measured m;
        m.nodes = nodes_;
        m.engine_bytes = krg_mbr_size(nodes_);
        if (!settle(nodes_, 300 * second)) return std::nullopt;
        m.form_ms = world_->now() / ms;
        m.form_views = processes_[1]->epoch();
        step_ = "formed";
        run(2 * second);
        const NetworkCounts before = world_->network().counts();
        const Time window = (nodes_ > 200 ? 2 : 10) * second;
        run(window);
        m.messages_per_s = (world_->network().counts().messages - before.messages) * second / window / nodes_;
        m.bytes_per_s = (world_->network().counts().bytes - before.bytes) * second / window / nodes_;
        const auto silent = crash(nodes_, true);
        if (!silent) return std::nullopt;
        m.silent = *silent;
        if (nodes_ > 3) {
            const auto reset = crash(1, false);
            if (!reset) return std::nullopt;
            m.reset = *reset;
        }
        m.largest_message = largest_;
        m.real_ms = static_cast<u64>(
            std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began).count());
        return m;
    }

private:
    /// A large cluster takes minutes: says at each virtual second how far it is, to who looks.
    void run(Time time) {
        const Time end = world_->now() + time;
        while (world_->now() < end) {
            const Time before = world_->now();
            world_->run_until(std::min(end, before + second));
            if (isatty(STDERR_FILENO) != 0 && world_->now() / second != before / second)
                fmt::print(stderr, "\r{} nodes, {} s of virtual time, {:30}", nodes_, world_->now() / second, step_);
        }
    }
    /// Until @p count nodes serve in one view of exactly that size.
    bool settle(std::size_t count, Time patience) {
        const Time end = world_->now() + patience;
        while (world_->now() < end) {
            run(ms);
            if (settled(count)) return true;
        }
        return false;
    }
    [[nodiscard]] bool settled(std::size_t count) const {
        for (NodeId node = 1; node <= nodes_; node++) {
            const MembershipProcess* process = processes_[node];
            if (process && (process->state() != KRG_MBR_SERVING || process->view().members.size() != count)) return false;
        }
        return true;
    }

    std::optional<Crash> crash(NodeId victim, bool silent) {
        Crash c;
        const NodeId watcher = victim == 1 ? 2 : 1;
        const u64 epoch = processes_[watcher]->epoch();
        const std::size_t count = processes_[watcher]->view().members.size() - 1;
        const Time start = world_->now();
        others_ = other_bytes_ = 0;
        first_proposal_ = 0;
        step_ = silent ? "a node is silent" : "a node has crashed";
        world_->crash(victim, silent);
        while (processes_[watcher]->epoch() == epoch && world_->now() < start + 60 * second) run(ms);
        c.agree_ms = (world_->now() - start) / ms;
        if (!settle(count, 60 * second)) return std::nullopt;
        c.serve_ms = (world_->now() - start) / ms;
        c.detect_ms = first_proposal_ > start ? (first_proposal_ - start) / ms : 0;
        c.messages = others_;
        c.bytes = other_bytes_;
        run(3 * second);
        return c;
    }

    std::unique_ptr<Process> boot(Host& host) override {
        auto process = std::make_unique<MembershipProcess>(host, knobs_, intents_[host.id()], nullptr);
        process->set_watcher(this);
        process->set_sent([this](std::span<const u8> bytes) {
            largest_ = std::max<u64>(largest_, bytes.size());
            if (bytes.size() > 1 && bytes[1] == 1) return;  // a renewal
            others_++;
            other_bytes_ += bytes.size();
        });
        processes_[host.id()] = process.get();
        return process;
    }
    void gone(NodeId node) override { processes_[node] = nullptr; }
    bool storage(NodeId, std::span<const u8>, std::vector<u8>&) override { return false; }
    std::string describe(Class, std::span<const u8>) const override { return {}; }
    void proposing(NodeId) override {
        if (first_proposal_ == 0) first_proposal_ = world_->now();
    }

    NodeId nodes_;
    const char* step_ = "forming";
    ProcessKnobs knobs_;
    std::vector<NodeIntent> intents_;
    std::vector<MembershipProcess*> processes_;
    std::unique_ptr<World> world_;
    u64 others_ = 0, other_bytes_ = 0, largest_ = 0;
    Time first_proposal_ = 0;
};

void print_json(const ScaleOptions& options, const std::vector<Measured>& rows) {
    const auto crash = [](const Crash& c) {
        return fmt::format(R"({{"detect_ms": {}, "agree_ms": {}, "serve_ms": {}, "messages": {}, "bytes": {}}})", c.detect_ms,
                           c.agree_ms, c.serve_ms, c.messages, c.bytes);
    };
    fmt::print("{{\"version\": 1, \"lease_ms\": {}, \"renew_ms\": {}, \"suspect_ms\": {}, \"settle_ms\": {}, \"drift_ms\": {}, "
               "\"sizes\": [\n",
               options.lease_ms, options.renew_ms, options.suspect_ms, options.settle_ms, options.drift_ms);
    for (const Measured& m : rows)
        fmt::print("  {{\"nodes\": {}, \"form_ms\": {}, \"form_views\": {}, \"engine_bytes\": {}, \"messages_per_node_s\": {}, "
                   "\"bytes_per_node_s\": {}, "
                   "\"largest_message\": {}, \"silent\": {}, \"reset\": {}, \"real_ms\": {}}}{}\n",
                   m.nodes, m.form_ms, m.form_views, m.engine_bytes, m.messages_per_s, m.bytes_per_s, m.largest_message,
                   crash(m.silent), m.nodes > 3 ? crash(m.reset) : "null", m.real_ms, &m == &rows.back() ? "" : ",");
    fmt::print("]}}\n");
}

void print_table(const std::vector<Measured>& rows, bool markdown) {
    const char* heads[] = {"nodes",       "form ms",   "views",    "engine KiB", "msg/s/node", "KiB/s/node",
                           "largest msg", "detect ms", "agree ms", "serve ms",   "msgs",       "KiB",
                           "r.detect",    "r.agree",   "r.serve",  "r.msgs"};
    const char* bar = markdown ? " | " : "  ";
    std::string head;
    std::string rule;
    for (const char* text : heads) {
        head += fmt::format("{}{:>11}", head.empty() ? (markdown ? "| " : "") : bar, text);
        rule += "|------------:";
    }
    fmt::print("{}{}\n", head, markdown ? " |" : "");
    if (markdown) fmt::print("{}|\n", rule);
    for (const Measured& m : rows) {
        const u64 cells[] = {m.nodes,           m.form_ms,
                             m.form_views,      m.engine_bytes / 1024,
                             m.messages_per_s,  m.bytes_per_s / 1024,
                             m.largest_message, m.silent.detect_ms,
                             m.silent.agree_ms, m.silent.serve_ms,
                             m.silent.messages, m.silent.bytes / 1024,
                             m.reset.detect_ms, m.reset.agree_ms,
                             m.reset.serve_ms,  m.reset.messages};
        std::string line;
        unsigned column = 0;
        for (const u64 cell : cells) {
            const bool absent = column++ >= 12 && m.nodes <= 3;
            line += fmt::format("{}{:>11}", line.empty() ? (markdown ? "| " : "") : bar, absent ? "-" : fmt::to_string(cell));
        }
        fmt::print("{}{}\n", line, markdown ? " |" : "");
    }
    if (!markdown)
        fmt::print("msg, KiB: sent. detect, agree, serve: after a crash nobody reports (silence, or the link supervision). r.: "
                   "the first node crashes and its\n"
                   "connections break at once. msgs: everything but renewals until all survivors serve.\n");
}

}  // namespace

void add_options(CLI::App& app, ScaleOptions& options) {
    app.add_option("--sizes", options.sizes, "numbers of nodes (default 3 16 128 1024)")->delimiter(',');
    app.add_option("--lease", options.lease_ms, "lease_ms");
    app.add_option("--drift", options.drift_ms, "drift_ms");
    app.add_option("--renew", options.renew_ms, "renew_ms");
    app.add_option("--suspect", options.suspect_ms, "suspect_ms");
    app.add_option("--settle", options.settle_ms, "settle_ms");
    app.add_option("--tolerance", options.tolerance_ms, "link supervision in ms, 0: none, silence only");
    app.add_flag("--json", options.json, "print JSON");
    app.add_flag("--markdown", options.markdown, "print a table for Documentation/");
}

int measure(const ScaleOptions& options) {
    std::vector<Measured> rows;
    for (u64 size : options.sizes) {
        if (size < 2 || size > 4096) {
            fmt::print(stderr, "krg-sim scale: {} nodes: wants 2 to 4096\n", size);
            return 2;
        }
        const auto row = Measurement(size, options).measured();
        if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r{:70}\r", "");
        if (!row) {
            fmt::print(stderr, "krg-sim scale: {} nodes did not form a cluster, or did not agree after a crash, in time\n",
                       size);
            return 3;
        }
        rows.push_back(*row);
    }
    if (options.json)
        print_json(options, rows);
    else
        print_table(rows, options.markdown);
    return 0;
}

}  // namespace krg::sim
