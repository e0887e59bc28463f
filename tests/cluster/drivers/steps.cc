// SPDX-License-Identifier: GPL-2.0
//
// Steps shared by drivers: see steps.hh.
#include "steps.hh"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sstream>

namespace krg::cluster_test {

NodeIds running(const Test& test) { return test.cluster.machines_in_state("running"); }

NodeIds without(NodeIds nodes, const NodeIds& gone) {
    for (int node : gone) nodes.erase(node);
    return nodes;
}

void require_same_view(Test& test, const NodeIds& nodes, const NodeStatus& view, const std::string& sentence) {
    // A lease may lapse for a moment on a busy machine; what may not change is the view.
    std::string differs = wait_until("the same view", test.cluster.limit(10), [&] {
        auto status = test.cluster.status(nodes);
        std::string now = view_differs(status, view.members);
        const NodeStatus& first = status.begin()->second;
        if (now.empty() && (first.epoch != view.epoch || first.cluster_id != view.cluster_id))
            now = fmt::format("the epoch was {} and is {}", view.epoch, first.epoch);
        return now;
    });
    test.report.require(differs.empty(), sentence, differs);
}

NodeStatus require_state(Test& test, int node, const std::vector<std::string>& states, const std::string& sentence,
                         double timeout_s) {
    NodeStatus status;
    std::string missing = wait_until(fmt::format("node {} is {}", node, fmt::join(states, " or ")),
                                     test.cluster.limit(timeout_s), [&] {
                                         status = test.cluster.status(node);
                                         bool there = std::find(states.begin(), states.end(), status.state) != states.end();
                                         return there ? std::string() : fmt::format("node {}: {}", node, status.text());
                                     });
    test.report.require(missing.empty(), sentence, missing);
    return status;
}

ProcessResult check_refused(Test& test, int node, const std::vector<std::string>& arguments, int exit_status,
                            const std::string& reason, const std::string& sentence) {
    ProcessResult result = test.cluster.krgadm(node, arguments);
    bool named = result.err.find(reason) != std::string::npos;
    test.report.check(result.status == exit_status && named, sentence,
                      fmt::format("wanted exit status {} and the words '{}'; krgadm {}:\n{}", exit_status, reason,
                                  shown(arguments), result.evidence()));
    return result;
}

void require_join(Test& test, int node, const std::string& sentence) {
    ProcessResult result = test.cluster.krgadm(node, {"cluster", "join", "--wait=60"}, 100);
    test.report.require(result.done(), sentence, result.evidence());
}

void unload_everywhere(Test& test, const std::vector<std::string>& modules) {
    for (int node : running(test)) {
        ProcessResult left = test.cluster.krgadm(node, {"cluster", "leave", "--wait=60"}, 100);
        test.report.require(left.done(), fmt::format("node {} leaves", node), left.evidence());
        ProcessResult gone =
            test.cluster.shell(node, fmt::format("for m in {}; do ! grep -q \"^$m \" /proc/modules || rmmod $m || exit; done",
                                                 fmt::join(modules, " ")));
        test.report.check(gone.done(), fmt::format("rmmod succeeds on node {}", node), gone.evidence());
    }
    check_kernel_logs(test);
}

EventListener::EventListener(Test& test, int node)
    : test_(test),
      node_(node),
      process_(test.cluster.exec_words(node, {"krgadm", "--json", "monitor", "--timestamps"}),
               fmt::format("{}/events-node{}.json", test.options.folder, node)) {
    // Its picture ends with a line of its own; from there on nothing is missed.
    std::string missing = wait_until("krgadm monitor listens", test.cluster.limit(20), [&] {
        return process_.output().find(R"("verb":"exists","object":"-")") != std::string::npos ? std::string()
                                                                                              : "so far: " + process_.output();
    });
    if (!missing.empty()) throw ClusterError(missing);
}

std::vector<Json> EventListener::events() const {
    std::vector<Json> all;
    std::istringstream lines(process_.output());
    for (std::string line; std::getline(lines, line);) {
        Json event = Json::parse(line, nullptr, false);
        if (!event.is_discarded() && event.value("verb", "") != "exists") all.push_back(std::move(event));
    }
    return all;
}

std::string EventListener::wait_for(const Json& fields, double timeout_s) const {
    auto matches = [&](const Json& event) {
        for (const auto& [key, value] : fields.items())
            if (!event.contains(key) || event.at(key) != value) return false;
        return true;
    };
    return wait_until(fmt::format("node {} reports {}", node_, fields.dump()), test_.cluster.limit(timeout_s), [&] {
        std::string heard;
        for (const auto& event : events()) {
            if (matches(event)) return std::string();
            heard += event.dump() + "\n";
        }
        return "heard only:\n" + heard;
    });
}

// Two loops: krgadm as a user would ask, and the proc file, which a shell reads hundreds of times a second when
// krgadm leaves it the processor. Each answer is a line with the node's clock before and after the question.
StatusPoller::StatusPoller(Test& test, int node) : test_(test), node_(node), file_("/run/krg-status-poll") {
    const std::string script = fmt::format(R"(
rm -f {0}.*; touch {0}.on
nice -n 10 sh -c '
	now() {{ read -r up idle </proc/uptime; }}
	while [ -e {0}.on ]; do
		now; begin=$up; state=- epoch=0 incarnation=-
		while read -r key value rest; do
			case $key in state) state=$value ;; epoch) epoch=$value ;; incarnation) incarnation=$value ;; esac
		done </proc/kerrighed/view
		now; echo "$begin $up proc $state $epoch $incarnation"
	done' >{0}.proc 2>&1 </dev/null &
