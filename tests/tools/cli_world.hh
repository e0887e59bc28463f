// SPDX-License-Identifier: GPL-2.0
// Runs whole krgadm commands against a recording, a fake machine and a clock that only moves when somebody sleeps.
#pragma once

#include <chrono>
#include <sstream>
#include <string>
#include <vector>

#include "include/uapi/linux/kerrighed.h"
#include "tests/tools/fake_machine.hh"
#include "tests/tools/replay.hh"
#include "tools/krgadm/cli.hh"

namespace krg::test {

class CliWorld {
public:
    explicit CliWorld(const std::string& messages) : recording(Recording::parse(messages)) {}

    /** Runs `krgadm @arguments` and returns its exit code; out and err have what it printed. */
    int run(const std::vector<std::string>& arguments) {
        out.str("");
        err.str("");
        Context context{
            .config_path = config_path,
            .system = machine,
            .client =
                [this] {
                    if (!recording->has_family()) throw NoFamily(KRG_GENL_NAME);
                    return Client(replay(recording));
                },
            .events =
                [this] {
                    if (!recording->has_family()) throw NoFamily(KRG_GENL_NAME);
                    return replay_events(recording);
                },
            .sleep = [this](std::chrono::milliseconds pause) { clock += pause; },
            .now = [this] { return clock; },
            .confirm = confirm,
            .out = out,
            .err = err,
        };
        return run_krgadm(arguments, context);
    }

    std::shared_ptr<Recording> recording;
    FakeMachine machine;
    std::string config_path = "/nonexistent/kerrighed.conf";
    std::function<bool(const std::string&)> confirm;
    std::chrono::steady_clock::time_point clock{};
    std::ostringstream out, err;
};

}  // namespace krg::test
