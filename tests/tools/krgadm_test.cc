// SPDX-License-Identifier: GPL-2.0
// Commands that change something: what they ask of the kernel and of TIPC, what they undo, how long they wait, and with
// which exit code they end. What they print is in golden/.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "tests/tools/cli_world.hh"
#include "tests/tools/pictures.hh"
#include "tools/lib/config.hh"

namespace krg::test {
namespace {

ClusterStatus in_state(std::uint64_t state) {
    ClusterStatus s = blue(3, 7);
    s.state = state;
    if (state == KRG_NODE_STATE_OUT) s.members.clear();
    return s;
}

ClusterStatus refused(std::uint64_t reason, const std::string& text) {
    ClusterStatus s;
    s.name = "blue";
    s.last_reason = reason;
    s.last_reason_node = 2;
    s.last_error = text;
    return s;
}

std::string cluster(const ClusterStatus& status) {
    std::vector<Request> replies;
    replies.push_back(cluster_reply(status));
    return exchange("cluster-get", replies);
}

const std::string out = cluster(in_state(KRG_NODE_STATE_OUT));
const std::string joining = cluster(in_state(KRG_NODE_STATE_JOINING));
const std::string serving = cluster(in_state(KRG_NODE_STATE_SERVING));

/** A folder with a configuration file and a key. */
class Commands : public ::testing::Test {
protected:
    void SetUp() override {
        std::string name = (std::filesystem::temp_directory_path() / "krg-cli-XXXXXX").string();
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        folder = name;
        conf = folder + "/kerrighed.conf";
        key = folder + "/key";
        write_conf("");
        std::ofstream(key) << std::string(63, 'a') << "b\n";
        ASSERT_EQ(chmod(key.c_str(), 0600), 0);
    }
    void TearDown() override { std::filesystem::remove_all(folder); }

    void write_conf(const std::string& more) {
        std::ofstream(conf) << "[cluster]\nname = blue\nkey_file = " << key << "\n[node]\nid = 3\nlinks = eth1\nhost = node3\n"
                            << more;
    }

    int run(const std::string& messages, const std::vector<std::string>& arguments) {
        const auto keep = world ? world->machine : FakeMachine{};
        world = std::make_unique<CliWorld>(messages);
        world->machine = keep;
        world->config_path = conf;
        return world->run(arguments);
    }

