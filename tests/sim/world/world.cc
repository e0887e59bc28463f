// SPDX-License-Identifier: GPL-2.0
//
// The event loop and the machines. See world.hh.
#include "tests/sim/world/world.hh"

#include <algorithm>
#include <fmt/format.h>

namespace krg::sim {

/// One machine: off, running or frozen; at most one Process lives on it.
class World::Machine final : public Host {
public:
    Machine(World& world, NodeId id, u64 seed, const Clock& its_clock)
        : clock(its_clock),
          world_(world),
          id_(id),
          seed_(seed),
          rng_(seed) {}

    NodeId id() const override { return id_; }
    u64 incarnation() const override { return life; }
    u64 now_ms() const override { return clock.local_ms(world_.now_); }
    Time true_time() const override { return world_.now_; }
    Time when(u64 local_ms) const override { return clock.when(local_ms); }
    Rng& rng() override { return rng_; }
    void send(NodeId to, Class cls, std::span<const u8> bytes) override;
    void after(Time delay, u32 token, u64 arg) override;
    void storage(std::span<const u8> request) override;
    void reincarnate(Time delay) override {
        wants_rebirth = true;
        rebirth_delay = delay;
    }
    bool tracing() const override { return world_.trace_ != nullptr; }
    void note(bool detailed, char glyph, std::string text) override {
        world_.note(id_, detailed ? Detail::full_log : Detail::short_log, glyph, std::move(text));
    }
    void new_life();

