// SPDX-License-Identifier: GPL-2.0
//
// Recovery points: the rules about them, and what an edge has to do with them. Whoever sees all at once knows what the memory
// was when a point was cut: what everybody sees after the domain has gone back must be that. See checker.hh and edge.hh.
#include "tests/sim/dsm/edge.hh"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>

namespace krg::sim::dsm {

Checker::Cut* Checker::cut_of(u64 id) {
    const auto at = std::find_if(cuts_.begin(), cuts_.end(), [id](const Cut& c) { return c.id == id; });
    return at == cuts_.end() ? nullptr : &*at;
}

/// At this moment no node writes, as its coordinator believes.
void Checker::point_cut(u64 id) {
    if (cut_of(id) != nullptr) fail("point", fmt::format("recovery point {:x} is cut twice", id));
    cuts_.push_back({id, false, object_});
}

void Checker::point_decided(u64 id) {
    Cut* cut = cut_of(id);
    if (cut == nullptr) return fail("point", fmt::format("recovery point {:x} is decided and was never cut", id));
    cut->decided = true;
}

/// Whoever wanted it was told that it is taken.
void Checker::point_taken(u64 id) {
    const Cut* cut = cut_of(id);
    if (cut == nullptr || !cut->decided)
        return fail("point", fmt::format("recovery point {:x} is taken and was never decided", id));
    for (const Object& o : cut->object)
        if (o.lost) return fail("point", fmt::format("recovery point {:x} is taken without an object that was lost", id));
    if (id < taken_) return fail("point", fmt::format("recovery point {:x} is taken after the later {:x}", id, taken_));
    taken_ = id;
    std::erase_if(cuts_, [id](const Cut& c) { return c.id < id; });
}

/// More nodes died than a point survives. k copies survive k-1; fewer nodes, fewer copies.
bool Checker::more_than_points_survive() const {
    return crashes_since_calm_ >= std::min(object_.front().promise.point_copies, able_low_);
}

/// A node begins to give up what it has.
void Checker::rolls(NodeId node, u64 id) {
    if (id < taken_)
        fail("point", fmt::format("node {} goes back to recovery point {:x}, and {:x} was taken", node, id, taken_));
    if (const Cut* cut = cut_of(id); cut == nullptr || !cut->decided)
        fail("point", fmt::format("node {} goes back to recovery point {:x}, which was never decided", node, id));
    // Who is left may not know that the last time was complete.
    if (!rollback_asked_ && crashes_since_calm_ == 0 && gone_back_open_ == 0)
        fail("point", fmt::format("node {} goes back to recovery point {:x}, and nobody died or asked for it", node, id));
    rolling_ = true;
    gone_back_open_ |= 1U << node;
}

/// The node is no more. If nobody else has begun to go back, nobody does.
void Checker::ends_rolling(NodeId node) {
    gone_back_open_ &= ~(1U << node);
    if (gone_back_open_ == 0) rolling_ = false;
}

/// A node says that all have gone back.
void Checker::rolled(NodeId node, u64 id, bool lost) {
    gone_back_open_ &= ~(1U << node);
    if (!rolling_) return;  // another node has said so
    rolling_ = rollback_asked_ = must_roll_ = false;
    if (lost) {
        if (!more_than_points_survive())
            fail("point", fmt::format("recovery point {:x} is lost after {} crashes, and has {} copies", id,
                                      crashes_since_calm_, object_.front().promise.point_copies));
        domain_lost_ = true;
        for (Object& o : object_) {
            o.lost = true;
            o.need = 0;
        }
        return;
    }
    const Cut* cut = cut_of(id);
    if (cut == nullptr) return fail("point", fmt::format("recovery point {:x} was never cut", id));
    rollbacks_++;
    for (unsigned i = 0; i < object_.size(); i++) {
        for (NodeId n = 1; n <= nodes_; n++)
            if (node_[n].alive && copy_[n][i].page.present)
                fail("point", fmt::format("node {} says that all have gone back, and node {} has {} in object {} still", node,
                                          n, name_of(copy_[n][i].page.value), i));
        const u32 holing = object_[i].holing;
        Object& o = object_[i] = cut->object[i];
        o.holing = holing;
        o.frozen.clear();
        o.graves.clear();
        o.need = 0;
        o.level = target(o);
        o.judge = true;
    }
}

/// Its class wants the domain to go back when a member dies.
void Checker::must_roll() { must_roll_ = must_roll_ || (taken_ != 0 && !domain_lost_); }

void Checker::judge_calm_points() {
    if (must_roll_) fail("point", "a member died, all is quiet again, and the domain has not gone back");
    if (rolling_) fail("point", "all is quiet, and the domain is still going back");
}

void Checker::hash_points(RunHash& h) const {
    if (cuts_.empty() && !rollback_asked_ && !domain_lost_) return;
    h.mix(taken_);
    h.mix(static_cast<u64>(rolling_) | static_cast<u64>(rollback_asked_) << 1 | static_cast<u64>(must_roll_) << 2 |
          static_cast<u64>(domain_lost_) << 3 | static_cast<u64>(gone_back_open_) << 4);
    for (const Cut& cut : cuts_) {
        h.mix(cut.id << 1 | (cut.decided ? 1 : 0));
        for (const Object& o : cut.object) {
            h.mix(o.line.size() << 2 | static_cast<u64>(o.open) << 1 | (o.lost ? 1 : 0));
            for (Value v : o.line) h.mix(v);
        }
    }
}

// The edge

void Edge::point(u64 now) {
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_POINT;
    ev.token = s_.point = s_.next_token++;
    if (setup_.scripted) s_.program[0].script_at++;
    step(now, ev);
}

void Edge::rollback(u64 now) {
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_ROLLBACK;
    ev.token = s_.rollback = s_.next_token++;
    if (setup_.scripted) s_.program[0].script_at++;
    krg_dsm_point known{};
    krg_dsm_get_point(engine_, &known);
    if (known.id != 0) checker_.wants_rollback();
    step(now, ev);
}

void Edge::point_done(const krg_dsm_action& a) {
    say(fmt::format("recovery point {:x}: {}", a.point, a.error));
    s_.point = 0;
    (a.error == 0 ? points_taken_ : points_failed_)++;
    if (a.error == 0) return checker_.point_taken(a.point);
    const bool cause = a.error == -ENOMEM      ? memory_errors_
                       : a.error == -ENOSPC    ? room_errors_
                       : a.error == -ETIMEDOUT ? setup_.params.point_us != 0
                                               : a.error == -EBUSY || a.error == -EAGAIN || a.error == -EIO;
    if (!cause) contract(fmt::format("a recovery point ends with {} without a cause", a.error));
}

void Edge::rollback_done(const krg_dsm_action& a) {
    say(fmt::format("going back to recovery point {:x}: {}", a.point, a.error));
    s_.rollback = 0;
    if (a.error != 0 && a.error != -ENOENT && a.error != -EIO) contract(fmt::format("going back ends with {}", a.error));
}

}  // namespace krg::sim::dsm
