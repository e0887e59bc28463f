// SPDX-License-Identifier: GPL-2.0
// The configuration file's parser: what it takes, and that everything else is refused with file and line.
#include "tools/lib/config.hh"

#include <gtest/gtest.h>

#include "tools/lib/error.hh"

namespace krg::test {
namespace {

std::string refusal(const std::string& text) {
    try {
        parse_config(text, "test.conf");
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), Exit::usage);
        return error.what();
    }
    return "accepted";
}

TEST(Config, reads_every_key) {
    const Config config = parse_config("# a comment\n"
                                       "[cluster]\n"
                                       "name = blue\r\n"
                                       "key_file=/etc/k\n"
                                       "  lease_ms =  1500  \n"
                                       "witness = /shared/w\n"
                                       "link_tolerance_ms = 300\n"
                                       "\n"
                                       "; another\n"
                                       "[ node ]\n"
                                       "id = 126\n"
                                       "host = node126\n"
                                       "links = eth1\teth2\n"
                                       "auto_rejoin = no\n"
                                       "bootstrap = yes",
                                       "test.conf");
    EXPECT_EQ(config.name, "blue");
    EXPECT_EQ(config.key_file, "/etc/k");
    EXPECT_EQ(config.lease_ms, 1500U);
    EXPECT_EQ(config.witness, "/shared/w");
    EXPECT_EQ(config.link_tolerance_ms, 300U);
    EXPECT_EQ(config.id, 126);
    EXPECT_EQ(config.host, "node126");
    EXPECT_EQ(config.links, (std::vector<std::string>{"eth1", "eth2"}));
    EXPECT_FALSE(config.auto_rejoin);
    EXPECT_TRUE(config.bootstrap);
}

TEST(Config, what_it_writes_reads_the_same) {
    Config config;
    EXPECT_EQ(parse_config(write_config(config), "-"), config);
    config.name = "green";
    config.lease_ms = 700;
    config.witness = "/w";
    config.link_tolerance_ms = 900;
    config.id = 3;
    config.host = "n3";
    config.links = {"eth1", "eth2"};
    config.auto_rejoin = false;
    config.bootstrap = true;
    EXPECT_EQ(parse_config(write_config(config), "-"), config);
}

TEST(Config, refuses_with_file_and_line) {
    EXPECT_EQ(refusal("[cluster]\nname blue\n"), "test.conf:2: is neither a [section] nor a key = value");
    EXPECT_EQ(refusal("name = blue\n"), "test.conf:1: a key = value stands before any section");
    EXPECT_EQ(refusal("[clutser]\n"), "test.conf:1: there is no section [clutser]; sections are [cluster] and [node]");
    EXPECT_EQ(refusal("[cluster\n"), "test.conf:1: the section's name has no closing bracket");
    EXPECT_EQ(refusal("[node]\nname = x\n"), "test.conf:2: section [node] has no key name");
    EXPECT_EQ(refusal("[node]\nid = 1\nid = 2\n"), "test.conf:3: id is set a second time");
}

TEST(Config, refuses_values_that_cannot_be) {
    for (const char* bad : {"[node]\nid = 0",
                            "[node]\nid = 127",
                            "[node]\nid = 1x",
                            "[node]\nid = -1",
                            "[node]\nid =",
                            "[node]\nid = 99999999999999999999",
                            "[node]\nlinks =",
                            "[node]\nlinks = a b c",
                            "[node]\nlinks = eth1 eth1",
                            "[node]\nlinks = ../eth1",
                            "[node]\nlinks = averyverylongname",
                            "[node]\nauto_rejoin = maybe",
                            "[cluster]\nname =",
                            "[cluster]\nname = a b",
                            "[cluster]\nname = -x",
                            "[cluster]\nname = \"x\"",
                            "[cluster]\nkey_file = key",
                            "[cluster]\nlease_ms = 99",
                            "[cluster]\nlease_ms = 600001",
                            "[cluster]\nwitness = w"})
        EXPECT_NE(refusal(bad), "accepted") << bad;
    EXPECT_NE(refusal("[cluster]\nname = " + std::string(33, 'a')), "accepted");
    EXPECT_EQ(refusal("[cluster]\nname = " + std::string(32, 'a')), "accepted");
}

TEST(Config, survives_any_bytes) {
    std::string noise;
    std::uint32_t state = 1;
    for (int round = 0; round < 2000; round++) {
        noise.clear();
        for (int i = 0; i < 40; i++) {
            state = state * 1664525U + 1013904223U;
            noise += "[]=#;\n ab\0cluster node id"[(state >> 16) % 24];
        }
        try {
            parse_config(noise, "noise");
        } catch (const Error&) {
            continue;
        }
    }
}

TEST(Config, says_what_is_missing_for_a_join) {
    const auto missing = [](const std::string& text) -> std::string {
        try {
            check_complete(parse_config(text, "f"), "f");
        } catch (const Error& error) {
            return error.what();
        }
        return "";
    };
    EXPECT_EQ(missing("[node]\nid=1\nlinks=eth1"), "f says no name of the cluster ([cluster] name)");
    EXPECT_EQ(missing("[cluster]\nname=a\n[node]\nlinks=eth1"), "f says no node id ([node] id)");
    EXPECT_EQ(missing("[cluster]\nname=a\n[node]\nid=1"), "f says no network device ([node] links)");
    EXPECT_EQ(missing("[cluster]\nname=a\n[node]\nid=1\nlinks=eth1"), "");
}

}  // namespace
}  // namespace krg::test
