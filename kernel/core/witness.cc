// SPDX-License-Identifier: GPL-2.0
// The witness: a Paxos acceptor whose memory is a file, for views of even size.
// It votes on views only; it never acknowledges a lease. One file serves one
// life of a cluster, one target epoch at a time: a lower one is refused, and a
// higher one replaces it.
//
//	file:  "krgW", version, cluster id, target epoch, promised, accepted ballot, value length, value, checksum
#include "kernel/core/engine.hh"

namespace krg {
namespace {

constexpr u32 magic = 0x5767726bu;

struct WitnessState {
    u64 cluster_id = 0;
    u64 target = 0;
    Ballot promised, accepted;
    const u8* value = nullptr;
    u32 value_length = 0;
};

u32 checksum(const u8* data, u32 length) {  // FNV-1a
    u32 h = 2166136261u;
    for (u32 i = 0; i < length; i++) h = (h ^ data[i]) * 16777619u;
    return h;
}

/// False: not a state of ours, or damaged.
bool read_state(const u8* data, u32 length, WitnessState& s) {
    if (!length) return true;
    if (length < 8) return false;
    Reader sum(data + length - 4, 4);
    if (sum.get32() != checksum(data, length - 4)) return false;
    Reader r(data, length - 4);
    if (r.get32() != magic || r.get32() != KRG_MBR_VERSION) return false;
    s.cluster_id = r.get64();
    s.target = r.get64();
    s.promised = get_ballot(r);
    s.accepted = get_ballot(r);
    s.value_length = r.get32();
    if (!r.ok() || r.left() != s.value_length) return false;
    s.value = data + (length - 4 - s.value_length);
    return true;
}

bool write_state(u8* data, u32* length, u32 room, const WitnessState& s) {
    if (room < 64 + s.value_length) return false;
    // The value may lie in the buffer that is being written: move it first.
    if (s.value_length) __builtin_memmove(data + 40, s.value, s.value_length);
    Writer w(data, 40);
    w.put32(magic);
    w.put32(KRG_MBR_VERSION);
    w.put64(s.cluster_id);
    w.put64(s.target);
    put_ballot(w, s.promised);
    put_ballot(w, s.accepted);
    w.put32(s.value_length);
    u32 used = w.length() + s.value_length;
    if (!w.ok() || w.length() != 40) return false;
    Writer sum(data + used, room - used);
    sum.put32(checksum(data, used));
    *length = used + 4;
    return sum.ok();
}

Writer begin_reply(u8* reply, u32 room, MsgType type, u64 cluster_id, u64 target) {
    Writer w(reply, room);
    Header h;
    h.type = type;
    h.cluster_id = cluster_id;
    h.epoch = target - 1;
    h.put(w);
    w.put64(target);
    return w;
}

int finish(const Writer& w, u32* length, bool changed) {
    if (!w.ok()) return -1;
    *length = w.length();
    return changed ? 1 : 0;
}

}  // namespace

/// See krg_mbr_witness().
int witness_step(u8* state, u32* state_length, u32 room, u64 cluster_id, const u8* msg, u32 msg_length, u8* reply,
                 u32* reply_length) {
    WitnessState s;
    Reader r(msg, msg_length);
    Header h;
    h.get(r);
    if (!r.ok() || h.version != KRG_MBR_VERSION || h.cluster_id != cluster_id) return -1;
    if (h.type == MsgType::WitnessNew) {  // a new cluster takes the file over, whatever it held; once
        Writer w(reply, *reply_length);
        h.epoch = 0;
        h.put(w);
        if (!r.complete()) return -1;
        if (read_state(state, *state_length, s) && s.cluster_id == cluster_id) return finish(w, reply_length, false);
        s = {};
        s.cluster_id = cluster_id;
        return w.ok() && write_state(state, state_length, room, s) ? finish(w, reply_length, true) : -1;
    }
    if (!read_state(state, *state_length, s) || s.cluster_id != cluster_id) return -1;
    if (h.type != MsgType::P1a && h.type != MsgType::P2a) return -1;
    u64 target = r.get64();
    Ballot b = get_ballot(r);
    const u8* value = msg + (msg_length - r.left());
    u32 value_length = r.left();
    if (!r.ok() || !target || (h.type == MsgType::P1a) != (value_length == 0)) return -1;
    bool superseded = target < s.target;
    if (target > s.target) {
        s.target = target;
        s.promised = s.accepted = {};
        s.value_length = 0;
    }
    if (superseded || b < s.promised) {  // no ballot is high enough for an epoch that is over
        Writer w = begin_reply(reply, *reply_length, MsgType::Nack, cluster_id, target);
        put_ballot(w, superseded ? Ballot{~0u >> 1, 0xffff} : s.promised);
        return finish(w, reply_length, false);
    }
    s.promised = b;
    if (h.type == MsgType::P1a) {
        Writer w = begin_reply(reply, *reply_length, MsgType::P1b, cluster_id, target);
        put_ballot(w, b);
        put_ballot(w, s.accepted);
        for (u32 i = 0; i < s.value_length; i++) w.put8(s.value[i]);
        w.put16(0);
        w.put16(0);
        if (!w.ok()) return -1;  // before anything is promised that nobody would hear of
        if (!KRG_MUTANT(WitnessForgets) && !write_state(state, state_length, room, s)) return -1;
        return finish(w, reply_length, true);
    }
    s.accepted = b;
    s.value = value;
    s.value_length = value_length;
    Writer w = begin_reply(reply, *reply_length, MsgType::P2b, cluster_id, target);
    put_ballot(w, b);
    w.put32(0);
    w.put32(0);
    if (!w.ok()) return -1;
    if (!KRG_MUTANT(WitnessForgets) && !write_state(state, state_length, room, s)) return -1;
    return finish(w, reply_length, true);
}

}  // namespace krg
