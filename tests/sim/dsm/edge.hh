// SPDX-License-Identifier: GPL-2.0
//
// The edge of one node, as the kernel module is to the engine: a page cache, programs that fault, pages named by handles,
// and EDGE actions that take their time. It keeps the promises of dsm.h and holds the engine to its own: whatever the
// engine does that an edge could not carry out breaks the rule "contract".
//
// Everything that takes time is a piece of work that somebody else begins: complete(), use(), snapshot_step().
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "tests/sim/dsm/checker.hh"
#include "tests/sim/dsm/memory.hh"

namespace krg::sim::dsm {

/// A page travels by value; the receiver's edge makes a handle of it.
struct Packet {
    std::vector<u8> bytes;
    bool has_page = false;
    Value value = zeros;
    u8 object = 0;
    u64 epoch = 0;  ///< the sender's when it was sent
    u64 life = 0;   ///< of the sender
};

/// What happens outside a node because of what its engine wants.
class EdgeWorld {
public:
    virtual ~EdgeWorld() = default;
    virtual void send(NodeId from, NodeId to, std::shared_ptr<const Packet> packet) = 0;
    virtual void reset_wanted(NodeId from, NodeId to, u16 reason) = 0;
    virtual void prepared(NodeId node, u64 epoch) = 0;
    virtual void drained(NodeId node) = 0;
    virtual void recovered(NodeId node, u64 epoch) = 0;
    /// An answer to a program of @p node that wanted @p object; @p moved: the page came here to be written.
    virtual void answered(NodeId node, unsigned object, bool moved) { (void)node, (void)object, (void)moved; }
    [[nodiscard]] virtual bool tracing() const = 0;
    virtual void say(NodeId node, std::string line) = 0;
};

struct Handle {
    bool used = false;
    u8 object = 0;
    Value value = zeros;
};

struct Program {
    enum class Phase : u8 { idle, waiting, granted } phase = Phase::idle;
    Op op = Op::read;
    u8 object = 0;
    u8 mode = 0;
    u64 token = 0;
    u32 script_at = 0;
};

/// Everything of a node but its engine; copied as a whole by the exhaustive explorer.
struct EdgeState {
    u64 life = 0;   ///< 0: not running
    u64 epoch = 0;  ///< of the last PREPARE given to the engine
    bool committed = false;
    bool joined = false;  ///< it has served; before that it can only have pages that nobody will ask for
    bool draining = false;
    u32 writes = 0;  ///< of all lives

    Page page[objects_max];
    u8 edge[objects_max] = {};  ///< action under way: enum krg_dsm_action_type
    bool edge_keep[objects_max] = {};
    bool lent[objects_max] = {};  ///< was writable when its batch protected it: a device may write on
    u8 pinned[objects_max] = {};  ///< how often an action was refused
    u32 installing[objects_max] = {};
    std::vector<Handle> handles;  ///< handle - 1 is the index
    Program program[programs_max];
    struct Pending {
        u64 token;
        u8 object;
        bool again = false;  ///< a write grant once more, for one that may have become void
    };
    std::vector<Pending> orphans;   ///< tokens whose program went away
    std::vector<u8> orphan_grants;  ///< their grants, not yet used
    u32 offers = 0;                 ///< every fourth is not taken
    std::vector<Pending> evictions;
    struct Sync {
        u64 token;
        u32 mark;
    };
    std::vector<Sync> syncs;
    u64 punch = 0;  ///< token of the hole this node waits for; 0: none
    Objects punched = 0;
    u32 punch_mark = 0;
    u64 point = 0, rollback = 0;  ///< tokens of those this node waits for; 0: none
    bool snapshot = false, protecting = false;
    std::vector<u8> batch;
    std::vector<u64> source;  ///< of the same place in batch: the handle to copy, 0: the page cache
    u32 batch_at = 0;
    u64 next_token = 1;
    u8 room = KRG_DSM_ROOM;  ///< as the engine was told
};

class Edge {
public:
    Edge(NodeId id, const Setup& setup, Checker& checker, EdgeWorld& world);
    ~Edge();

    [[nodiscard]] bool running() const { return engine_ != nullptr; }
    [[nodiscard]] NodeId id() const { return id_; }
    [[nodiscard]] const EdgeState& at() const { return s_; }
    [[nodiscard]] krg_dsm* engine() const { return engine_; }
    [[nodiscard]] u32 writes() const { return s_.writes; }
    [[nodiscard]] Memory& memory() { return memory_; }

