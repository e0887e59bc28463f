// SPDX-License-Identifier: GPL-2.0
//
// Operations one by one in a fleet of engines at rest, and view changes: a reset, the end of one node, one more. See scale.hh.
#include "tests/sim/dsm/scale.hh"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <optional>
#include <unistd.h>

#include "tests/sim/dsm/fleet.hh"

namespace krg::sim::dsm {

namespace {

constexpr unsigned moves = 30;          ///< of a migratory page
constexpr unsigned crash_objects = 64;  ///< of each of the writers
constexpr unsigned writers = 8;
constexpr u64 sharers_wanted[] = {1, 4, 16, 64, 256, 1000};

/// Messages and bytes of one operation.
struct Cost {
    std::string name;
    double messages = 0, bytes = 0;
};

/// What a view change costs.
struct Change {
    u64 objects = 0;  ///< of which a dead node had a copy, or was the home
    u64 messages = 0, bytes = 0;
    u64 ends = 0;  ///< REPORT_END among them
    u64 reports = 0, bits = 0, asked = 0, copies = 0;
};

struct Measured {
    u64 nodes = 0;
    std::vector<Cost> costs;
    u64 form_messages = 0;
    u64 engine_bytes = 0;        ///< of a node that has nothing
    u64 entry_bytes = 0;         ///< at the home, of an object that another writes
    u64 entry_shared_bytes = 0;  ///< the same with eight readers
    u64 copy_bytes = 0;          ///< at the node that has the object
    Change reset, crash, join;
    u64 real_ms = 0;
};

krg_dsm_object object_of(u64 container, u64 index, bool durable) {
    krg_dsm_object o{};
    o.container = container;
    o.index = index;
    o.policy.cls = durable ? KRG_DSM_DURABLE : KRG_DSM_VOLATILE;
    o.policy.replicas = durable ? 2 : 1;
    return o;
}

class Measurement {
public:
    /// One more waits to join.
    explicit Measurement(u16 nodes) : nodes_(nodes), fleet_(static_cast<u16>(nodes + 1), params()) {}
    std::optional<Measured> measured();
    [[nodiscard]] std::string why() const { return fleet_.broken().empty() ? why_ : fleet_.broken(); }

private:
    static krg_dsm_params params() {
        krg_dsm_params p{};
        p.retry_us = 100;
        p.attempts = 8;
        p.parked_max = 100000;
        return p;
    }
    /// The next object of its own chunk, so that nothing of it is known anywhere.
    krg_dsm_object fresh(bool durable) { return object_of(durable ? 2 : 1, 512 * next_chunk_++, durable); }
    /// A node that is none of @p not_these.
    [[nodiscard]] NodeId other(const std::vector<NodeId>& not_these) const {
        for (NodeId n = nodes_; n > 0; n--)
            if (std::find(not_these.begin(), not_these.end(), n) == not_these.end()) return n;
        return 0;
    }
    bool does(bool done, const char* what) {
        if (!done && why_.empty()) why_ = fmt::format("{} was refused", what);
        return done;
    }
    bool reads(NodeId n, const krg_dsm_object& o) { return does(fleet_.access(n, o, KRG_DSM_READ), "a read"); }
    bool writes(NodeId n, const krg_dsm_object& o) { return does(fleet_.access(n, o, KRG_DSM_WRITE), "a write"); }
    template<typename Operation>
    void count(std::string name, Operation&& operation, unsigned times = 1) {
        const Traffic before = fleet_.traffic();
        operation();
        const Traffic t = fleet_.traffic().since(before);
        m_.costs.push_back({std::move(name), static_cast<double>(t.messages) / times, static_cast<double>(t.bytes) / times});
    }
    void faults();
    void upgrades();
    void commits();
    void migration(bool durable);
    void directory();
    void changes();
    [[nodiscard]] NodeId newcomer() const { return static_cast<NodeId>(nodes_ + 1); }
    Change change(const std::vector<NodeId>& without);