sh -c '
	now() {{ read -r up idle </proc/uptime; }}
	while [ -e {0}.on ]; do
		now; begin=$up
		answer=$(krgadm --json cluster status | tr -d "\n")
		now; echo "$begin $up krgadm $answer"
	done' >{0}.krgadm 2>&1 </dev/null &
until [ -s {0}.proc ] && [ -s {0}.krgadm ]; do sleep 0.1; done
)",
                                           file_);
    ProcessResult result = test.cluster.shell(node, script, 30);
    if (!result.done()) throw ClusterError("cannot start polling: " + result.evidence());
}

std::vector<StatusPoller::Sample> StatusPoller::stop() {
    // krgadm takes seconds on a debug kernel that has just woken: one answer may have been under way, the next one was asked now.
    const std::string script = fmt::format(R"(
lines=$(wc -l <{0}.krgadm)
for i in $(seq {1}); do [ $(wc -l <{0}.krgadm) -ge $((lines + 2)) ] && break; sleep 0.1; done
rm -f {0}.on; sleep 1; cat {0}.proc {0}.krgadm)",
                                           file_, static_cast<int>(test_.cluster.limit(200)));
    ProcessResult result = test_.cluster.shell(node_, script, test_.cluster.limit(60));
    if (!result.done()) throw ClusterError("cannot read what was polled: " + result.evidence());
    std::vector<Sample> samples;
    std::istringstream lines(result.out);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        Sample sample;
        if (!(words >> sample.begin_s >> sample.end_s >> sample.source)) continue;
        if (sample.source == "proc") {
            if (words >> sample.state >> sample.epoch >> sample.incarnation) samples.push_back(sample);
            continue;
        }
        std::string rest;
        std::getline(words, rest);
        Json json = Json::parse(rest, nullptr, false);
        if (json.is_discarded() || !json.contains("state")) continue;
        sample.state = json.at("state").get<std::string>();
        sample.epoch = json.at("epoch").get<std::uint64_t>();
        sample.incarnation = json.at("incarnation").get<std::string>();
        samples.push_back(sample);
    }
    return samples;
}

}  // namespace krg::cluster_test
