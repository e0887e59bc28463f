// SPDX-License-Identifier: GPL-2.0
// krgadm on this machine: standard streams, the running kernel, the real clock.
#include <iostream>
#include <thread>

#include <unistd.h>

#include "include/uapi/linux/kerrighed.h"
#include "tools/krgadm/cli.hh"

namespace {

bool ask_on_terminal(const std::string& question) {
    std::cerr << question << " [y/N] " << std::flush;
    std::string answer;
    return std::getline(std::cin, answer) && (answer == "y" || answer == "Y" || answer == "yes");
}

}  // namespace

int main(int argc, char** argv) {
    const auto machine = krg::this_machine();
    const bool interactive = isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1;
    krg::Context context{
        .system = *machine,
        .client = [] { return krg::Client(krg::open_family(KRG_GENL_NAME)); },
        .events = [] { return krg::open_events(KRG_GENL_NAME, KRG_MCGRP_EVENTS); },
        .sleep = [](std::chrono::milliseconds pause) { std::this_thread::sleep_for(pause); },
        .now = [] { return std::chrono::steady_clock::now(); },
        .terminal = isatty(STDERR_FILENO) == 1,
        .confirm = interactive ? ask_on_terminal : std::function<bool(const std::string&)>{},
        .out = std::cout,
        .err = std::cerr,
    };
    return krg::run_krgadm({argv + 1, argv + argc}, context);
}
