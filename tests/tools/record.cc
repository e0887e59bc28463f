// SPDX-License-Identifier: GPL-2.0
// krg-record: asks the running kernel everything that can be read and prints the answers as a recording for replay.hh.
// With a number, it also records so many events. Usage: krg-record [EVENTS] > messages/NAME.msgs
#include <iostream>
#include <string>

#include "include/uapi/linux/kerrighed.h"
#include "tests/tools/replay.hh"
#include "tools/lib/key.hh"

namespace {

void record(krg::Transport& transport, std::uint8_t command, bool dump) {
    std::cout << "> " << krg::test::operation_of(command) << '\n';
    for (const auto& message : transport.exchange(krg::Request(command, dump)))
        std::cout << krg::to_hex(message.payload) << '\n';
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const auto transport = krg::open_family(KRG_GENL_NAME);
        const auto events = krg::open_events(KRG_GENL_NAME, KRG_MCGRP_EVENTS);
        record(*transport, KRG_CMD_CLUSTER_GET, false);
        record(*transport, KRG_CMD_NODE_GET, true);
        record(*transport, KRG_CMD_LINK_GET, true);
        record(*transport, KRG_CMD_STATS_GET, true);
        for (int left = argc > 1 ? std::stoi(argv[1]) : 0; left > 0;) {
            krg::Message message;
            const auto outcome = events->next(message, std::chrono::seconds(60));
            if (outcome == krg::EventSource::Outcome::timeout) break;
            std::cout << "> event\n"
                      << (outcome == krg::EventSource::Outcome::lost ? "lost" : krg::to_hex(message.payload)) << '\n';
            left--;
        }
    } catch (const std::exception& error) {
        std::cerr << "krg-record: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
