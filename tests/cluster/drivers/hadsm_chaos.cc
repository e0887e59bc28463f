// SPDX-License-Identifier: GPL-2.0
//
// test_hadsm_chaos: five nodes load and store in one mapped file with three copies of each page while up to two of them die: one, two
// at the same instant, or the second while the others recover from the first. One memory must be able to have answered all that
// is left to be known. A seed decides who dies and when; the run prints it.
#include "hadsm_fs.hh"

#include <algorithm>
#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

const std::vector<const char*> mounts{three_copies};

enum class Kind { one, together, in_recovery };

const char* to_text(Kind kind) {
    switch (kind) {
    case Kind::one: return "one dies";
    case Kind::together: return "two die at the same instant";
    case Kind::in_recovery: break;
    }
    return "the second dies while the others recover from the first";
}

/// Five players, and who of them dies. Player n is on node n + 1.
class Round {
public:
    Round(Test& test, std::string name, Kind kind) : test_(test), name_(std::move(name)), kind_(kind), all_(running(test)) {
        recording_ = recording(test, three_copies);
        recording_.patience = "170";
        recording_.players = static_cast<unsigned>(all_.size());
        const std::size_t count = kind == Kind::one ? 1 : 2;
        while (victims_.size() < count) {
            const int node = 1 + static_cast<int>(test.random() % all_.size());
            if (std::find(victims_.begin(), victims_.end(), node) == victims_.end()) victims_.push_back(node);
        }
        observer_ = *survivors().begin();
        pause_s_ = static_cast<double>(test.random() % 1000) / 1000;
        operations_before_ = 50 + static_cast<int>(test.random() % 200);
    }

    void run() {
        test_.report.note(fmt::format("{}: {}: node {}, after {} operations of the first", name_, to_text(kind_),
                                      cluster_test::to_text({victims_.begin(), victims_.end()}), operations_before_));
        start();
        kill();
        finish();
        std::string crashed;
        for (int node : victims_) crashed += fmt::format("{}{}", crashed.empty() ? "" : ",", node - 1);
        judge(test_, recording_, {"--crashed", crashed}, name_ + ": nothing a survivor saw was lost");
        for (int node : victims_) test_.cluster.boot(node);
        prepare(test_, mounts);
    }

private:
    [[nodiscard]] NodeIds survivors() const { return without(all_, {victims_.begin(), victims_.end()}); }

    void start() {
        for (int node : all_)
            players_.push_back(std::make_unique<Beside>(test_,
                                                        recorder(test_, node, static_cast<unsigned>(node - 1), recording_),
                                                        fmt::format("{}-recorder", recording_.seed)));
        const std::string log = fmt::format("{}/log{}", recording_.shared, victims_.front() - 1);
        const std::string missing = wait_until("they work", test_.cluster.limit(90), [&] {
            ProcessResult lines = test_.cluster.shell(observer_, "grep -c ^op " + log, 30);
            return std::atoi(lines.out.c_str()) >= operations_before_ ? std::string() : lines.evidence();
        });
        test_.report.require(missing.empty(), name_ + ": they work", missing);
    }

    void kill() {
        if (kind_ != Kind::in_recovery) {
            for (int node : victims_) test_.cluster.crash(node);
            return;
        }
        EventListener listener(test_, observer_);
        test_.cluster.crash(victims_[0]);
        const std::string missing = listener.wait_for({{"event", "view-prepare"}}, test_.cluster.limit(60));
        test_.report.require(missing.empty(), fmt::format("{}: the others prepare a view without node {}", name_, victims_[0]),
                             missing);
        sleep_s(pause_s_);
        test_.cluster.crash(victims_[1]);
    }

    void finish() {
        for (int node : survivors()) {
            Beside& player = *players_[static_cast<std::size_t>(node - 1)];
            const std::string late = player.wait_end(180);
            const std::string said = player.output();
            test_.report.check(late.empty() && said.empty(), fmt::format("{}: node {} goes on to its end", name_, node),
                               late + said);
        }
        require_view(test_, survivors(), fmt::format("{}: the others have one view", name_), 60);
    }

    Test& test_;
    std::string name_;
    Kind kind_;
    NodeIds all_;
    std::vector<int> victims_;
    int observer_ = 0, operations_before_ = 0;
    double pause_s_ = 0;
    Recording recording_;
    std::vector<std::unique_ptr<Beside>> players_;
};

void scenario_whole(Test& test) {
    prepare(test, mounts);
    const NodeIds nodes = running(test);
    Recording r = recording(test, three_copies);
    r.players = static_cast<unsigned>(nodes.size());
    r.patience = "170";
    std::vector<Job> jobs;
    for (int node : nodes) jobs.push_back(recorder(test, node, static_cast<unsigned>(node - 1), r));
    if (all_hold(test, jobs, fmt::format("{} operations", r.operations), 170))
        judge(test, r, {}, "one memory can have answered so");
}

void scenario_recovery(Test& test) {
    prepare(test, mounts);
    Round(test, "crash during recovery", Kind::in_recovery).run();
}

void scenario_crashes(Test& test) {
    prepare(test, mounts);
    for (int round = 1; round <= test.options.rounds; round++)
        Round(test, fmt::format("round {} of {}", round, test.options.rounds), static_cast<Kind>(test.random() % 3)).run();
}

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_hadsm_chaos";
    defaults.what = "Shared memory of five nodes, three copies of each page, while up to two nodes die";
    defaults.nodes = 5;
    defaults.rounds = 3;
    DriverOptions options = read_options(argc, argv, std::move(defaults));
    const std::vector<Scenario> scenarios{
        {"whole", "five nodes, nobody dies", scenario_whole},
        {"recovery", "a second node dies while the others recover from the first", scenario_recovery},
        {"crashes", "rounds of crashes chosen at random", scenario_crashes},
    };
    return run_driver(options, scenarios, cluster_for(options, "hadsm-chaos"));
}
