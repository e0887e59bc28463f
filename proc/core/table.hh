// SPDX-License-Identifier: GPL-2.0
// The schema as a table: which records there are, which fields they have, and
// what both must obey.
#pragma once

#include "proc/core/ghost.h"

namespace krg::ghost {

// Rules of a record (once, data, need) and of a field (required, owner, key).
constexpr u8 rule_once = 1, rule_data = 2, rule_need = 4;
constexpr u8 rule_required = 1, rule_owner = 2, rule_key = 4;
constexpr u8 no_slot = 0xff;
constexpr u32 refs_max = 253;  // of a list of references: what one unix message can carry

struct FieldRule {
    u16 type, id;
    u8 kind, rules;
    u64 least, most;
    const char* name;
};

struct RecordRule {
    u16 type;
    u8 cls, rules;
    u8 slot;           // bit in Object::seen of its owner, or no_slot
    u16 first, count;  // its fields
    u64 owners;        // classes
    const char* name;
};

struct Table {
    const RecordRule* records;
    u32 record_count;
    const FieldRule* fields;
    u32 field_count;
};
const Table& table();

/// Null: unknown.
const RecordRule* find_record(u16 type);
const FieldRule* find_field(const RecordRule& record, u16 id);

}  // namespace krg::ghost
