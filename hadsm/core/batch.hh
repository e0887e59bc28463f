// SPDX-License-Identifier: GPL-2.0
// Batches: the records of the writer's side and of the backup's. What is done with them:
// commit.cc, backup.cc, and after a view change resolve.cc.
#pragma once

#include "hadsm/core/heap.hh"
#include "hadsm/core/message.hh"

namespace krg::dsm {

struct Obj;
struct Part;

/// A version beside the committed one, part of a batch in doubt.
struct Staged {
    Staged* next = nullptr;  // of the same object, oldest first
    Part* part = nullptr;
    Link<Staged> in_part;
    Obj* obj = nullptr;  // nullptr: overtaken, only the initialised bit is left of it
    Key key{};
    krg_dsm_policy policy{};
    Version version{};
    u64 handle = 0;
    bool has_page = false, initialises = false;
};

/// One object of a batch of this node.
struct Item {
    Obj* obj = nullptr;
    Version version{};
    Rset rset{};
    u64 handle = 0;
    bool lent = false, first = false;
};

enum class BatchPhase : u8 { snapshot, staging, deciding };

/// A batch of this node, from the snapshot until everybody has decided.
struct Batch {
    Link<Batch> link;
    u64 id = 0, epoch = 0, op = 0;
    BatchPhase phase = BatchPhase::snapshot;
    Fate fate = Fate::none;
    Item* item = nullptr;  // those whose page the edge copies come first
    u32 items = 0, room = 0, copied = 0;
    bool aborted = false, failed = false;
    bool waited = false;  // another node wants something that this batch makes durable
    NodeId list[batch_nodes_max] = {};
    u32 list_count = 0;
    bool answered[batch_nodes_max] = {};
    u32 waiting = 0;
    u32 send_node = 0, send_item = 0, sent = 0;  // how far STAGE has come
};

/// A batch of another node, as its backup knows it; or one this node decides for a dead writer.
struct Part {
    Link<Part> link;
    NodeId writer = 0;
    u64 id = 0, epoch = 0;
    Fate fate = Fate::receiving;
    bool failed = false;
    List<Staged> items;
    u32 received = 0;
    NodeId list[batch_nodes_max] = {};
    u32 list_count = 0;
    // as its decider
    bool resolving = false, decided = false;
    bool saw_none = false, saw_applied = false, saw_dropped = false;
    bool answered[batch_nodes_max] = {};
};

struct SyncWaiter {
    SyncWaiter* next = nullptr;
    u64 token = 0, upto = 0;
};

}  // namespace krg::dsm