    u16 nodes_;
    Fleet fleet_;
    Measured m_;
    u64 next_chunk_ = 0;
    std::string why_;
};

void Measurement::faults() {
    const krg_dsm_object a = fresh(false);
    const NodeId home = fleet_.home(a);
    const NodeId writer = other({home});
    const NodeId reader = other({home, writer});
    count("first write of a chunk by a node", [&] { writes(writer, a); });
    count("read miss, 3 hops", [&] { reads(reader, a); });
    const krg_dsm_object b = fresh(false);
    const NodeId at = fleet_.home(b);
    writes(at, b);
    count("read miss, 2 hops", [&] { reads(other({at}), b); });
    krg_dsm_object next = a;
    next.index++;
    count("first write, volatile, chunk known", [&] { writes(writer, next); });
}

void Measurement::upgrades() {
    for (const u64 sharers : sharers_wanted) {
        if (sharers + 2 > nodes_) continue;
        const krg_dsm_object o = fresh(false);
        const NodeId home = fleet_.home(o);
        writes(home, o);
        // The home is one of the sharers.
        std::vector<NodeId> others{home};
        while (others.size() < sharers) {
            others.push_back(other(others));
            reads(others.back(), o);
        }
        const NodeId writer = other(others);
        reads(writer, o);
        count(fmt::format("write upgrade, {} other sharer{}", sharers, sharers == 1 ? "" : "s"), [&] { writes(writer, o); });
    }
}

void Measurement::commits() {
    std::vector<krg_dsm_object> objects;
    const krg_dsm_object first = fresh(true);
    for (u64 i = 0; i < 64; i++) {
        objects.push_back(first);
        objects.back().index += i;
    }
    const NodeId writer = other({fleet_.home(first)});
    writes(writer, first);
    count("first commit, k=2, 1 page", [&] { does(fleet_.sync(writer), "a commit"); });
    for (const krg_dsm_object& o : objects) writes(writer, o);
    does(fleet_.sync(writer), "a commit");
    // A batch write-protects what it commits: the next write makes it dirty again, with no message.
    writes(writer, first);
    count("commit, k=2, 1 page", [&] { does(fleet_.sync(writer), "a commit"); });
    for (const krg_dsm_object& o : objects) writes(writer, o);
    count("commit, k=2, 64 pages", [&] { does(fleet_.sync(writer), "a commit"); });
}

void Measurement::migration(bool durable) {
    const krg_dsm_object o = fresh(durable);
    const NodeId home = fleet_.home(o);
    const NodeId a = other({home});
    const NodeId b = other({home, a});
    const NodeId ring[] = {a, b, other({home, a, b})};
    for (unsigned i = 0; i < 6; i++) writes(ring[i % 3], o);
    count(
        fmt::format("migratory page among three nodes, k={}", durable ? 2 : 1),
        [&] {
            for (unsigned i = 0; i < moves; i++) writes(ring[i % 3], o);
        },
        moves);
}

void Measurement::directory() {
    krg_dsm_object o = fresh(false);
    const NodeId home = fleet_.home(o);
    const NodeId writer = other({home});
    writes(writer, o);
    constexpr u64 many = 500;
    const u64 at_home = fleet_.stats(home).memory;
    const u64 at_writer = fleet_.stats(writer).memory;
    for (u64 i = 1; i <= many; i++) {
        o.index++;
        writes(writer, o);
    }
    m_.entry_bytes = (fleet_.stats(home).memory - at_home) / many;
    m_.copy_bytes = (fleet_.stats(writer).memory - at_writer) / many;
    std::vector<NodeId> readers{home, writer};
    for (unsigned r = 0; r < 8; r++) {
        readers.push_back(other(readers));
        krg_dsm_object read = o;
        for (u64 i = 0; i < many; i++, read.index--) reads(readers.back(), read);
    }
    m_.entry_shared_bytes = (fleet_.stats(home).memory - at_home) / many;
}

/// The next view, until everything has its copies.
Change Measurement::change(const std::vector<NodeId>& without) {
    const Traffic before = fleet_.traffic();
    fleet_.view(without);
    if (!fleet_.rest()) why_ = "not everything has its copies after a view change";
    const Traffic t = fleet_.traffic().since(before);
    Change c;
    c.messages = t.messages;
    c.bytes = t.bytes;
    c.ends = fleet_.messages(t, "REPORT_END");
    c.reports = fleet_.messages(t, "REPORT");
    c.bits = fleet_.messages(t, "BITS");
    c.asked = fleet_.messages(t, "REPORT_ASK");
    c.copies = t.pages;
    return c;
}

/// Some nodes wrote and committed, others have read a part of it. A connection is reset, one of the writers dies, another
/// node comes.
void Measurement::changes() {
    std::vector<krg_dsm_object> all;
    std::vector<NodeId> who;
    for (unsigned w = 0; w < writers; w++) {
        const krg_dsm_object first = fresh(true);
        who.push_back(static_cast<NodeId>(1 + w * (nodes_ - 1U) / writers));
        for (u64 i = 0; i < crash_objects; i++) {
            krg_dsm_object o = first;
            o.index += i;
            writes(who[w], o);
            all.push_back(o);
        }
        does(fleet_.sync(who[w]), "a commit");
    }
    for (std::size_t i = 0; i < all.size(); i += 2) reads(who[(i / crash_objects + 1) % writers], all[i]);
    if (!fleet_.rest()) why_ = "not everything has its copies before the crash";
    change({newcomer()});  // what was new in the first view is known to all after the second
    m_.reset = change({newcomer()});
    const NodeId victim = who[0];
    u64 objects = 0;
    for (const krg_dsm_object& o : all)
        objects += fleet_.home(o) == victim || fleet_.copy(victim, o).state != KRG_DSM_I ? 1 : 0;
    fleet_.crash(victim);
    m_.crash = change({newcomer()});
    m_.crash.objects = objects;
    for (const krg_dsm_object& o : all) reads(who[1], o);
    m_.join = change({});
    for (const krg_dsm_object& o : all) reads(who[2], o);
}

std::optional<Measured> Measurement::measured() {
    const auto began = std::chrono::steady_clock::now();
    m_.nodes = nodes_;
    fleet_.view({newcomer()});
    m_.form_messages = fleet_.traffic().messages;
    m_.engine_bytes = fleet_.stats(nodes_).memory;
    faults();
    upgrades();
    commits();
    migration(false);
    migration(true);
    changes();
    directory();
    for (NodeId n = 2; n <= nodes_ && why().empty(); n++)  // n1 is the one that died

        if (const krg_dsm_stats s = fleet_.stats(n); s.checks != 0 || s.bad != 0 || s.no_memory != 0)
            why_ = fmt::format("node {} met what cannot be", n);
    if (!why().empty()) return std::nullopt;
    m_.real_ms = static_cast<u64>(
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began).count());
    return m_;
}

// What is printed

/// Rows of the table: a name and how to get it from a column.
struct Row {
    std::string name, unit;
    std::vector<std::string> cells;
};

std::string number(double value) {
    return value == static_cast<double>(static_cast<u64>(value)) ? fmt::format("{}", static_cast<u64>(value))
                                                                 : fmt::format("{:.1f}", value);
}

std::vector<Row> rows_of(const std::vector<Measured>& all) {
    std::vector<Row> rows;
    const Measured& widest = *std::max_element(all.begin(), all.end(),
                                               [](const auto& a, const auto& b) { return a.costs.size() < b.costs.size(); });
    const auto add = [&](std::string name, auto&& cell) {
        Row row{std::move(name), "", {}};
        for (const Measured& m : all) row.cells.push_back(cell(m));
        rows.push_back(std::move(row));
    };
    for (const Cost& c : widest.costs)
        add(c.name + ": messages / bytes", [&c](const Measured& m) -> std::string {
            const auto at = std::find_if(m.costs.begin(), m.costs.end(), [&](const Cost& x) { return x.name == c.name; });
            return at == m.costs.end() ? "-" : number(at->messages) + " / " + number(at->bytes);
        });
    add("directory at the home, bytes per object with a writer",
        [](const Measured& m) { return fmt::to_string(m.entry_bytes); });
    add("the same with nine sharers", [](const Measured& m) { return fmt::to_string(m.entry_shared_bytes); });
    add("record at the holder, bytes per object", [](const Measured& m) { return fmt::to_string(m.copy_bytes); });
    add("engine that has nothing, KiB", [](const Measured& m) { return fmt::to_string(m.engine_bytes / 1024); });
    add("first view: messages", [](const Measured& m) { return fmt::to_string(m.form_messages); });
    const auto add_change = [&add](const std::string& what, Change Measured::*at) {
        add(what + ": messages / KiB",
            [at](const Measured& m) { return fmt::format("{} / {}", (m.*at).messages, (m.*at).bytes / 1024); });
        add(what + ": without REPORT_END, one from each to each",
            [at](const Measured& m) { return fmt::to_string((m.*at).messages - (m.*at).ends); });
        add(what + ": REPORT / REPORT_ASK / BITS / pages copied", [at](const Measured& m) {
            const Change& c = m.*at;
            return fmt::format("{} / {} / {} / {}", c.reports, c.asked, c.bits, c.copies);
        });
    };
    add_change("reset of a connection", &Measured::reset);
    add_change("crash", &Measured::crash);
    add("crash: objects the dead node had or was home of", [](const Measured& m) { return fmt::to_string(m.crash.objects); });
    add_change("join", &Measured::join);
    add("real time, s", [](const Measured& m) { return number(static_cast<double>(m.real_ms) / 1000); });
    return rows;
}

void print_table(const std::vector<Measured>& all, bool markdown) {
    const std::vector<Row> rows = rows_of(all);
    std::size_t widest = 0;
    for (const Row& row : rows) widest = std::max(widest, row.name.size());
    std::string head = markdown ? "| nodes |" : fmt::format("{:<{}}", "nodes", widest);
    std::string rule = "|---|";
    for (const Measured& m : all) {
        head += markdown ? fmt::format(" {} |", m.nodes) : fmt::format("  {:>18}", m.nodes);
        rule += "---:|";
    }
    fmt::print("{}\n", head);
    if (markdown) fmt::print("{}\n", rule);
    for (const Row& row : rows) {
        std::string line = markdown ? fmt::format("| {} |", row.name) : fmt::format("{:<{}}", row.name, widest);
        for (const std::string& cell : row.cells) line += markdown ? fmt::format(" {} |", cell) : fmt::format("  {:>18}", cell);
        fmt::print("{}\n", line);
    }
}

void print_json(const std::vector<Measured>& all) {
    fmt::print("{{\"version\": 1, \"sizes\": [\n");
    for (const Measured& m : all) {
        std::string costs;
        for (const Cost& c : m.costs)
            costs += fmt::format("{}\n    {{\"operation\": \"{}\", \"messages\": {:.1f}, \"bytes\": {:.1f}}}",
                                 costs.empty() ? "" : ",", c.name, c.messages, c.bytes);
        std::string changes;
        for (const auto& [what, c] : {std::pair{"reset", m.reset}, std::pair{"crash", m.crash}, std::pair{"join", m.join}})
            changes +=
                fmt::format("\"{}\": {{\"objects\": {}, \"messages\": {}, \"bytes\": {}, \"report_end\": {}, \"report\": {}, "
                            "\"report_ask\": {}, \"bits\": {}, \"pages\": {}}}, ",
                            what, c.objects, c.messages, c.bytes, c.ends, c.reports, c.asked, c.bits, c.copies);
        fmt::print(
            "  {{\"nodes\": {}, \"engine_bytes\": {}, \"entry_bytes\": {}, \"entry_shared_bytes\": {}, \"copy_bytes\": {}, "
            "\"form_messages\": {}, {}\"real_ms\": {}, \"operations\": [{}]}}{}\n",
            m.nodes, m.engine_bytes, m.entry_bytes, m.entry_shared_bytes, m.copy_bytes, m.form_messages, changes, m.real_ms,
            costs, &m == &all.back() ? "" : ",");
    }
    fmt::print("]}}\n");
}

/// What a fleet of @p nodes would take, judged by the last one: each node has a record of each.
u64 bytes_wanted(u64 nodes, const Measured& last) { return last.engine_bytes * nodes / last.nodes * nodes; }

}  // namespace

