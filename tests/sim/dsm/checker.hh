// SPDX-License-Identifier: GPL-2.0
//
// The promises of the shared memory, checked after every event from nothing but what programs see in their page caches,
// which pages the edges keep for their engines, and what the engines show of their copies. It shares no code with the
// engine and knows nothing of messages. The rules:
//
//	single-writer    one page writable on two nodes, or writable beside a readable one; X beside S or X in one epoch
//	data-value       a program's page is not the last write in the order of ownership
//	durability       a value another node could see is on fewer nodes than the object's class promises, crashes deducted
//	causal-cut       of a dead node's writes a later one survived and an earlier one is gone; or a write is gone
//	                 of which somebody alive knows
//	silent-loss      an object whose copies are all gone reads as zeros or as an older value
//	false-loss       -EIO for an object of which copies are left
//	hole             after a hole somebody still has what was there
//	point            a checkpointed domain goes back without a reason, not to the last point, not everywhere, or not at all;
//	                 or a point is lost to fewer crashes than it has copies
//
// How: every object has a *line*, its writes from the newest that must survive (the floor: seen by another node, promised
// by a sync, or written before such a one by the same node) to the newest of all. Values below the floor are forgotten:
// whoever shows one breaks a rule. When the writer of what lies above the floor dies, any value of the line may come
// back; the first one that is seen decides, and what lies above it is lost. A hole makes the line begin anew with zeros.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "tests/sim/dsm/types.hh"
#include "tests/sim/world/hash.hh"

namespace krg::sim::dsm {

class Checker {
public:
    Checker() = default;
    Checker(NodeId nodes, const std::vector<Promise>& objects);

    // What happens to nodes.
    /// @p writes: that it has done in lives nothing is known of any more.
    void boot(NodeId node, u32 writes = 0);
    /// It died. @p frozen: objects of which some living node keeps a copy that it handed over (see inspect()).
    void crash(NodeId node, u32 frozen);
    /// It left in order: nothing may be lost by that.
    void left(NodeId node);
    /// So many members can take copies, as far as anybody knows.
    void able(unsigned members);
    /// Nobody is left who has a copy of anything: the memory is a new one. @p known: somebody may be left who knows what
    /// was ever written of the old one. Who lives boots again.
    void start_over(bool known);
    /// All who ever answered for the memory are dead: whoever is left cannot tell what was never written from what is lost.
    void nobody_knows() { unknown_ = true; }
    /// Everybody has recovered and nothing is under way.
    void calm();
    /// So many copies fewer than promised are overlooked.
    void overlook(u32 copies) { spare_ = copies; }

    // What programs do and see.
    void wrote(NodeId node, unsigned object, Value value);
    void page(NodeId node, unsigned object, const Page& page);
    /// A program asked to write: from then on a volatile object may be registered as written.
    void wants_write(unsigned object) { object_[object].granted = object_[object].registered = true; }
    void error(NodeId node, unsigned object, s32 errno_value);
    [[nodiscard]] u32 sync_mark(NodeId node) const { return node_[node].writes; }
    void synced(NodeId node, u32 mark);

    /// Node @p node wants a hole over @p objects: from now on they may be zeros again. Nobody writes them meanwhile.
    void hole_begins(Objects objects);
    /// @p done: they are, and what the node had written when it asked (@p mark) is durable.
    void hole_ends(NodeId node, Objects objects, bool done, u32 mark);
    /// It was never begun.
    void hole_refused(Objects objects);

    // Recovery points of a checkpointed domain, by their ids.
    void point_cut(u64 id);
    void point_decided(u64 id);
    void point_taken(u64 id);
    void wants_rollback() { rollback_asked_ = true; }
    void must_roll();
    void rolls(NodeId node, u64 id);
    void rolled(NodeId node, u64 id, bool lost);
    [[nodiscard]] u64 rollbacks() const { return rollbacks_; }
    [[nodiscard]] bool has_point() const { return taken_ != 0; }

    // What the edge keeps for the engine, and what the engine says.
    void kept(NodeId node, unsigned object, std::span<const Value> values);
    void state(NodeId node, unsigned object, u8 state, u64 epoch, bool staged = false);
    /// The engine of the writer names so many nodes beside itself that hold the committed version.
    void claims(unsigned object, unsigned others);

    /// Evaluates what can only be judged on a whole picture. Call it after every event.
    void judge();
    /// Everything has been repaired: the full number of copies is there again.
    void judge_repaired();

