// SPDX-License-Identifier: GPL-2.0
#include "tools/restart/stages.hh"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <ctime>
#include <new>

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace krg::restart {

namespace {

constexpr long look_after_ns = 100'000'000;
constexpr int patience_s = 60;

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t value) {
    const timespec limit{0, look_after_ns};
    syscall(SYS_futex, &word, FUTEX_WAIT, value, &limit, nullptr, 0);
}

void futex_wake(std::atomic<std::uint32_t>& word) { syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0); }

void copy(char* to, size_t room, const std::string& text) {
    const size_t length = std::min(room - 1, text.size());
    std::memcpy(to, text.data(), length);
    to[length] = 0;
}

}  // namespace

Stages::Stages(const std::vector<Range>& away)
    : shared_(new (map_away_from(away, sizeof(Shared), MAP_SHARED | MAP_ANONYMOUS)) Shared{}) {
    shared_->restorer = getpid();
}

Stages::~Stages() { munmap(shared_, sizeof(Shared)); }

void Stages::reach(Stage stage) {
    const auto number = static_cast<std::uint32_t>(stage);
    shared_->arrived[number]++;
    futex_wake(shared_->arrived[number]);
    for (std::uint32_t now; (now = shared_->stage) < number;) {
        if (shared_->failed || (kill(shared_->restorer, 0) != 0 && errno == ESRCH)) _exit(1);
        futex_wait(shared_->stage, now);
    }
}

void Stages::fail(const Error& error) {
    std::uint32_t none = 0;
    if (!shared_->failed.compare_exchange_strong(none, 1)) return;
    shared_->exit = static_cast<int>(error.code());
    copy(shared_->what, sizeof(shared_->what), error.what());
    copy(shared_->action, sizeof(shared_->action), error.action());
    shared_->failed = 2;
}

void Stages::check() const {
    if (shared_->failed != 2) return;
    throw Error(static_cast<Exit>(shared_->exit), shared_->what, shared_->action);
}

void Stages::wait(Stage stage, std::uint32_t count, const std::function<void()>& watch) {
    const auto number = static_cast<std::uint32_t>(stage);
    std::atomic<std::uint32_t>& arrived = shared_->arrived[number];
    timespec begin{}, now{};
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (std::uint32_t there; (there = arrived) < count;) {
        futex_wait(arrived, there);
        check();
        watch();
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec - begin.tv_sec > patience_s)
            throw Error(Exit::timed_out, "the processes did not get ready in " + std::to_string(patience_s) + " s",
                        "is the machine overloaded? try again");
    }
    check();
    shared_->stage = number;
    futex_wake(shared_->stage);
}

}  // namespace krg::restart
