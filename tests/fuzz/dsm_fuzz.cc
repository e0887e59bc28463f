// SPDX-License-Identifier: GPL-2.0
//
// Fuzz target: the coherence engine of node 1 among three members, fed with programs' requests, answers of its edge, view
// changes, and messages that were never sent. An input is a list of steps, see play(). A member that lies can spoil what it
// has access to, but it must not make the engine read or write out of bounds (the sanitizers watch), install a page twice,
// name a page that is not in the cache, or lose or give back twice a page of the edge. Every input is played in a domain of
// volatile and durable containers, and in a checkpointed one.
#include "hadsm/core/dsm.h"
#include "tests/fuzz/input.hh"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace {

using krg::fuzz::Input;
using krg::fuzz::require;

struct Name {
    uint64_t container, index;
    bool operator<(const Name& o) const { return container != o.container ? container < o.container : index < o.index; }
};
Name name(const krg_dsm_object& o) { return {o.container, o.index}; }

void* take(void*, u64 bytes) { return std::aligned_alloc(16, (bytes + 15) & ~u64{15}); }
void give(void*, void* memory, u64) { std::free(memory); }

/// Node 1 and the least of an edge that keeps the promises of dsm.h.
class Edge {
public:
    explicit Edge(bool checkpointed) {
        krg_dsm_config cfg{};
        cfg.cls = checkpointed ? KRG_DSM_CHECKPOINTED : 0;
        cfg.replicas = checkpointed ? 2 : 0;
        cfg.self = 1;
        cfg.max_nodes = 8;
        cfg.domain = 7;
        cfg.seed = 1;
        cfg.params = {0, 100, 3, 1000, 4, 16, 400, 0, 3, 0, 1000};
        cfg.memory = {take, give, nullptr};
        engine_ = krg_dsm_new(&cfg, now_);
        require(engine_ != nullptr);
        view();
    }
    Edge(const Edge&) = delete;
    Edge& operator=(const Edge&) = delete;
    ~Edge() {
        krg_dsm_stop(engine_);
        drain();
        krg_dsm_delete(engine_);
        require(pages_.empty());
    }

    void view() {
        const krg_dsm_member members[] = {{1, 0, 0, 1}, {2, 0, 0, 1}, {3, 0, 0, epoch_}};
        krg_dsm_event ev{};
        ev.type = KRG_DSM_EV_PREPARE;
        ev.epoch = ++epoch_;
        ev.member = members;
        ev.len = 3;
        step(ev);
        seq_[2] = seq_[3] = 0;
        ev = {};
        ev.type = KRG_DSM_EV_COMMIT;
        ev.epoch = epoch_;
        step(ev);
    }
    void message(u16 from, std::vector<uint8_t> bytes, bool page) {
        // The header is made right, or nothing would come through.
        if (bytes.size() < 19) bytes.resize(19);
        bytes[0] = 0xd5;
        bytes[1] = KRG_DSM_VERSION;
        put64(&bytes[3], epoch_);
        put64(&bytes[11], ++seq_[from]);
        krg_dsm_event ev{};
        ev.type = KRG_DSM_EV_MSG;
        ev.node = from;
        ev.data = bytes.data();
        ev.len = static_cast<u32>(bytes.size());
        ev.handle = page ? fresh() : 0;
        step(ev);
    }
    void ask(const krg_dsm_object& object, u16 mode) {
        krg_dsm_event ev{};
        ev.type = KRG_DSM_EV_REQUEST;
        ev.object = object;
        ev.mode = mode;
        step(ev);
    }
    void other(u32 type, const krg_dsm_object& object) {
        krg_dsm_event ev{};
        ev.type = type;
        ev.object = object;
        step(ev);
    }
    void ahead(const krg_dsm_object& object, u64 more) {
        krg_dsm_event ev{};
        ev.type = KRG_DSM_EV_AHEAD;
        ev.object = object;
        ev.last = object.index + more;
        step(ev);
    }
    void pass(u64 us) {
        now_ += us;
        other(KRG_DSM_EV_TICK, {});
    }
    void answer() {
        if (!installing_.empty()) {
            const krg_dsm_object o = installing_.back();
            installing_.pop_back();
            other(KRG_DSM_EV_INSTALLED, o);
        }
        if (!asked_.empty()) {
            const auto [o, type] = asked_.back();
            asked_.pop_back();
            krg_dsm_event ev{};
            ev.type = KRG_DSM_EV_EDGE_DONE;
            ev.object = o;
            if (type == KRG_DSM_ACT_INVALIDATE) {
                require(cache_.erase(name(o)) == 1);
                ev.handle = fresh();
            }
            step(ev);
        }
        if (snapshot_) {
            snapshot_ = false;
            krg_dsm_object o;
            for (u32 i = 0; krg_dsm_batch_object(engine_, i, &o) == 0; i++) {
                const u64 source = krg_dsm_batch_source(engine_, i);
                require(source ? pages_.count(source) == 1 : cache_.count(name(o)) == 1);
                krg_dsm_batch_put(engine_, i, fresh());
            }
            krg_dsm_event ev{};
            ev.type = KRG_DSM_EV_SNAPSHOT_DONE;
            step(ev);
        }
    }

private:
    static void put64(uint8_t* at, u64 v) {
        for (int i = 0; i < 8; i++) at[i] = static_cast<uint8_t>(v >> (8 * i));
    }
    u64 fresh() {
        pages_.insert(++next_page_);
        return next_page_;
    }
    void step(const krg_dsm_event& ev) {
        krg_dsm_step(engine_, now_, &ev);
        drain();
    }
    void drain() {
        krg_dsm_action a;
        while (krg_dsm_next_action(engine_, &a)) take_action(a);
    }
    void take_action(const krg_dsm_action& a) {
        switch (a.type) {
        case KRG_DSM_ACT_SEND:
            require(a.node != 1 && a.len != 0 && a.len <= KRG_DSM_MESSAGE_MAX);
            if (a.cached) require(cache_.count(name(a.object)) == 1);
            if (a.handle) require(pages_.count(a.handle) == 1);
            return;
        case KRG_DSM_ACT_GRANT:
            if (a.fresh) {
                require(cache_.insert(name(a.object)).second);
                if (a.handle) require(pages_.erase(a.handle) == 1);
            } else {
                require(cache_.count(name(a.object)) == 1);
            }
            installing_.push_back(a.object);
            return;
        case KRG_DSM_ACT_DOWNGRADE:
        case KRG_DSM_ACT_INVALIDATE:
            require(cache_.count(name(a.object)) == 1);
            asked_.emplace_back(a.object, a.type);
            return;
        case KRG_DSM_ACT_SNAPSHOT: snapshot_ = true; return;
        case KRG_DSM_ACT_OFFER:
            require(cache_.count(name(a.object)) == 0);
            if (a.handle) require(pages_.count(a.handle) == 1);
            if (a.object.index & 1) return;  // no memory for it
            krg_dsm_offer_taken(engine_);
            cache_.insert(name(a.object));
            pages_.erase(a.handle);
            return;
        case KRG_DSM_ACT_FREE: require(pages_.erase(a.handle) == 1); return;
        default: return;
        }
    }

