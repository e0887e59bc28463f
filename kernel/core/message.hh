// SPDX-License-Identifier: GPL-2.0
// The messages between membership engines. Every one begins with the same
// header; what follows is listed here and written and read where it is used.
//
//	type        body after the header                                        from -> to
//	RENEW       stamp, heard, ack, flags, reach row                          member -> member, every renew_ms
//	JOIN_REQ    cluster hash, reach row                                      joiner -> everybody connected
//	JOIN_WAIT   flags, row of the view's members                             member or joiner -> joiner
//	REFUSE      reason                                                       member -> joiner: final
//	NOT_MEMBER  reason                                                       member -> removed node
//	BEHIND      nothing: "send me your view"                                 member or joiner -> member
//	REQUEST     what, node, incarnation                                      whoever wants it -> members
//	P1A         target epoch, ballot                                         proposer -> acceptor (also the witness)
//	P1B         target epoch, ballot, accepted ballot [view], row, broken pairs
//	P2A         target epoch, ballot, view
//	P2B         target epoch, ballot, hold_ms, hold_all_ms
//	NACK        target epoch, ballot promised
//	DECIDE      hold_ms, hold_all_ms, view                                   anybody -> members old and new
//	WITNESS_NEW nothing: the cluster of the header is new                    creator -> witness
#pragma once

#include "kernel/core/codec.hh"
#include "kernel/core/nodeset.hh"

namespace krg {

enum class MsgType : u8 {
    Renew = 1,
    JoinReq,
    JoinWait,
    Refuse,
    NotMember,
    Behind,
    Request,
    P1a,
    P1b,
    P2a,
    P2b,
    Nack,
    Decide,
    WitnessNew,
};

struct Header {
    u8 version = KRG_MBR_VERSION;
    MsgType type{};
    u64 cluster_id = 0;
    u64 epoch = 0;  // of the sender's view, 0: none

    static constexpr u32 size = 20;
    void put(Writer& w) const {
        w.put8(version);
        w.put8(static_cast<u8>(type));
        w.put16(0);
        w.put64(cluster_id);
        w.put64(epoch);
    }
    void get(Reader& r) {
        version = r.get8();
        type = static_cast<MsgType>(r.get8());
        if (r.get16() != 0) r.fail();
        cluster_id = r.get64();
        epoch = r.get64();
    }
};

inline constexpr u8 renew_needs_epoch = 1;  // RENEW flag: a reset since the epoch began
inline constexpr u8 wait_no_quorum = 1;     // JOIN_WAIT flag: my view has no quorum now
inline constexpr u8 wait_not_member = 2;    // JOIN_WAIT flag: I am a joiner too

enum class RequestKind : u8 { Drain = 1, Leave = 2, Evict = 4 };

inline void put_ballot(Writer& w, Ballot b) {
    w.put32(b.round);
    w.put16(b.node);
}
inline Ballot get_ballot(Reader& r) {
    Ballot b;
    b.round = r.get32();
    b.node = r.get16();
    return b;
}
inline void put_set(Writer& w, const NodeSet& s) {
    w.put16(static_cast<u16>(s.word_count()));
    for (u32 i = 0; i < s.word_count(); i++) w.put64(s.words()[i]);
}
/// A set of another width is malformed: ids beyond ours could not be kept.
inline void get_set(Reader& r, NodeSet& s) {
    if (r.get16() != s.word_count()) r.fail();
    for (u32 i = 0; r.ok() && i < s.word_count(); i++) s.words()[i] = r.get64();
}
inline void put_hold(Writer& w, Ms left) { w.put32(left > 0xffffffffull ? 0xffffffffu : static_cast<u32>(left)); }

}  // namespace krg