void add_options(CLI::App& app, ScaleOptions& options) {
    app.add_option("--sizes", options.sizes, "numbers of nodes (default 16 64 256 1024)")->delimiter(',');
    app.add_flag("--json", options.json, "print JSON");
    app.add_flag("--markdown", options.markdown, "print a table for Documentation/");
}

int measure(const ScaleOptions& options) {
    std::vector<Measured> rows;
    int status = 0;
    for (const u64 size : options.sizes) {
        if (size < 12 || size > KRG_DSM_NODES_MAX) {
            fmt::print(stderr, "krg-sim dsm scale: {} nodes: wants 12 to {}\n", size, KRG_DSM_NODES_MAX);
            return 2;
        }
        const u64 free = static_cast<u64>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<u64>(sysconf(_SC_PAGESIZE));
        if (!rows.empty() && bytes_wanted(size, rows.back()) * 3 / 2 > free) {
            fmt::print(stderr, "krg-sim dsm scale: {} nodes are left out: they would take about {} MiB, {} MiB are free\n",
                       size, bytes_wanted(size, rows.back()) >> 20, free >> 20);
            status = 1;
            continue;
        }
        if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "{} nodes...\n", size);
        Measurement measurement(static_cast<u16>(size));
        const auto row = measurement.measured();
        if (!row) {
            fmt::print(stderr, "krg-sim dsm scale: {} nodes: {}\n", size, measurement.why());
            return 3;
        }
        rows.push_back(*row);
    }
    if (options.json)
        print_json(rows);
    else if (!rows.empty())
        print_table(rows, options.markdown);
    return status;
}

}  // namespace krg::sim::dsm
