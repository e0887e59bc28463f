// SPDX-License-Identifier: GPL-2.0
// What happens to an object at one node for a moment: programs that wait for it, what has come
// of the access they need, what a home has told this node to do. What is done with it: local.cc,
// holder.cc.
#pragma once

#include "hadsm/core/heap.hh"
#include "hadsm/core/message.hh"

namespace krg::dsm {

/// A local program's request that waits for its grant.
struct Waiter {
    Waiter* next = nullptr;
    u64 token = 0;
    u8 mode = 0;
    bool missed = false;  // it took a message
    bool urgent = false;
    bool again = false;  // its grant became void before it was used
};

/// What the home has told this holder to do, until it is done.
struct Command {
    Type type = Type::none;
    u8 mode = 0;
    bool keep = false;   // of COPY: only if there is room
    bool quiet = false;  // the page is write-protected or unmapped for this command
    bool ahead = false;  // nobody waits for it
    NodeId home = 0, node = 0, answer = 0;
    u64 request = 0, op = 0;
    Version version{};
    Rset rset{};
    Us pinned_since = 0;  // 0: not pinned
};

/// So many holders answer the requester of a write themselves; more are counted by the home.
inline constexpr u32 answers_max = 8;

/// What GRANT and DATA have brought so far of the access that was asked for.
struct Granted {
    bool grant = false, page = false, zeros = false, initialised = false;
    bool direct = false;  // not durable before it came here
    bool have = false;
    bool others = false;  // more than the home and this node took part
    Version version{};
    Rset rset{};
    u64 handle = 0;
    NodeId home = 0;
    u8 answers = 0, wanted = 0;  // of holders that had to invalidate; wanted: how many, as the GRANT says
    u8 pinned_count = 0;
    NodeId pinned[answers_max] = {};
};

}  // namespace krg::dsm
