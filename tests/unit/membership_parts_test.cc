// SPDX-License-Identifier: GPL-2.0
// The engine's parts on their own: memory, bytes, sets, views, cliques, witness.
#include "kernel/core/clique.hh"
#include "kernel/core/message.hh"
#include "kernel/core/view.hh"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace krg::test {
namespace {

using Bytes = std::vector<u8>;

krg_mbr_config config(u16 self, u16 max_nodes) {
    krg_mbr_config c{};
    c.self = self;
    c.max_nodes = max_nodes;
    c.incarnation = 1;
    c.params = {2000, 100, 250, 1000, 300, 0};
    return c;
}

TEST(MembershipMemory, An_engine_for_126_nodes_is_small) {
    EXPECT_LT(krg_mbr_size(126), 512u * 1024);
    EXPECT_LT(krg_mbr_size(1024), 3u << 20);
    EXPECT_LT(krg_mbr_size(4096), 16u << 20);
    EXPECT_EQ(krg_mbr_size(0), 0u);
    EXPECT_EQ(krg_mbr_size(4097), 0u);
}

TEST(MembershipMemory, It_uses_exactly_what_it_asks_for) {
    for (u16 max : {1, 2, 63, 64, 65, 126, 1024, 4096}) {
        u64 size = krg_mbr_size(max);
        void* block = aligned_alloc(16, size);  // ASan sees one byte beyond it
        krg_mbr_config c = config(max, max);
        krg_mbr* m = krg_mbr_init(block, size, &c, 5);
        ASSERT_TRUE(m) << max;
        krg_mbr_event ev{};
        ev.type = KRG_MBR_EV_CREATE;
        ev.arg = 1;
        krg_mbr_step(m, 6, &ev);
        EXPECT_EQ(krg_mbr_state(m), KRG_MBR_PREPARING);
        EXPECT_FALSE(krg_mbr_init(block, size - 1, &c, 5)) << max;
        free(block);
    }
}

TEST(MembershipMemory, A_configuration_that_makes_no_sense_is_refused) {
    std::vector<u64> memory(krg_mbr_size(16) / 8 + 2);
    auto accepts = [&](krg_mbr_config c) { return krg_mbr_init(memory.data(), memory.size() * 8, &c, 0) != nullptr; };
    EXPECT_TRUE(accepts(config(1, 16)));
    EXPECT_FALSE(accepts(config(0, 16)));
    EXPECT_FALSE(accepts(config(17, 16)));
    EXPECT_FALSE(accepts(config(1, 0)));
    krg_mbr_config c = config(1, 16);
    c.incarnation = 0;
    EXPECT_FALSE(accepts(c));
    for (auto spoil : {+[](krg_mbr_params& p) { p.lease_ms = 0; }, +[](krg_mbr_params& p) { p.renew_ms = 0; },
                       +[](krg_mbr_params& p) { p.renew_ms = p.lease_ms; }, +[](krg_mbr_params& p) { p.suspect_ms = 1; },
                       +[](krg_mbr_params& p) { p.settle_ms = 0; }, +[](krg_mbr_params& p) { p.witness = 2; },
                       +[](krg_mbr_params& p) { p.drift_ms = ~0u; }}) {
        c = config(1, 16);
        spoil(c.params);
        EXPECT_FALSE(accepts(c));
    }
    EXPECT_FALSE(krg_mbr_init(nullptr, 1 << 20, &c, 0));
    EXPECT_FALSE(krg_mbr_init(memory.data(), memory.size() * 8, nullptr, 0));
}

TEST(MembershipCodec, What_is_written_is_read_back) {
    u8 buffer[64];
    Writer w(buffer, sizeof buffer);
    w.put8(0x12);
    w.put16(0x3456);
    w.put32(0x789abcde);
    w.put64(0x1122334455667788);
    ASSERT_TRUE(w.ok());
    EXPECT_EQ(w.length(), 15u);
    EXPECT_EQ(buffer[1], 0x56) << "little-endian";
    Reader r(buffer, w.length());
    EXPECT_EQ(r.get8(), 0x12);
    EXPECT_EQ(r.get16(), 0x3456);
    EXPECT_EQ(r.get32(), 0x789abcdeu);
    EXPECT_FALSE(r.complete());
    EXPECT_EQ(r.get64(), 0x1122334455667788u);
    EXPECT_TRUE(r.complete());
    EXPECT_EQ(r.get8(), 0);
    EXPECT_FALSE(r.ok());
}

TEST(MembershipCodec, A_full_writer_stays_failed) {
    u8 buffer[4] = {};
    Writer w(buffer, 3);
    w.put16(1);
    w.put32(2);
    w.put8(3);
    EXPECT_FALSE(w.ok());
    EXPECT_EQ(buffer[3], 0);
}

struct Storage {
    Bytes memory = Bytes(1 << 20);
    Arena arena{memory.data(), memory.size()};
};

View make_view(Arena& arena, u16 max_nodes) {
    View v;
    v.place(arena, max_nodes);
    v.epoch = 7;
    v.cluster_id = 9;
    v.params = {2000, 100, 250, 1000, 300, 1};
    return v;
}

TEST(MembershipView, Survives_the_wire) {
    Storage s;
    View v = make_view(s.arena, 100);
    for (u16 n : {1, 5, 64, 100}) EXPECT_TRUE(v.add(n, n * 10u, n == 5 ? KRG_MBR_F_DRAINING : 0));
    EXPECT_TRUE(v.add_removed(3, 30, KRG_MBR_R_LEFT));
    Bytes wire(View::encoded_max(100));
    Writer w(wire.data(), static_cast<u32>(wire.size()));
    v.encode(w);
    ASSERT_TRUE(w.ok());
    View back;
    back.place(s.arena, 100);
    Reader r(wire.data(), w.length());
    ASSERT_TRUE(back.decode(r));
    EXPECT_TRUE(r.complete());
    EXPECT_EQ(back.hash(1), v.hash(1));
    EXPECT_TRUE(back.has(64, 640));
    EXPECT_FALSE(back.has(64, 641));
    EXPECT_EQ(back.find(5)->flags, KRG_MBR_F_DRAINING);
    EXPECT_EQ(back.removed()[0].reason, KRG_MBR_R_LEFT);
    EXPECT_FALSE(back.find(0));
    EXPECT_FALSE(back.find(99));

    View small;  // for whom node 100 is out of range
    small.place(s.arena, 99);
    Reader again(wire.data(), w.length());
    EXPECT_FALSE(small.decode(again));
    EXPECT_EQ(small.epoch, 0u);
}

TEST(MembershipView, Keeps_its_order) {
    Storage s;
    View v = make_view(s.arena, 10);
    EXPECT_TRUE(v.add(4, 1, 0));
    EXPECT_FALSE(v.add(4, 2, 0));
    EXPECT_FALSE(v.add(3, 2, 0));
    EXPECT_FALSE(v.add(11, 2, 0));
    EXPECT_FALSE(v.add(5, 0, 0));
    EXPECT_EQ(v.count(), 1);
}

TEST(MembershipView, Quorums_of_consecutive_views_intersect) {
    Storage s;
    for (u16 n = 1; n <= 10; n++)
        for (u32 witness : {0u, 1u}) {
            View v = make_view(s.arena, 10);
            v.params.witness = witness;
            for (u16 i = 1; i <= n; i++) ASSERT_TRUE(v.add(i, 1, 0));
            for (u32 a = 0; a <= n; a++)
                for (bool wa : {false, true}) {
                    if (!v.decided_by(a, wa)) continue;
                    // Two deciding sets share a member or the witness; a deciding set and a majority share a member.
                    for (u32 b = 0; b <= n; b++)
                        for (bool wb : {false, true}) {
                            if (v.decided_by(b, wb)) {
                                EXPECT_TRUE(a + b > n || (wa && wb));
                            }
                        }
                    EXPECT_GT(a + v.majority(), u32(n));
                }
        }
}

struct Graph {
    int n;
    std::vector<std::vector<bool>> broken;
    explicit Graph(int nodes) : n(nodes), broken(size_t(nodes) + 1, std::vector<bool>(size_t(nodes) + 1)) {}
    bool clique(u32 set) const {
        for (int i = 0; i < n; i++)
            for (int j = i + 1; j < n; j++)
                if ((set >> i & 1) && (set >> j & 1) && broken[size_t(i) + 1][size_t(j) + 1]) return false;
        return true;
    }
    /// By trying all: most members, then the lexicographically lowest ids.
    u32 best(u32 candidates) const {
        u32 found = 0;
        for (u32 set = 1; set < 1u << n; set++) {
            if ((set & ~candidates) || popcount(set) < popcount(found) || !clique(set)) continue;
            u32 differ = set ^ found;
            if (popcount(set) > popcount(found) || (set & (differ & (~differ + 1)))) found = set;
        }
        return found;
    }
};

TEST(MembershipClique, Is_the_one_that_trying_all_sets_finds) {
    std::mt19937 random(42);
    for (int round = 0; round < 300; round++) {
        int n = 1 + static_cast<int>(random() % 12);
        if (round % 30 == 0) n = 16;
        Graph g(n);
        Storage s;
        Clique c;
        c.place(s.arena, 16);
        c.reset();
        u32 density = random() % 100;
        for (int i = 1; i <= n; i++)
            for (int j = i + 1; j <= n; j++)
                if (random() % 100 < density) {
                    g.broken[i][j] = true;
                    c.conflict(static_cast<u16>(i), static_cast<u16>(j));
                }
        u32 candidates = 0;
        u32 words = NodeSet::words_for(16);
        NodeSet in(s.arena.take<u64>(words), words), out(s.arena.take<u64>(words), words);
        for (int i = 1; i <= n; i++)
            if (random() % 8) {
                in.add(static_cast<u16>(i));
                candidates |= 1u << (i - 1);
            }
        c.solve(in, out);
        u32 got = 0;
        out.each([&](NodeId id) { got |= 1u << (id - 1); });
        ASSERT_EQ(got, g.best(candidates)) << "n " << n << " density " << density << " round " << round;
    }
}

TEST(MembershipClique, Stays_a_clique_and_ends_when_everything_is_broken) {
    Bytes memory(8 << 20);
    Arena arena(memory.data(), memory.size());
    Clique c;
    c.place(arena, 1024);
    u32 words = NodeSet::words_for(1024);
    NodeSet in(arena.take<u64>(words), words), out(arena.take<u64>(words), words);
    std::mt19937 random(7);
    for (u32 density : {1, 10, 50, 90, 100}) {
        c.reset();
        in.clear();
        for (u16 i = 1; i <= 1024; i++) {
            in.add(i);
            for (u16 j = static_cast<u16>(i + 1); j <= 1024; j++)
                if (random() % 100 < density) c.conflict(i, j);
        }
        c.solve(in, out);
        ASSERT_FALSE(out.empty());
        out.each([&](NodeId a) { out.each([&](NodeId b) { ASSERT_FALSE(a != b && c.conflicting(a, b)); }); });
    }
}

TEST(MembershipClique, A_partition_keeps_the_larger_side_exactly) {
    Bytes memory(8 << 20);
    Arena arena(memory.data(), memory.size());
    u32 words = NodeSet::words_for(1024);
    NodeSet in(arena.take<u64>(words), words), out(arena.take<u64>(words), words);
    for (u16 border : {1, 10, 400, 511, 512, 513, 1000}) {
        Clique c;
        Bytes more(8 << 20);
        Arena own(more.data(), more.size());
        c.place(own, 1024);
        in.clear();
        for (u16 i = 1; i <= 1024; i++) in.add(i);
        for (u16 i = 1; i <= border; i++)
            for (u16 j = static_cast<u16>(border + 1); j <= 1024; j++) c.conflict(i, j);
        c.solve(in, out);
        EXPECT_EQ(out.size(), std::max<u32>(border, 1024u - border)) << border;
        EXPECT_EQ(out.has(1), border >= 512) << border;
    }
}

TEST(MembershipNodeSet, Finds_the_next_and_compares) {
    u64 a_words[3] = {}, b_words[3] = {};
    NodeSet a(a_words, 3), b(b_words, 3);
    EXPECT_TRUE(a.empty());
    EXPECT_EQ(a.next(1), 0);
    a.add(3);
    a.add(64);
    a.add(191);
    a.add(192);  // beyond its width: ignored
    EXPECT_EQ(a.size(), 3u);
    EXPECT_EQ(a.next(1), 3);
    EXPECT_EQ(a.next(4), 64);
    EXPECT_EQ(a.next(65), 191);
    EXPECT_EQ(a.next(192), 0);
    b.add(2);
    b.add(100);
    EXPECT_TRUE(a.better_than(b)) << "more";
    b.add(101);
    EXPECT_TRUE(b.better_than(a)) << "lower";
    EXPECT_FALSE(a.better_than(a));
}

// The witness, spoken to directly.
struct Witness {
    Bytes file = Bytes(KRG_MBR_WITNESS_STATE_MAX);
    u32 length = 0;
    Bytes reply = Bytes(1024);
    u32 reply_length = 0;

