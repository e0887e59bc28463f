// SPDX-License-Identifier: GPL-2.0
//
// krg-gap: how long a program stands still. It has so much memory, touches one random page of it in each round, and remembers
// the longest time between two rounds; at SIGTERM it says so, on standard output, as JSON.
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <random>
#include <sys/mman.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

namespace {

constexpr size_t page = 4096;
std::atomic<bool> asked = false;

uint64_t now_ns() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

uint64_t stamp(size_t number) { return (number + 1) * 0x9e3779b97f4a7c15ULL; }

}  // namespace

int main(int argc, char** argv) {
    size_t mib = 1;
    std::string ready;
    CLI::App app{"Says how long it stood still, as seen by itself"};
    app.add_option("--mib", mib, "Memory that it touches")->check(CLI::Range(1, 4096))->capture_default_str();
    app.add_option("--ready", ready, "Gets its process id when all memory is written")->required();
    CLI11_PARSE(app, argc, argv);

    const size_t pages = mib << 20 >> 12;
    void* area = mmap(nullptr, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED) {
        std::cerr << "krg-gap: " << std::strerror(errno) << '\n';
        return 1;
    }
    const auto word = [&](size_t number) -> uint64_t& {
        return *reinterpret_cast<uint64_t*>(static_cast<char*>(area) + number * page);
    };
    for (size_t n = 0; n < pages; ++n) word(n) = stamp(n);
    std::signal(SIGTERM, [](int) { asked = true; });
    std::ofstream(ready) << getpid() << std::endl;

    std::minstd_rand random(1);
    uint64_t before = now_ns(), longest = 0, rounds = 0;
    while (!asked) {
        const size_t n = random() % pages;
        if (word(n) != stamp(n)) {
            std::cerr << "krg-gap: page " << n << " is not as it was\n";
            return 1;
        }
        const uint64_t now = now_ns();
        longest = std::max(longest, now - before);
        before = now;
        rounds++;
    }
    std::cout << nlohmann::json{{"mib", mib}, {"longest_gap_ns", longest}, {"rounds", rounds}}.dump() << std::endl;
    return 0;
}
