// SPDX-License-Identifier: GPL-2.0
//
// test_soak: processes move at random while nodes crash and come back. The driver keeps a book of who runs where; after each
// crash, and at the end, every node is searched: nobody is lost but who was on the node that crashed, nobody runs twice, all
// find their work right, nothing leaks, and the modules go.
#include "steps.hh"

#include <algorithm>
#include <cstring>
#include <optional>
#include <sstream>

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

const std::string work = "/shared/soak";
constexpr const char* programs[] = {"cpu_computing", "file_offset",  "signal_queue", "mem_heap",
                                    "pipe_content",  "epoll_nested", "threads_64"};

int processes = 20;

struct Process {
    int number = 0;
    long pid = 0;
    int born = 0, where = 0;  ///< where 0: it has ended
    std::string folder;
};

class Soak {
public:
    explicit Soak(Test& test) : test_(test) {}

    void run() {
        require_view(test_, running(test_), "all serve");
        (void)test_.cluster.shell(1, "rm -rf " + work);
        for (const int node : running(test_)) load(node);
        const int moves = test_.options.rounds, between = std::max(5, moves / 10);
        fill_up();
        for (int i = 1; i <= moves; i++) {
            move_somebody();
            if (i % between != 0 || i == moves) continue;
            crash_somebody(i / between % 3 == 0);
            fill_up();
        }
        census("at the end", {});
        end_all();
        test_.report.check(moved_ > 0,
                           fmt::format("{} moves, {} refused, {} crashes, {} processes, {} of them lost with their node",
                                       moved_, refused_, crashes_, all_.size(), lost_));
    }

private:
    int pick(int below) { return std::uniform_int_distribution<int>(0, below - 1)(test_.random); }

    int other_node(int but) {
        const NodeIds nodes = without(running(test_), {but});
        auto at = nodes.begin();
        std::advance(at, pick(static_cast<int>(nodes.size())));
        return *at;
    }

    void load(int node) {
        const ProcessResult result =
            test_.cluster.shell(node, fmt::format("for m in hadsm krg_proc; do grep -q \"^$m \" /proc/modules || insmod "
                                                  "{0}/build/$(uname -r)/$m.ko || exit 1; done; "
                                                  "echo {0}/build/host/bin/restart >/sys/module/krg_proc/parameters/helper",
                                                  test_.options.top));
        test_.report.require(result.done(), fmt::format("the modules are loaded on node {}", node), result.evidence());
    }

    std::vector<Process*> alive() {
        std::vector<Process*> list;
        for (Process& process : all_)
            if (process.where) list.push_back(&process);
        return list;
    }

    /// As many as there shall be, on nodes in turn.
    void fill_up() {
        const NodeIds nodes = running(test_);
        auto node = nodes.begin();
        while (static_cast<int>(alive().size()) < processes) {
            start(*node);
            if (++node == nodes.end()) node = nodes.begin();
        }
    }

    void start(int node) {
        Process process;
        process.number = static_cast<int>(all_.size());
        process.born = process.where = node;
        process.folder = fmt::format("{}/p{}", work, process.number);
        const char* program = programs[static_cast<size_t>(process.number) % std::size(programs)];
        const ProcessResult started = test_.cluster.shell(
            node,
            fmt::format("mkdir -p {0} && cd {0} && setsid sh -c '{1}/build/host/cr/{2} --pidfile={0}/pid --outfile={0}/out "
                        "--filename={0}/file; echo $? >{0}/code' </dev/null >{0}/log 2>&1 & "
                        "for i in $(seq 300); do [ -s {0}/pid ] && break; sleep 0.1; done; cat {0}/pid",
                        process.folder, test_.options.top, program));
        test_.report.require(started.done() && !started.out.empty(),
                             fmt::format("{} starts on node {} as number {}", program, node, process.number),
                             started.evidence());
        process.pid = std::stol(started.out);
        all_.push_back(process);
    }

    std::vector<std::string> migrate_words(const Process& process, int to) {
        return {"migrate", "--timeout", "60", std::to_string(process.pid), std::to_string(to)};
    }

