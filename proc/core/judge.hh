// SPDX-License-Identifier: GPL-2.0
// Is a record right, by itself and after all that came before it? Writer and
// reader ask the same judge about the same bytes, so that nothing is written
// that could not be read. It knows of every object what later records are
// checked against, and nothing else: its memory is bounded by what was lent.
#pragma once

#include "proc/core/layout.hh"
#include "proc/core/table.hh"

namespace krg::ghost {

// As in <errno.h>.
constexpr s32 bad = -74, unsupported = -93, no_room = -28, invalid = -22;

struct Object {
    u64 begin, end;  // VMA, MEMORY: where pages may be; TASK: begin is the pid
    u64 edge;        // the next key of edge_type must not be below
    u64 seen;        // by slot: it has such a record
    u32 owner;
    u16 type;  // of the record that defined it
    u16 edge_type;
    u8 cls;
};

/// One record, its fields still as bytes.
struct Record {
    const RecordRule* rule = nullptr;
    const u8* fields = nullptr;
    u32 length = 0;
    u32 data = 0;
    u64 object = 0, owner = 0;
};

struct Field {
    u16 id;
    u8 kind, flags;
    u32 length;
    u32 at;  // of its head, in the fields
    const u8* bytes;
    u64 number;
};

/// Takes the field at @p cursor and goes on to the next. False: the end, or it does not fit (then cursor is not the end).
[[nodiscard]] bool next_field(const u8* fields, u32 length, u32& cursor, Field& field);
[[nodiscard]] bool find(const Record& record, u16 id, Field& field);
[[nodiscard]] u64 number(const Record& record, u16 id);

class Judge {
public:
    void init(Object* objects, u32 room, u64 features);
    /// Judges a record and remembers what it says. False: error() says why.
    [[nodiscard]] bool accept(Record& record);
    /// A record of an unknown type: counted, no more.
    [[nodiscard]] bool accept_unknown(u32 data);

    bool fail(s32 code, u16 type, u16 field, u32 at, const char* reason);
    [[nodiscard]] const krg_ghost_error& error() const { return error_; }
    [[nodiscard]] krg_ghost_error& error() { return error_; }
    [[nodiscard]] u32 error_at() const { return error_at_; }
    [[nodiscard]] const krg_ghost_totals& totals() const { return totals_; }
    [[nodiscard]] u64 next_object() const { return totals_.objects + 1; }
    [[nodiscard]] bool closed() const { return closed_; }

private:
    [[nodiscard]] bool accept_fields(Record& record);
    [[nodiscard]] bool accept_field(const Record& record, const FieldRule& rule, const Field& field);
    [[nodiscard]] bool accept_reference(const Record& record, const FieldRule& rule, const Field& field, u64 id);
    [[nodiscard]] bool accept_place(const Record& record);
    [[nodiscard]] bool accept_order(const Record& record);
    [[nodiscard]] bool complete(const Record& end);
    void remember(const Record& record);

    // Relations between fields (relation.cc).
    [[nodiscard]] bool accept_relations(const Record& record);
    [[nodiscard]] bool image(const Record& record);
    [[nodiscard]] bool file_name(const Record& record, u16 field);
    [[nodiscard]] bool creds(const Record& record);
    [[nodiscard]] bool thread(const Record& record);
    [[nodiscard]] bool vma(const Record& record);
    [[nodiscard]] bool pages(const Record& record);
    [[nodiscard]] bool pages_twin(const Record& record, u64 bytes);
    [[nodiscard]] bool internet(const Record& record);
    [[nodiscard]] bool lock(const Record& record);
    [[nodiscard]] bool ascend(const Record& record, u16 low, u16 high);
    [[nodiscard]] bool points_to(const Record& record, u16 field, u16 type, const char* reason);
    [[nodiscard]] bool wrong(const Record& record, u16 field, const char* reason);

    [[nodiscard]] Object& owner_of(const Record& record) { return objects_[record.owner]; }

    Object* objects_;  // by id; 0 is the image itself
    u32 room_;
    u64 features_;
    u64 purpose_;
    bool increment_, closed_;
    u32 error_at_;
    krg_ghost_totals totals_;
    krg_ghost_error error_;
};

}  // namespace krg::ghost
