// SPDX-License-Identifier: GPL-2.0
// Bytes that no engine sent: truncated, flipped, replayed, made up. They are
// counted and change nothing that matters.
#include "tests/unit/membership_world.hh"

#include <random>

namespace krg::test {
namespace {

struct Recorded {
    int from;
    Bytes data;
};

/// One message of every type that node 1 gets while a cluster lives through joins, a crash, a reset, an eviction and a lost lease.
std::map<int, Recorded> record() {
    std::map<int, Recorded> out;
    auto live = [&](World::Options options, auto&& scene) {
        World w(options);
        w.on_send = [&](int from, int, const Bytes& m) { out.insert({m[1], {from, m}}); };
        w.form({1, 2, 3, 4});
        scene(w);
    };
    World::Options witness;
    witness.witness = true;
    live({}, [](World& w) {
        w.reset(1, 2);
        w.run(2000);
        w.evict(2, 4);
        w.run(4000);
        w.crash(1);
        w.run(6000);
    });
    live({}, [](World& w) {
        w.cut({4}, {1, 2, 3});
        w.run(6000);
        w.heal();
        w.run(3000);
    });
    live({}, [](World& w) {
        w.drop = [&](int from, int, const Bytes& m) { return m[1] == Decide && from == 1; };
        w.reset(1, 2);
        w.run(1000);
        w.drop = nullptr;
        w.run(3000);
    });
    live({}, [](World& w) {
        w.configure = [](krg_mbr_config& c) { c.cluster_hash = 7; };
        w.join(5);
        w.run(1000);
    });
    live({}, [](World& w) {  // a ballot that is too low for who promised a higher one
        w.drop = [&](int, int, const Bytes& m) { return m[1] == P2a; };
        w.reset(1, 2);
        w.run(900);
        Bytes low(34);
        low[0] = KRG_MBR_VERSION;
        low[1] = P1a;
        krg_mbr_view view;
        krg_mbr_get_view(w.engine(3), &view);
        for (int i = 0; i < 8; i++) low[4 + static_cast<size_t>(i)] = static_cast<u8>(view.cluster_id >> (8 * i));
        low[12] = static_cast<u8>(view.epoch);
        low[20] = static_cast<u8>(view.epoch + 1);
        low[32] = 2;
        w.deliver(2, w.incarnation(2), 1, low);
    });
    live(witness, [](World& w) {
        w.cut({1, 2}, {3, 4});
        w.run(8000);
    });
    return out;
}

/// A settled cluster of three, to whose node 1 the bytes are given.
struct Victim {
    World w;
    u64 hash = 0;
    Victim() {
        w.form({1, 2, 3});
        w.run(1000);
        w.event(1, KRG_MBR_EV_TICK);  // nothing else is due now
    }
    void give(int from, const Bytes& data) { w.deliver(from, from ? w.incarnation(from) : 0, 1, data); }
    u64 rejected() { return w.stats(1).bad_messages + w.stats(1).stale_messages; }
};

TEST(MembershipMessage, Every_type_of_message_was_recorded) {
    auto messages = record();
    for (int type = Renew; type <= WitnessNew; type++) EXPECT_TRUE(messages.count(type)) << "type " << type;
}

TEST(MembershipMessage, Truncated_at_every_byte_each_is_counted_and_changes_nothing) {
    for (auto& [type, m] : record()) {
        Victim v;
        u64 epoch = v.w.epoch(1);
        for (size_t length = 0; length < m.data.size(); length++) {
            Bytes cut(m.data.begin(), m.data.begin() + static_cast<long>(length));
            u64 before = v.rejected(), hash = krg_mbr_hash(v.w.engine(1));
            v.give(2, cut);
            EXPECT_EQ(v.rejected(), before + 1) << "type " << type << " cut to " << length;
            EXPECT_TRUE(length >= 20 || krg_mbr_hash(v.w.engine(1)) == hash) << "type " << type << " cut to " << length;
        }
        EXPECT_EQ(v.w.epoch(1), epoch);
        v.w.run(3000);
        EXPECT_TRUE(v.w.agree({1, 2, 3})) << "type " << type << "\n" << v.w.story();
    }
}

TEST(MembershipMessage, Longer_than_they_should_be_each_is_counted) {
    for (auto& [type, m] : record()) {
        Victim v;
        Bytes longer = m.data;
        longer.push_back(0);
        u64 before = v.rejected();
        v.give(2, longer);
        EXPECT_EQ(v.rejected(), before + 1) << "type " << type;
        v.w.run(3000);
        EXPECT_TRUE(v.w.agree({1, 2, 3})) << "type " << type;
    }
}

TEST(MembershipMessage, With_any_byte_flipped_none_does_harm) {
    for (auto& [type, m] : record())
        for (size_t at = 0; at < m.data.size(); at++) {
            Victim v;
            for (u8 bit : {0x01, 0x80, 0xff}) {
                Bytes bad = m.data;
                bad[at] ^= bit;
                v.give(2, bad);
            }
            v.w.run(3000);
            ASSERT_NE(v.w.state(1), KRG_MBR_FAILED) << "type " << type << " byte " << at;
            ASSERT_EQ(v.w.stats(1).actions_dropped, 0u);
            ASSERT_LE(v.w.members(1).size(), 16u);
        }
}

TEST(MembershipMessage, Random_bytes_do_no_harm) {
    std::mt19937_64 random(1);
    Victim v;
    for (int i = 0; i < 20000; i++) {
        Bytes noise(random() % 200);
        for (u8& b : noise) b = static_cast<u8>(random());
        if (noise.size() >= 4 && i % 2) {
            noise[0] = KRG_MBR_VERSION;
            noise[1] = static_cast<u8>(random() % 16);
            noise[2] = noise[3] = 0;
        }
        v.give(static_cast<int>(random() % 4), noise);
    }
    v.w.run(3000);
    EXPECT_TRUE(v.w.agree({1, 2, 3})) << v.w.story();
    EXPECT_GE(v.rejected(), 10000u);
}

TEST(MembershipMessage, A_replay_of_everything_a_member_ever_sent_does_not_keep_it_alive) {
    World w;
    w.form({1, 2, 3});
    std::vector<Recorded> said;
    w.on_send = [&](int from, int to, const Bytes& m) {
        if (from == 3 && to == 1) said.push_back({3, m});
    };
    w.run(5000);
    w.on_send = nullptr;
    u64 was = w.incarnation(3);
    w.crash(3);
    ASSERT_TRUE(w.agreed_within(6000, {1, 2}));
    u64 epoch = w.epoch(1), stale = w.stats(1).stale_messages;
    for (auto& m : said) w.deliver(3, was, 1, m.data);
    EXPECT_EQ(w.stats(1).stale_messages, stale + said.size());
    w.run(3000);
    EXPECT_EQ(w.epoch(1), epoch);
    EXPECT_TRUE(w.agree({1, 2}));
}

TEST(MembershipMessage, Messages_of_another_incarnation_are_stale) {
    Victim v;
    auto messages = record();
    for (auto& [type, m] : messages) {
        if (type == JoinReq) continue;
        u64 before = v.rejected(), hash = krg_mbr_hash(v.w.engine(1));
        v.w.deliver(2, 12345, 1, m.data);
        EXPECT_EQ(v.rejected(), before + 1);
        EXPECT_EQ(krg_mbr_hash(v.w.engine(1)), hash) << "type " << type;
    }
}

TEST(MembershipMessage, Messages_of_another_cluster_are_not_acted_on) {
    Victim v;
    for (auto& [type, m] : record()) {
        if (type == JoinReq) continue;
        Bytes other = m.data;
        other[4] ^= 0x55;  // cluster id
        u64 epoch = v.w.epoch(1);
        v.give(2, other);
        EXPECT_EQ(v.w.epoch(1), epoch) << "type " << type;
        EXPECT_TRUE(v.w.serving(1)) << "type " << type;
    }
}

TEST(MembershipMessage, Before_the_start_and_after_the_end_nothing_is_heard) {
    World w;
    w.start(1);
    w.start(2);
    for (auto& [type, m] : record()) w.deliver(2, w.incarnation(2), 1, m.data);
    EXPECT_EQ(w.state(1), KRG_MBR_IDLE);
    w.create(1);
    w.run(100);
    w.leave(1);
    w.run(1000);
    ASSERT_EQ(w.state(1), KRG_MBR_IDLE);
    for (auto& [type, m] : record()) w.deliver(2, w.incarnation(2), 1, m.data);
    EXPECT_EQ(w.state(1), KRG_MBR_IDLE);
}

TEST(MembershipMessage, Events_that_make_no_sense_are_survived) {
    Victim v;
    std::mt19937_64 random(2);
    u64 epoch = v.w.epoch(1);
    for (int i = 0; i < 5000; i++) {
        krg_mbr_event ev{};
        ev.type = static_cast<u32>(random() % 40);
        if (ev.type == KRG_MBR_EV_LEAVE || ev.type == KRG_MBR_EV_EVICT || ev.type == KRG_MBR_EV_PEER_DOWN) continue;
        if (ev.type == KRG_MBR_EV_PEER_UP) continue;
        ev.node = static_cast<u16>(random());
        ev.incarnation = random();
        ev.arg = random();
        krg_mbr_step(v.w.engine(1), v.w.clock(1), &ev);
    }
    v.w.run(3000);
    EXPECT_EQ(v.w.epoch(1), epoch);
    EXPECT_TRUE(v.w.agree({1, 2, 3})) << v.w.story();
}

TEST(MembershipMessage, None_is_larger_than_the_transport_takes) {
    size_t largest = 0;
    World::Options o;
    o.max_nodes = 1024;
    World w(o);
    w.on_send = [&](int, int, const Bytes& m) { largest = std::max(largest, m.size()); };
    Ids all;
    w.create(1);
    for (int i = 1; i <= 24; i++) all.push_back(i * 42);
    for (int i : all) w.join(i);
    w.run(3000);
    all.insert(all.begin(), 1);
    EXPECT_TRUE(w.agreed_within(10000, all)) << w.story();
    // A view of 1024 members that all replace 1024 others, with every reachability row and the most broken pairs.
    EXPECT_LT(20 + 8 + 6 + 6 + (48 + 24 * 1024) + (2 + 8 * 17) + (2 + 4 * 1024), 60000);
    EXPECT_LT(largest, 2000u);
}

}  // namespace
}  // namespace krg::test
