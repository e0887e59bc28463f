// SPDX-License-Identifier: GPL-2.0
// The fake TIPC answers the requests of tools/lib/tipc.cc as the kernel's net/tipc does.
#include "tests/tools/fake_machine.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <linux/tipc_netlink.h>

namespace krg::test {
namespace {

Message message_of(const Request& request) {
    return {request.command(), Bytes(request.attributes().begin(), request.attributes().end())};
}

class TipcTransport : public Transport {
public:
    explicit TipcTransport(FakeTipc& tipc) : tipc_(tipc) {}

    std::vector<Message> exchange(const Request& request) override {
        const Message message = message_of(request);
        const Attributes top = message.attributes();
        switch (request.command()) {
        case TIPC_NL_NET_GET: return {net()};
        case TIPC_NL_BEARER_GET: return bearers();
        case TIPC_NL_NET_SET: set_net(top.nest(TIPC_NLA_NET)); return {};
        case TIPC_NL_KEY_SET: set_key(top.nest(TIPC_NLA_NODE)); return {};
        case TIPC_NL_BEARER_ENABLE: enable(top.nest(TIPC_NLA_BEARER).text(TIPC_NLA_BEARER_NAME)); return {};
        case TIPC_NL_BEARER_SET: set_bearer(top.nest(TIPC_NLA_BEARER)); return {};
        case TIPC_NL_BEARER_DISABLE: disable(top.nest(TIPC_NLA_BEARER).text(TIPC_NLA_BEARER_NAME)); return {};
        default: throw NetlinkError(EOPNOTSUPP, "");
        }
    }

private:
    Message net() const {
        std::uint64_t w0 = 0;
        std::uint64_t w1 = 0;
        std::memcpy(&w0, tipc_.identity.data(), sizeof(w0));
        std::memcpy(&w1, tipc_.identity.data() + sizeof(w0), sizeof(w1));
        Request reply(TIPC_NL_NET_GET);
        reply.put_nest(TIPC_NLA_NET, [&](Request& nest) {
            nest.put_u32(TIPC_NLA_NET_ID, tipc_.net_id).put_u64(TIPC_NLA_NET_NODEID, w0).put_u64(TIPC_NLA_NET_NODEID_W1, w1);
        });
        return message_of(reply);
    }

    std::vector<Message> bearers() const {
        std::vector<Message> all;
        for (const auto& name : tipc_.bearers) {
            Request reply(TIPC_NL_BEARER_GET);
            reply.put_nest(TIPC_NLA_BEARER, [&](Request& nest) { nest.put_string(TIPC_NLA_BEARER_NAME, name); });
            all.push_back(message_of(reply));
        }
        return all;
    }

    [[nodiscard]] bool has_identity() const {
        return std::any_of(tipc_.identity.begin(), tipc_.identity.end(), [](auto byte) { return byte != 0; });
    }

    void set_net(const Attributes& net) {
        if (has_identity()) throw NetlinkError(EPERM, "");
        const std::uint64_t id = net.number_or(TIPC_NLA_NET_ID, 0);
        if (id < 1 || id > 9999) throw NetlinkError(EINVAL, "");
        tipc_.net_id = static_cast<std::uint32_t>(id);
        const std::uint64_t w0 = net.number(TIPC_NLA_NET_NODEID).value();
        const std::uint64_t w1 = net.number(TIPC_NLA_NET_NODEID_W1).value();
        std::memcpy(tipc_.identity.data(), &w0, sizeof(w0));
        std::memcpy(tipc_.identity.data() + sizeof(w0), &w1, sizeof(w1));
    }

    void set_key(const Attributes& node) {
        if (!has_identity()) throw NetlinkError(EPERM, "not found own node identity (set id?)");
        tipc_.key = node.binary(TIPC_NLA_NODE_KEY).value();
        tipc_.keys_set++;
    }

    void enable(const std::string& name) {
        if (tipc_.refused_bearers.count(name) == 1) throw NetlinkError(EINVAL, "Failed to enable media");
        if (std::count(tipc_.bearers.begin(), tipc_.bearers.end(), name) != 0) throw NetlinkError(EINVAL, "Already enabled");
        if (tipc_.key.empty()) tipc_.sent_plaintext = true;
        tipc_.bearers.push_back(name);
    }

    void set_bearer(const Attributes& bearer) {
        tipc_.tolerance_ms[bearer.text(TIPC_NLA_BEARER_NAME)] =
            bearer.nest(TIPC_NLA_BEARER_PROP).number_or(TIPC_NLA_PROP_TOL, 0);
    }

    void disable(const std::string& name) {
        const auto found = std::find(tipc_.bearers.begin(), tipc_.bearers.end(), name);
        if (found == tipc_.bearers.end()) throw NetlinkError(EINVAL, "Bearer not found");
        tipc_.bearers.erase(found);
    }

    FakeTipc& tipc_;
};

}  // namespace

std::unique_ptr<Transport> FakeMachine::open(const std::string& family) {
    if (family != TIPC_GENL_V2_NAME || !tipc.loaded) throw NoFamily(family);
    return std::make_unique<TipcTransport>(tipc);
}

bool FakeMachine::load_module(const std::string& name) {
    if (!can_load) return false;
    loaded.push_back(name);
    if (name == "tipc") tipc.loaded = true;
    return true;
}

bool FakeMachine::unload_module(const std::string& name) {
    if (tipc.in_use) return false;
    unloaded.push_back(name);
    const FakeTipc before = tipc;
    tipc = FakeTipc{};
    tipc.sent_plaintext = before.sent_plaintext;
    return true;
}

std::optional<Bytes> FakeMachine::mac(const std::string& link) {
    const auto found = links.find(link);
    return found == links.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace krg::test
