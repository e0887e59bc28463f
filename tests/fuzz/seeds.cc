// SPDX-License-Identifier: GPL-2.0
//
// Writes first inputs for the fuzz targets: valid messages of every format and every kind of message that three engines
// exchange, each brought before an engine in every state. Run by hand when a format changes; what it writes is committed.
//
//	build/host/bin/krg-fuzz-seeds tests/fuzz/corpus
#include "hadsm/core/message.hh"
#include "include/kerrighed/wire.h"
#include "tests/fuzz/membership_scene.hh"

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace {

using namespace krg::fuzz;
namespace fs = std::filesystem;

void write(const fs::path& folder, const std::string& name, const Bytes& data) {
    fs::create_directories(folder);
    std::ofstream(folder / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
}

template<typename T>
Bytes tagged(uint8_t tag, const T& value) {
    Bytes out(1 + sizeof(T), tag);
    std::memcpy(out.data() + 1, &value, sizeof(T));
    return out;
}

void wire(const fs::path& folder) {
    krg_wire_hdr header;
    krg_wire_msg m{KRG_WIRE_F_REQUEST, KRG_MSG_PING, 0, 64, 12, 7, 1, 0x1122334455667788};
    krg_wire_put(&m, &header);
    write(folder, "message-request", tagged(0, header));
    m.flags = KRG_WIRE_F_REPLY | KRG_WIRE_F_ANY_EPOCH;
    m.status = 110;
    krg_wire_put(&m, &header);
    write(folder, "message-reply", tagged(0, header));
    m = {KRG_WIRE_F_ANY_EPOCH, KRG_MSG_MBR, 0, KRG_WIRE_PAYLOAD_MAX, 0, 0, 9, 1};
    krg_wire_put(&m, &header);
    write(folder, "message-one-way", tagged(0, header));

    krg_hs hs{};
    krg_hs_wire hs_out;
    for (uint8_t type = KRG_HS_INIT; type <= KRG_HS_REFUSE; ++type) {
        hs = {};
        hs.type = type;
        hs.class_ = type % KRG_CLASS_NR;
        hs.node = 1;
        hs.to = 2;
        hs.incarnation = hs.attempt = 99;
        std::strcpy(hs.host, "node1");
        krg_hs_put(&hs, &hs_out);
        write(folder, "handshake-" + std::to_string(type), tagged(1, hs_out));
    }
    krg_hello h{};
    krg_hello_wire h_out;
    for (uint8_t type = KRG_HELLO_ASK; type <= KRG_HELLO_REFUSED; ++type) {
        h = {};
        h.version = type == KRG_HELLO_REFUSED ? 2 : KRG_WIRE_VERSION;
        h.type = type;
        h.node = 3;
        h.max_node = 126;
        h.incarnation = 5;
        std::strcpy(h.cluster, "blue");
        std::strcpy(h.host, "node3");
        krg_hello_put(&h, &h_out);
        write(folder, "hello-" + std::to_string(type), tagged(2, h_out));
    }
}

void put_message(Bytes& out, const Bytes& data) {
    out.push_back(static_cast<uint8_t>(data.size()));
    out.push_back(static_cast<uint8_t>(data.size() >> 8));
    out.insert(out.end(), data.begin(), data.end());
}

// One of each kind of message that reaches node 1 or the witness while a cluster forms, loses node 1's ear, and drains.
std::map<int, std::pair<u16, Bytes>> overheard(u16 listener) {
    std::map<int, std::pair<u16, Bytes>> kinds;
    const auto listen = [&](u16 from, u16 to, const Bytes& data) {
        if (data.size() > 1 && (to == listener || listener != KRG_MBR_WITNESS)) kinds.insert({data[1], {from, data}});
    };
    for (Scene scene : {Scene::three_serving, Scene::suspended, Scene::draining, Scene::preparing}) play(scene, listen);
    // Two nodes that lose each other ask the witness.
    const auto pair = play(Scene::witness_pair, listen);
    pair->mute(1);
    pair->run(8000);
    return kinds;
}

void membership(const fs::path& folder) {
    const auto kinds = overheard(1);
    for (uint8_t scene = 0; scene < static_cast<uint8_t>(Scene::count); ++scene) {
        Bytes all{scene};
        for (const auto& [kind, letter] : kinds) {
            Bytes one{scene, 0, static_cast<uint8_t>(letter.first == 1 ? 2 : letter.first), 1};
            put_message(one, letter.second);
            all.insert(all.end(), one.begin() + 1, one.end());
            if (scene == static_cast<uint8_t>(Scene::three_serving)) write(folder, "kind-" + std::to_string(kind), one);
        }
        write(folder, "scene-" + std::to_string(scene), all);
    }
    write(folder, "events",
          {3, 6, 4, 10, 7, 2, 10, 14, 3, 50, 4, 0, 255, 9, 0, 10, 4, 0, 100, 10, 0, 10, 11, 2, 20, 4, 0, 200, 12, 0, 1});
}

void witness(const fs::path& folder) {
    Bytes all{1, 0, 0};
    for (const auto& [kind, letter] : overheard(KRG_MBR_WITNESS)) {
        Bytes one{1, 0, 0};
        put_message(one, letter.second);
        put_message(one, letter.second);
        write(folder, "kind-" + std::to_string(kind), one);
        put_message(all, letter.second);
    }
    write(folder, "all", all);
}

/// A step of dsm_fuzz that brings @m from @from.
void dsm_step(Bytes& out, krg::dsm::NodeId from, const krg::dsm::Message& m, bool page) {
    uint8_t bytes[512];
    const uint32_t length = krg::dsm::encode(m, bytes, sizeof(bytes));
    out.push_back(page ? 70 : 0);  // 70 % 10 is a message too, and 64 is in it
    out.push_back(from == 2 ? 1 : 0);
    out.push_back(static_cast<uint8_t>(length));
    out.insert(out.end(), bytes, bytes + length);
}

/// A message of @type about the first object of container 1 that could follow a request for it.
krg::dsm::Message dsm_message(krg::dsm::Type type, uint8_t mode) {
    using namespace krg::dsm;
    Message m;
    m.type = type;
    m.key = {1, 0};
    m.policy = {KRG_DSM_DURABLE, 2, 0};
    m.request = (5ull << 24);
    m.version = {5, 1};
    m.node = type == Type::forward || type == Type::copy ? 3 : 2;
    m.mode = mode;
    m.payload = type == Type::data || type == Type::stage ? Payload::page : Payload::zeros;
    m.fate = Fate::applied;
    m.count = 1;
    m.list_count = 2;
    m.list[0] = 1;
    m.list[1] = 3;
    m.rset.add(3);
    m.bits[0] = 1;
    if (type == Type::report)
        m.copy[0] = {5, 1, {3, 0, 0}, 0, 1, static_cast<uint8_t>(mode == KRG_DSM_WRITE ? KRG_DSM_X : KRG_DSM_S), true};
    if (type == Type::report) m.list_count = 1;
    return m;
}

/// After a view, with and without a request, a grant and its use: every message once, from either peer.
void dsm(const fs::path& folder) {
    using namespace krg::dsm;
    Bytes opening;
    for (const uint8_t peer : {2, 3}) dsm_step(opening, peer, dsm_message(Type::report_end, 0), false);
    for (unsigned t = 1; t < static_cast<unsigned>(Type::count_); ++t) {
        const Type type = static_cast<Type>(t);
        const bool page = type == Type::data || type == Type::stage || type == Type::retain;
        for (const uint8_t mode : {KRG_DSM_READ, KRG_DSM_WRITE}) {
            Bytes asked = opening;
            asked.insert(asked.end(), {4, static_cast<uint8_t>(mode == KRG_DSM_WRITE ? 64 : 0)});
            dsm_step(asked, 2, dsm_message(type, mode), page);
            write(folder, std::string(name_of(type)) + "-asked-" + std::to_string(mode), asked);
            Bytes held = opening;
            held.insert(held.end(), {4, static_cast<uint8_t>(mode == KRG_DSM_WRITE ? 64 : 0)});
            Message granted = dsm_message(Type::grant, mode);
            dsm_step(held, 2, granted, false);
            held.insert(held.end(), {5, 0});
            dsm_step(held, 2, dsm_message(type, mode), page);
            if (type == Type::stage) dsm_step(held, 2, dsm_message(Type::stage_end, mode), false);
            held.insert(held.end(), {5, 0, 5, 0, 9, 0, 7, 200, 5, 0});
            write(folder, std::string(name_of(type)) + "-held-" + std::to_string(mode), held);
        }
    }
}

/// In a checkpointed domain whose members have settled: points of this node and of another, each message of theirs, and back.
void dsm_points(const fs::path& folder) {
    using namespace krg::dsm;
    const auto message = [](Type type, Step step, NodeId from) {
        Message m = dsm_message(type, 0);
        m.policy = {KRG_DSM_CHECKPOINTED, 2, 0};
        m.request = 5ull << 40 | 1ull << 16 | from;
        m.step = step;
        m.last = 1;
        m.error = Errno::none;
        return m;
    };
    Bytes opening;
    for (const NodeId peer : {2, 3}) {
        Message state = message(Type::point_state, Step::none, peer);
        state.request = state.last = 0;
        state.version = {};
        dsm_step(opening, peer, state, false);
        dsm_step(opening, peer, dsm_message(Type::report_end, 0), false);
    }
    // This node has written an object, if it is its home.
    opening.insert(opening.end(), {4, 64, 5, 0, 7, 200, 5, 0});
    Bytes own = opening;
    own.insert(own.end(), {8, 16});
    for (const Step step : {Step::freeze, Step::shoot, Step::cut, Step::commit}) {
        for (const NodeId peer : {2, 3}) dsm_step(own, peer, message(Type::point_done, step, 1), false);
        own.insert(own.end(), {5, 0, 5, 0});
    }
    own.insert(own.end(), {8, 8, 9, 0});
    write(folder, "point-own", own);
    Bytes other = opening;
    for (const Step step : {Step::freeze, Step::shoot, Step::cut, Step::commit, Step::forget}) {
        dsm_step(other, 2, message(Type::point, step, 2), false);
        other.insert(other.end(), {5, 0});
        for (unsigned t = static_cast<unsigned>(Type::point_done); t < static_cast<unsigned>(Type::count_); ++t) {
            const Type type = static_cast<Type>(t);
            Bytes with = other;
            dsm_step(with, 3, message(type, step, 2), type == Type::point_copy);
            Message last = message(type, step, 2);
            last.request = 0;
            dsm_step(with, 2, last, type == Type::point_copy);
            with.insert(with.end(), {5, 0, 7, 200, 9, 0});
            write(folder, "point-" + std::to_string(static_cast<unsigned>(step)) + "-" + name_of(type), with);
        }
    }
    write(folder, "point-other", other);
}

/// Steps of names_fuzz: every operation, and every operation after each kind of page was written over at its head, in its
/// first record, or altogether.
void names(const fs::path& folder) {
    const auto all = [] {
        Bytes out;
        for (uint8_t of = 0; of < 200; of += 100)
            for (uint8_t what = 0; what < 12; ++what)
                for (uint8_t inode = 0; inode < 7; ++inode)
                    out.insert(out.end(), {static_cast<uint8_t>(of + what), 1, static_cast<uint8_t>(inode | 16),
                                           static_cast<uint8_t>(inode + what), 3, static_cast<uint8_t>(what), 1});
        return out;
    };
    write(folder, "all", all());
    Bytes misses = all();
    for (size_t i = 1; i < misses.size(); i += 7) misses[i] = static_cast<uint8_t>(1 | (i / 7 % 16) << 4);
    write(folder, "misses", misses);
    const Bytes ones(40, 0xff), zeros(40, 0), chain{24, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 24, 0, 9, 8};
    for (uint8_t page = 0; page < 12; ++page)
        for (const uint8_t at : {0, 8, 16, 40, 96, 160, 240}) {
            Bytes out;
            for (const Bytes& bytes : {ones, zeros, chain}) {
                out.insert(out.end(), {200, page, at, static_cast<uint8_t>(at == 240), static_cast<uint8_t>(bytes.size())});
                out.insert(out.end(), bytes.begin(), bytes.end());
            }
            const Bytes then = all();
            out.insert(out.end(), then.begin(), then.end());
            write(folder, "page-" + std::to_string(page) + "-at-" + std::to_string(at), out);
        }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: krg-fuzz-seeds FOLDER\n");
        return 2;
    }
    const fs::path folder = argv[1];
    wire(folder / "wire_fuzz");
    membership(folder / "membership_fuzz");
    witness(folder / "witness_fuzz");
    dsm(folder / "dsm_fuzz");
    dsm_points(folder / "dsm_fuzz");
    names(folder / "names_fuzz");
    return 0;
}
