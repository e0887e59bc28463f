// SPDX-License-Identifier: GPL-2.0
// Attributes: what is put comes out, and bytes of any kind are survived.
#include <gtest/gtest.h>

#include "include/uapi/linux/kerrighed.h"
#include "tests/tools/pictures.hh"
#include "tests/tools/replay.hh"
#include "tools/lib/names.hh"

namespace krg::test {
namespace {

TEST(Attributes, what_is_put_comes_out) {
    Request request(1);
    request.put_u8(1, 200).put_u16(2, 60000).put_u32(3, 4000000000U).put_u64(4, ~std::uint64_t{0}).put_flag(5);
    request.put_string(6, "text").put_binary(7, Bytes{1, 2, 3}).put_nest(8, [](Request& nest) { nest.put_u16(1, 9); });
    request.put_u16(9, 1).put_u16(9, 2);
    const Attributes a(request.attributes());
    EXPECT_EQ(a.number(1), 200U);
    EXPECT_EQ(a.number(2), 60000U);
    EXPECT_EQ(a.number(3), 4000000000U);
    EXPECT_EQ(a.number(4), ~std::uint64_t{0});
    EXPECT_TRUE(a.has(5));
    EXPECT_EQ(a.text(6), "text");
    EXPECT_EQ(a.binary(7), (Bytes{1, 2, 3}));
    EXPECT_EQ(a.nest(8).number(1), 9U);
    EXPECT_EQ(a.numbers(9), (std::vector<std::uint64_t>{1, 2}));
    EXPECT_FALSE(a.has(10));
    EXPECT_EQ(a.number_or(10, 5), 5U);
    EXPECT_EQ(a.text(10), "");
    EXPECT_FALSE(a.nest(10).has(1));
}

TEST(Attributes, text_without_its_zero_and_numbers_of_odd_sizes_are_survived) {
    Request request(1);
    request.put_binary(1, Bytes{'a', 'b'}).put_binary(2, Bytes{1, 2, 3});
    const Attributes a(request.attributes());
    EXPECT_EQ(a.text(1), "ab");
    EXPECT_FALSE(a.number(2).has_value());
}

TEST(Attributes, any_bytes_are_survived) {
    std::uint32_t state = 7;
    for (int round = 0; round < 20000; round++) {
        Message message{static_cast<std::uint8_t>(KRG_CMD_EVENT), {}};
        state = state * 1664525U + 1013904223U;
        message.payload.resize(state >> 26);
        for (auto& byte : message.payload) {
            state = state * 1664525U + 1013904223U;
            byte = static_cast<std::uint8_t>((state >> 16) % 24);
        }
        const auto event = parse_event(message);
        ASSERT_TRUE(event.has_value());
        EXPECT_LE(event->members.size(), message.payload.size());
    }
}

TEST(Client, reads_back_what_a_kernel_would_send) {
    const auto recording = Recording::parse(blue_messages(3, 12));
    Client client(replay(recording));
    const ClusterStatus status = client.cluster();
    EXPECT_EQ(status.name, "blue");
    EXPECT_EQ(status.epoch, 12U);
    EXPECT_EQ(status.members, (std::vector<NodeId>{1, 2, 3}));
    EXPECT_TRUE(status.in_cluster());
    const auto nodes = client.nodes();
    ASSERT_EQ(nodes.size(), 3U);
    EXPECT_TRUE(nodes[0].self);
    EXPECT_EQ(nodes[2].heard_ms_ago, 120U);
    EXPECT_EQ(client.links().at(0).mac, "52:54:00:00:00:01");
}

TEST(Client, sends_a_join_with_every_attribute_the_kernel_asks_for) {
    const auto recording = Recording::parse("> cluster-join\n> cluster-create\n");
    Client client(replay(recording));
    NodeConfig config;
    config.cluster = "blue";
    config.host = "node3";
    config.node_id = 3;
    config.key = Bytes(KRG_KEY_SIZE, 5);
    config.links = {"eth1", "eth2"};
    config.timeout_ms = 9000;
    config.lease_ms = 700;
    client.join(config);
    const Bytes join = recording->last_request("cluster-join");
    const Attributes a(join);
    EXPECT_EQ(a.text(KRG_A_CONFIG_CLUSTER), "blue");
    EXPECT_EQ(a.number(KRG_A_CONFIG_NODE_ID), 3U);
    EXPECT_EQ(a.binary(KRG_A_CONFIG_KEY)->size(), std::size_t{KRG_KEY_SIZE});
    EXPECT_EQ(a.number(KRG_A_CONFIG_TIMEOUT_MS), 9000U);
    EXPECT_EQ(a.number(KRG_A_CONFIG_AUTO_REJOIN), 1U);
    EXPECT_FALSE(a.has(KRG_A_CONFIG_LEASE_MS)) << "a joining node takes the cluster's lease; the kernel refuses its own";
    client.create(config);
    const Bytes create = recording->last_request("cluster-create");
    EXPECT_EQ(Attributes(create).number(KRG_A_CONFIG_LEASE_MS), 700U);
    EXPECT_FALSE(Attributes(create).has(KRG_A_CONFIG_FORCE));
}

TEST(Client, a_refusal_keeps_the_kernels_words) {
    const auto recording = Recording::parse(refusal("cluster-leave", 16, "node 2 still holds pages"));
    Client client(replay(recording));
    try {
        client.leave();
        FAIL();
    } catch (const NetlinkError& error) {
        EXPECT_EQ(error.error(), 16);
        EXPECT_STREQ(error.what(), "node 2 still holds pages");
    }
}

TEST(Stats, percentiles_are_upper_bounds) {
    StatsEntry entry;
    EXPECT_EQ(entry.percentile_us(50), 0U);
    entry.value = 100;
    entry.buckets = {0, 0, 90, 9, 1, 0};
    EXPECT_EQ(entry.percentile_us(50), 8U);
    EXPECT_EQ(entry.percentile_us(95), 16U);
    EXPECT_EQ(entry.percentile_us(100), 32U);
}

TEST(Names, every_number_has_one) {
    for (std::uint64_t i = 0; i <= KRG_NODE_STATE_MAX; i++) EXPECT_FALSE(state_name(i).empty());
    for (std::uint64_t i = 0; i <= KRG_REASON_MAX; i++) {
        EXPECT_FALSE(reason_name(i).empty());
        EXPECT_FALSE(reason_phrase(i).empty());
    }
    for (std::uint64_t i = 0; i <= KRG_EVENT_KIND_MAX; i++) EXPECT_FALSE(event_name(i).empty());
    EXPECT_EQ(state_name(99), "unknown");
    EXPECT_EQ(state_name(KRG_NODE_STATE_SERVING), "serving");
    EXPECT_EQ(reason_name(KRG_REASON_KEY), "key");
    EXPECT_EQ(event_name(KRG_EVENT_KIND_POWER), "power");
}

}  // namespace
}  // namespace krg::test
