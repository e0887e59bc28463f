// SPDX-License-Identifier: GPL-2.0
//
// The rules. See checker.hh.
#include "tests/sim/dsm/checker.hh"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>

namespace krg::sim::dsm {

Checker::Checker(NodeId nodes, const std::vector<Promise>& objects) : nodes_(nodes), able_(nodes), able_low_(nodes) {
    for (const Promise& p : objects) {
        object_.emplace_back();
        object_.back().promise = p;
        object_.back().level = std::min<unsigned>(p.replicas, nodes);
    }
}

void Checker::fail(const char* rule, std::string text) {
    if (!broken_) broken_ = {rule, std::move(text)};
}

int Checker::place(const Object& o, Value v) const {
    for (std::size_t i = o.line.size(); i-- > 0;)
        if (o.line[i] == v) return static_cast<int>(i);
    return -1;
}

// Nodes

void Checker::boot(NodeId node, u32 writes) {
    node_[node].writes = std::max(node_[node].writes, writes);
    node_[node].alive = true;
    node_[node].first = node_[node].writes + 1;
    node_[node].settled = 0;
    for (unsigned o = 0; o < object_.size(); o++) copy_[node][o] = {};
}

void Checker::left(NodeId node) {
    node_[node].alive = false;
    ends_rolling(node);
    for (unsigned o = 0; o < object_.size(); o++) {
        copy_[node][o] = {};
        object_[o].judge = true;
    }
}

void Checker::crash(NodeId node, u32 frozen) {
    Node& n = node_[node];
    crashes_since_calm_++;
    for (unsigned i = 0; i < object_.size(); i++) {
        Object& o = object_[i];
        if (holds(node, i)) {
            Value best = o.line.front();
            for (Value v : o.line) {
                const Copy& c = copy_[node][i];
                if ((c.page.present && c.page.value == v) || std::find(c.kept.begin(), c.kept.end(), v) != c.kept.end())
                    best = v;
            }
            o.graves.push_back(best);
            if (o.need > 0) o.need--;
        }
        // What nobody but the dead node has seen may be there or not.
        if (o.line.size() > 1) o.open = true;
        // Where there is a recovery point, what would be undone is a reason to go back to it.
        if (!o.promise.durable && taken_ == 0) o.undo = o.undo || (frozen >> i & 1) != 0;
        for (NodeId other = 1; other <= nodes_; other++) {
            const Copy& c = copy_[other][i];
            if (other == node || !node_[other].alive) continue;
            if (c.state == KRG_DSM_F) o.frozen.insert(o.frozen.end(), c.kept.begin(), c.kept.end());
            // A backup that is being replaced: the writer has committed to the new one, and this one was not told yet.
            for (Value v : c.kept)
                if (c.state == KRG_DSM_R && v != o.line.back()) o.frozen.push_back(v);
        }
        o.judge = true;
    }
    n.alive = false;
    ends_rolling(node);
    dead_.push_back({node, n.first, n.writes, n.settled, ~u32{0}});
    for (unsigned i = 0; i < object_.size(); i++) copy_[node][i] = {};
    for (unsigned i = 0; i < object_.size(); i++) {
        Object& o = object_[i];
        o.forgotten = o.forgotten || keepers_gone(o);
        if (o.granted && crashes_since_calm_ >= std::min(o.promise.replicas, able_low_)) o.hit = true;
    }
    // A line all of whose upper values belong to the living is certain.
    for (Object& o : object_) {
        if (!o.open) continue;
        o.open = std::any_of(o.line.begin() + 1, o.line.end(),
                             [&](Value v) { return !node_[writer_of(v)].alive || nth_of(v) < node_[writer_of(v)].first; });
    }
}

void Checker::able(unsigned members) {
    able_ = members;
    able_low_ = std::min(able_low_, able_);
    for (Object& o : object_) {
        o.level = std::min(o.level, target(o));
        o.need = std::min(o.need, target(o));
        o.judge = true;
    }
}

// Lives that ended

void Checker::survived(Value v) {
    if (v == zeros) return;
    for (Dead& d : dead_)
        if (d.node == writer_of(v) && nth_of(v) >= d.first && nth_of(v) <= d.last) {
            d.survived = std::max(d.survived, nth_of(v));
            if (d.survived > d.lost)
                fail("causal-cut", fmt::format("write {} survived, but {} of the same node, which came before, did not",
                                               name_of(v), name_of(value_of(d.node, d.lost))));
        }
}

void Checker::gone(Value v) {
    for (Dead& d : dead_)
        if (d.node == writer_of(v) && nth_of(v) >= d.first && nth_of(v) <= d.last) {
            d.lost = std::min(d.lost, nth_of(v));
            if (d.survived > d.lost)
                fail("causal-cut", fmt::format("write {} is lost, but {} of the same node, which came later, is not",
                                               name_of(v), name_of(value_of(d.node, d.survived))));
            return;
        }
    fail("causal-cut", fmt::format("write {} is lost, and the node that wrote it lives", name_of(v)));
}

// The line of an object

void Checker::raise_floor(unsigned object, std::size_t to) {
    Object& o = object_[object];
    if (to == 0) return;
    for (std::size_t i = 1; i <= to; i++) {
        const Value v = o.line[i];
        if (!o.promise.durable) continue;
        survived(v);
        Node& w = node_[writer_of(v)];
        if (nth_of(v) >= w.first) w.settled = std::max(w.settled, nth_of(v));
    }
    o.line.erase(o.line.begin(), o.line.begin() + static_cast<std::ptrdiff_t>(to));
    const auto credit = static_cast<u32>(
        std::count_if(o.graves.begin(), o.graves.end(), [&](Value v) { return place(o, v) >= 0; }));
    const u32 level = std::min(o.level, target(o));
    // A batch in doubt of a dead writer is applied when all that are left of its list have it: k less one for each crash
    // since everything was whole, whether the dead had got their copy or not. A living writer commits to all there are.
    const Value top = o.line.front();
    const bool orphan = top != zeros && (!node_[writer_of(top)].alive || nth_of(top) < node_[writer_of(top)].first);
    const u32 less = orphan ? std::max(credit, crashes_since_calm_) : credit;
    o.need = level > less ? level - less : 0;
    o.judge = true;
}

/// The first write of the life that wrote @p v.
u32 Checker::life_of(Value v) const {
    for (const Dead& d : dead_)
        if (d.node == writer_of(v) && nth_of(v) >= d.first && nth_of(v) <= d.last) return d.first;
    return node_[writer_of(v)].first;
}

/// Somebody else has seen @p v: it must survive, and in durable containers all that its writer wrote before.
void Checker::visible(unsigned object, Value v) {
    Object& seen = object_[object];
    const int at = place(seen, v);
    if (at <= 0) return;
    if (!seen.promise.durable) {
        raise_floor(object, static_cast<std::size_t>(at));
        return;
    }
    const u32 first = life_of(v);
    for (unsigned i = 0; i < object_.size(); i++) {
        Object& o = object_[i];
        if (!o.promise.durable || o.lost) continue;
        std::size_t to = i == object ? static_cast<std::size_t>(at) : 0;
        for (std::size_t p = o.line.size(); p-- > to + 1;)
            if (writer_of(o.line[p]) == writer_of(v) && nth_of(o.line[p]) <= nth_of(v) && nth_of(o.line[p]) >= first) {
                to = p;
                break;
            }
        raise_floor(i, to);
    }
}

void Checker::synced(NodeId node, u32 mark) {
    for (unsigned i = 0; i < object_.size(); i++) {
        Object& o = object_[i];
        if (!o.promise.durable) continue;
        for (std::size_t p = o.line.size(); p-- > 1;)
            if (writer_of(o.line[p]) == node && nth_of(o.line[p]) <= mark && nth_of(o.line[p]) >= node_[node].first) {
                raise_floor(i, p);
                break;
            }
    }
}

/// As many nodes as it has copies had the @p at-th value of the line or a later one and died since the last repair, and
/// nobody alive has: more failures than its class survives.
bool Checker::died_out(const Object& o, std::size_t at) const {
    const auto late = [&](Value v) { return place(o, v) >= static_cast<int>(at); };
    const auto dead = std::count_if(o.graves.begin(), o.graves.end(), late);
    if (static_cast<u32>(dead) < std::min(o.promise.replicas, able_low_)) return false;
    const auto object = static_cast<std::size_t>(&o - object_.data());
    for (NodeId n = 1; n <= nodes_; n++) {
        const Copy& c = copy_[n][object];
        if (node_[n].alive && ((c.page.present && late(c.page.value)) || std::any_of(c.kept.begin(), c.kept.end(), late)))
            return false;
    }
    return true;
}

/// After a crash @p at is what came back: it is the newest, the rest is lost.
void Checker::determine(unsigned object, std::size_t at) {
    Object& o = object_[object];
    o.open = false;
    o.undo = false;
    if (o.promise.durable) {
        for (std::size_t i = at + 1; i < o.line.size(); i++)
            if (!died_out(o, i)) gone(o.line[i]);
        for (std::size_t i = 1; i <= at; i++) survived(o.line[i]);
    }
    // The dead had this one too, or something later.
    for (Value& v : o.graves)
        if (place(o, v) > static_cast<int>(at)) v = o.line[at];
    o.line.resize(at + 1);
    o.judge = true;
}

// Holes

void Checker::hole_begins(Objects objects) {
    for (unsigned i = 0; i < object_.size(); i++) object_[i].holing += objects >> i & 1;
}

void Checker::hole_refused(Objects objects) {
    for (unsigned i = 0; i < object_.size(); i++) object_[i].holing -= objects >> i & 1;
}

void Checker::hole_ends(NodeId node, Objects objects, bool done, u32 mark) {
    if (done) synced(node, mark);
    for (unsigned i = 0; i < object_.size(); i++) {
        if ((objects >> i & 1) == 0) continue;
        object_[i].holing--;
        object_[i].judge = true;
        if (done)
            holed(i);
        else
            object_[i].maybe = true;
    }
}

/// The object is zeros again, and nothing of what it was may ever be seen.
void Checker::holed(unsigned object) {
    Object& o = object_[object];
    for (NodeId n = 1; n <= nodes_; n++)
        if (const Page& p = copy_[n][object].page; node_[n].alive && p.present && p.value != zeros)
            fail("hole", fmt::format("object {} is zeros again, and node {} still has {} in its page cache", object, n,
                                     name_of(p.value)));
    o.line.assign(1, zeros);
    o.open = o.maybe = o.undo = o.lost = o.granted = o.written = o.spread = o.hit = false;
    o.need = 0;
    o.level = target(o);
    o.graves.clear();
    o.judge = true;
}

// Programs

void Checker::wrote(NodeId node, unsigned object, Value value) {
    Object& o = object_[object];
    if (o.open)
        fail("data-value", fmt::format("node {} writes object {} that nobody has read since its writer died", node, object));
    o.line.push_back(value);
    o.granted = o.registered = o.written = true;
    o.forgotten = o.hit = false;
    node_[node].writes = std::max(node_[node].writes, nth_of(value));
    copy_[node][object].page = {true, true, value};
    o.judge = true;
}

void Checker::calm() {
    judge_calm_points();
    if (crashes_since_calm_ != 0)
        for (Object& o : object_) {
            o.judge = true;
            o.frozen.clear();
        }
    crashes_since_calm_ = 0;
    able_low_ = able_;
}

/// Somebody may still know what was written, and refuse it.
void Checker::start_over(bool known) {
    for (unsigned i = 0; i < object_.size(); i++) {
        Object fresh;
        fresh.promise = object_[i].promise;
        fresh.level = target(fresh);
        fresh.registered = known && object_[i].registered;
        fresh.forgotten = known;
        object_[i] = std::move(fresh);
    }
    for (auto& copies : copy_) copies = {};
    for (Node& n : node_) n.alive = false;
    dead_.clear();
    crashes_since_calm_ = 0;
    unknown_ = false;
}

/// Everybody who knew what of its chunk was ever written may have died between two quiet moments.
bool Checker::keepers_gone(const Object& o) const {
    return crashes_since_calm_ >= std::min(std::max<u32>(2, o.promise.replicas), able_low_);
}

/// More nodes died at once than its class survives, and of an object that all of them took with them the copy comes back that
/// the writer before the last still kept frozen, or a backup that was being replaced: nobody but the dead had seen what came
/// after it.
bool Checker::goes_back(unsigned object, Value v) {
    Object& o = object_[object];
    if (!o.promise.durable || o.lost || std::find(o.frozen.begin(), o.frozen.end(), v) == o.frozen.end()) return false;
    // Of a batch to a new backup that died with its writer there may have been one copy only.
    const bool many = crashes_since_calm_ >= std::min(o.promise.replicas, able_low_) && holders(object) == 0;
    if (!many && !died_out(o, 0)) return false;
    gone_back_++;
    o.line.assign(1, v);
    o.graves.clear();
    o.open = false;
    o.need = 0;
    o.level = target(o);
    return true;
}

/// A page that is not in the line: what went wrong?
void Checker::strange(NodeId node, unsigned object, Value v) {
    Object& o = object_[object];
    const char* rule = holders(object) == 0 ? "silent-loss" : "data-value";
    fail(rule,
         fmt::format("node {} sees {} in object {}, where {} must survive", node, name_of(v), object, name_of(o.line.front())));
}

void Checker::page(NodeId node, unsigned object, const Page& page) {
    Object& o = object_[object];
    Page& known = copy_[node][object].page;
    if (known == page) return;
    const bool same = known.present && page.present && known.value == page.value;
    known = page;
    o.judge = true;
    if (!page.present || same) return;
    const bool hole = o.holing != 0 || o.maybe;
    if (hole && page.value == zeros && (o.line.back() != zeros || o.lost))
        holed(object);
    else if (o.holing == 0)
        o.maybe = false;
    const int at = place(o, page.value);
    if (o.lost) {
        fail("silent-loss",
             fmt::format("node {} sees {} in object {} after -EIO was answered for it", node, name_of(page.value), object));
    } else if (at < 0 && goes_back(object, page.value)) {
        o.judge = true;
    } else if (at < 0) {
        strange(node, object, page.value);
    } else if (o.open) {
        const bool older = static_cast<std::size_t>(at) + 1 < o.line.size();
        if (!o.promise.durable && older && !o.undo)
            fail("silent-loss",
                 fmt::format("node {} sees {} in volatile object {}, which was overwritten by {}; its writer died", node,
                             name_of(page.value), object, name_of(o.line.back())));
        determine(object, static_cast<std::size_t>(at));
    } else if (page.value != o.line.back()) {
        fail("data-value", fmt::format("node {} sees {} in object {}, the last write is {}", node, name_of(page.value), object,
                                       name_of(o.line.back())));
    }
    foreign(node, object);
}

/// A value in the page cache of a node that is not (this life of) its writer.
void Checker::foreign(NodeId node, unsigned object) {
    const Value v = copy_[node][object].page.value;
    if (v == zeros) return;
    if (writer_of(v) != node || nth_of(v) < node_[node].first) {
        object_[object].spread = true;
        visible(object, v);
    }
}

bool Checker::chunk_written(u64 chunk) const {
    return std::any_of(object_.begin(), object_.end(),
                       [&](const Object& o) { return o.promise.chunk == chunk && o.registered; });
}

void Checker::error(NodeId node, unsigned object, s32 errno_value) {
    Object& o = object_[object];
    if (errno_value != -EIO) return;
    if (o.lost || domain_lost_) return;
    if (taken_ != 0) {
        if (!rolling_ || !more_than_points_survive())
            fail("point", fmt::format("-EIO at node {} for object {}, though there is a recovery point", node, object));
        return;
    }
    if (rolling_) return;
    const bool left = o.promise.durable ? holders(object) > 0 : newest_somewhere(object);
    const bool plain = o.promise.durable ? o.line.front() == zeros && !o.spread && o.level >= o.promise.replicas && !o.hit
                                         : !o.granted;
    if (plain && (unknown_ || (o.forgotten && chunk_written(o.promise.chunk))))
        bits_lost_++;  // nobody knows any more which objects of the chunk, or which chunks, were written: none may be zeros
    else if (plain)
        fail("false-loss", fmt::format("-EIO at node {} for object {}, of which nothing was ever {}", node, object,
                                       o.promise.durable ? "committed" : "written"));
    else if (left && (o.line.front() != zeros || !o.promise.durable))
        fail("false-loss", fmt::format("-EIO at node {} for object {}, of which {} nodes keep {} or later", node, object,
                                       holders(object), name_of(o.line.front())));
    o.lost = o.written;  // what was never written may be known to be so again
    o.need = 0;
}

// Edges and engines

void Checker::kept(NodeId node, unsigned object, std::span<const Value> values) {
    Copy& c = copy_[node][object];
    if (c.kept.size() == values.size() && std::equal(values.begin(), values.end(), c.kept.begin())) return;
    c.kept.assign(values.begin(), values.end());
    Object& o = object_[object];
    for (Value v : values)
        if (v != zeros && writer_of(v) != node) o.spread = true;
    o.judge = true;
}

void Checker::state(NodeId node, unsigned object, u8 state, u64 epoch, bool staged) {
    Copy& c = copy_[node][object];
    if (c.state == state && c.epoch == epoch && c.staged == staged) return;
    c.state = state;
    c.staged = staged;
    c.epoch = epoch;
    object_[object].judge = true;
}

void Checker::claims(unsigned object, unsigned others) {
    Object& o = object_[object];
    o.level = std::max(o.level, std::min(others + 1, target(o)));
}

bool Checker::holds(NodeId node, unsigned object) const {
    const Object& o = object_[object];
    const Copy& c = copy_[node][object];
    if (!node_[node].alive) return false;
    if (o.promise.point_copies != 0 && c.state == KRG_DSM_I) return false;  // what it keeps belongs to recovery points
    if (c.page.present && place(o, c.page.value) >= 0) return true;
    return std::any_of(c.kept.begin(), c.kept.end(), [&](Value v) { return place(o, v) >= 0; });
}

unsigned Checker::holders(unsigned object) const {
    unsigned count = 0;
    for (NodeId n = 1; n <= nodes_; n++) count += holds(n, object) ? 1 : 0;
    return count;
}

/// Those with a copy to stay: not on its way, not part of an incomplete batch, not handed over.
unsigned Checker::firm_holders(unsigned object) const {
    unsigned count = 0;
    for (NodeId n = 1; n <= nodes_; n++) {
        const Copy& c = copy_[n][object];
        const bool firm = !c.staged && (c.state == KRG_DSM_S || c.state == KRG_DSM_X || c.state == KRG_DSM_R);
        count += firm && holds(n, object) ? 1 : 0;
    }
    return count;
}

bool Checker::newest_somewhere(unsigned object) const {
    const Value v = object_[object].line.back();
    for (NodeId n = 1; n <= nodes_; n++) {
        if (!node_[n].alive) continue;
        const Copy& c = copy_[n][object];
        if (object_[object].promise.point_copies != 0 && c.state == KRG_DSM_I) continue;
        if (c.page.present && c.page.value == v) return true;
        if (v != zeros && std::find(c.kept.begin(), c.kept.end(), v) != c.kept.end()) return true;
    }
    return false;
}

// The whole picture

void Checker::judge_sharing(unsigned object) {
    NodeId writable = 0;
    NodeId exclusive = 0;
    for (NodeId n = 1; n <= nodes_; n++) {
        if (!node_[n].alive) continue;
        if (copy_[n][object].page.writable) writable = n;
        if (copy_[n][object].state == KRG_DSM_X) exclusive = n;
    }
    for (NodeId n = 1; n <= nodes_; n++) {
        if (!node_[n].alive) continue;
        const Copy& c = copy_[n][object];
        if (writable != 0 && n != writable && c.page.present)
            fail("single-writer", fmt::format("object {} is writable on node {} and {} on node {}", object, writable,
                                              c.page.writable ? "writable" : "readable", n));
        if (exclusive != 0 && n != exclusive && c.epoch == copy_[exclusive][object].epoch &&
            (c.state == KRG_DSM_S || c.state == KRG_DSM_X))
            fail("single-writer", fmt::format("object {}: node {} has it X and node {} {}, both in epoch {}", object, exclusive,
                                              n, c.state == KRG_DSM_X ? "X" : "S", c.epoch));
    }
}

void Checker::judge_copies(unsigned object) {
    Object& o = object_[object];
    if (o.line.front() == zeros || o.lost || o.holing != 0 || o.maybe) return;
    const unsigned count = holders(object);
    // What a dead home had begun may still take copies away: only a repaired cluster owes the full number again.
    if (crashes_since_calm_ == 0 && firm_holders(object) >= target(o)) {
        o.need = o.level = target(o);
        o.graves.clear();
        return;
    }
    if (count + spare_ < o.need && (o.promise.durable || crashes_since_calm_ == 0))
        fail("durability", fmt::format("object {}: {} or later must be on {} nodes and is on {}", object,
                                       name_of(o.line.front()), o.need, count));
}

void Checker::judge() {
    if (rolling_) return;
    for (unsigned i = 0; i < object_.size(); i++) {
        if (!object_[i].judge) continue;
        object_[i].judge = false;
        judge_sharing(i);
        judge_copies(i);
    }
}

void Checker::judge_repaired() {
    for (unsigned i = 0; i < object_.size(); i++) {
        const Object& o = object_[i];
        if (!o.promise.durable || o.line.front() == zeros || o.lost || o.maybe || (o.need == 0 && holders(i) == 0)) continue;
        if (holders(i) < target(o))
            fail("durability",
                 fmt::format("object {}: nothing is under way any more, and {} or later is on {} nodes instead of {}", i,
                             name_of(o.line.front()), holders(i), target(o)));
    }
}

void Checker::hash(RunHash& h) const {
    for (const Object& o : object_) {
        h.mix(static_cast<u64>(o.open) | static_cast<u64>(o.granted) << 1 | static_cast<u64>(o.lost) << 2 |
              static_cast<u64>(o.undo) << 3 | static_cast<u64>(o.spread) << 4 | static_cast<u64>(o.forgotten) << 5 |
              static_cast<u64>(o.hit) << 6 | static_cast<u64>(o.written) << 7 | static_cast<u64>(o.maybe) << 56 |
              static_cast<u64>(o.registered) << 55 | static_cast<u64>(o.holing) << 57 | static_cast<u64>(o.level) << 8 |
              static_cast<u64>(o.need) << 16 | o.line.size() << 24 | o.graves.size() << 40);
        for (Value v : o.line) h.mix(v);
        for (Value v : o.graves) h.mix(v);
    }
    for (NodeId n = 1; n <= nodes_; n++) {
        h.mix(static_cast<u64>(node_[n].alive) | static_cast<u64>(node_[n].settled) << 8 |
              static_cast<u64>(node_[n].first) << 32);
        h.mix(node_[n].writes);
    }
    for (const Dead& d : dead_) {
        h.mix(d.node);
        h.mix(static_cast<u64>(d.survived) << 32 | d.lost);
    }
    hash_points(h);
    h.mix(static_cast<u64>(able_) << 32 | static_cast<u64>(able_low_) << 16 | static_cast<u64>(unknown_) << 15 |
          crashes_since_calm_);
}

}  // namespace krg::sim::dsm
