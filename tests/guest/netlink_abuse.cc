// SPDX-License-Identifier: GPL-2.0
// krg-netlink-abuse: requests that no tool of ours sends, to the running kernel. Each must be refused with the right errno
// and with a sentence, and change nothing. Prints a line for each, ends with 1 if one went wrong.
#include <cerrno>
#include <functional>
#include <iostream>

#include "include/uapi/linux/kerrighed.h"
#include "tools/lib/client.hh"

namespace {

struct Case {
    const char* what;
    krg::Request request;
    int error;
    const char* says;  // part of the kernel's sentence; "": the kernel's core refuses without one
};

krg::Request create() { return krg::Request(KRG_CMD_CLUSTER_CREATE); }

/** A create that is right but for what @change adds. */
krg::Request nearly(const std::function<void(krg::Request&)>& change, const std::string& name = "abuse") {
    krg::Request request = create();
    krg::Bytes key;
    for (std::uint8_t i = 0; i < KRG_KEY_SIZE; i++) key.push_back(i);
    request.put_string(KRG_A_CONFIG_CLUSTER, name).put_string(KRG_A_CONFIG_HOST, "abuse").put_u16(KRG_A_CONFIG_NODE_ID, 9);
    request.put_binary(KRG_A_CONFIG_KEY, key);
    change(request);
    return request;
}

std::vector<Case> cases() {
    using krg::Bytes;
    using krg::Request;
    std::vector<Case> all;
    const auto add = [&all](const char* what, Request request, int error, const char* says) {
        all.push_back({what, std::move(request), error, says});
    };
    add("a command that does not exist", Request(99), EOPNOTSUPP, "");
    add("an attribute nobody knows", std::move(Request(KRG_CMD_CLUSTER_GET).put_u32(77, 1)), EINVAL, "attribute");
    add("an attribute of another operation", std::move(Request(KRG_CMD_CLUSTER_LEAVE).put_u16(1, 1)), EINVAL, "attribute");
    add("a dump with attributes", std::move(Request(KRG_CMD_NODE_GET, true).put_u16(KRG_A_NODE_ID, 1)), EINVAL,
        "no attributes");
    add("node-get without an id", Request(KRG_CMD_NODE_GET), EINVAL, "node id is missing");
    add("a node id of one byte", std::move(Request(KRG_CMD_NODE_GET).put_u8(KRG_A_NODE_ID, 1)), EINVAL, "length");
    add("node id 0", std::move(Request(KRG_CMD_NODE_EVICT).put_u16(KRG_A_NODE_ID, 0)), ERANGE, "range");
    add("node id 127", std::move(Request(KRG_CMD_NODE_EVICT).put_u16(KRG_A_NODE_ID, 127)), ERANGE, "range");
    add("a node that does not exist", std::move(Request(KRG_CMD_NODE_GET).put_u16(KRG_A_NODE_ID, 99)), ENOENT, "no node");
    add("evicting a node that does not exist", std::move(Request(KRG_CMD_NODE_EVICT).put_u16(KRG_A_NODE_ID, 99)), ENOENT, "no");
    add("recover without its flag", Request(KRG_CMD_CLUSTER_RECOVER), EINVAL, "force flag");
    add("power without an action", Request(KRG_CMD_CLUSTER_POWER), EINVAL, "action is missing");
    add("power with action 3", std::move(Request(KRG_CMD_CLUSTER_POWER).put_u32(KRG_A_POWER_ACTION, 3)), ERANGE, "range");
    add("create with nothing", create(), EINVAL, "name of the cluster is missing");
    add("a name that is too long", std::move(create().put_string(KRG_A_CONFIG_CLUSTER, std::string(33, 'x'))), EINVAL, "");
    add("a name without its end", std::move(create().put_binary(KRG_A_CONFIG_CLUSTER, Bytes{'a', 'b'})), EINVAL, "");
    add("a name with a slash", nearly([](Request&) {}, "a/b"), EINVAL, "letters");
    add("a key of 31 bytes", std::move(create().put_binary(KRG_A_CONFIG_KEY, Bytes(31))), ERANGE, "range");
    add("a lease of 5 ms", std::move(create().put_u32(KRG_A_CONFIG_LEASE_MS, 5)), ERANGE, "range");
    add("no link", nearly([](Request&) {}), EINVAL, "no link");
    add("the same link twice",
        nearly([](Request& r) { r.put_string(KRG_A_CONFIG_LINK, "eth1").put_string(KRG_A_CONFIG_LINK, "eth1"); }), EINVAL,
        "twice");
    add("three links", nearly([](Request& r) {
            for (const char* link : {"a", "b", "c"}) r.put_string(KRG_A_CONFIG_LINK, link);
        }),
        EINVAL, "at most two");
    add("a witness without a path",
        nearly([](Request& r) { r.put_string(KRG_A_CONFIG_LINK, "eth1").put_string(KRG_A_CONFIG_WITNESS, "file"); }), EINVAL,
        "absolute path");
    add("a join with force", std::move(Request(KRG_CMD_CLUSTER_JOIN).put_flag(KRG_A_CONFIG_FORCE)), EINVAL, "attribute");
    add("a join for ever and a day", std::move(Request(KRG_CMD_CLUSTER_JOIN).put_u32(KRG_A_CONFIG_TIMEOUT_MS, ~0U)), ERANGE,
        "range");
    return all;
}

/** What is wrong with the kernel's answer; empty: nothing. */
std::string wrong(krg::Transport& kernel, const Case& test) {
    try {
        kernel.exchange(test.request);
    } catch (const krg::NetlinkError& error) {
        const std::string text = error.what();
        if (error.error() != test.error) return "errno " + std::to_string(error.error()) + ": " + text;
        if (*test.says != '\0' && (!error.has_text() || text.find(test.says) == std::string::npos)) return "says: " + text;
        return "";
    }
    return "accepted";
}

}  // namespace

int main() {
    int failed = 0;
    try {
        const auto kernel = krg::open_family(KRG_GENL_NAME);
        for (const auto& test : cases()) {
            const std::string problem = wrong(*kernel, test);
            std::cout << (problem.empty() ? "refused  " : "WRONG    ") << test.what << (problem.empty() ? "" : ": " + problem)
                      << '\n';
            failed += problem.empty() ? 0 : 1;
        }
    } catch (const std::exception& error) {
        std::cerr << "krg-netlink-abuse: " << error.what() << '\n';
        return 2;
    }
    return failed == 0 ? 0 : 1;
}
