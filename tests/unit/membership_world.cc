// SPDX-License-Identifier: GPL-2.0
// The small world of membership_world.hh: its event loop and its checks.
#include "tests/unit/membership_world.hh"

#include <algorithm>
#include <sstream>

namespace krg::test {

World::World(Options o) : options(o) {}

void World::after(u64 ms, std::function<void()> what) { pending_.push({now_ + ms, order_++, std::move(what)}); }

void World::start(int id) {
    Node& n = nodes_[id];
    n.alive = false;
    for (auto& [other, o] : nodes_) disconnect(id, other);  // what the last life left open
    n.config = {};
    n.config.self = static_cast<u16>(id);
    n.config.max_nodes = static_cast<u16>(options.max_nodes);
    n.config.cluster_hash = 0xc1u;
    n.config.incarnation = static_cast<u64>(id) * 1000 + ++n.lives;
    n.config.seed = n.config.incarnation;
    n.config.params = {2000, 100, 250, 1000, 300, options.witness ? 1u : 0u};
    if (configure) configure(n.config);
    n.offset = static_cast<u64>(id) * 777 + n.lives * 13;  // no two clocks agree
    u64 size = krg_mbr_size(n.config.max_nodes);
    n.memory = std::make_unique<Bytes>(size + 16);
    u8* at = n.memory->data();
    at += (16 - reinterpret_cast<uintptr_t>(at) % 16) % 16;
    n.engine = krg_mbr_init(at, size, &n.config, clock(id));
    ASSERT_TRUE(n.engine);
    n.alive = true;
    n.paused = false;
    n.backlog.clear();
    for (auto& [other, o] : nodes_)
        if (other != id && o.alive) connect(id, other);
}

void World::create(int id) {
    if (!nodes_[id].alive) start(id);
    event(id, KRG_MBR_EV_CREATE, 0, 0xabcdef00 + static_cast<u64>(id));
}

void World::join(int id, u64 give_up_after) {
    if (!nodes_[id].alive) start(id);
    event(id, KRG_MBR_EV_JOIN, 0, give_up_after);
}

void World::form(const Ids& ids) {
    create(ids[0]);
    for (size_t i = 1; i < ids.size(); i++) join(ids[i]);
    ASSERT_TRUE(agreed_within(30000, ids)) << story();
}

void World::crash(int id) {
    Node& n = nodes_[id];
    n.alive = false;
    for (auto& [other, o] : nodes_)
        if (connection_.count(pair(id, other)))
            after(options.reset_after, [this, id, other = other, g = connection_[pair(id, other)]] {
                auto it = connection_.find(pair(id, other));
                if (it != connection_.end() && it->second == g) disconnect(id, other);
            });
}

void World::resume(int id) {
    Node& n = nodes_[id];
    n.paused = false;
    auto backlog = std::move(n.backlog);
    auto data = std::move(n.backlog_data);
    n.backlog.clear();
    n.backlog_data.clear();
    for (size_t i = 0; i < backlog.size(); i++) {
        krg_mbr_event ev = backlog[i].second;
        ev.data = data[i].data();
        step(id, ev);
    }
}

void World::leave(int id) { event(id, KRG_MBR_EV_LEAVE); }
void World::evict(int by, int id) { event(by, KRG_MBR_EV_EVICT, id); }
void World::recover(int id) { event(id, KRG_MBR_EV_RECOVER); }

void World::event(int id, u32 type, int about, u64 arg) {
    krg_mbr_event ev{};
    ev.type = type;
    ev.node = static_cast<u16>(about);
    ev.arg = arg;
    step(id, ev);
}

void World::deliver(int from, u64 incarnation, int to, const Bytes& data) {
    krg_mbr_event ev{};
    ev.type = KRG_MBR_EV_MSG;
    ev.node = static_cast<u16>(from);
    ev.incarnation = incarnation;
    ev.data = data.data();
    ev.len = static_cast<u32>(data.size());
    step(to, ev);
}

void World::cut_one_way(int from, int to, bool breaks) {
    cut_.insert({from, to});
    auto it = connection_.find(pair(from, to));
    if (it == connection_.end() || !breaks) return;
    after(options.reset_after, [this, from, to, g = it->second] {
        auto now = connection_.find(pair(from, to));
        if (now != connection_.end() && now->second == g && cut_.count({from, to})) disconnect(from, to);
    });
}

void World::cut(int a, int b) {
    cut_one_way(a, b);
    cut_one_way(b, a);
}

void World::cut(const Ids& side, const Ids& other) {
    for (int a : side)
        for (int b : other) cut(a, b);
}

void World::heal(int a, int b) {
    cut_.erase({a, b});
    cut_.erase({b, a});
    after(options.reconnect_after, [this, a, b] { connect(a, b); });
}

void World::heal() {
    auto was = cut_;
    for (auto [a, b] : was) heal(a, b);
}

void World::reset(int a, int b) {
    disconnect(a, b);
    after(options.reconnect_after, [this, a, b] { connect(a, b); });
}

void World::connect(int a, int b) {
    if (!nodes_[a].alive || !nodes_[b].alive || !passes(a, b) || !passes(b, a) || connection_.count(pair(a, b))) return;
    connection_[pair(a, b)] = ++generations_;
    for (auto [x, y] : {std::pair(a, b), std::pair(b, a)}) {
        krg_mbr_event ev{};
        ev.type = KRG_MBR_EV_PEER_UP;
        ev.node = static_cast<u16>(y);
        ev.incarnation = incarnation(y);
        step(x, ev);
    }
}

void World::disconnect(int a, int b) {
    if (!connection_.erase(pair(a, b))) return;
    for (auto [x, y] : {std::pair(a, b), std::pair(b, a)}) {
        krg_mbr_event ev{};
        ev.type = KRG_MBR_EV_PEER_DOWN;
        ev.node = static_cast<u16>(y);
        ev.incarnation = incarnation(y);
        step(x, ev);
    }
    after(options.reconnect_after, [this, a, b] { connect(a, b); });
}

void World::step(int id, const krg_mbr_event& ev) {
    Node& n = nodes_[id];
    if (!n.alive) return;
    if (n.paused) {
        n.backlog.push_back({now_, ev});
        n.backlog_data.push_back(ev.len ? Bytes(ev.data, ev.data + ev.len) : Bytes());
        return;
    }
    krg_mbr_step(n.engine, clock(id), &ev);
    actions(id);
    check();
}

void World::actions(int id) {
    Node& n = nodes_[id];
    krg_mbr_action act;
    while (krg_mbr_next_action(n.engine, &act)) {
        if (act.type == KRG_MBR_ACT_SEND) {
            send(id, act);
            continue;
        }
        seen_.push_back({now_, id, act});
        u64 epoch = act.epoch, life = n.lives;
        auto later = [&](u32 type, u64 ms) {
            after(ms, [this, id, type, epoch, life] {
                if (nodes_[id].lives == life) event(id, type, 0, epoch);
            });
        };
        if (act.type == KRG_MBR_ACT_PREPARE && !hold_prepared[id]) later(KRG_MBR_EV_PREPARED, 2);
        if (act.type == KRG_MBR_ACT_DRAIN && !hold_drained[id]) later(KRG_MBR_EV_DRAINED, 20);
        EXPECT_NE(act.type, u32(KRG_MBR_ACT_FAILED)) << "node " << id << " line " << act.arg << "\n" << story();
    }
}

void World::send(int from, const krg_mbr_action& act) {
    Bytes data(act.data, act.data + act.len);
    int to = act.node;
    if (on_send) on_send(from, to, data);
    if (drop && drop(from, to, data)) return;
    if (to == KRG_MBR_WITNESS) return witness(from, data);
    auto it = connection_.find(pair(from, to));
    if (it == connection_.end() || !passes(from, to)) return;
    u64 who = incarnation(from);
    after(1, [this, from, to, data, who, g = it->second] {
        auto now = connection_.find(pair(from, to));
        if (now == connection_.end() || now->second != g || !passes(from, to)) return;
        deliver(from, who, to, data);
    });
}

void World::witness(int id, const Bytes& message) {
    if (!nodes_[id].sees_witness) return;
    krg_mbr_view view;
    krg_mbr_get_view(engine(id), &view);
    after(3, [this, id, message, cluster = view.cluster_id] {
        Bytes file = witness_file, reply(KRG_MBR_WITNESS_STATE_MAX);
        u32 length = static_cast<u32>(file.size()), reply_length = static_cast<u32>(reply.size());
        file.resize(KRG_MBR_WITNESS_STATE_MAX);
        int rc = krg_mbr_witness(file.data(), &length, KRG_MBR_WITNESS_STATE_MAX, cluster, message.data(),
                                 static_cast<u32>(message.size()), reply.data(), &reply_length);
        if (rc < 0) return;
        file.resize(length);
        if (rc == 1) witness_file = file;
        reply.resize(reply_length);
        if (reply_length) deliver(KRG_MBR_WITNESS, 0, id, reply);
    });
}

void World::run(u64 ms) {
    u64 end = now_ + ms;
    for (;;) {
        u64 next = end;
        int due = 0;
        for (auto& [id, n] : nodes_) {
            if (!n.alive || n.paused) continue;
            u64 deadline = krg_mbr_deadline(n.engine);
            if (deadline == ~0ull) continue;
            u64 at = deadline > n.offset ? deadline - n.offset : 0;
            at = std::max(at, now_);
            if (at < next) {
                next = at;
                due = id;
            }
        }
        if (!pending_.empty() && pending_.top().at <= next) {
            if (pending_.top().at > end) break;
            now_ = std::max(now_, pending_.top().at);
            auto what = pending_.top().what;
            pending_.pop();
            what();
        } else if (due) {
            now_ = next;
            event(due, KRG_MBR_EV_TICK);
            u64 deadline = krg_mbr_deadline(engine(due));
            ASSERT_GT(deadline, clock(due)) << "node " << due << " wants to be woken without end\n" << story();
        } else {
            break;
        }
    }
    now_ = end;
}

bool World::until(u64 ms, const std::function<bool()>& condition) {
    for (u64 end = now_ + ms; !condition(); run(5))
        if (now_ >= end || ::testing::Test::HasFatalFailure()) return false;
    return true;
}

u64 World::epoch(int id) {
    krg_mbr_view v;
    krg_mbr_get_view(engine(id), &v);
    return v.epoch;
}

Ids World::members(int id) {
    krg_mbr_view v;
    krg_mbr_get_view(engine(id), &v);
    Ids out;
    for (int i = 0; i < v.count; i++) out.push_back(v.member[i].node);
    return out;
}

bool World::serving(int id) {
    Node& n = nodes_[id];
    return n.alive && krg_mbr_serve_until(n.engine) > clock(id);
}

krg_mbr_stats World::stats(int id) {
    krg_mbr_stats s;
    krg_mbr_get_stats(engine(id), &s);
    return s;
}

bool World::agree(const Ids& ids) {
    Ids sorted = ids;
    std::sort(sorted.begin(), sorted.end());
    for (int id : ids)
        if (!serving(id) || members(id) != sorted || epoch(id) != epoch(ids[0])) return false;
    return true;
}

int World::count(int id, u32 action) const {
    return static_cast<int>(
        std::count_if(seen_.begin(), seen_.end(), [&](const Seen& s) { return s.node == id && s.act.type == action; }));
}

const Seen* World::last(int id, u32 action) const {
    const Seen* found = nullptr;
    for (const Seen& s : seen_)
        if (s.node == id && s.act.type == action) found = &s;
    return found;
}

std::string World::story() const {
    static const char* const names[] = {"",      "SEND",     "PREPARE", "COMMIT",  "SUSPEND",      "RESUME",
                                        "DRAIN", "EXPELLED", "LEFT",    "REFUSED", "PEER_REFUSED", "FAILED"};
    std::ostringstream out;
    for (const Seen& s : seen_)
        out << s.at << " node" << s.node << " " << names[s.act.type] << " epoch " << s.act.epoch << " reason " << s.act.reason
            << " node " << s.act.node << "\n";
    for (auto& [id, n] : nodes_) {
        if (!n.alive) continue;
        krg_mbr_view v;
        krg_mbr_get_view(n.engine, &v);
        out << "now " << now_ << " node" << id << " state " << krg_mbr_state(n.engine) << " epoch " << v.epoch << " {";
        for (int i = 0; i < v.count; i++) out << " " << v.member[i].node << (v.member[i].flags ? "d" : "");
        out << " }\n";
    }
    return out.str();
}

/// What must hold at every moment, whatever the scene.
void World::check() {
    struct Server {
        int id;
        krg_mbr_view view;
    };
    std::vector<Server> servers;
    for (auto& [id, n] : nodes_) {
        if (!n.alive) continue;
        krg_mbr_view v;
        krg_mbr_get_view(n.engine, &v);
        if (v.epoch) {
            std::vector<std::pair<int, u64>> who;
            for (int i = 0; i < v.count; i++) who.push_back({v.member[i].node, v.member[i].incarnation});
            auto [it, fresh] = decided_.insert({v.epoch ^ v.cluster_id << 20, who});
            EXPECT_TRUE(fresh || it->second == who) << "two views of epoch " << v.epoch << "\n" << story();
        }
        EXPECT_EQ(stats(id).actions_dropped, 0u);
        if (serving(id)) servers.push_back({id, v});
    }
    for (const Server& a : servers)
        for (const Server& b : servers) {
            if (a.view.epoch >= b.view.epoch || a.view.cluster_id != b.view.cluster_id) continue;
            bool in = false;
            for (int i = 0; i < b.view.count; i++)
                in = in || (b.view.member[i].node == a.id && b.view.member[i].incarnation == incarnation(a.id));
            EXPECT_TRUE(in) << "node " << a.id << " serves in epoch " << a.view.epoch << " while node " << b.id << " serves in "
                            << b.view.epoch << " without it\n"
                            << story();
        }
}

}  // namespace krg::test
