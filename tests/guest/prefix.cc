// SPDX-License-Identifier: GPL-2.0
//
// krg-prefix: what is left of a writer that died in the middle of its work. `write` runs two threads, on two processors if there
// are, that fill pages of a mapped file in an order which the seed decides: nine stores a write, eight in a page and one to the
// thread's own word. `watch` reads on another node and writes down what it saw. `verify`, on a survivor, looks whether what is there
// is exactly what the writers had done at one moment, and nothing the watcher saw is missing. Exit status 0, 1 (not so), 2 (usage).
#include "guest.hh"

#include <CLI/CLI.hpp>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace krg::guest {

namespace {

using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free);

constexpr std::uint64_t page = 4096, marks = 8;  // stores in a page
constexpr unsigned authors = 2;

struct Options {
    std::string file, log, stop;
    std::vector<std::string> seen;
    std::uint64_t seed = 1, pages = 16, count = ~0ULL;
    unsigned pause_us = 0;
};

/// Write number t, from 1.
unsigned author(const Options& o, std::uint64_t t) { return static_cast<unsigned>(mix(o.seed, 2 * t) % authors); }
std::uint64_t page_of(const Options& o, std::uint64_t t) { return mix(o.seed, 2 * t + 1) % o.pages; }

class Memory {
public:
    Memory(const Options& o, int flags) : fd_(open_file(o.file, flags)), at_(map_file(fd_.get(), (authors + o.pages) * page)) {}
    /// The word of a thread: the number of its last write.
    [[nodiscard]] Word& last(unsigned thread) const { return *reinterpret_cast<Word*>(at_ + thread * page); }
    [[nodiscard]] Word& mark(std::uint64_t p, std::uint64_t i) const {
        return *reinterpret_cast<Word*>(at_ + (authors + p) * page + i * (page / marks));
    }

private:
    Fd fd_;
    char* at_;
};

/// What the memory has after some writes.
class State {
public:
    explicit State(const Options& o) : options_(o), pages_(o.pages, 0) {}
    void advance_to(std::uint64_t t) {
        while (done_ < t) {
            done_++;
            pages_[page_of(options_, done_)] = done_;
            threads_[author(options_, done_)] = done_;
        }
    }
    [[nodiscard]] std::uint64_t done() const { return done_; }
    [[nodiscard]] std::uint64_t page_has(std::uint64_t p) const { return pages_[p]; }
    [[nodiscard]] std::uint64_t thread_has(unsigned a) const { return threads_[a]; }

private:
    const Options& options_;
    std::uint64_t done_ = 0;
    std::vector<std::uint64_t> pages_;
    std::array<std::uint64_t, authors> threads_{};
};

void on_bus_error(int) { fail("SIGBUS"); }

int write_pages(const Options& o) {
    const Memory memory(o, O_RDWR | O_CREAT);
    std::atomic<std::uint64_t> done_so_far{0};
    const auto thread = [&](unsigned me) {
        for (std::uint64_t t = 1; t <= o.count; t++) {
            if (author(o, t) != me) continue;
            while (done_so_far.load() != t - 1) sched_yield();
            for (std::uint64_t i = 0; i < marks; i++) memory.mark(page_of(o, t), i).store(t);
            memory.last(me).store(t);
            if (o.pause_us) usleep(o.pause_us);
            done_so_far.store(t);
        }
    };
    std::thread other(thread, 1);
    thread(0);
    other.join();
    return done;
}

/// Reads here and there; whatever was seen once must stay.
int watch(const Options& o) {
    const Memory memory(o, O_RDWR | O_CREAT);
    const Fd log = open_file(o.log, O_RDWR | O_CREAT | O_TRUNC);
    State must(o);  // all writes up to must.done() have been made, and were seen to be
    Random random(mix(o.seed, 5));
    std::uint64_t samples = 0;
    const auto look = [&](Word& word, std::uint64_t least, const std::string& name) {
        const std::uint64_t value = word.load();
        if (value < least)
            fail(name + " has " + std::to_string(value) + " after write " + std::to_string(must.done()) + " was seen; it had " +
                 std::to_string(least));
        return value;
    };
    for (;; samples++) {
        std::uint64_t known = 0;
        if (random.chance(30)) {
            const auto a = static_cast<unsigned>(random.below(authors));
            known = look(memory.last(a), must.thread_has(a), "the word of thread " + std::to_string(a));
            if (known && author(o, known) != a)
                fail("write " + std::to_string(known) + " is not of thread " + std::to_string(a));
        } else {
            const std::uint64_t p = random.below(o.pages), i = random.below(marks);
            const std::uint64_t value = look(memory.mark(p, i), must.page_has(p), "page " + std::to_string(p));
            if (value && page_of(o, value) != p)
                fail("write " + std::to_string(value) + " is not of page " + std::to_string(p));
            known = value ? value - 1 : 0;  // the write itself may be half done
        }
        if (known > must.done()) {
            must.advance_to(known);
            char text[32];
            std::snprintf(text, sizeof text, "%020llu\n", static_cast<unsigned long long>(known));
            write_all(log.get(), 0, text);
        }
        if (samples % 16 == 0 && access(o.stop.c_str(), F_OK) == 0) break;
        usleep(200);
    }
    std::printf("%llu samples; all writes up to %llu were seen\n", static_cast<unsigned long long>(samples),
                static_cast<unsigned long long>(must.done()));
    return done;
}

