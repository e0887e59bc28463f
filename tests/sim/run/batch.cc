// SPDX-License-Identifier: GPL-2.0
//
// Worker processes and their shared table. See batch.hh.
#include "tests/sim/run/batch.hh"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fmt/format.h>
#include <new>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

namespace krg::sim {

namespace {

constexpr unsigned max_failures = 32;
constexpr unsigned max_jobs = 64;

struct Text {
    char at[600];
    void set(const std::string& text) {
        const std::size_t length = std::min(text.size(), sizeof at - 1);
        std::memcpy(at, text.data(), length);
        at[length] = 0;
    }
};

struct SharedFailure {
    u64 seed;
    Text rule, text;
};

struct Worker {
    std::atomic<u64> seed;  ///< the run that is going on
    BatchTotals totals;
};

struct Shared {
    std::atomic<u64> next;
    std::atomic<u64> done;
    std::atomic<u32> failures;
    SharedFailure failure[max_failures];
    Worker worker[max_jobs];
};

/// Anonymous memory shared with children; unmapped at the end.
template<typename T>
class SharedMemory {
public:
    SharedMemory() {
        void* at = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) throw std::runtime_error("no memory to share between workers");
        value_ = new (at) T{};
    }
    ~SharedMemory() { munmap(value_, sizeof(T)); }
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;
    T* operator->() { return value_; }
    T& operator*() { return *value_; }

private:
    T* value_;
};

void add(BatchTotals& totals, const OneRun& run) {
    for (unsigned i = 0; i < batch_counters; i++) {
        totals.sum[i] += run.value[i];
        totals.max[i] = std::max(totals.max[i], run.value[i]);
        totals.min[i] = std::min(totals.min[i], run.value[i]);
    }
}

void report(Shared& shared, u64 seed, const std::string& rule, const std::string& text) {
    const u32 slot = shared.failures.fetch_add(1);
    if (slot >= max_failures) return;
    shared.failure[slot].seed = seed;
    shared.failure[slot].rule.set(rule);
    shared.failure[slot].text.set(text);
}

/// Time of the processor, not of the clock: a busy machine is no hang. A run that sleeps ends by the clock, much later.
void limit(unsigned seconds) {
    constexpr unsigned patience = 30;
    alarm(patience * seconds);
    itimerval timer{};
    timer.it_value.tv_sec = static_cast<time_t>(seconds);
    setitimer(ITIMER_PROF, &timer, nullptr);
}

[[noreturn]] void work(const BatchOptions& options, const std::function<OneRun(u64)>& one, Shared& shared, Worker& me) {
    for (;;) {
        const u64 index = shared.next.fetch_add(1);
        if (index >= options.seeds || shared.failures.load() >= options.stop_after) break;
        const u64 seed = options.first + index;
        me.seed.store(seed);
        limit(options.run_seconds);
        const OneRun run = one(seed);
        limit(0);
        if (run.failed) report(shared, seed, run.rule, run.text);
        add(me.totals, run);
        shared.done.fetch_add(1);
    }
    me.seed.store(0);
    _exit(0);
}

std::string death(int status) {
    if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGPROF || WTERMSIG(status) == SIGALRM ? "hang" : "crash";
    return "crash";
}

std::string death_text(int status) {
    if (WIFSIGNALED(status))
        return fmt::format("the run was killed by signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
    return fmt::format("the run ended with status {} (a sanitizer's report is above)", WEXITSTATUS(status));
}

}  // namespace

std::vector<BatchFailure> run_batch(const BatchOptions& options, const std::function<OneRun(u64 seed)>& one,
                                    BatchTotals& totals) {
    SharedMemory<Shared> shared;
    const unsigned jobs = std::clamp(options.jobs, 1U, max_jobs);
    std::vector<pid_t> pids(jobs, 0);
    unsigned running = 0;
    const auto spawn = [&](unsigned i) {
        std::fflush(nullptr);
        const pid_t pid = fork();
        if (pid < 0) throw std::runtime_error("cannot start a worker process");
        if (pid == 0) work(options, one, *shared, shared->worker[i]);
        pids[i] = pid;
        running++;
    };
    for (unsigned i = 0; i < jobs; i++) {
        for (u64& least : shared->worker[i].totals.min) least = ~u64{0};
        spawn(i);
    }
    while (running > 0) {
        int status = 0;
        const pid_t pid = waitpid(-1, &status, options.progress ? WNOHANG : 0);
        if (pid == 0) {
            usleep(200000);
            fmt::print(stderr, "\r{} of {} runs ", shared->done.load(), options.seeds);
            continue;
        }
        const auto slot = std::find(pids.begin(), pids.end(), pid);
        if (pid < 0 || slot == pids.end()) continue;
        running--;
        const auto i = static_cast<unsigned>(slot - pids.begin());
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
        report(*shared, shared->worker[i].seed.load(), death(status), death_text(status));
        if (shared->failures.load() < options.stop_after) spawn(i);
    }
    if (options.progress) fmt::print(stderr, "\r{:40}\r", "");
    for (u64& least : totals.min) least = ~u64{0};
    for (unsigned i = 0; i < jobs; i++) {
        const BatchTotals& part = shared->worker[i].totals;
        for (unsigned f = 0; f < batch_counters; f++) {
            totals.sum[f] += part.sum[f];
            totals.max[f] = std::max(totals.max[f], part.max[f]);
            totals.min[f] = std::min(totals.min[f], part.min[f]);
        }
    }
    std::vector<BatchFailure> failures;
    for (u32 i = 0; i < std::min<u32>(shared->failures.load(), max_failures); i++)
        failures.push_back({shared->failure[i].seed, shared->failure[i].rule.at, shared->failure[i].text.at});
    std::sort(failures.begin(), failures.end(), [](const BatchFailure& a, const BatchFailure& b) { return a.seed < b.seed; });
    return failures;
}

OneRun verdict(const Ending& first, bool twice, const std::function<Ending()>& again) {
    OneRun row;
    row.failed = !first.rule.empty();
    row.rule = first.rule;
    row.text = first.text;
    if (row.failed || !twice) return row;
    const Ending other = again();
    if (other.hash == first.hash && other.events == first.events) return row;
    row.failed = true;
    row.rule = "determinism";
    row.text = fmt::format("one seed, two runs: {:016x} after {} events, {:016x} after {}", first.hash, first.events,
                           other.hash, other.events);
    return row;
}

OneRun run_guarded(unsigned seconds, const std::function<OneRun()>& body) {
    struct Answer {
        bool failed;
        Text rule, text;
        u64 value[batch_counters];
    };
    SharedMemory<Answer> answer;
    std::fflush(nullptr);
    const pid_t pid = fork();
    if (pid < 0) throw std::runtime_error("cannot start a child process");
    if (pid == 0) {
        limit(seconds);
        const OneRun run = body();
        answer->failed = run.failed;
        answer->rule.set(run.rule);
        answer->text.set(run.text);
        std::copy(std::begin(run.value), std::end(run.value), std::begin(answer->value));
        _exit(0);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {}
    OneRun out;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        out.failed = answer->failed;
        out.rule = answer->rule.at;
        out.text = answer->text.at;
        std::copy(std::begin(answer->value), std::end(answer->value), std::begin(out.value));
        return out;
    }
    out.failed = true;
    out.rule = death(status);
    out.text = death_text(status);
    return out;
}

}  // namespace krg::sim