    krg_dsm* engine_ = nullptr;
    u64 now_ = 1000, epoch_ = 4, next_page_ = 0;
    u64 seq_[4] = {};
    bool snapshot_ = false;
    std::set<u64> pages_;
    std::set<Name> cache_;
    std::vector<krg_dsm_object> installing_;
    std::vector<std::pair<krg_dsm_object, u32>> asked_;
};

krg_dsm_object object(uint8_t b, bool checkpointed) {
    krg_dsm_object o{};
    o.container = 1 + (b & 1);
    o.index = b >> 1 & 3;
    o.policy.cls = o.container == 1 ? KRG_DSM_DURABLE : KRG_DSM_VOLATILE;
    o.policy.replicas = o.container == 1 ? 2 : 1;
    if (checkpointed) o.policy = {KRG_DSM_CHECKPOINTED, 2, 0};
    return o;
}

/// Steps: a byte that says what, a byte that says of which object or from whom, and for messages a length and the bytes.
void play(Input in, bool checkpointed) {
    Edge edge(checkpointed);
    const auto of = [checkpointed](uint8_t b) { return object(b, checkpointed); };
    for (int steps = 0; !in.empty() && steps < 2000; steps++) {
        const uint8_t what = in.byte(), which = in.byte();
        switch (what % 10) {
        case 0:
        case 1:
        case 2:
        case 3: edge.message(which & 1 ? 2 : 3, in.bytes(in.byte()), what & 64); break;
        case 4: edge.ask(of(which), which & 64 ? KRG_DSM_WRITE : KRG_DSM_READ); break;
        case 5:
        case 6: edge.answer(); break;
        case 7: edge.pass(which); break;
        case 8:
            edge.other(which & 64   ? KRG_DSM_EV_EVICT
                       : which & 32 ? KRG_DSM_EV_DRAIN
                       : which & 16 ? KRG_DSM_EV_POINT
                       : which & 8  ? KRG_DSM_EV_ROLLBACK
                                    : KRG_DSM_EV_SYNC,
                       of(which));
            break;
        default:
            if (what & 128)
                edge.ahead(of(which), which >> 5);
            else
                edge.view();
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    for (const bool checkpointed : {false, true}) play(Input(data, size), checkpointed);
    return 0;
}