    void boot(u64 life, u64 now, u64 seed);
    /// The node is no more; nobody gives anything back.
    void crash();
    /// In order: everything must come back.
    void stop(u64 now);

    // Events of the outside.
    void prepare(u64 now, u64 epoch, std::span<const krg_dsm_member> members);
    void commit(u64 now);
    void receive(u64 now, NodeId from, const Packet& packet);
    void tick(u64 now);
    void drain(u64 now);

    // Work of the edge.
    [[nodiscard]] bool can_complete(unsigned object) const;
    void complete(u64 now, unsigned object);
    /// It is pinned, or @p memory: there is none to begin.
    void refuse(u64 now, unsigned object, bool memory);
    [[nodiscard]] bool can_snapshot() const;
    void snapshot_step(u64 now, bool fail);

    // Programs.
    void begin(u64 now, unsigned program, Op op, unsigned object);
    void use(u64 now, unsigned program);
    void use_orphan(u64 now);
    void abandon(unsigned program);
    void evict(u64 now, unsigned object, bool cheap = false);
    /// There is as much memory as anybody wants from now on.
    void unlimited(u64 now);
    void sync(u64 now);
    void point(u64 now);
    void rollback(u64 now);
    /// @p objects: those of the range from @p first to index @p last.
    void punch(u64 now, unsigned first, u64 last, Objects objects);
    /// Objects @p first to @p last, which have adjacent indexes.
    void ahead(u64 now, unsigned first, unsigned last, bool write);

    /// Nothing is waiting, granted, under way.
    [[nodiscard]] bool quiet() const;
    /// Others have begun a view without it: nothing it does counts any more, and its programs must not do anything.
    void outlive(bool outlived = true) { outlived_ = outlived; }
    [[nodiscard]] bool outlived() const { return outlived_; }
    /// Somebody still waits for a grant or has not used it.
    [[nodiscard]] bool programs_wait() const;
    /// Somebody may be about to write one of them.
    [[nodiscard]] bool wants_write(Objects objects) const;
    [[nodiscard]] std::string busy() const;
    [[nodiscard]] u64 deadline() const { return krg_dsm_deadline(engine_); }
    void no_memory_from(u32 nth) { memory_.fail_from(nth); }
    /// Memory or a pin may be the reason of an error.
    void allow_errors(bool memory, bool busy, bool room) { memory_errors_ = memory, busy_errors_ = busy, room_errors_ = room; }

    [[nodiscard]] const Broken& broken() const { return broken_; }
    [[nodiscard]] u64 operations() const { return operations_; }
    [[nodiscard]] u64 failed_operations() const { return failed_; }
    [[nodiscard]] u64 points_taken() const { return points_taken_; }
    [[nodiscard]] u64 points_failed() const { return points_failed_; }
    void hash(RunHash& h) const;
    void set(const EdgeState& s, krg_dsm* engine) { s_ = s, engine_ = engine; }

private:
    void step(u64 now, krg_dsm_event& ev);
    void device_write(unsigned object);
    void tell_room(u64 now);
    void act(const krg_dsm_action& a);
    void send(const krg_dsm_action& a);
    void grant(const krg_dsm_action& a);
    void refused(const krg_dsm_action& a);
    void edge_action(const krg_dsm_action& a);
    void snapshot_action();
    void done(const krg_dsm_action& a);
    void point_done(const krg_dsm_action& a);
    void rollback_done(const krg_dsm_action& a);
    void offer(const krg_dsm_action& a);
    void look();
    void access(unsigned program);
    [[nodiscard]] u64 make_handle(unsigned object, Value value);
    std::optional<Handle> take_handle(u64 handle, const char* what);
    [[nodiscard]] int object_of(const krg_dsm_object& object) const;
    void contract(std::string text);
    void say(std::string line) const;

    NodeId id_;
    const Setup& setup_;
    Checker& checker_;
    EdgeWorld& world_;
    Memory memory_;
    krg_dsm* engine_ = nullptr;
    EdgeState s_;
    Broken broken_;
    u64 operations_ = 0, failed_ = 0, points_taken_ = 0, points_failed_ = 0;
    u32 limit_ = 0;  ///< pages; 0: none
    bool memory_errors_ = false, busy_errors_ = false, room_errors_ = false, prepared_ = false, outlived_ = false;
};

}  // namespace krg::sim::dsm