    [[nodiscard]] const Broken& broken() const { return broken_; }
    [[nodiscard]] Value newest(unsigned object) const { return object_[object].line.back(); }
    [[nodiscard]] Value floor(unsigned object) const { return object_[object].line.front(); }
    [[nodiscard]] bool undetermined(unsigned object) const { return object_[object].open; }
    [[nodiscard]] bool lost(unsigned object) const { return object_[object].lost; }
    [[nodiscard]] u64 bits_lost() const { return bits_lost_; }
    /// Objects whose k copies all died at once, and of which an older one that was still kept frozen came back.
    [[nodiscard]] u64 gone_back() const { return gone_back_; }
    void hash(RunHash& h) const;

private:
    struct Object {
        Promise promise;
        std::vector<Value> line{zeros};  ///< the floor first
        bool open = false;               ///< the newest value's writer died unseen: the first value seen decides
        bool granted = false;            ///< somebody wanted to write it
        bool registered = false;         ///< the same, ever: its chunk stays known as written when a hole is made of it
        bool written = false;
        bool lost = false;       ///< -EIO was answered
        bool undo = false;       ///< volatile: a handed-over copy may come back
        bool forgotten = false;  ///< all who knew what of its chunk was written may have died at once
        bool hit = false;        ///< as many died at once as it has copies: a first commit may be lost
        bool spread = false;     ///< a page of it was outside its writer
        u32 level = 0;           ///< copies that new values must have
        u32 need = 0;            ///< copies that the floor must have now
        std::vector<Value>
            frozen;  ///< values of before, still kept by who handed over or was replaced, at crashes since the last repair
        std::vector<Value> graves;  ///< newest value of each copy that died since the last repair
        bool judge = true;
        u32 holing = 0;      ///< holes under way
        bool maybe = false;  ///< a hole may have been made or not: its initiator died
    };
    struct Copy {
        Page page;
        Value best = zeros;  ///< newest of those kept for the engine, by place in the line
        u8 state = 0;
        u64 epoch = 0;
        bool staged = false;
        std::vector<Value> kept;
    };
    struct Node {
        bool alive = false;
        u32 writes = 0;   ///< of all its lives
        u32 first = 1;    ///< of this life
        u32 settled = 0;  ///< every durable write up to here must survive
    };
    /// A life that ended, with what is known of its writes to durable objects.
    struct Dead {
        NodeId node;
        u32 first, last;
        u32 survived, lost;  ///< highest, lowest
    };

    /// What the memory was when a recovery point was cut.
    struct Cut {
        u64 id;
        bool decided;
        std::vector<Object> object;
    };

    void fail(const char* rule, std::string text);
    [[nodiscard]] Cut* cut_of(u64 id);
    [[nodiscard]] bool more_than_points_survive() const;
    void judge_calm_points();
    void ends_rolling(NodeId node);
    void hash_points(RunHash& h) const;
    [[nodiscard]] int place(const Object& o, Value v) const;
    void visible(unsigned object, Value v);
    void raise_floor(unsigned object, std::size_t to);
    void survived(Value v);
    void gone(Value v);
    void determine(unsigned object, std::size_t at);
    [[nodiscard]] bool died_out(const Object& o, std::size_t at) const;
    [[nodiscard]] bool holds(NodeId node, unsigned object) const;
    [[nodiscard]] unsigned holders(unsigned object) const;
    [[nodiscard]] unsigned firm_holders(unsigned object) const;
    [[nodiscard]] u32 life_of(Value v) const;
    [[nodiscard]] bool newest_somewhere(unsigned object) const;
    [[nodiscard]] u32 target(const Object& o) const { return std::min(o.promise.replicas, able_); }
    [[nodiscard]] bool keepers_gone(const Object& o) const;
    [[nodiscard]] bool chunk_written(u64 chunk) const;
    void holed(unsigned object);
    [[nodiscard]] bool goes_back(unsigned object, Value v);
    void strange(NodeId node, unsigned object, Value v);
    void judge_sharing(unsigned object);
    void judge_copies(unsigned object);
    void foreign(NodeId node, unsigned object);

    NodeId nodes_ = 0;
    std::vector<Object> object_;
    std::array<Node, nodes_max + 1> node_{};
    std::array<std::array<Copy, objects_max>, nodes_max + 1> copy_{};
    std::vector<Dead> dead_;
    u32 able_ = 1, able_low_ = 1;
    u32 crashes_since_calm_ = 0;
    u64 bits_lost_ = 0, gone_back_ = 0;
    u32 spare_ = 0;
    std::vector<Cut> cuts_;  ///< that the domain may still go back to
    u64 taken_ = 0, rollbacks_ = 0;
    u32 gone_back_open_ = 0;  ///< nodes that go back and do not know yet that all have
    bool rolling_ = false, rollback_asked_ = false, must_roll_ = false, domain_lost_ = false;
    bool unknown_ = false;  ///< nobody_knows()
    Broken broken_;
};

}  // namespace krg::sim::dsm
