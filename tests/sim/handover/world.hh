// SPDX-License-Identifier: GPL-2.0
//
// A process, alone or with a child, that moves along a path of nodes: the handover engine of proc/core in the hands of every
// node, a directory, messages, views, faults. Whatever may happen next is one move, and nothing else is random, so that the
// same world is driven by a seed or exhaustively. A world is a value: it is copied to be taken back.
#pragma once

#include <string>
#include <vector>

#include "proc/core/handover.h"
#include "tests/sim/world/hash.hh"

namespace krg::sim::handover {

inline constexpr unsigned nodes_max = 4, hops_max = 3, attempts_max = 4, messages_max = 8;

/// How much may go wrong, and what the process does; drawn from a seed, or a small world's.
struct Setup {
    const char* name = "";
    const char* what = "";
    u8 home = 1;
    std::vector<u8> path{1, 2};  ///< nodes
    bool tree = false;
    u8 leaves_at = 0xff;  ///< before this attempt the child leaves the tree and stays where it is
    u8 crashes = 0, expels = 0, losses = 0, repeats = 0, timeouts = 0, errors = 0, refusals = 0, deaths = 0, ends = 0,
       early = 0;
};

enum class MoveKind : u8 {
    attempt,  ///< the source begins
    build,    ///< variant 0: both know; 1: the source does not hear of it
    refuse,   ///< the target cannot build
    act,      ///< actor's pending action is done; variant: 0 right, 1 error, done all the same, 2 error, not done
    wake,     ///< the target's second is over, or it was told
    deliver,  ///< message; variant 0: answered, 1: the answer is lost, 2: once more later
    lose,     ///< message
    give_up,  ///< the caller of a message, which may still come
    crash,    ///< node; variant: a write that was under way 0: is lost, 1: took place
    expel,    ///< likewise
    view,     ///< node a learns that b is out
    helper,   ///< what was built at an attempt's target dies
    end,      ///< the process ends by itself
};

struct Move {
    MoveKind kind = MoveKind::attempt;
    u8 a = 0, b = 0, variant = 0;
};

enum class CopyState : u8 { none, frozen, running };
enum class Letter : u8 { none, go, abort, ask, moved, ended };

/// One that waits for what comes of its last action. What the action is depends on who it is.
struct Actor {
    u8 node = 0;
    bool lives = false, pending = false, calling = false;
    u8 action = 0;
};

struct Message {
    Letter what = Letter::none;
    u8 from = 0, to = 0, attempt = 0, caller = 0xff;  ///< caller: the actor that waits for the answer
    u64 generation = 0;
    u32 code = 0;
};

/// Open: the target may still build it. Held: it has.
struct Attempt {
    u8 from = 0, to = 0;
    bool open = false, woken = false, aborted = false, child = false, held = false;
    bool sampled = false;  ///< the target's read has its value, and was not answered yet
    krg_record sample{};
    u64 generation = 0;
    krg_record before_child{};
    krg_source source{};
    krg_target target{};
};

/// Numbers of actors: source and target of each attempt, the shadow, the guest that came by each attempt, and, the last one,
/// the one that was there at first.
inline constexpr u8 shadow_actor = 2 * attempts_max, guest_actor = shadow_actor + 1, first_guest = guest_actor + attempts_max,
                    actors = first_guest + 1;

struct Guest {
    bool ended = false;
    u64 generation = 0;
    krg_guest_news news{};
};

struct State {
    CopyState copy[nodes_max + 1] = {};
    bool crashed[nodes_max + 1] = {}, out[nodes_max + 1] = {};
    bool gone[nodes_max + 1][nodes_max + 1] = {};  ///< [n][x]: n's view is without x
    krg_record root{}, child{};
    Actor actor[actors];
    Attempt attempt[attempts_max];
    Message mail[messages_max];
    krg_away shadow{};
    Guest guest[attempts_max + 1];
    bool has_shadow = false, shadow_ended = false, ended = false;
    u8 attempts = 0, child_at = 0, hop = 0, calm = 0;  ///< calm: seconds in which nothing happened
    u32 code = 0;
    u8 crashes = 0, expels = 0, losses = 0, repeats = 0, timeouts = 0, errors = 0, refusals = 0, deaths = 0, ends = 0,
       early = 0;
};

class World {
public:
    explicit World(const Setup& setup);

    /// All that may happen next. Faults are in it too, as long as there are some left.
    [[nodiscard]] std::vector<Move> moves() const;
    /// False: a rule is broken.
    bool apply(const Move& m);
    [[nodiscard]] u64 hash() const;
    /// Nothing can happen any more: is everything as it must be?
    bool check_end();

    [[nodiscard]] const std::string& rule() const { return rule_; }
    [[nodiscard]] const std::string& text() const { return text_; }
    [[nodiscard]] std::string describe(const Move& m) const;

private:
    [[nodiscard]] bool in(u8 node) const { return node != 0 && !s_.crashed[node] && !s_.out[node]; }
    [[nodiscard]] bool is_waiting(u8 attempt) const;
    [[nodiscard]] u8 running() const;
    [[nodiscard]] u8 runner(const krg_record& record) const;
    void fail(const std::string& rule, const std::string& text);
    void check();

    void faults(std::vector<Move>& all) const;
    void progress(std::vector<Move>& all) const;
    void begin(u8 number);
    void build(u8 number, bool heard);
    void act(u8 who, u8 variant);
    void act_source(u8 number, u8 variant);
    void act_target(u8 number, u8 variant);
    void act_shadow(u8 variant);
    void act_guest(u8 who, u8 variant);
    [[nodiscard]] bool is_write(u8 who) const;
    void take_place(u8 who);
    [[nodiscard]] u32 news(u8 number) const;
    void deliver(u8 index, u8 variant);
    s32 handle(const Message& message);
    void post(u8 caller, Letter what, u8 to, u8 attempt, u64 generation = 0, u32 code = 0);
    void answer(u8 caller, s32 error);
    void stop(u8 node, bool crash, bool took_place);
    void learn(u8 node, u8 lost);
    void process_ended(u8 node, u32 code);

    void source_next(u8 number, krg_source_event event, s32 error, const krg_record* record = nullptr);
    void target_next(u8 number, krg_target_event event, u32 news, s32 error, const krg_record* record = nullptr);
    void shadow_next(krg_away_event event, u64 generation, u16 runner, u32 code, s32 error);
    void guest_next(u8 who, s32 error);
    [[nodiscard]] u8 guest_on(u8 node) const;

    Setup setup_;
    State s_;
    std::string rule_, text_;
};

}  // namespace krg::sim::handover
