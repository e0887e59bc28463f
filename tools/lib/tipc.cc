// SPDX-License-Identifier: GPL-2.0
// The steps of tipc.hh, as requests of the family "TIPCv2". What was set up is noted in /run/kerrighed/tipc.json (a
// fingerprint of the key, never the key), because the kernel does not tell which key it has.
#include "tools/lib/tipc.hh"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <linux/tipc.h>
#include <linux/tipc_netlink.h>
#include <nlohmann/json.hpp>

#include "tools/lib/error.hh"
#include "tools/lib/key.hh"

namespace krg {
namespace {

constexpr std::size_t aes_key_size = 16;
constexpr std::size_t salt_size = 4;
constexpr std::size_t identity_size = 16;
constexpr std::size_t identity_random = 10;
constexpr std::uint32_t net_id_max = 9999;
constexpr std::chrono::milliseconds address_timeout{10000};
constexpr const char* family = TIPC_GENL_V2_NAME;
constexpr const char* note_name = "tipc.json";

std::string bearer_name(const std::string& link) { return "eth:" + link; }

bool contains(const std::vector<std::string>& list, const std::string& item) {
    return std::find(list.begin(), list.end(), item) != list.end();
}

/** Says which key and network are set up, without revealing the key. */
std::string fingerprint(const TipcPlan& plan) {
    return to_hex(derive(plan.cluster_key, "kerrighed tipc fingerprint 1", plan.cluster, 16));
}

}  // namespace

std::uint32_t tipc_net_id(const std::string& cluster) {
    std::uint32_t hash = 2166136261U;  // FNV-1a
    for (const char c : cluster) hash = (hash ^ static_cast<std::uint8_t>(c)) * 16777619U;
    return hash % net_id_max + 1;
}

Bytes tipc_key(const Bytes& cluster_key, const std::string& cluster) {
    const Bytes secret = derive(cluster_key, "kerrighed tipc gcm(aes) 1", cluster, aes_key_size + salt_size);
    Bytes bytes(sizeof(tipc_aead_key) + secret.size());
    tipc_aead_key header{};
    std::strcpy(header.alg_name, "gcm(aes)");
    header.keylen = static_cast<unsigned>(secret.size());
    std::memcpy(bytes.data(), &header, sizeof(header));
    std::memcpy(bytes.data() + sizeof(header), secret.data(), secret.size());
    return bytes;
}

void Tipc::open() {
    try {
        transport_ = system_.open(family);
    } catch (const NoFamily&) {
        if (!system_.load_module("tipc"))
            throw Error(Exit::failed, "cannot load the kernel module tipc", "modprobe tipc, and see dmesg");
        transport_ = system_.open(family);
    }
}

Tipc::State Tipc::read_state() {
    State state;
    for (const auto& reply : transport_->exchange(Request(TIPC_NL_NET_GET, true))) {
        const Attributes net = reply.attributes().nest(TIPC_NLA_NET);
        state.net_id = static_cast<std::uint32_t>(net.number_or(TIPC_NLA_NET_ID, 0));
        state.identity.resize(identity_size);
        const std::uint64_t w0 = net.number_or(TIPC_NLA_NET_NODEID, 0);
        const std::uint64_t w1 = net.number_or(TIPC_NLA_NET_NODEID_W1, 0);
        std::memcpy(state.identity.data(), &w0, sizeof(w0));
        std::memcpy(state.identity.data() + sizeof(w0), &w1, sizeof(w1));
    }
    for (const auto& reply : transport_->exchange(Request(TIPC_NL_BEARER_GET, true)))
        state.bearers.push_back(reply.attributes().nest(TIPC_NLA_BEARER).text(TIPC_NLA_BEARER_NAME));
    return state;
}

Tipc::Note Tipc::read_note() {
    Note note;
    const auto json = nlohmann::json::parse(system_.read_note(note_name), nullptr, false);
    if (!json.is_object()) return note;
    note.fingerprint = json.value("fingerprint", "");
    note.identity = json.value("identity", "");
    note.bearers = json.value("bearers", std::vector<std::string>{});
    return note;
}

void Tipc::write_note(const Note& note) {
    const nlohmann::json json{{"fingerprint", note.fingerprint}, {"identity", note.identity}, {"bearers", note.bearers}};
    system_.write_note(note_name, json.dump() + "\n");
}

/** TIPC belongs to another cluster, or to somebody else: unload it if nobody uses it, so that it can be set up. */
void Tipc::start_afresh(const State& state, const Note& note) {
    for (const auto& bearer : state.bearers)
        if (!contains(note.bearers, bearer))
            throw Error(Exit::failed, fmt::format("TIPC is in use by somebody else (bearer {})", bearer),
                        fmt::format("tipc bearer disable media eth device {}, then try again",
                                    bearer.substr(bearer.find(':') + 1)));
    if (!system_.module_available("tipc"))
        throw Error(Exit::failed, "TIPC is set up for another cluster or key, and its module could not be loaded again",
                    "unload and load the kernel module tipc by hand");
    for (const auto& bearer : state.bearers) disable_bearer(bearer);
    transport_.reset();
    if (!system_.unload_module("tipc"))
        throw Error(Exit::failed, "TIPC is set up for another cluster or key, and its module is in use",
                    "rmmod kerrighed (or stop whatever uses TIPC), rmmod tipc, modprobe kerrighed");
    open();
}

void Tipc::set_identity(const TipcPlan& plan, Bytes& identity) {
    identity = system_.random(identity_random);
    const Bytes mac = system_.mac(plan.links.front()).value();
    identity.insert(identity.end(), mac.begin(), mac.end());
    std::uint64_t w0 = 0;
    std::uint64_t w1 = 0;
    std::memcpy(&w0, identity.data(), sizeof(w0));
    std::memcpy(&w1, identity.data() + sizeof(w0), sizeof(w1));
    transport_->exchange(Request(TIPC_NL_NET_SET).put_nest(TIPC_NLA_NET, [&](Request& request) {
        request.put_u32(TIPC_NLA_NET_ID, tipc_net_id(plan.cluster))
            .put_u64(TIPC_NLA_NET_NODEID, w0)
            .put_u64(TIPC_NLA_NET_NODEID_W1, w1);
    }));
}

void Tipc::set_key(const TipcPlan& plan) {
    transport_->exchange(Request(TIPC_NL_KEY_SET).put_nest(TIPC_NLA_NODE, [&](Request& request) {
        request.put_binary(TIPC_NLA_NODE_KEY, tipc_key(plan.cluster_key, plan.cluster));
    }));
}

void Tipc::enable_bearer(const std::string& bearer, std::uint32_t tolerance_ms) {
    transport_->exchange(Request(TIPC_NL_BEARER_ENABLE).put_nest(TIPC_NLA_BEARER, [&](Request& request) {
        request.put_string(TIPC_NLA_BEARER_NAME, bearer);
    }));
    transport_->exchange(Request(TIPC_NL_BEARER_SET).put_nest(TIPC_NLA_BEARER, [&](Request& request) {
        request.put_string(TIPC_NLA_BEARER_NAME, bearer).put_nest(TIPC_NLA_BEARER_PROP, [&](Request& inner) {
            inner.put_u32(TIPC_NLA_PROP_TOL, tolerance_ms);
        });
    }));
}

void Tipc::disable_bearer(const std::string& bearer) {
    transport_->exchange(Request(TIPC_NL_BEARER_DISABLE).put_nest(TIPC_NLA_BEARER, [&](Request& request) {
        request.put_string(TIPC_NLA_BEARER_NAME, bearer);
    }));
}

void Tipc::configure(const TipcPlan& plan) {
    for (const auto& link : plan.links) {
        if (!system_.mac(link))
            throw Error(Exit::failed, fmt::format("there is no network device {}", link),
                        "see `links` in kerrighed.conf(5) and `ip link`");
        if (!system_.bring_up(link)) throw Error(Exit::not_permitted, fmt::format("cannot bring {} up", link), "run as root");
    }

    open();
    State state = read_state();
    Note note = read_note();
    const bool fresh = std::all_of(state.identity.begin(), state.identity.end(), [](auto byte) { return byte == 0; });
    const bool ours = note.fingerprint == fingerprint(plan) && note.identity == to_hex(state.identity) &&
                      state.net_id == tipc_net_id(plan.cluster);
    std::vector<std::string> enabled;
    std::string step = "read the state of TIPC";
    try {
        if (!ours) {
            if (!fresh) start_afresh(state, note);
            state.bearers.clear();
            step = "set TIPC's network id and node identity";
            set_identity(plan, state.identity);
            step = "set TIPC's encryption key";
            set_key(plan);
            note = {fingerprint(plan), to_hex(state.identity), {}};
            write_note(note);
        }
        for (const auto& link : plan.links) {
            const std::string bearer = bearer_name(link);
            if (contains(state.bearers, bearer)) continue;
            step = fmt::format("enable TIPC on {}", link);
            enable_bearer(bearer, plan.tolerance_ms);
            enabled.push_back(bearer);
            if (!contains(note.bearers, bearer)) note.bearers.push_back(bearer);
            write_note(note);
        }
    } catch (const NetlinkError& error) {
        for (const auto& bearer : enabled) disable_bearer(bearer);
        const bool denied = error.error() == EPERM || error.error() == EACCES;
        throw Error(denied ? Exit::not_permitted : Exit::failed, fmt::format("cannot {}: {}", step, error.what()),
                    denied ? "run as root" : "see dmesg");
    }
    if (system_.tipc_address(address_timeout) == 0)
        throw Error(Exit::timed_out, "TIPC got no address of its own within 10 s", "see dmesg");
}

void Tipc::unconfigure() {
    Note note = read_note();
    if (note.bearers.empty()) return;
    try {
        transport_ = system_.open(family);
    } catch (const NoFamily&) {
        return;  // unloaded: nothing is left to undo
    }
    const State state = read_state();
    const bool ours = to_hex(state.identity) == note.identity;
    bool shared = !ours;
    for (const auto& bearer : state.bearers) {
        if (ours && contains(note.bearers, bearer))
            disable_bearer(bearer);
        else
            shared = true;
    }
    note.bearers.clear();
    if (!shared && forget_key()) note = {};
    write_note(note);
}

/**
 * Takes the key off this machine by unloading TIPC; false when somebody uses it, and key and identity stay together.
 * Flushing the key alone would be worse: set again under the same identity, it would count its nonces from 0 again.
 */
bool Tipc::forget_key() {
    if (!system_.module_available("tipc")) return false;
    transport_.reset();
    return system_.unload_module("tipc");
}

}  // namespace krg
