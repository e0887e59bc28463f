// SPDX-License-Identifier: GPL-2.0
//
// What several players do with the same files and names: two games whose rules break as soon as one player sees something
// old, or two players think that they are alone. Each game counts what it did; the sums must be right in the end.
#pragma once

#include "../guest.hh"

#include <string>

namespace krg::guest {

struct Table {
    std::string dir;
    unsigned me = 0, players = 1;
    std::uint64_t seed = 1;
    bool flock = false;   ///< turns are taken with flock(), otherwise with fcntl()
    bool deaths = false;  ///< players may die at any time: what they left half done is mended
    double patience_s = 120;
};

/// One file that all change under an exclusive lock. Each holder finds exactly what the one before it has left (contents,
/// size, a line in a log), changes bytes, size and log, and leaves its link of the chain.
class Chain {
public:
    explicit Chain(const Table& table);
    void turn();
    /// After everybody's last turn.
    void finish(std::uint64_t turns_of_all);
    [[nodiscard]] std::uint64_t turns() const { return turns_; }

private:
    struct Link;
    void change(int data, Link& link);
    void check_log(const Link& link);

    const Table& table_;
    Random random_;
    std::string data_, log_;
    std::uint64_t turns_ = 0, last_turn_ = 0, last_hash_ = 0;
};

/// Files that wander between directories. A name can be taken by one player only, so a token is in exactly one place, and
/// who took it may count it up without any other lock.
class Tokens {
public:
    explicit Tokens(const Table& table);
    void move();
    /// Names that only one player can make: O_EXCL, mkdir, link.
    void make_once();
    void finish(std::uint64_t moves_of_all, std::uint64_t made_by_all);
    [[nodiscard]] std::uint64_t moves() const { return moves_; }
    [[nodiscard]] std::uint64_t made() const { return made_; }

private:
    [[nodiscard]] std::string slot(unsigned i) const;
    void count(const std::string& path, bool own_descriptor);

    const Table& table_;
    Random random_;
    std::uint64_t moves_ = 0, made_ = 0, tries_ = 0;
};

}  // namespace krg::guest