int verify(const Options& o) {
    const Memory memory(o, O_RDWR);
    std::array<std::uint64_t, authors> last{};
    std::vector<std::array<std::uint64_t, marks>> have(o.pages);
    std::uint64_t newest = 0;
    for (unsigned a = 0; a < authors; a++) newest = std::max(newest, last[a] = memory.last(a).load());
    for (std::uint64_t p = 0; p < o.pages; p++)
        for (std::uint64_t i = 0; i < marks; i++) newest = std::max(newest, have[p][i] = memory.mark(p, i).load());
    if (newest > 1'000'000'000'000) fail("a word has " + std::to_string(newest) + ", which no writer has come to");
    State before(o), after(o);
    before.advance_to(newest ? newest - 1 : 0);
    after.advance_to(newest);
    const std::string here = "write " + std::to_string(newest) + " is here, ";
    std::uint64_t fresh = marks;  // how many stores of the newest write are here
    for (std::uint64_t p = 0; p < o.pages; p++) {
        const bool current = newest && p == page_of(o, newest);
        if (current)
            fresh = static_cast<std::uint64_t>(
                std::find_if(have[p].begin(), have[p].end(), [&](auto v) { return v != newest; }) - have[p].begin());
        for (std::uint64_t i = 0; i < marks; i++) {
            const std::uint64_t expected = current && i >= fresh ? before.page_has(p) : after.page_has(p);
            if (have[p][i] != expected)
                fail(here + "but word " + std::to_string(i) + " of page " + std::to_string(p) + " has " +
                     std::to_string(have[p][i]) + ", not " + std::to_string(expected));
        }
    }
    for (unsigned a = 0; a < authors; a++)
        if (last[a] != after.thread_has(a) && !(newest && a == author(o, newest) && last[a] == before.thread_has(a)))
            fail(here + "but the word of thread " + std::to_string(a) + " has " + std::to_string(last[a]) + ", not " +
                 std::to_string(after.thread_has(a)));
    if (newest && fresh < marks && last[author(o, newest)] == newest)
        fail(here + "its thread said so before all of its page was here");
    const bool whole = newest && last[author(o, newest)] == newest;
    const std::uint64_t complete = newest ? (whole ? newest : newest - 1) : 0;
    for (const std::string& path : o.seen) {
        const std::string text = read_text(path);
        const std::uint64_t seen = std::strtoull(text.c_str(), nullptr, 10);
        if (seen > complete)
            fail("writes up to " + std::to_string(seen) + " had been seen, those up to " + std::to_string(complete) +
                 " are left");
    }
    std::printf("prefix %llu%s\n", static_cast<unsigned long long>(complete),
                complete == newest ? "" : " and a part of the next");
    return done;
}

int run(int argc, char** argv) {
    Options o;
    CLI::App app("What is left of a writer that died");
    app.name("krg-prefix");
    app.require_subcommand(1);
    CLI::App* write = app.add_subcommand("write", "Write until killed");
    CLI::App* watcher = app.add_subcommand("watch", "Read until a file appears");
    CLI::App* check = app.add_subcommand("verify", "Is what is left a prefix?");
    for (CLI::App* sub : {write, watcher, check}) {
        sub->add_option("FILE", o.file, "What is mapped")->required();
        sub->add_option("--seed", o.seed, "Which order")->capture_default_str();
        sub->add_option("--pages", o.pages, "How many")->capture_default_str()->check(CLI::Range(1U, 100000U));
    }
    write->add_option("--count", o.count, "End after so many writes");
    write->add_option("--pause-us", o.pause_us, "Between writes")->capture_default_str();
    watcher->add_option("LOG", o.log, "Where to write down what was seen")->required();
    watcher->add_option("--stop", o.stop, "The file that ends it")->required();
    check->add_option("--seen", o.seen, "Logs of watchers");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? done : usage;
    }
    signal(SIGBUS, on_bus_error);
    set_context("seed " + std::to_string(o.seed));
    if (write->parsed()) return write_pages(o);
    return watcher->parsed() ? watch(o) : verify(o);
}

}  // namespace

}  // namespace krg::guest

int main(int argc, char** argv) {
    krg::guest::set_program("krg-prefix");
    return krg::guest::run(argc, argv);
}
