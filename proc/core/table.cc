// SPDX-License-Identifier: GPL-2.0
// schema.h made into tables at compile time, and its own rules proved there.
#include "proc/core/table.hh"

namespace krg::ghost {
namespace {

namespace rules {
constexpr u8 ONCE = rule_once, DATA = rule_data, NEED = rule_need;
constexpr u8 Q = rule_required, O = rule_owner | rule_required, K = rule_key;
}  // namespace rules
using namespace rules;

#define KRG_C(NAME) (1ULL << KRG_GHOST_##NAME##_CLASS)
constexpr u8 KRG_GHOST_NONE_CLASS = KRG_GHOST_NONE;

#define R(NAME, type, cls, rules, meaning)
#define F(NAME, FIELD, id, kind, rules, least, most, unit, meaning)                                                            \
    FieldRule{KRG_GHOST_##NAME,       id,    KRG_GHOST_##kind, static_cast<u8>(rules), static_cast<u64>(least),                \
              static_cast<u64>(most), #FIELD},
constexpr FieldRule fields[] = {
#include "proc/core/schema.h"
};
#undef R
#undef F
constexpr u32 field_count = sizeof(fields) / sizeof(fields[0]);

#define R(NAME, type, cls, rules, meaning)                                                                                     \
    RecordRule{type, KRG_GHOST_##cls##_CLASS, static_cast<u8>(rules), no_slot, 0, 0, 0, #NAME},
#define F(NAME, FIELD, id, kind, rules, least, most, unit, meaning)
constexpr RecordRule plain_records[] = {
#include "proc/core/schema.h"
};
#undef R
#undef F
constexpr u32 record_count = sizeof(plain_records) / sizeof(plain_records[0]);

struct Records {
    RecordRule at[record_count];
    u32 slots = 0;
};

constexpr Records joined() {
    Records out{};
    for (u32 i = 0; i < record_count; i++) {
        RecordRule& record = out.at[i];
        record = plain_records[i];
        bool keyed = false;
        for (u32 f = 0; f < field_count; f++) {
            if (fields[f].type != record.type) continue;
            if (record.count++ == 0) record.first = static_cast<u16>(f);
            if (fields[f].rules & rule_owner) record.owners = fields[f].most;
            keyed = keyed || (fields[f].rules & rule_key);
        }
        if (keyed || record.rules & (rule_once | rule_need)) record.slot = static_cast<u8>(out.slots++);
    }
    return out;
}
constexpr Records records = joined();

/// The tables are sorted, field ids ascend and an owner or key is what the judge takes it for.
constexpr bool sound() {
    for (u32 i = 1; i < record_count; i++)
        if (records.at[i].type <= records.at[i - 1].type) return false;
    for (u32 i = 0; i < record_count; i++) {
        const RecordRule& record = records.at[i];
        for (u32 f = 0; f < record.count; f++) {
            const FieldRule& field = fields[record.first + f];
            if (field.type != record.type || (f > 0 && field.id <= fields[record.first + f - 1].id)) return false;
            if (field.rules & rule_owner && (field.kind != KRG_GHOST_REF || f != 0)) return false;
            if (field.rules & rule_key && (field.kind != KRG_GHOST_U || f != 1 || field.most > KRG_S64_MAX)) return false;
            if (field.kind == KRG_GHOST_S ? static_cast<s64>(field.least) > static_cast<s64>(field.most)
                                          : field.kind != KRG_GHOST_REF && field.least > field.most)
                return false;
        }
    }
    return records.slots <= 64;
}
static_assert(sound());
static_assert(KRG_GHOST_CLASSES <= 64);

constexpr Table whole{records.at, record_count, fields, field_count};

}  // namespace

const Table& table() { return whole; }

const RecordRule* find_record(u16 type) {
    u32 low = 0, high = record_count;
    while (low < high) {
        const u32 middle = (low + high) / 2;
        if (records.at[middle].type < type)
            low = middle + 1;
        else
            high = middle;
    }
    return low < record_count && records.at[low].type == type ? &records.at[low] : nullptr;
}

const FieldRule* find_field(const RecordRule& record, u16 id) {
    for (u32 i = 0; i < record.count; i++)
        if (fields[record.first + i].id == id) return &fields[record.first + i];
    return nullptr;
}

}  // namespace krg::ghost

extern "C" const char* krg_ghost_type_name(u16 type) {
    const auto* record = krg::ghost::find_record(type);
    return record ? record->name : nullptr;
}

extern "C" const char* krg_ghost_field_name(u16 type, u16 id) {
    const auto* record = krg::ghost::find_record(type);
    const auto* field = record ? krg::ghost::find_field(*record, id) : nullptr;
    return field ? field->name : nullptr;
}
