// SPDX-License-Identifier: GPL-2.0
// The messages between coherence engines: what they are, what is in them, and
// their bytes. One struct holds every message; which fields of it travel is said
// once, in message.cc, for both directions.
//
//	type         from -> to          what
//	GET          requester -> home   wants mode of object; keep: whatever room backups have
//	FORWARD      home -> holder      send the object to node (0: nobody, only write-protect it)
//	DATA         holder -> requester the page; mode READ, or WRITE of a whole hand-over, or part of one (GRANT follows)
//	GRANT        home -> requester   access, with what you have, zeros, or the DATA of another; not before count holders have answered
//	CLOSE        requester -> home   the transaction is over, this is the version
//	FAIL         home -> requester   cannot be granted: error
//	INVALIDATE   home -> holder      give up the copy, keep it as retained, or send it to node; answer: whom to tell
//	INVALIDATED  holder -> home, or (answer) requester of a write
//	PINNED       the same: the page is in use for I/O and cannot leave; requester -> home: so said those in list
//	DEMOTED      holder -> home      answer to a FORWARD to nobody
//	RELEASE      home -> holder      the receiver has confirmed: drop the frozen copy, or keep it as retained
//	RELEASED     back: nobody else sees what the receiver wrote before this
//	RESTORE      home -> holder      the receiver never got it: the frozen copy is the exclusive one again
//	COPY         home -> holder      make a retained copy at node; keep: only if there is room for it
//	RETAIN       holder -> backup    that copy
//	RETAINED     backup -> home      error 0: have it
//	GET_RANGE    requester -> home   would like to read these objects, or write what was never written, if nobody has to wait for that
//	SKIPPED      home -> requester   these of them not
//	DECLINED     holder -> home      not this one: it is in use (answer to a FORWARD ahead)
//	EVICT        holder -> home      wants to give up its copy; keep: only if that needs no other
//	EVICT_DONE   home -> holder      it is given up, or why not
//	SET_RSET     home -> writer      commit to these nodes from now on
//	RSET_SET     writer -> home      done: a commit has reached them
//	INIT         writer -> home, successors   the object is about to be written for the first time
//	INIT_DONE    back
//	STAGE        writer -> backup    one object of a batch
//	STAGE_END    writer -> backup    the batch is complete: how many, and who else
//	STAGED       backup -> writer    error 0: all of it is kept
//	DECIDE       decider -> backup   apply or drop the batch
//	DECIDED      backup -> decider
//	FORGET       decider -> backup   everybody has decided
//	BATCH_STATE  backup -> decider   what became of the batch here, and who else knows
//	BATCH_ASK    decider -> backup
//	PUNCH        any -> all homes    these objects become zeros
//	PUNCHED      back
//	CLEAR        home -> all         forget that these were ever written
//	CLEARED      back
//	REPORT       any -> home         copies of a chunk
//	BITS         any -> home, successor  what of a chunk was ever written
//	BITS_KNOWN   successor -> home
//	REPORT_END   any -> home         that was all, but for what a home knows that served the epoch before (version)
//	REPORT_ASK   home -> any         report these of a chunk, too; keep: all that was left out
//	REPORT_ASKED back: that was all
//	ROOM         any -> all          how much memory it has left
//	POINT        coordinator -> all  a step of a recovery point: freeze, shoot, cut, commit, forget, abort
//	POINT_DONE   back                error 0: done; after the cut: how many objects of this home are in the point
//	SHOT         holder -> home      has a copy of this version for the point
//	SHOT_END     holder -> home      those were all
//	SHOT_KNOWN   back
//	KEEP         home -> holder      keep the copy for the point, send one to node, or have none from then on
//	POINT_COPY   holder -> keeper    the page
//	KEPT         keeper -> home      error 0: done
//	POINT_STATE  any -> first member the last point, as far as is known here, and whether to go back to it
//	SETTLE       first member -> all which one it is; keep: go back to it
//	MARK         keeper -> home      report: a copy of the point
//	COUNTED      home -> first member  after a rollback: so many objects of the point are there
//	VERDICT      first member -> all all of them are; dirty: not all
#pragma once

#include "hadsm/core/types.hh"