    int ask(const Bytes& m, u64 cluster = 5) {
        reply_length = static_cast<u32>(reply.size());
        return krg_mbr_witness(file.data(), &length, KRG_MBR_WITNESS_STATE_MAX, cluster, m.data(), static_cast<u32>(m.size()),
                               reply.data(), &reply_length);
    }
    static Bytes message(MsgType type, u64 cluster, u64 target = 0, Ballot b = {}, const Bytes& value = {}) {
        Bytes out(256);
        Writer w(out.data(), 256);
        Header h;
        h.type = type;
        h.cluster_id = cluster;
        h.epoch = target ? target - 1 : 0;
        h.put(w);
        if (target) {
            w.put64(target);
            put_ballot(w, b);
        }
        for (u8 v : value) w.put8(v);
        out.resize(w.length());
        return out;
    }
    int create() { return ask(message(MsgType::WitnessNew, 5)); }
    MsgType answered() const { return static_cast<MsgType>(reply[1]); }
};

TEST(MembershipWitness, Promises_accepts_and_remembers) {
    Witness w;
    ASSERT_EQ(w.create(), 1);
    Bytes one = {1, 2, 3};
    EXPECT_EQ(w.ask(Witness::message(MsgType::P1a, 5, 2, {3, 1})), 1);
    EXPECT_EQ(w.answered(), MsgType::P1b);
    EXPECT_EQ(w.ask(Witness::message(MsgType::P2a, 5, 2, {2, 2}, one)), 0) << "below its promise";
    EXPECT_EQ(w.answered(), MsgType::Nack);
    EXPECT_EQ(w.ask(Witness::message(MsgType::P2a, 5, 2, {3, 1}, one)), 1);
    EXPECT_EQ(w.answered(), MsgType::P2b);
    EXPECT_EQ(w.ask(Witness::message(MsgType::P1a, 5, 2, {4, 2})), 1);
    Reader r(w.reply.data() + Header::size, w.reply_length - Header::size);
    EXPECT_EQ(r.get64(), 2u);
    EXPECT_EQ(get_ballot(r), (Ballot{4, 2}));
    EXPECT_EQ(get_ballot(r), (Ballot{3, 1})) << "what it accepted";
    EXPECT_EQ(r.get8(), 1);
}

TEST(MembershipWitness, Without_room_for_its_answer_it_promises_nothing) {
    Witness w;
    ASSERT_EQ(w.create(), 1);
    ASSERT_EQ(w.ask(Witness::message(MsgType::P2a, 5, 2, {3, 1}, {1, 2, 3})), 1);
    const Bytes file = w.file;
    const u32 length = w.length;
    for (auto [type, value] :
         {std::pair(MsgType::P1a, Bytes{}), std::pair(MsgType::P2a, Bytes{4, 5}), std::pair(MsgType::WitnessNew, Bytes{})}) {
        const bool creation = type == MsgType::WitnessNew;
        const u64 cluster = creation ? 6 : 5;
        const Bytes message = Witness::message(type, cluster, creation ? 0 : 2, {9, 1}, value);
        ASSERT_EQ(w.ask(message, cluster), 1);
        const u32 needed = w.reply_length;
        EXPECT_GE(needed, Header::size) << "never empty";
        for (u32 room = 0; room < needed; room++) {
            w.file = file;
            w.length = length;
            w.reply.assign(room, 0);
            EXPECT_EQ(w.ask(message, cluster), -1) << "room for " << room;
            EXPECT_TRUE(w.file == file && w.length == length);
        }
        w.reply.assign(1024, 0);
        w.file = file;
        w.length = length;
    }
}

TEST(MembershipWitness, An_epoch_that_is_over_stays_over) {
    Witness w;
    ASSERT_EQ(w.create(), 1);
    EXPECT_EQ(w.ask(Witness::message(MsgType::P1a, 5, 9, {1, 1})), 1);
    EXPECT_EQ(w.ask(Witness::message(MsgType::P1a, 5, 8, {100, 1})), 0);
    EXPECT_EQ(w.answered(), MsgType::Nack);
    EXPECT_EQ(w.ask(Witness::message(MsgType::P2a, 5, 8, {100, 1}, {1})), 0);
    EXPECT_EQ(w.answered(), MsgType::Nack);
}

TEST(MembershipWitness, Serves_one_life_of_one_cluster) {
    Witness w;
    EXPECT_EQ(w.ask(Witness::message(MsgType::P1a, 5, 2, {1, 1})), -1) << "an empty file knows no cluster";
    ASSERT_EQ(w.create(), 1);
    EXPECT_EQ(w.ask(Witness::message(MsgType::P1a, 6, 2, {1, 1}), 6), -1);
    EXPECT_EQ(w.ask(Witness::message(MsgType::P1a, 5, 2, {1, 1})), 1);
    EXPECT_EQ(w.ask(Witness::message(MsgType::WitnessNew, 6), 6), 1);
    EXPECT_EQ(w.ask(Witness::message(MsgType::P1a, 5, 2, {1, 1})), -1);
}

TEST(MembershipWitness, A_repeated_creation_forgets_nothing) {
    Witness w;
    ASSERT_EQ(w.create(), 1);
    EXPECT_EQ(w.ask(Witness::message(MsgType::P1a, 5, 2, {7, 1})), 1);
    EXPECT_EQ(w.create(), 0);
    EXPECT_EQ(w.ask(Witness::message(MsgType::P1a, 5, 2, {6, 1})), 0);
    EXPECT_EQ(w.answered(), MsgType::Nack);
}

TEST(MembershipWitness, Damage_anywhere_in_its_file_is_noticed) {
    Witness w;
    ASSERT_EQ(w.create(), 1);
    ASSERT_EQ(w.ask(Witness::message(MsgType::P2a, 5, 2, {1, 1}, {1, 2, 3, 4, 5})), 1);
    Bytes good = w.file;
    u32 length = w.length;
    for (u32 at = 0; at < length; at++) {
        w.file = good;
        w.length = length;
        w.file[at] ^= 0x10;
        EXPECT_EQ(w.ask(Witness::message(MsgType::P1a, 5, 2, {9, 1})), -1) << "byte " << at;
    }
    for (u32 cut = 1; cut < length; cut++) {
        w.file = good;
        w.length = cut;
        EXPECT_EQ(w.ask(Witness::message(MsgType::P1a, 5, 2, {9, 1})), -1) << "length " << cut;
    }
    w.file = good;
    w.length = length;
    EXPECT_EQ(w.ask(Witness::message(MsgType::P1a, 5, 2, {9, 1})), 1);
}

TEST(MembershipWitness, Messages_cut_short_are_refused) {
    Witness w;
    ASSERT_EQ(w.create(), 1);
    Bytes whole = Witness::message(MsgType::P1a, 5, 2, {1, 1});
    for (size_t n = 0; n < whole.size(); n++)
        EXPECT_EQ(w.ask(Bytes(whole.begin(), whole.begin() + static_cast<long>(n))), -1) << n;
}

}  // namespace
}  // namespace krg::test
