// SPDX-License-Identifier: GPL-2.0
//
// See record.hh. The clocks of machines differ; what they have in common is a directory of one host. A file's time of
// modification there is the host's, and lies between what the node's own clock said before and after it wrote: that bounds the
// difference. Many samples make the bound tight.
#include "record.hh"

#include "../guest.hh"

#include <atomic>
#include <csignal>
#include <ctime>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace krg::guest {

namespace {

using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free);

constexpr int clock_samples = 60;

std::int64_t own_clock() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

std::string measure_clock(const RecordOptions& options) {
    const Fd fd = open_file(options.clock + "/clock." + std::to_string(options.setup.me), O_RDWR | O_CREAT);
    Random random(options.setup.me);
    std::int64_t low = INT64_MIN, high = INT64_MAX;
    for (int i = 0; i < clock_samples; i++) {
        const std::int64_t before = own_clock();
        write_all(fd.get(), 0, "x");
        struct stat st {};
        if (fstat(fd.get(), &st) != 0) fail_errno("fstat in " + options.clock);
        const std::int64_t after = own_clock();
        const std::int64_t theirs = static_cast<std::int64_t>(st.st_mtim.tv_sec) * 1'000'000'000 + st.st_mtim.tv_nsec;
        low = std::max(low, theirs - after);
        high = std::min(high, theirs + options.tick_us * 1000 - before);
        usleep(static_cast<useconds_t>(random.below(5000)));
    }
    if (low > high)
        fail("the clocks cannot be compared: files in " + options.clock + " have times that are older than --tick-us");
    return clock_line(low, high);
}

/// Appends whole batches: what is in the log has happened, and little happened that is not.
class Writer {
public:
    explicit Writer(const std::string& path) : fd_(open_file(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND)) {}
    void add(const std::string& line) { pending_ += line; }
    void flush() {
        if (!pending_.empty() && write(fd_.get(), pending_.data(), pending_.size()) != static_cast<ssize_t>(pending_.size()))
            fail_errno("cannot write the log");
        pending_.clear();
    }

private:
    Fd fd_;
    std::string pending_;
};

Word& word_at(char* memory, const Setup& setup, std::uint32_t word) {
    return *reinterpret_cast<Word*>(memory + place_of(setup, word));
}

Record perform(char* memory, const Setup& setup, std::uint64_t index, std::vector<std::uint64_t>& last_seen) {
    const Planned planned = plan(setup, index);
    Record r{index, planned.action, true, planned.word, planned.value, 0, 0, 0};
    Word& word = word_at(memory, setup, planned.word);
    r.begin = own_clock();
    switch (planned.action) {
    case Action::load: r.seen = word.load(); break;
    case Action::store: word.store(planned.value); break;
    case Action::add: r.seen = word.fetch_add(1); break;
    case Action::exchange:
        r.seen = last_seen[planned.word];
        r.done = word.compare_exchange_strong(r.seen, planned.value);
        break;
    case Action::sync:
        if (msync(memory, setup.pages * 4096UL, MS_SYNC) != 0) fail_errno("msync");
        break;
    }
    r.end = own_clock();
    if (planned.action != Action::sync)
        last_seen[planned.word] = planned.action == Action::store || (planned.action == Action::exchange && r.done)
                                      ? planned.value
                                      : r.seen;
    return r;
}

void on_alarm(int) { fail("not done in time", timed_out); }
void on_bus_error(int) { fail("SIGBUS"); }

}  // namespace

void record(const RecordOptions& options) {
    const Setup& setup = options.setup;
    signal(SIGALRM, on_alarm);
    signal(SIGBUS, on_bus_error);
    alarm(static_cast<unsigned>(options.patience_s));
    const Fd file = open_file(options.file, O_RDWR | O_CREAT);
    const std::size_t length = setup.pages * 4096UL;
    void* at = options.no_truncate ? mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0)
                                   : map_file(file.get(), length);
    if (at == MAP_FAILED) fail_errno("mmap");
    char* memory = static_cast<char*>(at);
    Writer log(options.log);
    log.add(to_line(setup));
    if (!options.clock.empty()) log.add(measure_clock(options));
    log.flush();
    if (!options.meet.empty())
        meet(options.meet, "record" + std::to_string(setup.seed), setup.me, setup.players, options.patience_s);
    std::vector<std::uint64_t> last_seen(setup.words);
    Random random(mix(setup.seed, 77 + setup.me));
    for (std::uint64_t i = 0; i < setup.operations; i++) {
        if (i % setup.batch == 0) log.flush();
        log.add(to_line(perform(memory, setup, i, last_seen)));
        if (options.pause_us) usleep(static_cast<useconds_t>(random.below(options.pause_us)));
    }
    if (!options.clock.empty()) log.add(measure_clock(options));
    log.add(end_line());
    log.flush();
}

}  // namespace krg::guest
