// SPDX-License-Identifier: GPL-2.0
//
// The border between the world and what is simulated in it. A Process is the software of one life of one node: it lives
// from boot to crash and is driven by the world. A Host is what the world gives it. A protocol is added to the simulator
// by writing a Process; the world never looks inside.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/sim/world/rng.hh"
#include "tests/sim/world/types.hh"

namespace krg::sim {

/// Ordered classes of a connection; each is a FIFO of its own. As in the transport: control, and coherence messages.
enum class Class : u8 { control, data };
inline constexpr unsigned class_count = 2;

/// The machine a Process runs on. All calls happen inside one of the Process's own callbacks.
class Host {
public:
    virtual ~Host() = default;
    [[nodiscard]] virtual NodeId id() const = 0;
    /// Unique for every life of every node, never 0.
    [[nodiscard]] virtual u64 incarnation() const = 0;
    /// Milliseconds of this node's own clock.
    [[nodiscard]] virtual u64 now_ms() const = 0;
    /// True time: for checkers and traces, never for the code under test.
    [[nodiscard]] virtual Time true_time() const = 0;
    /// The first true time at which this node's clock reads @p local_ms: for checkers.
    [[nodiscard]] virtual Time when(u64 local_ms) const = 0;
    virtual Rng& rng() = 0;
    /// Queues bytes on the connection to @p to; lost if there is none.
    virtual void send(NodeId to, Class cls, std::span<const u8> bytes) = 0;
    /// Process::call(token, arg) after this long.
    virtual void after(Time delay, u32 token, u64 arg) = 0;
    /// One access to the shared stable storage; Process::storage() gets the answer, if any.
    virtual void storage(std::span<const u8> request) = 0;
    /// This life is over: after the callback the Process is destroyed and a new one boots after @p delay.
    virtual void reincarnate(Time delay) = 0;
    /// A line for the short log; @p detailed: for the full log only.
    [[nodiscard]] virtual bool tracing() const = 0;
    virtual void note(bool detailed, char glyph, std::string text) = 0;
};

class Process {
public:
    virtual ~Process() = default;
    virtual void start() = 0;
    virtual void peer_up(NodeId peer, u64 incarnation) = 0;
    virtual void peer_down(NodeId peer, u64 incarnation) = 0;
    virtual void hint(NodeId peer) = 0;
    virtual void message(NodeId from, u64 incarnation, Class cls, std::span<const u8> bytes) = 0;
    /// Bytes no correct peer sends; must change nothing.
    virtual void garbage(NodeId from, u64 incarnation, Class cls, std::span<const u8> bytes) = 0;
    virtual void storage(std::span<const u8> reply) = 0;
    virtual void call(u32 token, u64 arg) = 0;
    virtual void tick() = 0;
    /// When tick() is wanted, on the node's own clock; ~0: never.
    [[nodiscard]] virtual u64 deadline_ms() const = 0;
};

/// Makes the Process of a node's next life.
class ProcessFactory {
public:
    virtual ~ProcessFactory() = default;
    virtual std::unique_ptr<Process> boot(Host& host) = 0;
    /// The Process of @p node is about to be destroyed.
    virtual void gone(NodeId node) = 0;
    /// One atomic access to the shared stable storage. False: refused, no answer.
    virtual bool storage(NodeId node, std::span<const u8> request, std::vector<u8>& reply) = 0;
    /// For traces: what these bytes are, in a few words.
    [[nodiscard]] virtual std::string describe(Class cls, std::span<const u8> bytes) const = 0;
};

/// Gets what the run itself scheduled: faults and their ends.
class Director {
public:
    virtual ~Director() = default;
    virtual void cue(u32 what, u64 arg) = 0;
};

}  // namespace krg::sim