    void move_somebody() {
        const std::vector<Process*> list = alive();
        Process& process = *list.at(static_cast<size_t>(pick(static_cast<int>(list.size()))));
        const int from = process.where, to = other_node(from);
        const ProcessResult result = test_.cluster.exec(from, migrate_words(process, to), test_.cluster.limit(120));
        const std::string sentence = fmt::format("move {}: number {} ({}) goes from node {} to {}", ++tried_, process.number,
                                                 process.pid, from, to);
        if (result.done()) {
            process.where = to;
            moved_++;
            test_.report.check(true, sentence);
            return;
        }
        // A node that was started again gives out ids that somebody who was born there before still has.
        const bool taken = result.err.find("has it here") != std::string::npos;
        refused_ += taken;
        test_.report.check(taken, sentence + (taken ? ": its id is taken there" : ""), result.evidence());
    }

    /// A node dies; `moving`: while somebody is on the way to it, or away from it.
    void crash_somebody(bool moving) {
        const std::vector<Process*> list = alive();
        Process& traveller = *list.at(static_cast<size_t>(pick(static_cast<int>(list.size()))));
        const int from = traveller.where, to = other_node(from);
        const int victim = moving ? (pick(2) ? from : to) : other_node(0);
        std::optional<BackgroundProcess> migration;
        if (moving) {
            migration.emplace(test_.cluster.exec_words(from, migrate_words(traveller, to)),
                              test_.cluster.options().folder + "/soak-migrate.log");
            test_.report.note(fmt::format("number {} is on its way from node {} to {}", traveller.number, from, to));
            sleep_s(pick(2000) / 1000.0);
        }
        test_.cluster.crash(victim);
        crashes_++;
        NodeIds left = running(test_);
        left.erase(victim);
        require_view(test_, left, fmt::format("crash {}: node {} dies{}", crashes_, victim, moving ? ", during a move" : ""),
                     90);
        migration.reset();
        census(fmt::format("after crash {}", crashes_), {victim}, moving ? &traveller : nullptr, from, to);
        test_.cluster.boot(victim);
        left.insert(victim);
        require_view(test_, left, fmt::format("node {} is back", victim), 180);
        load(victim);
    }

    /// Which nodes run it: its program, with memory.
    std::map<int, NodeIds> search() {
        std::ostringstream script;
        for (const Process& process : all_) script << fmt::format("f {} {}; ", process.number, process.pid);
        std::map<int, NodeIds> found;
        for (const int node : running(test_)) {
            const ProcessResult result = test_.cluster.shell(
                node, fmt::format("f() {{ [ -d /proc/$2 ] && tr '\\0' ' ' </proc/$2/cmdline | grep -q \"{}/p$1/pid\" && "
                                  "grep -q '^VmRSS' /proc/$2/status && ! grep -q '^State:.Z' /proc/$2/status && echo $1; }} "
                                  "2>/dev/null; {} :",
                                  work, script.str()));
            test_.report.require(result.done(), fmt::format("node {} is searched", node), result.evidence());
            std::istringstream numbers(result.out);
            for (int number = 0; numbers >> number;) found[number].insert(node);
        }
        return found;
    }

    /// Where one may be; 0: nowhere.
    NodeIds allowed(const Process& process, const NodeIds& crashed, const Process* traveller, int from, int to) {
        NodeIds nodes{process.where};
        if (&process == traveller) nodes = {from, to};
        NodeIds may;
        for (const int node : nodes) may.insert(crashed.count(node) ? 0 : node);
        return may;
    }

    std::string wrong(const NodeIds& crashed, const Process* traveller, int from, int to, std::map<int, NodeIds>& found) {
        std::string text;
        found = search();
        for (const Process& process : all_) {
            const NodeIds& on = found[process.number];
            if (!process.where) {
                if (!on.empty())
                    text += fmt::format("number {} ({}) has ended and runs on {}; ", process.number, process.pid, to_text(on));
                continue;
            }
            const NodeIds may = allowed(process, crashed, traveller, from, to);
            const bool right = on.empty() ? may.count(0) > 0 : on.size() == 1 && may.count(*on.begin()) > 0;
            if (!right)
                text += fmt::format("number {} ({}) runs on [{}] instead of [{}]; ", process.number, process.pid, to_text(on),
                                    to_text(may));
        }
        return text;
    }

