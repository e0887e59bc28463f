// SPDX-License-Identifier: GPL-2.0
//
// Files that wander, and names that only one can make: see shared.hh.
#include "shared.hh"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

namespace krg::guest {

namespace {

constexpr unsigned slots = 3, tokens = 6;

std::string token(unsigned i) { return "token" + std::to_string(i); }

/// What stands in a token: its number, and how often it was taken.
struct Count {
    std::uint64_t number, taken;
};

}  // namespace

std::string Tokens::slot(unsigned i) const { return table_.dir + "/slot" + std::to_string(i); }

Tokens::Tokens(const Table& table) : table_(table), random_(mix(table.seed, 2000 + table.me)) {
    const std::string mine = table.dir + "/hand" + std::to_string(table.me);
    if (mkdir(mine.c_str(), 0755) != 0) fail_errno("mkdir " + mine);
    if (table.me != 0) return;
    for (unsigned i = 0; i < slots; i++)
        if (mkdir(slot(i).c_str(), 0777) != 0) fail_errno("mkdir " + slot(i));
    for (unsigned i = 0; i < tokens; i++) {
        const Count count{i, 0};
        publish_text(slot(i % slots) + "/" + token(i), std::string(reinterpret_cast<const char*>(&count), sizeof count));
    }
    Count none{0, 0};
    publish_text(table.dir + "/made", std::string(reinterpret_cast<const char*>(&none), sizeof none));
}

/// Adds one to a count that nobody else touches now, giving others the time to do it nevertheless.
void Tokens::count(const std::string& path, bool own_descriptor) {
    const Fd fd = open_file(path, O_RDWR);
    Count count{};
    std::memcpy(&count, read_all(fd.get(), 0, sizeof count).data(), sizeof count);
    if (random_.chance(30)) sleep_ms(static_cast<unsigned>(random_.below(4)));
    count.taken++;
    const std::string bytes(reinterpret_cast<const char*>(&count), sizeof count);
    if (own_descriptor) {
        write_all(open_file(path, O_WRONLY).get(), 0, bytes);
    } else {
        write_all(fd.get(), 0, bytes);
    }
}

void Tokens::move() {
    const unsigned t = static_cast<unsigned>(random_.below(tokens)), from = static_cast<unsigned>(random_.below(slots));
    const unsigned to = static_cast<unsigned>(random_.below(slots));
    const std::string hand = table_.dir + "/hand" + std::to_string(table_.me) + "/" + token(t);
    if (renameat2(AT_FDCWD, (slot(from) + "/" + token(t)).c_str(), AT_FDCWD, hand.c_str(), RENAME_NOREPLACE) != 0) {
        if (errno == ENOENT) return;  // it is somewhere else
        fail_errno("cannot take " + token(t));
    }
    const std::string bytes = read_text(hand);
    Count seen{};
    if (bytes.size() != sizeof seen) fail(token(t) + " has " + std::to_string(bytes.size()) + " bytes");
    std::memcpy(&seen, bytes.data(), sizeof seen);
    if (seen.number != t) fail(token(t) + " is token " + std::to_string(seen.number));
    for (unsigned i = 0; i < slots; i++)
        if (access((slot(i) + "/" + token(t)).c_str(), F_OK) == 0)
            fail("I hold " + token(t) + ", and it is in slot " + std::to_string(i));
    count(hand, random_.chance(50));
    // Sometimes through a second name, which is there for a moment beside the first.
    if (random_.chance(25)) {
        const std::string second = hand + ".second";
        if (link(hand.c_str(), second.c_str()) != 0) fail_errno("link " + hand);
        if (unlink(hand.c_str()) != 0) fail_errno("unlink " + hand);
        if (rename(second.c_str(), hand.c_str()) != 0) fail_errno("rename " + second);
    }
    if (renameat2(AT_FDCWD, hand.c_str(), AT_FDCWD, (slot(to) + "/" + token(t)).c_str(), RENAME_NOREPLACE) != 0)
        fail_errno("cannot put " + token(t) + " back");
    moves_++;
}

void Tokens::make_once() {
    const std::string lock = table_.dir + "/only";
    const unsigned way = static_cast<unsigned>(random_.below(3));
    const std::string own = table_.dir + "/hand" + std::to_string(table_.me) + "/own";
    const double end = now_s() + table_.patience_s;
    for (;; sleep_ms(static_cast<unsigned>(1 + random_.below(10)))) {
        tries_++;
        int made = -1;
        if (way == 0) made = Fd(open(lock.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600)) ? 0 : -1;
        if (way == 1) made = mkdir(lock.c_str(), 0700);
        if (way == 2) {
            const Fd file(open(own.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
            made = link(own.c_str(), lock.c_str());
        }
        if (made == 0) break;
        if (errno != EEXIST) fail_errno("cannot make " + lock);
        if (now_s() > end) fail(lock + " does not go away", timed_out);
    }
    count(table_.dir + "/made", random_.chance(50));
    if ((way == 1 ? rmdir(lock.c_str()) : unlink(lock.c_str())) != 0) fail_errno("cannot remove " + lock);
    made_++;
}

void Tokens::finish(std::uint64_t moves_of_all, std::uint64_t made_by_all) {
    std::uint64_t taken = 0;
    std::set<std::string> seen;
    for (unsigned i = 0; i < slots; i++) {
        DIR* dir = opendir(slot(i).c_str());
        if (!dir) fail_errno("opendir " + slot(i));
        while (const dirent* entry = readdir(dir)) {
            const std::string name = entry->d_name;
            if (name == "." || name == "..") continue;
            if (!seen.insert(name).second) fail(name + " is in two places");
            Count count{};
            const std::string bytes = read_text(slot(i) + "/" + name);
            if (bytes.size() != sizeof count) fail(name + " has " + std::to_string(bytes.size()) + " bytes");
            std::memcpy(&count, bytes.data(), sizeof count);
            taken += count.taken;
        }
        closedir(dir);
    }
    if (seen.size() != tokens) fail("there are " + std::to_string(seen.size()) + " tokens, not " + std::to_string(tokens));
    if (taken != moves_of_all)
        fail("tokens were taken " + std::to_string(moves_of_all) + " times, they say " + std::to_string(taken));
    Count made{};
    std::memcpy(&made, read_text(table_.dir + "/made").data(), sizeof made);
    if (made.taken != made_by_all)
        fail("the one name was made " + std::to_string(made_by_all) + " times, its counter says " + std::to_string(made.taken));
}

}  // namespace krg::guest
