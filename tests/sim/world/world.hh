// SPDX-License-Identifier: GPL-2.0
//
// The simulated world of one run: true time, the event queue keyed (time, sequence), machines that boot, crash, freeze and
// wake, their clocks, and one shared stable storage. It drives Processes (process.hh) over a Network (network.hh) and
// knows nothing about what they do. The run is over when an alarm is raised.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/world/clock.hh"
#include "tests/sim/world/hash.hh"
#include "tests/sim/world/network.hh"
#include "tests/sim/world/process.hh"
#include "tests/sim/world/trace.hh"

namespace krg::sim {

struct WorldKnobs {
    u64 nodes = 5;
    u64 skew_ppm = 0;          ///< every clock runs up to this much fast or slow
    u64 offset_ms = 0;         ///< every clock starts up to this far from zero
    u64 timer_lag_us = 100;    ///< mean lateness of timers
    u64 storage_ms = 2;        ///< mean time of one access to the shared storage
    u64 wake_timer_first = 0;  ///< a machine that wakes runs its timer before its queued input
    u64 freeze_resets = 1;     ///< the link supervision notices a frozen machine
    NetworkKnobs network;
};

class World final : private NetworkEvents {
public:
    World(const WorldKnobs& knobs, u64 seed, ProcessFactory& factory, Trace* trace);
    ~World() override;
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    void set_director(Director* director) { director_ = director; }
    [[nodiscard]] Time now() const { return now_; }
    [[nodiscard]] u64 events() const { return events_; }
    [[nodiscard]] RunHash& hash() { return hash_; }
    [[nodiscard]] Network& network() { return network_; }
    [[nodiscard]] unsigned nodes() const { return static_cast<unsigned>(hosts_.size()); }

    /// Runs every event up to and including @p until. False: somebody stopped the run.
    bool run_until(Time until);
    /// The run stops after the event in which @p alarm becomes true.
    void stop_on(const bool* alarm) { alarm_ = alarm; }
    [[nodiscard]] bool stopped() const { return alarm_ != nullptr && *alarm_; }
    /// Director::cue(what, arg) at that time.
    void cue_at(Time at, u32 what, u64 arg);

    // Machines
    void boot(NodeId node);
    void boot_at(Time at, NodeId node);
    /// A boot that is scheduled does not happen.
    void forget_boot(NodeId node);
    /// @p silent: peers notice by their link supervision only.
    void crash(NodeId node, bool silent);
    void freeze(NodeId node);
    void thaw(NodeId node);
    void hint(NodeId at, NodeId about);
    void set_storage(NodeId node, bool reachable);
    [[nodiscard]] bool up(NodeId node) const;
    [[nodiscard]] bool frozen(NodeId node) const;
    [[nodiscard]] u64 incarnation(NodeId node) const;
    [[nodiscard]] const Clock& clock(NodeId node) const;
    /// After the caller gave a Process an event by hand: looks at its timer and its wish to start anew.
    void touched(NodeId node);

    [[nodiscard]] bool tracing() const { return trace_ != nullptr; }
    void note(NodeId node, Detail detail, char glyph, std::string text);

private:
    enum class Kind : u8 {
        arrive,
        connect,
        end_up,
        end_down,
        supervise,
        freeze_seen,
        boot,
        timer,
        call,
        hint,
        storage_in,
        storage_out,
        cue
    };
    struct Event {
        Time at;
        u64 seq;
        Kind kind;
        NodeId a, b;
        u32 gen;
        u64 arg;
        Message* message;
        bool operator<(const Event& other) const { return at != other.at ? at > other.at : seq > other.seq; }
    };
    class Machine;
    friend class Machine;

    void push(Time at, Kind kind, NodeId a, NodeId b = 0, u32 gen = 0, u64 arg = 0, Message* message = nullptr);
    void dispatch(const Event& event);
    void deliver(Machine& machine, const Event& event);
    void deliver_message(Machine& machine, Message* message);
    void to_machine(Machine& machine, const Event& event);
    void storage_access(Machine& machine, const Event& event);
    Machine& machine(NodeId node) { return *hosts_[static_cast<std::size_t>(node - 1)]; }
    [[nodiscard]] const Machine& machine(NodeId node) const { return *hosts_[static_cast<std::size_t>(node - 1)]; }

    void arrive_at(Time at, Message* message) override;
    void arrive_now(Message* message) override;
    void connect_at(Time at, NodeId a, NodeId b) override;
    void up_at(Time at, NodeId node, NodeId peer, u32 generation) override;
    void down_at(Time at, NodeId node, NodeId peer, u32 generation) override;
    void supervise_at(Time at, NodeId from, NodeId to, u64 block_id) override;
    [[nodiscard]] bool can_connect(NodeId node) const override;

    WorldKnobs knobs_;
    ProcessFactory& factory_;
    Trace* trace_;
    Director* director_ = nullptr;
    Rng rng_;
    RunHash hash_;
    Network network_;
    std::vector<std::unique_ptr<Machine>> hosts_;
    std::vector<Event> heap_;
    std::vector<std::vector<u8>> parcels_;  ///< bytes on their way to or from the storage
    std::vector<u64> free_parcels_;
    Time now_ = 0;
    u64 seq_ = 0;
    u64 events_ = 0;
    const bool* alarm_ = nullptr;
};

}  // namespace krg::sim