    void census(const std::string& when, const NodeIds& crashed, const Process* traveller = nullptr, int from = 0, int to = 0) {
        std::map<int, NodeIds> found;
        const std::string missing = wait_until("everybody is where he should be " + when, test_.cluster.limit(60),
                                               [&] { return wrong(crashed, traveller, from, to, found); });
        test_.report.require(missing.empty(), fmt::format("nobody is lost and nobody doubled {}", when), missing);
        for (Process& process : all_) {
            if (!process.where) continue;
            const NodeIds& on = found[process.number];
            if (on.empty()) lost_++;
            process.where = on.empty() ? 0 : *on.begin();
        }
    }

    void end_all() {
        for (Process* process : alive()) {
            const ProcessResult asked = test_.cluster.shell(process->where, fmt::format("kill -TERM {}", process->pid));
            test_.report.check(asked.done(),
                               fmt::format("number {} is asked to end on node {}", process->number, process->where),
                               asked.evidence());
        }
        std::string last;
        for (Process* process : alive()) {
            const std::string missing =
                wait_until(fmt::format("the result of number {}", process->number), test_.cluster.limit(60), [&] {
                    last =
                        test_.cluster.shell(process->where, fmt::format("tail -n 1 {}/out 2>/dev/null", process->folder)).out;
                    return last.empty() ? std::string("nothing yet") : std::string();
                });
            test_.report.check(missing.empty() && last == "PASS\n",
                               fmt::format("number {} found everything right", process->number), last + missing);
            process->where = 0;
        }
        std::map<int, NodeIds> found;
        const std::string left = wait_until("all have ended", test_.cluster.limit(60),
                                            [&] { return wrong({}, nullptr, 0, 0, found); });
        test_.report.check(left.empty(), "nobody is left anywhere", left);
    }

    Test& test_;
    std::vector<Process> all_;
    int tried_ = 0, moved_ = 0, refused_ = 0, crashes_ = 0, lost_ = 0;
};

void scenario_soak(Test& test) { Soak(test).run(); }

void scenario_unload(Test& test) { unload_everywhere(test, {"krg_proc", "hadsm", "kerrighed"}); }

/// Options of this driver alone; the rest is for read_options().
std::vector<char*> take_own(int argc, char** argv, int& nodes, std::vector<std::string>& words) {
    for (int i = 0; i < argc; i++) {
        std::string word = argv[i];
        const size_t equals = word.find('=');
        const std::string name = word.substr(0, equals);
        const auto value = [&] {
            return equals != std::string::npos ? word.substr(equals + 1) : std::string(i + 1 < argc ? argv[++i] : "0");
        };
        if (name == "--nodes")
            nodes = std::max(3, std::atoi(value().c_str()));
        else if (name == "--processes")
            processes = std::max(1, std::atoi(value().c_str()));
        else if (name == "--migrations")
            words.insert(words.end(), {"--rounds", value()});
        else
            words.push_back(word);
    }
    std::vector<char*> own;
    for (std::string& word : words) own.push_back(word.data());
    own.push_back(nullptr);
    return own;
}

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_soak";
    defaults.what = "Processes move at random (--migrations N, of --processes N, over --nodes N) while nodes crash";
    defaults.nodes = 4;
    defaults.rounds = 200;
    std::vector<std::string> words;
    std::vector<char*> own = take_own(argc, argv, defaults.nodes, words);
    const DriverOptions options = read_options(static_cast<int>(own.size()) - 1, own.data(), defaults);
    return run_driver(options, {{"soak", "moves and crashes", scenario_soak}, {"unload", "the modules go", scenario_unload}},
                      cluster_for(options, "soak"));
}
