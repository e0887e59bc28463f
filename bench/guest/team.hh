// SPDX-License-Identifier: GPL-2.0
//
// The nodes that take part in a measurement: this one, and others that carry out orders which come as lines over TCP. An order
// is answered when it is done, and nothing is on its way while something is measured.
#pragma once

#include "memory.hh"

#include <string>
#include <vector>

namespace krg::bench {

enum class Verb {
    open,      ///< file `path` of `count` pages; files are numbered as they are opened
    load,      ///< one word of each page; `round` != 0: it must be that round's
    store,     ///< one word of each page
    copy_out,  ///< all bytes of each page
    copy_in,   ///< all bytes of each page
    write,     ///< the same with write()
    punch,     ///< a hole
    sync,      ///< fsync
    hop,       ///< store to page `first`; beside the time: store to `count` pages from `other` on
};

struct Order {
    Verb verb = Verb::load;
    unsigned file = 0;
    std::uint64_t first = 0, count = 1, round = 0, other = 0;
    std::string path;
};

/// Nanoseconds since some moment.
[[nodiscard]] std::uint64_t now_ns();

/// A node that carries out orders.
class Player {
public:
    Player() = default;
    virtual ~Player() = default;
    Player(const Player&) = delete;
    Player& operator=(const Player&) = delete;
    /// Nanoseconds it took there.
    virtual std::uint64_t carry_out(const Order& order) = 0;
};

/// This node.
class Here : public Player {
public:
    std::uint64_t carry_out(const Order& order) override;
    [[nodiscard]] const Memory& file(unsigned number) const;

private:
    std::vector<std::unique_ptr<Memory>> files_;
};

/// Another one, where serve() runs.
class There : public Player {
public:
    There(unsigned node, const std::string& address, unsigned port);
    std::uint64_t carry_out(const Order& order) override;

private:
    unsigned node_;
    guest::Fd socket_;
};

/// Carries out the orders of one conductor until it hangs up; then of the next. Returns never.
[[noreturn]] void serve(unsigned port);

}  // namespace krg::bench
