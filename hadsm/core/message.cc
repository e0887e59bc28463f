// SPDX-License-Identifier: GPL-2.0
// The bytes of every message. `fields` is walked by a writer and by a reader, so
// that both sides of the format cannot differ.
#include "hadsm/core/message.hh"

#include "kernel/core/codec.hh"

namespace krg::dsm {
namespace {

constexpr u8 magic = 0xd5;
static_assert(KRG_DSM_OP_AT == 3 + 2 * sizeof(u64) && KRG_DSM_OP_BYTES == sizeof(u64));  // as encode() writes it

/// Puts fields; the same calls as In.
class Out {
public:
    explicit Out(Writer& w) : w_(w) {}
    void u8s(u8 v) { w_.put8(v); }
    void u16s(u16 v) { w_.put16(v); }
    void u32s(u32 v) { w_.put32(v); }
    void u64s(u64 v) { w_.put64(v); }
    void flag(bool v) { w_.put8(v); }
    void error(Errno v) { w_.put8(static_cast<u8>(-static_cast<s32>(v))); }
    template<typename E>
    void choice(E v) {
        w_.put8(static_cast<u8>(v));
    }

private:
    Writer& w_;
};

/// Takes fields; a value out of its range fails the reader.
class In {
public:
    explicit In(Reader& r) : r_(r) {}
    void u8s(u8& v) { v = r_.get8(); }
    void u16s(u16& v) { v = r_.get16(); }
    void u32s(u32& v) { v = r_.get32(); }
    void u64s(u64& v) { v = r_.get64(); }
    void flag(bool& v) { v = bounded(1) != 0; }
    void error(Errno& v) {
        switch (const s32 e = -static_cast<s32>(r_.get8()); static_cast<Errno>(e)) {
        case Errno::none:
        case Errno::io:
        case Errno::nomem:
        case Errno::busy:
        case Errno::nospc:
        case Errno::noent:
        case Errno::again:
        case Errno::inval:
        case Errno::timedout: v = static_cast<Errno>(e); return;
        }
        r_.fail();
    }
    template<typename E>
    void choice(E& v) {
        v = static_cast<E>(bounded(static_cast<u8>(E::last_)));
    }

private:
    u8 bounded(u8 most) {
        const u8 v = r_.get8();
        if (v > most) r_.fail();
        return v > most ? 0 : v;
    }
    Reader& r_;
};

template<typename A, typename M>
void object(A& a, M& m) {
    a.u64s(m.key.container);
    a.u64s(m.key.index);
    a.u8s(m.policy.cls);
    a.u8s(m.policy.replicas);
    a.u16s(m.policy.affinity);
}
template<typename A, typename M>
void version(A& a, M& m) {
    a.u64s(m.version.epoch);
    a.u64s(m.version.count);
}
template<typename A, typename M>
void rset(A& a, M& m) {
    a.u8s(m.rset.count);
    for (auto& n : m.rset.node) a.u16s(n);
}
template<typename A, typename M>
void copies(A& a, M& m) {
    a.u8s(m.list_count);
    for (u32 i = 0; i < m.list_count && i < report_max; i++) {
        auto& c = m.copy[i];
        a.u16s(c.at), a.u8s(c.mode), a.flag(c.initialised), a.u64s(c.version_epoch), a.u64s(c.version_count), a.u8s(c.nodes);
        for (u32 k = 0; k < c.nodes && k < Rset::max; k++) a.u16s(c.node[k]);
    }
}
template<typename A, typename M>
void batch(A& a, M& m) {
    a.u16s(m.node);
    a.u64s(m.request);
}
template<typename A, typename M>
void nodes(A& a, M& m) {
    a.u8s(m.list_count);
    for (u32 i = 0; i < m.list_count && i < batch_nodes_max; i++) a.u16s(m.list[i]);
}

/// Everything after the header, by type. False: no such type.
template<typename A, typename M>
bool fields(A& a, M& m) {
    switch (m.type) {
    case Type::get:
    case Type::evict: object(a, m), a.u64s(m.request), a.u8s(m.mode), a.flag(m.keep); return true;
    case Type::forward:
        object(a, m), a.u64s(m.request), a.u8s(m.mode), a.u16s(m.node), version(a, m), rset(a, m), a.flag(m.ahead);
        return true;
    case Type::data:
    case Type::grant:
        object(a, m), a.u64s(m.request), a.u8s(m.mode), version(a, m), rset(a, m), a.choice(m.payload), a.flag(m.initialised),
            a.flag(m.dirty), a.flag(m.keep), a.u32s(m.count);
        return true;
    case Type::close: object(a, m), a.u64s(m.request), version(a, m), a.flag(m.dirty); return true;
    case Type::fail:
    case Type::evict_done:
    case Type::retained: object(a, m), a.u64s(m.request), a.error(m.error); return true;
    case Type::invalidate:
        object(a, m), a.u64s(m.request), a.u16s(m.node), a.u16s(m.answer), version(a, m), a.flag(m.keep);
        return true;
    case Type::invalidated: object(a, m), a.u64s(m.request), a.u16s(m.answer), a.flag(m.keep); return true;
    case Type::pinned: object(a, m), a.u64s(m.request), a.u16s(m.answer), nodes(a, m); return true;
    case Type::demoted: object(a, m), version(a, m); return true;
    case Type::get_range: object(a, m), a.u64s(m.request), a.u8s(m.mode), a.u64s(m.bits[0]); return true;
    case Type::skipped: object(a, m), a.u64s(m.request), a.u64s(m.bits[0]); return true;
    case Type::release: object(a, m), a.u64s(m.request), a.flag(m.keep); return true;
    case Type::released:
    case Type::declined:
    case Type::init_done: object(a, m), a.u64s(m.request); return true;
    case Type::init: object(a, m), a.u64s(m.request), a.flag(m.keep); return true;
    case Type::restore: object(a, m), rset(a, m), a.flag(m.keep); return true;
    case Type::set_rset: object(a, m), rset(a, m); return true;
    case Type::rset_set: object(a, m), version(a, m), rset(a, m); return true;
    case Type::copy: object(a, m), a.u16s(m.node), version(a, m), a.flag(m.keep); return true;
    case Type::retain: object(a, m), version(a, m), a.flag(m.initialised), a.flag(m.keep); return true;
    case Type::stage: batch(a, m), object(a, m), version(a, m), a.choice(m.payload), a.flag(m.initialised); return true;
    case Type::stage_end: batch(a, m), a.u32s(m.count), nodes(a, m); return true;
    case Type::staged: batch(a, m), a.error(m.error); return true;
    case Type::batch_state: batch(a, m), a.choice(m.fate), a.u64s(m.version.epoch), nodes(a, m); return true;
    case Type::decide: batch(a, m), a.choice(m.fate); return true;
    case Type::decided:
    case Type::forget:
    case Type::batch_ask: batch(a, m); return true;
    case Type::report: object(a, m), copies(a, m); return true;
    case Type::bits:
        object(a, m);
        a.flag(m.keep);
        a.flag(m.initialised);
        version(a, m);
        for (auto& b : m.bits) a.u64s(b);
        return true;
    case Type::punch:
    case Type::clear: object(a, m), a.u64s(m.last), a.u64s(m.request); return true;
    case Type::punched:
    case Type::cleared: a.u64s(m.request); return true;
    case Type::report_end: version(a, m), a.choice(m.knows); return true;
    case Type::report_ask:
        object(a, m), a.flag(m.keep);
        for (auto& b : m.bits) a.u64s(b);
        return true;
    case Type::bits_known:
    case Type::report_asked: return true;
    case Type::room: a.choice(m.room); return true;
    case Type::point: a.u64s(m.request), a.choice(m.step), a.u64s(m.last); return true;
    case Type::point_done: a.u64s(m.request), a.choice(m.step), a.error(m.error), a.u64s(m.last); return true;
    case Type::shot:
    case Type::mark: object(a, m), a.u64s(m.request), version(a, m); return true;
    case Type::shot_end:
    case Type::shot_known: a.u64s(m.request); return true;
    case Type::keep: object(a, m), a.u64s(m.request), version(a, m), a.choice(m.keeping), a.u16s(m.node); return true;
    case Type::point_copy: object(a, m), a.u64s(m.request), version(a, m), a.choice(m.payload); return true;
    case Type::kept: object(a, m), a.u64s(m.request), a.error(m.error); return true;
    case Type::point_state:
        a.u64s(m.request), a.u64s(m.last), version(a, m), a.flag(m.keep), a.flag(m.dirty), a.flag(m.initialised);
        return true;
    case Type::settle: a.u64s(m.request), a.u64s(m.last), version(a, m), a.flag(m.keep), a.flag(m.dirty); return true;
    case Type::counted: a.u64s(m.last); return true;
    case Type::verdict: a.flag(m.dirty); return true;
    case Type::none:
    case Type::count_: break;
    }
    return false;
}

/// Copies there can be, of objects of one chunk.
bool sane_copies(const Message& m) {
    constexpr u64 per_chunk = 1ull << KRG_DSM_CHUNK_SHIFT;
    if (m.list_count > report_max || m.key.index % per_chunk) return false;
    for (u32 i = 0; i < m.list_count; i++) {
        const Reported& c = m.copy[i];
        if (c.at >= per_chunk || c.mode == KRG_DSM_I || c.mode > KRG_DSM_F || c.nodes > Rset::max) return false;
    }
    return true;
}

}  // namespace

u32 encode(const Message& m, u8* at, u32 room) {
    Writer w(at, room);
    Out out(w);
    w.put8(magic);
    w.put8(KRG_DSM_VERSION);
    w.put8(static_cast<u8>(m.type));
    w.put64(m.epoch);
    w.put64(m.seq);
    w.put64(m.op);
    return fields(out, m) && w.ok() ? w.length() : 0;
}

bool decode(Message& m, const u8* at, u32 length) {
    Reader r(at, length);
    In in(r);
    if (r.get8() != magic || r.get8() != KRG_DSM_VERSION) return false;
    const u8 type = r.get8();
    if (type >= static_cast<u8>(Type::count_)) return false;
    m.type = static_cast<Type>(type);
    m.epoch = r.get64();
    m.seq = r.get64();
    m.op = r.get64();
    if (!fields(in, m) || !r.complete()) return false;
    if (m.type == Type::report) return sane_copies(m);
    return m.rset.count <= Rset::max && m.list_count <= batch_nodes_max;
}

const char* name_of(Type type) {
    static constexpr const char* names[] = {"none",      "GET",        "FORWARD",     "DATA",        "GRANT",
                                            "CLOSE",     "FAIL",       "INVALIDATE",  "INVALIDATED", "DEMOTED",
                                            "RELEASE",   "RESTORE",    "COPY",        "RETAIN",      "RETAINED",
                                            "EVICT",     "EVICT_DONE", "SET_RSET",    "RSET_SET",    "INIT",
                                            "INIT_DONE", "STAGE",      "STAGE_END",   "STAGED",      "DECIDE",
                                            "DECIDED",   "FORGET",     "BATCH_STATE", "BATCH_ASK",   "REPORT",
                                            "BITS",      "REPORT_END", "PUNCH",       "PUNCHED",     "CLEAR",
                                            "CLEARED",   "PINNED",     "BITS_KNOWN",  "RELEASED",    "GET_RANGE",
                                            "SKIPPED",   "DECLINED",   "ROOM",        "REPORT_ASK",  "REPORT_ASKED",
                                            "POINT",     "POINT_DONE", "SHOT",        "SHOT_END",    "SHOT_KNOWN",
                                            "KEEP",      "POINT_COPY", "KEPT",        "POINT_STATE", "SETTLE",
                                            "MARK",      "COUNTED",    "VERDICT"};
    static_assert(sizeof(names) / sizeof(names[0]) == static_cast<unsigned>(Type::count_));
    return names[static_cast<unsigned>(type) < static_cast<unsigned>(Type::count_) ? static_cast<unsigned>(type) : 0];
}

}  // namespace krg::dsm