    std::string folder, conf, key;
    std::unique_ptr<CliWorld> world;
};

TEST_F(Commands, join_sets_tipc_up_asks_and_waits) {
    EXPECT_EQ(run(out + "> cluster-join\n" + joining + joining + serving, {"cluster", "join", "--wait"}), 0)
        << world->err.str();
    EXPECT_EQ(world->machine.tipc.bearers, std::vector<std::string>{"eth:eth1"});
    EXPECT_FALSE(world->machine.tipc.sent_plaintext);
    const Bytes request = world->recording->last_request("cluster-join");
    EXPECT_EQ(Attributes(request).number(KRG_A_CONFIG_TIMEOUT_MS), 60000U);
    EXPECT_EQ(world->out.str(), "joined cluster blue as node 1, epoch 7, members 1-3\n");
}

TEST_F(Commands, join_without_wait_returns_at_once) {
    EXPECT_EQ(run(out + "> cluster-join\n" + joining, {"cluster", "join"}), 0);
    const Bytes request = world->recording->last_request("cluster-join");
    EXPECT_FALSE(Attributes(request).has(KRG_A_CONFIG_TIMEOUT_MS));
    EXPECT_EQ(world->clock.time_since_epoch().count(), 0);
}

TEST_F(Commands, a_refused_join_undoes_tipc_and_says_who_and_why) {
    EXPECT_EQ(run(out + "> cluster-join\n" + joining + cluster(refused(KRG_REASON_KEY, "the cluster key is another one")),
                  {"cluster", "join", "--wait=20"}),
              1);
    EXPECT_TRUE(world->machine.tipc.bearers.empty());
    EXPECT_EQ(world->err.str(), "krgadm: cannot join cluster blue: the cluster key is another one (said by node 2)\n"
                                "  try: copy the key file of a member to this node (mode 0600)\n");
}

TEST_F(Commands, exit_codes_of_refused_joins) {
    const auto code = [this](std::uint64_t reason) {
        return run(out + "> cluster-join\n" + cluster(refused(reason, "")), {"cluster", "join", "--wait"});
    };
    EXPECT_EQ(code(KRG_REASON_ID_TAKEN), 1);
    EXPECT_EQ(code(KRG_REASON_TIMEOUT), 5);
    EXPECT_EQ(code(KRG_REASON_NO_QUORUM), 6);
}

TEST_F(Commands, a_join_the_kernel_refuses_at_once_undoes_tipc) {
    EXPECT_EQ(run(out + refusal("cluster-join", EBUSY, "a join is under way"), {"cluster", "join"}), 1);
    EXPECT_TRUE(world->machine.tipc.bearers.empty());
    EXPECT_EQ(run(out + refusal("cluster-join", EPERM, ""), {"cluster", "join"}), 4);
    EXPECT_NE(world->err.str().find("CAP_SYS_ADMIN"), std::string::npos);
}

TEST_F(Commands, a_join_that_takes_too_long_is_given_up) {
    EXPECT_EQ(run(out + "> cluster-join\n> cluster-leave\n" + joining, {"cluster", "join", "--wait=10"}), 5);
    EXPECT_EQ(world->recording->asked("cluster-leave"), 1);
    EXPECT_TRUE(world->machine.tipc.bearers.empty());
    EXPECT_GE(world->clock.time_since_epoch(), std::chrono::seconds(15));
    EXPECT_NE(world->err.str().find("krgadm: joining cluster blue: 2 s\n"), std::string::npos);
}

TEST_F(Commands, a_join_that_went_on_keeps_its_links) {
    EXPECT_NE(run(out + "> cluster-join\n" + refusal("cluster-get", ENOMEM, "") + serving, {"cluster", "join", "--wait=10"}),
              0);
    EXPECT_FALSE(world->machine.tipc.bearers.empty());
    EXPECT_NE(run(out + "> cluster-join\n" + refusal("cluster-get", ENOMEM, ""), {"cluster", "join", "--wait=10"}), 0);
    EXPECT_FALSE(world->machine.tipc.bearers.empty());
}

TEST_F(Commands, users_without_rights_get_exit_code_4_before_anything_is_looked_at) {
    for (const char* verb : {"join", "create", "start"}) {
        run(serving, {"--version"});
        world->machine.administrator = false;
        EXPECT_EQ(world->run({"cluster", verb}), 4) << verb;
    }
    EXPECT_TRUE(world->machine.loaded.empty());
}

TEST_F(Commands, join_in_a_cluster_is_refused_before_anything_is_changed) {
    EXPECT_EQ(run(serving, {"cluster", "join"}), 1);
    EXPECT_TRUE(world->machine.loaded.empty());
    EXPECT_NE(world->err.str().find("already in cluster blue (serving)"), std::string::npos);
}

TEST_F(Commands, join_needs_a_complete_configuration_and_a_key) {
    std::ofstream(conf) << "[cluster]\nname = blue\n";
    EXPECT_EQ(run(out, {"cluster", "join"}), 2);
    write_conf("");
    ASSERT_EQ(chmod(key.c_str(), 0644), 0);
    EXPECT_EQ(run(out, {"cluster", "join"}), 1);
    EXPECT_TRUE(world->machine.loaded.empty());
    std::filesystem::remove(key);
    EXPECT_EQ(run(out, {"cluster", "join"}), 1);
    EXPECT_FALSE(std::filesystem::exists(key)) << "only create makes a key";
}

TEST_F(Commands, create_makes_a_missing_key) {
    std::filesystem::remove(key);
    EXPECT_EQ(run(out + "> cluster-create\n" + serving, {"cluster", "create"}), 0) << world->err.str();
    struct stat info {};
    ASSERT_EQ(stat(key.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0600U);
    EXPECT_NE(world->err.str().find("made a new cluster key"), std::string::npos);
    EXPECT_EQ(world->out.str(), "created cluster blue, this is node 3\n");
}

TEST_F(Commands, create_over_a_living_cluster_needs_force) {
    const std::string refuse = refusal("cluster-create", EEXIST, "node 2 of a cluster of this name answers");
    EXPECT_EQ(run(out + refuse, {"cluster", "create"}), 7);
    EXPECT_TRUE(world->machine.tipc.bearers.empty());
    EXPECT_EQ(run(out + "> cluster-create\n" + serving, {"cluster", "create", "--force"}), 0);
    const Bytes request = world->recording->last_request("cluster-create");
    EXPECT_TRUE(Attributes(request).has(KRG_A_CONFIG_FORCE));
}

TEST_F(Commands, options_go_over_the_file_and_are_checked_like_it) {
    EXPECT_EQ(run(out + "> cluster-join\n" + joining, {"cluster", "join", "--node-id", "9", "--link", "eth2", "--host", "x"}),
              0);
    const Bytes request = world->recording->last_request("cluster-join");
    EXPECT_EQ(Attributes(request).number(KRG_A_CONFIG_NODE_ID), 9U);
    EXPECT_EQ(Attributes(request).text(KRG_A_CONFIG_LINK), "eth2");
    EXPECT_EQ(run(out, {"cluster", "join", "--name", "a b"}), 2);
    EXPECT_EQ(run(out, {"cluster", "join", "--node-id", "127"}), 2);
    EXPECT_EQ(run(out, {"cluster", "join", "--wait=x"}), 2);
}

TEST_F(Commands, leave_waits_then_takes_tipc_down) {
    ASSERT_EQ(run(out + "> cluster-join\n" + joining + serving, {"cluster", "join", "--wait"}), 0);
    const std::string leaving = cluster(in_state(KRG_NODE_STATE_LEAVING));
    EXPECT_EQ(run(serving + "> cluster-leave\n" + leaving + out, {"cluster", "leave"}), 0) << world->err.str();
    EXPECT_TRUE(world->machine.tipc.bearers.empty());
    EXPECT_EQ(run(out, {"cluster", "leave"}), 3);
}

TEST_F(Commands, leave_that_is_held_times_out_and_keeps_tipc) {
    ASSERT_EQ(run(out + "> cluster-join\n" + joining + serving, {"cluster", "join", "--wait"}), 0);
    const std::string leaving = cluster(in_state(KRG_NODE_STATE_LEAVING));
    EXPECT_EQ(run(serving + "> cluster-leave\n" + leaving, {"cluster", "leave", "--wait=5"}), 5);
    EXPECT_EQ(world->machine.tipc.bearers.size(), 1U);
}

TEST_F(Commands, start_forms_the_cluster_only_where_it_may) {
    const std::string nobody = out + "> cluster-join\n" + joining + cluster(refused(KRG_REASON_TIMEOUT, ""));
    EXPECT_EQ(run(nobody, {"cluster", "start"}), 5) << "nobody answered a limited join";
    write_conf("bootstrap = yes\n");
    EXPECT_EQ(run(nobody + serving + "> cluster-create\n", {"cluster", "start"}), 0) << world->err.str();
    EXPECT_EQ(world->recording->asked("cluster-create"), 1);
    EXPECT_EQ(run(serving, {"cluster", "start"}), 0) << "idempotent";
    EXPECT_EQ(world->recording->asked("cluster-join"), 0);
}

TEST_F(Commands, start_without_bootstrap_leaves_the_kernel_asking) {
    EXPECT_EQ(run(out + "> cluster-join\n" + joining, {"cluster", "start", "--wait=5"}), 0) << world->err.str();
    EXPECT_EQ(world->machine.tipc.bearers.size(), 1U);
    EXPECT_EQ(world->out.str(), "nobody of cluster blue has answered yet; this node keeps asking\n");
}

TEST_F(Commands, evict_finds_nodes_by_id_and_name_and_waits) {
    const std::string three = blue_messages(3, 7);
    EXPECT_EQ(run(three + "> node-evict\n", {"node", "evict", "node2"}), 0);
    const Bytes request = world->recording->last_request("node-evict");
    EXPECT_EQ(Attributes(request).number(KRG_A_NODE_ID), 2U);
    EXPECT_EQ(run(three + "> node-evict\n" + serving + cluster(blue(2, 8)), {"node", "evict", "3", "--wait"}), 0)
        << world->err.str();
    EXPECT_EQ(run(three + "> node-evict\n", {"node", "evict", "3", "--wait=3"}), 5);
    EXPECT_EQ(run(three, {"node", "evict", "9"}), 8);
    EXPECT_EQ(run(three, {"node", "evict", "1"}), 2);
    EXPECT_EQ(run(three + refusal("node-evict", EHOSTUNREACH, "no quorum"), {"node", "evict", "2"}), 6);
    EXPECT_EQ(run(three + refusal("node-evict", EPERM, ""), {"node", "evict", "2"}), 4);
    EXPECT_EQ(run(out + "> node-get\n> link-get\n", {"node", "evict", "2"}), 3);
    EXPECT_EQ(run("", {"node", "evict", "2"}), 3);
}

TEST_F(Commands, nodes_add_waits_for_nodes_to_come) {
    EXPECT_EQ(run(blue_messages(3, 7) + cluster(blue(4, 8)), {"nodes", "add", "-n", "4"}), 0) << world->err.str();
    EXPECT_EQ(run(blue_messages(3, 7) + cluster(blue(4, 8)), {"nodes", "add", "-c", "1"}), 0);
    EXPECT_EQ(run(blue_messages(3, 7) + cluster(blue(4, 8)), {"nodes", "add", "-t", "4"}), 0);
    EXPECT_EQ(run(blue_messages(3, 7), {"nodes", "add", "-n", "4-6", "--wait=4"}), 5);
    EXPECT_EQ(run(blue_messages(3, 7), {"nodes", "add"}), 2);
    EXPECT_EQ(run(blue_messages(3, 7), {"nodes", "add", "-n", "2", "-a"}), 2);
    EXPECT_EQ(run(blue_messages(3, 7), {"nodes", "add", "-n", "0"}), 2);
}

TEST_F(Commands, nodes_del_drains_others_never_this_node) {
    const std::string del = "> node-drain\n";
    EXPECT_EQ(run(blue_messages(3, 7) + del + cluster(blue(2, 8)), {"nodes", "del", "-n", "3"}), 0) << world->err.str();
    EXPECT_EQ(run(blue_messages(3, 7) + del + cluster(blue(1, 9)), {"nodes", "del", "-t", "1"}), 0);
    EXPECT_EQ(world->recording->asked("node-drain"), 2);
    EXPECT_EQ(run(blue_messages(3, 7) + del + cluster(blue(2, 9)), {"nodes", "del", "-c", "1"}), 0);
    const Bytes request = world->recording->last_request("node-drain");
    EXPECT_EQ(Attributes(request).number(KRG_A_NODE_ID), 3U) << "the highest id goes first";
    EXPECT_EQ(run(blue_messages(3, 7), {"nodes", "del", "-n", "1"}), 2);
    EXPECT_EQ(run(blue_messages(3, 7), {"nodes", "del", "-n", "7"}), 8);
    EXPECT_EQ(run(blue_messages(3, 7), {"nodes", "del", "-c", "3"}), 2);
}

TEST_F(Commands, recover_needs_force) {
    EXPECT_EQ(run(blue_messages(3, 7), {"cluster", "recover"}), 7);
    EXPECT_EQ(run(blue_messages(3, 7) + "> cluster-recover\n", {"cluster", "recover", "--force"}), 0);
    const Bytes request = world->recording->last_request("cluster-recover");
    EXPECT_TRUE(Attributes(request).has(KRG_A_CONFIG_FORCE));
}

TEST_F(Commands, poweroff_asks_where_somebody_can_answer) {
    EXPECT_EQ(run(blue_messages(3, 7) + "> cluster-power\n", {"cluster", "poweroff"}), 0);
    const Bytes request = world->recording->last_request("cluster-power");
    EXPECT_EQ(Attributes(request).number(KRG_A_POWER_ACTION), std::uint64_t{KRG_POWER_ACTION_POWEROFF});
    world = std::make_unique<CliWorld>(blue_messages(3, 7) + "> cluster-power\n");
    std::string question;
    world->confirm = [&question](const std::string& asked) {
        question = asked;
        return false;
    };
    EXPECT_EQ(world->run({"cluster", "reboot"}), 7);
    EXPECT_EQ(question, "restart all 3 nodes of cluster blue?");
    EXPECT_EQ(world->recording->asked("cluster-power"), 0);
    EXPECT_EQ(world->run({"cluster", "reboot", "--yes"}), 0);
}

TEST_F(Commands, showconf_is_valid_apply_input) {
    ASSERT_EQ(run(blue_messages(3, 7), {"cluster", "showconf"}), 0);
    const std::string shown = world->out.str();
    const Config config = parse_config(shown, "showconf");
    EXPECT_EQ(config.name, "blue");
    EXPECT_EQ(config.id, 1);
    EXPECT_EQ(config.links, std::vector<std::string>{"eth1"});
    std::ofstream(folder + "/new.conf") << shown;
    EXPECT_EQ(run(blue_messages(3, 7), {"cluster", "apply", folder + "/new.conf"}), 0) << world->err.str();
    EXPECT_EQ(read_config(conf, false), config);
}

TEST_F(Commands, apply_refuses_what_needs_a_rejoin) {
    std::ofstream(folder + "/new.conf") << "[cluster]\nname = green\n[node]\nid = 1\nlinks = eth1\n";
    EXPECT_EQ(run(blue_messages(3, 7), {"cluster", "apply", folder + "/new.conf"}), 7);
    EXPECT_NE(world->err.str().find("cluster.name"), std::string::npos);
    EXPECT_EQ(read_config(conf, false).name, "blue");
    EXPECT_EQ(run(blue_messages(3, 7), {"--force", "cluster", "apply", folder + "/new.conf"}), 0);
    EXPECT_EQ(read_config(conf, false).name, "green");
    std::ofstream(folder + "/new.conf") << "[cluster]\nnam = green\n";
    EXPECT_EQ(run(out, {"cluster", "apply", folder + "/new.conf"}), 2);
    EXPECT_EQ(run(out, {"cluster", "apply", folder + "/missing"}), 8);
}

TEST_F(Commands, every_reading_command_prints_json_with_a_version) {
    for (const std::vector<std::string>& command : {std::vector<std::string>{},
                                                    {"status"},
                                                    {"cluster"},
                                                    {"cluster", "status"},
                                                    {"cluster", "showconf"},
                                                    {"node"},
                                                    {"node", "list"},
                                                    {"node", "show", "2"},
                                                    {"nodes", "status"},
                                                    {"link"},
                                                    {"link", "list"},
                                                    {"link", "show", "eth1"},
                                                    {"stats"},
                                                    {"health"}}) {
        std::vector<std::string> words = command;
        words.emplace_back("--json");
        run(blue_messages(3, 7), words);
        const auto json = nlohmann::json::parse(world->out.str(), nullptr, false);
        ASSERT_TRUE(json.is_object()) << world->out.str() << world->err.str();
        EXPECT_EQ(json["output_version"]["major"], 1);
        EXPECT_EQ(world->out.str().rfind("{\"output_version\":", 0), 0U) << "first, for readers of streams";
    }
}

TEST_F(Commands, errors_are_json_too) {
    EXPECT_EQ(run(blue_messages(3, 7), {"-j", "node", "show", "9"}), 8);
    const auto json = nlohmann::json::parse(world->err.str());
    EXPECT_EQ(json["error"]["code"], 8);
    EXPECT_TRUE(world->out.str().empty());
    EXPECT_EQ(run(blue_messages(3, 7), {"-j", "bogus"}), 2);
    EXPECT_EQ(nlohmann::json::parse(world->err.str())["error"]["code"], 2);
}

TEST_F(Commands, completion_knows_commands_nodes_and_links) {
    const auto complete = [this](std::vector<std::string> words) {
        words.insert(words.begin(), "__complete");
        run(blue_messages(2, 7), words);
        return world->out.str();
    };
    EXPECT_EQ(complete({"node", "e"}), "evict\n");
    EXPECT_EQ(complete({"nodes", "evict", ""}), "node1\nnode2\n");
    EXPECT_EQ(complete({"link", "show", ""}), "eth1\n");
    EXPECT_EQ(complete({"cluster", "join", "--no"}), "--node-id\n");
}

TEST_F(Commands, help_and_version_succeed) {
    EXPECT_EQ(run("", {"--help"}), 0);
    EXPECT_NE(world->out.str().find("monitor"), std::string::npos);
    EXPECT_EQ(run("", {"cluster", "join", "--help"}), 0);
    EXPECT_EQ(run("", {"--version"}), 0);
    EXPECT_EQ(world->out.str().rfind("krgadm ", 0), 0U);
}

}  // namespace
}  // namespace krg::test