    Clock clock;
    std::unique_ptr<Process> process;
    u32 boots = 0;
    u64 life = 0;
    u32 freezes = 0;  ///< how deep: faults may overlap
    u64 freeze_id = 0;
    u64 boot_ticket = 0;  ///< of the boot that is scheduled, if any
    bool storage_ok = true;
    bool wants_rebirth = false;
    Time rebirth_delay = 0;
    Time armed = never;          ///< of the earliest timer event on the queue
    std::vector<u64> peer_life;  ///< the incarnation a connection was made with
    std::deque<Event> inbox;     ///< while frozen

private:
    World& world_;
    NodeId id_;
    u64 seed_;
    Rng rng_;
};

void World::Machine::new_life() {
    boots++;
    life = derive(seed_, "life", boots) | 1;
    rng_ = Rng(derive(seed_, "process", boots));
    peer_life.assign(world_.nodes() + 1, 0);
    armed = never;
    wants_rebirth = false;
}

void World::Machine::send(NodeId to, Class cls, std::span<const u8> bytes) {
    if (to == 0 || to == id_ || to > world_.nodes()) return;
    world_.hash_.mix(bytes);
    if (world_.trace_) note(true, '>', fmt::format("to n{} {}", to, world_.factory_.describe(cls, bytes)));
    world_.network_.send(world_.now_, id_, to, static_cast<u8>(cls), bytes);
}

void World::Machine::after(Time delay, u32 token, u64 arg) {
    world_.push(world_.now_ + delay, Kind::call, id_, static_cast<NodeId>(token), boots, arg);
}

void World::Machine::storage(std::span<const u8> request) {
    u64 parcel = world_.parcels_.size();
    if (world_.free_parcels_.empty()) {
        world_.parcels_.emplace_back();
    } else {
        parcel = world_.free_parcels_.back();
        world_.free_parcels_.pop_back();
    }
    world_.parcels_[parcel].assign(request.begin(), request.end());
    world_.push(world_.now_ + 1 + world_.rng_.exponential(world_.knobs_.storage_ms * ms / 2), Kind::storage_in, id_, 0, boots,
                parcel);
}

World::World(const WorldKnobs& knobs, u64 seed, ProcessFactory& factory, Trace* trace)
    : knobs_(knobs),
      factory_(factory),
      trace_(trace),
      rng_(derive(seed, "world")),
      network_(static_cast<unsigned>(knobs.nodes), knobs.network, derive(seed, "network"), *this) {
    for (u64 i = 1; i <= knobs.nodes; i++) {
        Rng rng(derive(seed, "clock", i));
        const i64 skew = static_cast<i64>(rng.below(2 * knobs.skew_ppm + 1)) - static_cast<i64>(knobs.skew_ppm);
        const Clock clock(rng.below(knobs.offset_ms * 1000 + 1), skew);
        hosts_.push_back(std::make_unique<Machine>(*this, static_cast<NodeId>(i), derive(seed, "node", i), clock));
    }
}

World::~World() {
    for (auto& host : hosts_)
        if (host->process) factory_.gone(host->id());
}

void World::push(Time at, Kind kind, NodeId a, NodeId b, u32 gen, u64 arg, Message* message) {
    heap_.push_back({at, seq_++, kind, a, b, gen, arg, message});
    std::push_heap(heap_.begin(), heap_.end());
}

bool World::run_until(Time until) {
    while (!stopped() && !heap_.empty() && heap_.front().at <= until) {
        std::pop_heap(heap_.begin(), heap_.end());
        const Event event = heap_.back();
        heap_.pop_back();
        now_ = event.at;
        events_++;
        dispatch(event);
    }
    if (!stopped()) now_ = std::max(now_, until);
    return !stopped();
}

void World::cue_at(Time at, u32 what, u64 arg) { push(at, Kind::cue, 0, 0, what, arg); }

void World::dispatch(const Event& event) {
    hash_.mix(event.at);
    hash_.mix(static_cast<u64>(event.kind) << 56 | static_cast<u64>(event.a) << 40 | static_cast<u64>(event.b) << 24 |
              (event.gen & 0xffffff));
    switch (event.kind) {
    case Kind::arrive: to_machine(machine(event.message->to), event); break;
    case Kind::connect: network_.connect(now_, event.a, event.b); break;
    case Kind::supervise: network_.supervise(now_, event.a, event.b, event.arg); break;
    case Kind::cue:
        if (director_) director_->cue(event.gen, event.arg);
        break;
    case Kind::boot:
        if (machine(event.a).boot_ticket == event.arg) boot(event.a);
        break;
    case Kind::freeze_seen:
        if (machine(event.a).freezes != 0 && machine(event.a).freeze_id == event.arg)
            for (unsigned peer = 1; peer <= nodes(); peer++)
                if (peer != event.a)
                    network_.reset(now_, event.a, static_cast<NodeId>(peer), knobs_.network.tolerance_ms * ms / 4);
        break;
    case Kind::storage_in: storage_access(machine(event.a), event); break;
    default: to_machine(machine(event.a), event); break;
    }
}

void World::to_machine(Machine& target, const Event& event) {
    if (target.freezes != 0 && target.process) {
        target.inbox.push_back(event);
        return;
    }
    deliver(target, event);
}

void World::deliver(Machine& target, const Event& event) {
    if (event.kind == Kind::arrive) {
        deliver_message(target, event.message);
        return;
    }
    Process* process = target.process.get();
    const bool same_life = process != nullptr && event.gen == target.boots;
    switch (event.kind) {
    case Kind::end_up:
        if (!process || !network_.end_up(event.a, event.b, event.gen)) return;
        target.peer_life[event.b] = event.arg;
        if (trace_) note(event.a, Detail::full_log, '+', fmt::format("connected to n{}", event.b));
        process->peer_up(event.b, event.arg);
        break;
    case Kind::end_down:
        if (!network_.end_down(event.a, event.b, event.gen)) return;
        if (!process) return;
        if (trace_) note(event.a, Detail::full_log, '-', fmt::format("connection to n{} is gone", event.b));
        process->peer_down(event.b, target.peer_life[event.b]);
        break;
    case Kind::timer:
        if (!same_life) return;
        if (target.armed == event.at) target.armed = never;
        if (process->deadline_ms() <= target.clock.local_ms(now_)) {
            if (trace_) note(event.a, Detail::full_log, '.', "tick");
            process->tick();
        }
        break;
    case Kind::call:
        if (!same_life) return;
        process->call(event.b, event.arg);
        break;
    case Kind::hint:
        if (!process) return;
        process->hint(event.b);
        break;
    case Kind::storage_out:
        if (same_life && target.storage_ok) {
            const std::vector<u8> reply = std::move(parcels_[event.arg]);
            process->storage(reply);
        }
        free_parcels_.push_back(event.arg);
        break;
    default: return;
    }
    touched(event.a);
}

void World::deliver_message(Machine& target, Message* message) {
    const Network::Fate fate = target.process ? network_.arrived(message) : Network::Fate::lost;
    if (fate == Network::Fate::held) return;
    if (fate == Network::Fate::lost) {
        if (trace_) note(message->to, Detail::full_log, 'x', fmt::format("from n{} lost on the way", message->from));
        network_.release(message);
        return;
    }
    const auto cls = static_cast<Class>(message->cls);
    const u64 life = target.peer_life[message->from];
    if (trace_)
        note(message->to, Detail::full_log, '<',
             fmt::format("from n{} {}", message->from, factory_.describe(cls, message->data)));
    target.process->message(message->from, life, cls, message->data);
    if (!stopped() && network_.draw_garbage()) {
        auto& bytes = message->data;
        const u64 how = rng_.below(3);
        if (how == 0) {
            bytes.resize(rng_.below(bytes.size()));
        } else if (how == 1) {
            bytes.resize(bytes.size() + rng_.between(1, 64), static_cast<u8>(rng_.next()));
        } else {
            bytes.resize(rng_.log_uniform(1, 256));
            for (u8& b : bytes) b = static_cast<u8>(rng_.next());
        }
        network_.counts().garbage++;
        if (trace_)
            note(message->to, Detail::full_log, '<', fmt::format("from n{} {} damaged bytes", message->from, bytes.size()));
        target.process->garbage(message->from, life, cls, bytes);
    }
    const NodeId to = message->to;
    network_.release(message);
    touched(to);
}

void World::touched(NodeId node) {
    Machine& target = machine(node);
    if (!target.process || stopped()) return;
    if (target.wants_rebirth) {
        const Time delay = target.rebirth_delay;
        crash(node, false);
        boot_at(now_ + delay, node);
        return;
    }
    const u64 deadline = target.process->deadline_ms();
    if (deadline == ~u64{0}) return;
    const Time due = std::max(target.clock.when(deadline), now_ + 1);
    // A timer on the queue that is due no later serves: it looks at the deadline when it fires.
    if (due >= target.armed) return;
    const Time at = due + (knobs_.timer_lag_us != 0 ? rng_.exponential(knobs_.timer_lag_us) : 0);
    if (at >= target.armed) return;
    target.armed = at;
    push(at, Kind::timer, node, 0, target.boots);
}

void World::boot_at(Time at, NodeId node) { push(at, Kind::boot, node, 0, 0, ++machine(node).boot_ticket); }

void World::forget_boot(NodeId node) { machine(node).boot_ticket++; }

void World::boot(NodeId node) {
    Machine& target = machine(node);
    if (target.process) return;
    target.freezes = 0;
    target.new_life();
    hash_.mix(target.life);
    if (trace_) note(node, Detail::short_log, '~', fmt::format("boots as incarnation {:016x}", target.life));
    target.process = factory_.boot(target);
    target.process->start();
    network_.want_all(now_, node);
    touched(node);
}

void World::crash(NodeId node, bool silent) {
    Machine& target = machine(node);
    if (!target.process) return;
    factory_.gone(node);
    target.process.reset();
    target.freezes = 0;
    for (Event& event : target.inbox) {
        if (event.kind == Kind::arrive) network_.release(event.message);
        if (event.kind == Kind::storage_out) free_parcels_.push_back(event.arg);
    }
    target.inbox.clear();
    network_.forget_ends(node);
    network_.host_gone(now_, node, silent);
}

void World::freeze(NodeId node) {
    Machine& target = machine(node);
    if (!target.process) return;
    if (target.freezes++ != 0) return;
    target.freeze_id++;
    const u64 tolerance = knobs_.network.tolerance_ms;
    if (tolerance != 0 && knobs_.freeze_resets != 0)
        push(now_ + tolerance * ms + rng_.below(tolerance * ms / 4 + 1), Kind::freeze_seen, node, 0, 0, target.freeze_id);
}

void World::thaw(NodeId node) {
    Machine& target = machine(node);
    if (target.freezes == 0 || --target.freezes != 0) return;
    const u32 boots = target.boots;
    const bool timer_first = knobs_.wake_timer_first != 0;
    if (timer_first && target.process->deadline_ms() <= target.clock.local_ms(now_)) {
        target.process->tick();
        touched(node);
    }
    // What arrived meanwhile, in order. Nothing new can join this queue: the machine is awake.
    std::deque<Event> inbox;
    inbox.swap(target.inbox);
    for (Event& event : inbox) {
        const bool gone = stopped() || !target.process || target.boots != boots;
        if (!gone) {
            deliver(target, event);
        } else if (event.kind == Kind::arrive) {
            network_.release(event.message);
        } else if (event.kind == Kind::storage_out) {
            free_parcels_.push_back(event.arg);
        }
    }
    network_.want_all(now_, node);
}

void World::hint(NodeId at, NodeId about) { push(now_, Kind::hint, at, about); }

void World::set_storage(NodeId node, bool reachable) { machine(node).storage_ok = reachable; }

void World::storage_access(Machine& target, const Event& event) {
    std::vector<u8> reply;
    const bool answered = target.storage_ok && target.process && target.boots == event.gen &&
                          factory_.storage(event.a, parcels_[event.arg], reply);
    if (!answered) {
        free_parcels_.push_back(event.arg);
        return;
    }
    hash_.mix(reply);
    // What was written stays; the answer is lost if the node or the way to the storage dies before it is back.
    parcels_[event.arg] = std::move(reply);
    push(now_ + 1 + rng_.exponential(knobs_.storage_ms * ms / 2), Kind::storage_out, event.a, 0, event.gen, event.arg);
}

bool World::up(NodeId node) const { return machine(node).process != nullptr; }
bool World::frozen(NodeId node) const { return machine(node).freezes != 0; }
u64 World::incarnation(NodeId node) const { return machine(node).process ? machine(node).life : 0; }
const Clock& World::clock(NodeId node) const { return machine(node).clock; }
bool World::can_connect(NodeId node) const { return up(node) && !frozen(node); }

void World::note(NodeId node, Detail detail, char glyph, std::string text) {
    if (trace_) trace_->add(now_, node, detail, glyph, std::move(text));
}

void World::arrive_at(Time at, Message* message) { push(at, Kind::arrive, message->to, message->from, 0, 0, message); }

void World::arrive_now(Message* message) {
    to_machine(machine(message->to), {now_, seq_++, Kind::arrive, message->to, message->from, 0, 0, message});
}

void World::connect_at(Time at, NodeId a, NodeId b) { push(at, Kind::connect, a, b); }

void World::up_at(Time at, NodeId node, NodeId peer, u32 generation) {
    push(at, Kind::end_up, node, peer, generation, machine(peer).life);
}

void World::down_at(Time at, NodeId node, NodeId peer, u32 generation) { push(at, Kind::end_down, node, peer, generation); }

void World::supervise_at(Time at, NodeId from, NodeId to, u64 block_id) { push(at, Kind::supervise, from, to, 0, block_id); }

}  // namespace krg::sim
