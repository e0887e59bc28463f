// SPDX-License-Identifier: GPL-2.0
// Recovery points of a checkpointed domain: the records. What is done with them: point.cc
// (a point is taken), spare.cc (its copies), settle.cc (a view change, and going back).
#pragma once

#include "hadsm/core/heap.hh"
#include "hadsm/core/message.hh"

namespace krg::dsm {

struct Parked;

/// A copy that belongs to a recovery point, beside whatever is current. handle 0: a page of zeros.
struct Slot {
    bool has = false;
    Version version{};
    u64 handle = 0;
};

/// The copies of one object at this node that belong to recovery points.
struct Kept {
    Key key{};
    Kept* chain = nullptr;
    Link<Kept> all;
    krg_dsm_policy policy{};
    Slot last;             // of the last point
    Slot next;             // of the one under way
    Slot shot;             // taken when it was cut, and perhaps of no use to anybody
    Version shot_version;  // what this node had then
    bool changes = false;  // with the point under way next takes the place of last, also when it is empty
};

/// What the home of an object knows of its copies in recovery points.
struct Mark {
    Key key{};
    Mark* chain = nullptr;
    Link<Mark> all, work;
    krg_dsm_policy policy{};
    bool has = false;  // it is in the last point
    Version version{};
    IdSet keepers;
    bool waiting = false;  // for KEPT: a copy of the last point is made or given up
    NodeId dropping = 0;   // by this node
    // The point under way.
    bool changed = false, gone = false;
    Version next_version{};
    IdSet shooters;
    NodeId next[KRG_DSM_REPLICAS_MAX] = {};
    u8 nexts = 0;

    [[nodiscard]] bool chosen(NodeId n) const {
        for (u32 i = 0; i < nexts; i++)
            if (next[i] == n) return true;
        return false;
    }
};

/// The point under way, at any node: how far it is here.
struct Round {
    u64 id = 0;  // 0: none
    Step step = Step::none;
    bool answered = false;  // its coordinator has the answer to this step
    u32 busy = 0;           // freeze: transactions that are not over
    bool shooting = false, telling = false;
    Kept* cursor = nullptr;
    u32 unknown = 0;  // shoot: homes that have not answered
    bool planning = false;
    u64 waiting = 0, objects = 0;  // cut: KEPTs that are missing; objects of this home
    Errno error = Errno::none;
};

/// The same at its coordinator.
struct Taking {
    u64 id = 0, token = 0, objects = 0;
    Step step = Step::none;
    u32 left = 0;       // members that have not answered this step
    bool over = false;  // a view change came in between: it is what SETTLE says
    bool ended = false;
    Errno error = Errno::none;
};

/// A page to be copied at one moment with others.
struct ShootItem {
    Key key{};
    krg_dsm_policy policy{};
    Version version{};
    u64 source = 0, handle = 0;
};

struct Shoot {
    ShootItem* item = nullptr;
    u32 items = 0, copied = 0;  // those that the edge copies come first
    bool active = false, aborted = false, restores = false, busy = false;
};

/// The first member's picture of a new epoch.
struct Settling {
    u32 heard = 0, counted = 0;
    u64 id = 0, objects = 0, generation = 0, verified = 0, there = 0;
    bool known = false, differs = false, wanted = false, lost = false;
};

/// All that an engine knows of recovery points, but for what stands in the records of objects and peers.
struct PointState {
    Table<Kept> spare_copies_;
    Table<Mark> marks_;
    List<Mark> work_;  // to be planned for the point under way, or to be mended
    Round round_;
    Taking taking_;
    Shoot shoot_;
    Settling settling_;
    u64 point_id_ = 0, point_objects_ = 0, points_begun_ = 0;
    u64 generation_ = 0;  // epoch in which this node went back last
    u64 verified_ = 0;    // the same of the last time that all of the point was there
    u64 mending_ = 0;     // KEPTs that are missing outside of a point
    u64 giving_ = 0;      // objects to be taken out of the page cache
    u64 points_taken_ = 0, points_failed_ = 0, rollbacks_ = 0, rollback_token_ = 0;
    Us point_at_ = never, mend_at_ = never, restore_at_ = never;
    Errno rollback_error_ = Errno::none;
    bool rollback_asked_ = false, rollback_over_ = false;
    u64 looked_in_ = 0;  // epoch in which this node has looked who is gone
    bool writes_held_ = false, hole_held_ = false;
    bool wanted_ = false;  // to go back; until it is done
    bool known_ = false;   // a SETTLE has come in this life
    bool lost_ = false;
    bool roll_open_ = false;  // ROLLBACK was said, and ROLLED not yet
    bool state_sent_ = false, settled_ = false, rolling_ = false, roll_told_ = false, rolled_ = false, rolled_owed_ = false;
    bool counted_ = false, verdict_ = false;
    Kept* report_kept_ = nullptr;
    Parked *unsettled_ = nullptr, *unsettled_last_ = nullptr;  // reports of those who know already whether the domain goes back
};

}  // namespace krg::dsm
