// SPDX-License-Identifier: GPL-2.0
// Setting up TIPC: order, idempotence, undo, and whose TIPC it is.
#include "tools/lib/tipc.hh"

#include <gtest/gtest.h>

#include "tests/tools/fake_machine.hh"
#include "tools/lib/error.hh"
#include "tools/lib/key.hh"

namespace krg::test {
namespace {

TipcPlan plan(const std::string& cluster = "blue", std::uint8_t key = 7) {
    return {cluster, Bytes(key_size, key), {"eth1", "eth2"}, 500};
}

class TipcSetup : public ::testing::Test {
protected:
    void configure(const TipcPlan& what) { Tipc(machine).configure(what); }
    void unconfigure() { Tipc(machine).unconfigure(); }

    std::string refusal(const TipcPlan& what) {
        try {
            configure(what);
        } catch (const Error& error) {
            return error.what();
        }
        return "";
    }

    FakeMachine machine;
};

TEST_F(TipcSetup, loads_the_module_and_enables_every_link_after_the_key) {
    configure(plan());
    EXPECT_EQ(machine.loaded, std::vector<std::string>{"tipc"});
    EXPECT_EQ(machine.tipc.bearers, (std::vector<std::string>{"eth:eth1", "eth:eth2"}));
    EXPECT_EQ(machine.tipc.net_id, tipc_net_id("blue"));
    EXPECT_EQ(machine.tipc.tolerance_ms["eth:eth2"], 500U);
    EXPECT_FALSE(machine.tipc.sent_plaintext);
}

TEST_F(TipcSetup, identity_starts_random_and_ends_with_the_first_links_address) {
    configure(plan());
    EXPECT_EQ(machine.tipc.identity, (Bytes{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0x52, 0x54, 0, 0, 0, 1}));
}

TEST_F(TipcSetup, key_attribute_is_the_kernels_structure) {
    configure(plan());
    const Bytes& key = machine.tipc.key;
    ASSERT_EQ(key.size(), 32U + 4U + 20U);
    EXPECT_STREQ(reinterpret_cast<const char*>(key.data()), "gcm(aes)");
    EXPECT_EQ(key[32], 20);  // 16 bytes of key, 4 of salt; little-endian
    EXPECT_EQ(key[33] | key[34] | key[35], 0);
    const Bytes secret(key.begin() + 36, key.end());
    EXPECT_EQ(secret, derive(Bytes(key_size, 7), "kerrighed tipc gcm(aes) 1", "blue", 20));
}

TEST_F(TipcSetup, leaving_takes_the_key_off_the_machine) {
    configure(plan());
    unconfigure();
    EXPECT_EQ(machine.unloaded, std::vector<std::string>{"tipc"});
    EXPECT_FALSE(machine.tipc.loaded);
    EXPECT_TRUE(machine.tipc.key.empty());
    configure(plan());
    EXPECT_EQ(machine.loaded.size(), 2U) << "afresh: with an identity of its own";
    EXPECT_EQ(machine.tipc.keys_set, 1);
    EXPECT_EQ(machine.tipc.bearers.size(), 2U);
}

TEST_F(TipcSetup, leaving_keeps_a_tipc_that_others_use_too) {
    configure(plan());
    machine.tipc.bearers.push_back("udp:other");
    unconfigure();
    EXPECT_TRUE(machine.unloaded.empty());
    EXPECT_EQ(machine.tipc.bearers, std::vector<std::string>{"udp:other"});
}

TEST_F(TipcSetup, leaving_does_not_unload_what_it_could_not_load_again) {
    configure(plan());
    machine.can_load = false;
    unconfigure();
    EXPECT_TRUE(machine.unloaded.empty());
    EXPECT_TRUE(machine.tipc.bearers.empty());
}

TEST_F(TipcSetup, is_idempotent_and_never_sets_a_key_twice) {
    machine.tipc.in_use = true;
    configure(plan());
    const Bytes identity = machine.tipc.identity;
    configure(plan());
    unconfigure();
    EXPECT_TRUE(machine.tipc.bearers.empty());
    configure(plan());
    EXPECT_EQ(machine.tipc.identity, identity);
    EXPECT_EQ(machine.tipc.keys_set, 1);
    EXPECT_TRUE(machine.unloaded.empty());
    EXPECT_EQ(machine.tipc.bearers.size(), 2U);
}

TEST_F(TipcSetup, another_cluster_or_key_starts_the_module_afresh) {
    configure(plan("blue"));
    configure(plan("green"));
    EXPECT_EQ(machine.unloaded.size(), 1U);
    EXPECT_EQ(machine.tipc.net_id, tipc_net_id("green"));
    configure(plan("green", 8));
    EXPECT_EQ(machine.unloaded.size(), 2U);
    EXPECT_EQ(machine.tipc.keys_set, 1);
    EXPECT_EQ(machine.tipc.bearers.size(), 2U);
    EXPECT_FALSE(machine.tipc.sent_plaintext);
}

TEST_F(TipcSetup, leaves_a_tipc_of_somebody_else_alone) {
    machine.tipc.loaded = true;
    machine.tipc.identity = Bytes(16, 9);
    machine.tipc.bearers = {"udp:other"};
    EXPECT_EQ(refusal(plan()), "TIPC is in use by somebody else (bearer udp:other)");
    EXPECT_EQ(machine.tipc.bearers, std::vector<std::string>{"udp:other"});
    EXPECT_TRUE(machine.unloaded.empty());
}

TEST_F(TipcSetup, says_when_the_module_cannot_be_unloaded) {
    configure(plan("blue"));
    machine.tipc.in_use = true;
    EXPECT_EQ(refusal(plan("green")), "TIPC is set up for another cluster or key, and its module is in use");
}

TEST_F(TipcSetup, does_not_unload_what_it_could_not_load_again) {
    configure(plan("blue"));
    machine.can_load = false;
    EXPECT_NE(refusal(plan("green")), "");
    EXPECT_TRUE(machine.unloaded.empty());
    EXPECT_EQ(machine.tipc.bearers.size(), 2U);
}

TEST_F(TipcSetup, undoes_its_own_bearers_when_one_is_refused) {
    machine.tipc.refused_bearers.insert("eth:eth2");
    EXPECT_EQ(refusal(plan()), "cannot enable TIPC on eth2: Failed to enable media");
    EXPECT_TRUE(machine.tipc.bearers.empty());
}

TEST_F(TipcSetup, refuses_a_missing_device_before_anything_is_changed) {
    TipcPlan bad = plan();
    bad.links = {"eth1", "eth7"};
    EXPECT_EQ(refusal(bad), "there is no network device eth7");
    EXPECT_TRUE(machine.loaded.empty());
    EXPECT_TRUE(machine.notes.empty());
}

TEST_F(TipcSetup, the_note_never_has_the_key) {
    configure(plan());
    const std::string note = machine.notes["tipc.json"];
    EXPECT_EQ(note.find(to_hex(Bytes(key_size, 7))), std::string::npos);
    EXPECT_EQ(note.find(to_hex(derive(Bytes(key_size, 7), "kerrighed tipc gcm(aes) 1", "blue", 16))), std::string::npos);
}

TEST_F(TipcSetup, unconfigure_without_a_note_touches_nothing) {
    machine.tipc.loaded = true;
    machine.tipc.identity = Bytes(16, 9);
    machine.tipc.bearers = {"eth:eth1"};
    unconfigure();
    EXPECT_EQ(machine.tipc.bearers.size(), 1U);
}

TEST(TipcNetId, is_what_the_kernel_accepts_for_every_name) {
    for (int i = 0; i < 20000; i++) {
        const auto id = tipc_net_id("cluster" + std::to_string(i));
        EXPECT_GE(id, 1U);
        EXPECT_LE(id, 9999U);
    }
}

}  // namespace
}  // namespace krg::test
