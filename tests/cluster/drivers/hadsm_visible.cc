// SPDX-License-Identifier: GPL-2.0
//
// test_hadsm_visible: what an administrator sees of shared memory. Counters move by what was done, one command explains a
// page, one operation id is on all nodes it touched, and health says what a crash has cost.
#include "hadsm_fs.hh"

#include <algorithm>
#include <fmt/format.h>
#include <sstream>

namespace krg::cluster_test {

namespace {

/// The answer of a command of krgadm as JSON; fails the scenario when there is none.
Json asked(Test& test, int node, std::vector<std::string> words, const std::string& sentence) {
    words.insert(words.begin(), "--json");
    const ProcessResult result = test.cluster.krgadm(node, words);
    Json json = Json::parse(result.out, nullptr, false);
    test.report.require(result.done() && json.is_object(), sentence, result.evidence());
    return json;
}

/// "ID/FILE" of a file.
std::string where_is(Test& test, int node, const std::string& file) {
    return asked(test, node, {"container", "page", "--file", file, "0"}, fmt::format("krgadm knows where {} is", file))
        .at("container")
        .get<std::string>();
}

/// The container that has the pages of @p file.
Json container_of(Test& test, int node, const std::string& file) {
    const std::string where = where_is(test, node, file), id = where.substr(0, where.find('/'));
    const Json all = asked(test, node, {"container", "show", id}, fmt::format("krgadm container show {}", id));
    test.report.require(all.at("containers").size() == 1, "one container has that id", all.dump());
    return all.at("containers").at(0);
}

std::uint64_t sum(const Json& container, const std::string& pair) {
    std::uint64_t total = 0;
    for (const auto& node : container.at("nodes")) total += node.at(pair).get<std::uint64_t>();
    return total;
}

std::uint64_t waits(const Json& container) {
    std::uint64_t total = 0;
    for (const char* pair : {"read_waits", "write_waits"})
        for (const auto& n : container.at(pair)) total += n.get<std::uint64_t>();
    return total;
}

void check_at_least(Test& test, std::uint64_t before, std::uint64_t after, std::uint64_t by, const std::string& what) {
    test.report.check(after >= before + by, fmt::format("{} grew by {} or more", what, by),
                      fmt::format("{} -> {}", before, after));
}

void scenario_statistics(Test& test) {
    prepare(test);
    const std::string dir = fresh_dir(test, two_copies, "count"), file = dir + "/f";
    holds(test, 1, fmt::format("dd if=/dev/urandom of={} bs=4096 count=16 2>/dev/null", file), "node 1 writes 16 pages");
    const Json before = container_of(test, 1, file);
    holds(test, 2, fmt::format("md5sum {} >/dev/null && md5sum {} >/dev/null", file, file), "node 2 reads them twice");
    const Json after = container_of(test, 1, file);
    check_at_least(test, before.at("misses").get<std::uint64_t>(), after.at("misses").get<std::uint64_t>(), 1, "misses");
    check_at_least(test, before.at("hits").get<std::uint64_t>(), after.at("hits").get<std::uint64_t>(), 16, "hits");
    check_at_least(test, sum(before, "pages_out"), sum(after, "pages_out"), 15, "pages_out");
    check_at_least(test, sum(before, "bytes_out"), sum(after, "bytes_out"), 15 * 4096, "bytes_out");
    check_at_least(test, waits(before), waits(after), 1, "the histogram of waits");
    test.report.check(after.at("nodes").size() == running(test).size(), "every member has told its part", after.dump());
    test.report.check(after.at("lost") == 0, "nothing is lost", after.dump());

    const std::string program_path = program(test, "krg-shared-memory"), ball = dir + "/ball";
    all_hold(test,
             {{1, {program_path, "ping-pong", ball, "0", "2", "30"}}, {2, {program_path, "ping-pong", ball, "1", "2", "30"}}},
             "one word goes round");
    const Json played = container_of(test, 2, file);
    check_at_least(test, sum(after, "ping_pongs"), sum(played, "ping_pongs"), 1, "ping_pongs");
    check_at_least(test, sum(after, "hand_overs") + sum(after, "downgrades"),
                   sum(played, "hand_overs") + sum(played, "downgrades"), 10, "hand-overs and downgrades");
    check_at_least(test, sum(after, "hops_2") + sum(after, "hops_3"), sum(played, "hops_2") + sum(played, "hops_3"), 10,
                   "hops");
    test.report.note(test.cluster.krgadm(1, {"container", "list"}).out);
    test.report.note(test.cluster.krgadm(1, {"container", "show", "two"}).out);
    const ProcessResult missing = test.cluster.krgadm(1, {"container", "show", "nothing"});
    test.report.check(missing.status == 8, "a container that is not there: exit status 8", missing.evidence());
}

/// The part of node @p node in the answer about a page.
Json part(const Json& page, int node) {
    for (const auto& line : page.at("nodes"))
        if (line.at("node") == node) return line;
    return Json::object();
}

void scenario_page(Test& test) {
    prepare(test);
    const std::string file = fresh_dir(test, two_copies, "page") + "/f";
    holds(test, 1, fmt::format("dd if=/dev/urandom of={} bs=4096 count=3 2>/dev/null && sync {}", file, file),
          "node 1 writes three pages");
    holds(test, 2, fmt::format("cat {} >/dev/null", file), "node 2 reads them");
    int home = 0;
    for (int node : running(test)) {
        const Json page = asked(test, node, {"container", "page", "--file", file, "8192"},
                                fmt::format("node {} explains page 2", node));
        const int at = page.at("home").get<int>();
        if (home == 0) home = at;
        test.report.check(at == home && page.at("index") == 2, fmt::format("node {}: the home is node {}", node, home),
                          page.dump());
        const Json entry = part(page, home);
        test.report.check(entry.value("entry", "") == "shared" && entry.value("written", 0) == 1,
                          fmt::format("node {}: the home says that it is shared", node), page.dump());
    }
    const Json everywhere = asked(test, 3, {"container", "page", "--all", "--file", file, "8192"},
                                  "node 3 asks all members for page 2");
    int copies = 0;
    for (int node : running(test)) copies += part(everywhere, node).value("state", "none") != "none";
    test.report.check(copies >= 2, "two members or more have a copy", everywhere.dump());
    test.report.check(part(everywhere, 2).value("state", "") == "shared", "node 2, which read it, has one to read",
                      everywhere.dump());
    test.report.note(test.cluster.krgadm(3, {"container", "page", "--all", "--file", file, "8192"}).out);

    const std::string store = fmt::format("{} store {} 4096 mine", program(test, "krg-shared-memory"), file);
    holds(test, 3, store, "node 3 stores into page 1");
    const Json written = asked(test, 3, {"container", "page", "--file", file, "4096"}, "node 3 explains page 1");
    test.report.check(part(written, 3).value("state", "") == "exclusive" && part(written, home).is_object(),
                      "its copy is the exclusive one", written.dump());
    test.report.check(part(written, written.at("home").get<int>()).value("writer", 0) == 3, "its home says so too",
                      written.dump());

    const Json never = asked(test, 1, {"container", "page", "--file", file, "409600"}, "a page nobody wrote");
    test.report.check(part(never, never.at("home").get<int>()).value("entry", "") == "none" &&
                          part(never, never.at("home").get<int>()).value("written", 1) == 0,
                      "has no entry and is no loss", never.dump());
    const ProcessResult other = test.cluster.krgadm(1, {"container", "page", "--file", "/etc/passwd", "0"});
    test.report.check(other.status == 8, "a file of another file system: exit status 8", other.evidence());
    const ProcessResult readonly =
        test.cluster.shell(1,
                           fmt::format("python3 -c 'import os; os.setxattr(\"{}\", \"user.hadsm.container\", b\"x\")'", file));
    test.report.check(!readonly.done(), "user.hadsm.container cannot be set", readonly.evidence());
}

constexpr const char* tracing = "/sys/kernel/tracing";

/// The value of @p name= in a line of the trace.
std::string field(const std::string& line, const std::string& name) {
    const auto at = line.find(" " + name + "=");
    if (at == std::string::npos) return "";
    const auto begin = at + name.size() + 2;
    return line.substr(begin, line.find(' ', begin) - begin);
}

void scenario_trace(Test& test) {
    prepare(test);
    const std::string file = fresh_dir(test, one_copy, "trace") + "/f";
    holds(test, 1, fmt::format("dd if=/dev/urandom of={} bs=4096 count=1 2>/dev/null", file), "node 1 writes a page");
    holds(test, 2, fmt::format("cat {} >/dev/null", file), "node 2 reads it");
    for (int node : running(test))
        holds(test, node,
              fmt::format("mountpoint -q {0} || mount -t tracefs none {0}; echo >{0}/trace; echo 1 >{0}/events/hadsm/enable",
                          tracing),
              "tracing is on");
    holds(test, 3, fmt::format("{} store {} 0 traced", program(test, "krg-shared-memory"), file), "node 3 stores into it");
    const std::string where = where_is(test, 3, file), object = where.substr(where.find('/') + 1) + ":0";
    std::map<int, std::string> said;
    for (int node : running(test)) {
        holds(test, node, fmt::format("echo 0 >{}/events/hadsm/enable", tracing), "tracing is off");
        said[node] = test.cluster.shell(node, fmt::format("grep hadsm_ {}/trace", tracing)).out;
    }
    std::string op;
    std::istringstream lines(said[3]);
    for (std::string line; std::getline(lines, line);)
        if (line.find("hadsm_request:") != std::string::npos && field(line, "page") == object && field(line, "mode") == "2")
            op = field(line, "op");
    test.report.require(op.rfind("3:", 0) == 0, "node 3 has given the request an id", said[3]);
    int nodes = 0;
    for (const auto& [node, text] : said) nodes += text.find(" op=" + op + " ") != std::string::npos;
    test.report.check(nodes >= 2, fmt::format("operation {} is in the traces of two nodes or more", op),
                      said[1] + "\n" + said[2] + "\n" + said[3]);
    const auto has = [&](int node, const std::string& step) {
        std::istringstream text(said[node]);
        for (std::string line; std::getline(text, line);)
            if (line.find(step) != std::string::npos && field(line, "op") == op) return true;
        return false;
    };
    for (const char* step : {"hadsm_request:", "hadsm_send:", "hadsm_receive:", "hadsm_grant:"})
        test.report.check(has(3, step), fmt::format("node 3: {} of it", step), said[3]);
    test.report.check(has(1, "hadsm_invalidate:") || has(2, "hadsm_invalidate:"), "a reader gave its copy up for it",
                      said[1] + "\n" + said[2]);
}

void scenario_lost(Test& test) {
    prepare(test);
    const std::string one = fresh_dir(test, one_copy, "lost") + "/f", two = fresh_dir(test, two_copies, "kept") + "/f";
    for (const std::string& file : {one, two})
        holds(test, 3, fmt::format("dd if=/dev/urandom of={} bs=4096 count=20 2>/dev/null && sync {}", file, file),
              "node 3 writes 20 pages");
    const ProcessResult well = test.cluster.krgadm(1, {"health"});
    test.report.check(well.out.find("KRG_PAGES_LOST") == std::string::npos, "health knows of no lost pages", well.evidence());
    test.cluster.crash(3);
    require_view(test, {1, 2}, "node 3 crashes: the others go on", 60);
    std::string last;
    const std::string late = wait_until("recovered", test.cluster.limit(60), [&] {
        const Json c = container_of(test, 1, two);
        last = c.dump();
        const Json& r = c.at("replication");
        return r.at("gathering") == 0 && r.at("done") == r.at("total") ? std::string() : last;
    });
    test.report.check(late.empty(), "replication is complete", late);
    const Json kept = Json::parse(last, nullptr, false), gone = container_of(test, 2, one);
    test.report.check(kept.at("lost") == 0, "of two copies nothing is lost", last);
    test.report.check(kept.at("replication").at("total").get<int>() >= 20, "it had 20 pages or more to copy", last);
    test.report.check(gone.at("lost").get<int>() >= 20, "of one copy the 20 pages are lost", gone.dump());
    const ProcessResult ill = test.cluster.krgadm(2, {"health", "--detail"});
    test.report.check(ill.status == 1 && ill.out.find("KRG_PAGES_LOST") != std::string::npos &&
                          ill.out.find("(one)") != std::string::npos,
                      "health says which container lost pages", ill.evidence());
    test.report.note(ill.out);
    const Json page = asked(test, 1, {"container", "page", "--file", one, "0"}, "node 1 explains a lost page");
    const Json home = part(page, page.at("home").get<int>());
    test.report.check(home.value("entry", "") == "none" && home.value("written", 0) == 1, "written, and nobody has it",
                      page.dump());
    const std::string other = fresh_dir(test, one_copy, "after") + "/f";
    holds(test, 1, fmt::format("rm {} && echo x >{}", one, other), "the file is removed");
    const std::string still = wait_until("20 pages less are lost", test.cluster.limit(30), [&] {
        const Json c = container_of(test, 1, other);
        return c.at("lost").get<int>() + 20 <= gone.at("lost").get<int>() ? std::string() : c.at("lost").dump() + " are lost";
    });
    test.report.check(still.empty(), "and its pages are no loss any more", still);
}

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_hadsm_visible";
    defaults.what = "What an administrator sees of shared memory: statistics, pages, traces, losses";
    defaults.nodes = 3;
    const DriverOptions options = read_options(argc, argv, std::move(defaults));
    return run_driver(options,
                      {{"statistics", "counters move by what was done", scenario_statistics},
                       {"page", "one command explains a page", scenario_page},
                       {"trace", "one operation id on all nodes it touches", scenario_trace},
                       {"lost", "health says what a crash has cost", scenario_lost}},
                      cluster_for(options, "hadsm-visible"));
}