namespace krg::dsm {

enum class Type : u8 {
    none,
    get,
    forward,
    data,
    grant,
    close,
    fail,
    invalidate,
    invalidated,
    demoted,
    release,
    restore,
    copy,
    retain,
    retained,
    evict,
    evict_done,
    set_rset,
    rset_set,
    init,
    init_done,
    stage,
    stage_end,
    staged,
    decide,
    decided,
    forget,
    batch_state,
    batch_ask,
    report,
    bits,
    report_end,
    punch,
    punched,
    clear,
    cleared,
    pinned,
    bits_known,
    released,
    get_range,
    skipped,
    declined,
    room,
    report_ask,
    report_asked,
    point,
    point_done,
    shot,
    shot_end,
    shot_known,
    keep,
    point_copy,
    kept,
    point_state,
    settle,
    mark,
    counted,
    verdict,
    count_,
};

/// The steps of a recovery point, in their order.
enum class Step : u8 { none, freeze, shoot, cut, commit, forget, abort, last_ = abort };

/// What a KEEP wants.
enum class Keeping : u8 { own, send, drop, last_ = drop };

/// What kind of data a GRANT or DATA stands for.
enum class Payload : u8 { have, zeros, page, follows, last_ = follows };

/// Whether a node has a record of every chunk that was ever written: it waits to be told, it has, or somebody is gone who
/// could have told it.
enum class Knows : u8 { not_yet, all, no_more, last_ = no_more };

/// What became of a batch at one node.
enum class Fate : u8 { none, receiving, staged, applied, dropped, last_ = dropped };

/// Nodes a batch may touch: what fits into one message.
inline constexpr u32 batch_nodes_max = 126;

/// Copies that one REPORT names.
inline constexpr u32 report_max = 10;

/// One of them. Plain, since it shares its place in a Message.
struct Reported {
    u64 version_epoch, version_count;
    NodeId node[Rset::max];  ///< of an exclusive copy: who holds the committed version
    u16 at;                  ///< in its chunk
    u8 nodes;
    u8 mode;  ///< enum krg_dsm_state
    bool initialised;
    [[nodiscard]] Version version() const { return {version_epoch, version_count}; }
};

struct Message {
    Type type = Type::none;
    u64 epoch = 0, seq = 0;
    u64 op = 0;  ///< the operation it belongs to: (node << 48 | counter) of where that began
    Key key{};
    krg_dsm_policy policy{};
    u64 request = 0;  ///< request id of the requester, batch id
    Version version{};
    NodeId node = 0;    ///< third party: requester, target, writer of a batch
    NodeId answer = 0;  ///< of INVALIDATE: the requester, if it is told; of INVALIDATED and PINNED: it is
    u8 mode = 0;        ///< enum krg_dsm_mode
    Payload payload = Payload::have;
    Fate fate = Fate::none;
    Room room = Room::enough;
    Step step = Step::none;
    Keeping keeping = Keeping::own;
    Knows knows = Knows::not_yet;  ///< which chunks were written: of a REPORT_END
    bool keep = false;             ///< of a GRANT: others than its home had to act first
    bool initialised = false, dirty = false;
    bool ahead = false;   ///< nobody waits for it
    bool lazy = false;    ///< not on the wire: it may travel with others that follow
    bool behind = false;  ///< not on the wire: whoever is granted something in the same step goes first
    Errno error = Errno::none;
    Rset rset{};
    u32 count = 0;
    u64 last = 0;      ///< of a range that begins with key
    u64 bits[8] = {};  ///< of a chunk; the first word: of a range that begins with key
    union {
        NodeId list[batch_nodes_max] = {};
        Reported copy[report_max];  ///< of a REPORT
    };
    u8 list_count = 0;  ///< of either
    u64 handle = 0;     ///< not on the wire: the page that came with it
};

/// A message about the object of @x, whatever has a key and a policy.
template<typename T>
[[nodiscard]] Message about(Type type, const T& x) {
    Message m;
    m.type = type;
    m.key = x.key;
    m.policy = x.policy;
    return m;
}

/// Bytes written, 0 when they do not fit into @room.
[[nodiscard]] u32 encode(const Message& m, u8* at, u32 room);
/// False: not a message of this protocol, whole and nothing but.
[[nodiscard]] bool decode(Message& m, const u8* at, u32 length);
[[nodiscard]] const char* name_of(Type type);

}  // namespace krg::dsm
