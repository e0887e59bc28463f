// SPDX-License-Identifier: GPL-2.0
// What holds for every record: each field as the schema says, references that go
// back to objects of the right class, order, what must not come twice, and at
// the end nothing missing.
#include "proc/core/judge.hh"

namespace krg::ghost {
namespace {

bool is_number(u8 kind) { return kind <= KRG_GHOST_REF; }

bool zeros(const u8* at, u32 count) {
    for (u32 i = 0; i < count; i++)
        if (at[i]) return false;
    return true;
}

bool in_range(const FieldRule& rule, u64 v) {
    switch (rule.kind) {
    case KRG_GHOST_U: return v >= rule.least && v <= rule.most;
    case KRG_GHOST_S:
        return static_cast<s64>(v) >= static_cast<s64>(rule.least) && static_cast<s64>(v) <= static_cast<s64>(rule.most);
    case KRG_GHOST_B: return (v & ~rule.most) == 0;
    default: return true;
    }
}

}  // namespace

bool next_field(const u8* fields, u32 length, u32& cursor, Field& field) {
    if (length - cursor < field_head) return false;
    const u8* at = fields + cursor;
    field.at = cursor;
    field.id = static_cast<u16>(load(at, 2));
    field.kind = at[2];
    field.flags = at[3];
    field.length = static_cast<u32>(load(at + 4, 4));
    field.bytes = at + field_head;
    const u32 left = length - cursor - field_head;
    if (field.length > left || padded(field.length) > left) return false;
    field.number = field.length == 8 ? load(field.bytes, 8) : 0;
    cursor += field_head + padded(field.length);
    return true;
}

bool find(const Record& record, u16 id, Field& field) {
    u32 cursor = 0;
    while (next_field(record.fields, record.length, cursor, field))
        if (field.id == id) return true;
    return false;
}

u64 number(const Record& record, u16 id) {
    Field field;
    return find(record, id, field) ? field.number : 0;
}

void Judge::init(Object* objects, u32 room, u64 features) {
    objects_ = objects;
    room_ = room;
    features_ = features;
    purpose_ = 0;
    increment_ = closed_ = false;
    error_at_ = 0;
    totals_ = {};
    error_ = {};
    objects_[0] = {};
}

bool Judge::fail(s32 code, u16 type, u16 field, u32 at, const char* reason) {
    if (error_.code) return false;
    error_.code = code;
    error_.type = type;
    error_.field = field;
    error_.reason = reason;
    error_at_ = at;
    return false;
}

bool Judge::accept(Record& record) {
    if (error_.code) return false;
    if (closed_) return fail(bad, record.rule->type, 0, 0, "a record behind the end record");
    if (!accept_place(record) || !accept_fields(record) || !accept_order(record) || !accept_relations(record)) return false;
    if (record.rule->type == KRG_GHOST_END && !complete(record)) return false;
    remember(record);
    return true;
}

bool Judge::accept_unknown(u32 data) {
    if (error_.code) return false;
    if (closed_ || totals_.records == 0) return fail(bad, 0, 0, 0, "the first record is not the image record");
    totals_.records++;
    totals_.data += data;
    return true;
}

bool Judge::accept_place(const Record& record) {
    const RecordRule& rule = *record.rule;
    if ((totals_.records == 0) != (rule.type == KRG_GHOST_IMAGE))
        return fail(bad, rule.type, 0, 0,
                    totals_.records == 0 ? "the first record is not the image record" : "a second image record");
    if (record.length > KRG_GHOST_FIELDS_MAX || record.length % 8 != 0)
        return fail(bad, rule.type, 0, 0, "impossible length of fields");
    if (record.data > KRG_GHOST_DATA_MAX) return fail(bad, rule.type, 0, 0, "too many data");
    if (record.data && !(rule.rules & rule_data)) return fail(bad, rule.type, 0, 0, "data in a record that has none");
    const bool manifest = rule.type == KRG_GHOST_MEMBER;
    if (rule.type != KRG_GHOST_IMAGE && rule.type != KRG_GHOST_END && manifest != (purpose_ == 1))
        return fail(bad, rule.type, 0, 0, manifest ? "a member outside of a manifest" : "a manifest has members only");
    if (rule.cls == KRG_GHOST_NONE)
        return record.object == 0 || fail(bad, rule.type, 0, 0, "an object id in a record that defines none");
    if (totals_.objects >= room_) return fail(no_room, rule.type, 0, 0, "more objects than there is memory for");
    return record.object == next_object() || fail(bad, rule.type, 0, 0, "object ids do not ascend by one");
}

bool Judge::accept_fields(Record& record) {
    const RecordRule& rule = *record.rule;
    record.owner = 0;
    Field field{};
    u32 cursor = 0, id = 0, wanted = 0;
    const auto missing = [&](u32 below) {
        for (; wanted < rule.count; wanted++) {
            const FieldRule& f = table().fields[rule.first + wanted];
            if (f.id >= below) return false;
            if (f.rules & rule_required) return !fail(bad, rule.type, f.id, 0, "a required field is missing");
        }
        return false;
    };
    while (next_field(record.fields, record.length, cursor, field)) {
        if (field.id <= id) return fail(bad, rule.type, field.id, field.at, "fields do not ascend");
        id = field.id;
        if (missing(id)) return false;
        if (field.flags & ~mandatory) return fail(bad, rule.type, field.id, field.at, "unknown flags of a field");
        if (!zeros(field.bytes + field.length, padded(field.length) - field.length))
            return fail(bad, rule.type, field.id, field.at, "the padding is not zero");
        const FieldRule* f = find_field(rule, field.id);
        if (!f) {
            if (field.flags & mandatory)
                return fail(unsupported, rule.type, field.id, field.at, "an unknown field that must be understood");
            continue;
        }
        wanted = static_cast<u32>(f - table().fields) - rule.first + 1;
        if (!accept_field(record, *f, field)) return false;
        if (f->rules & rule_owner) record.owner = field.number;
    }
    if (cursor != record.length) return fail(bad, rule.type, 0, cursor, "a field does not fit into the record");
    return !missing(~u32{0});
}

bool Judge::accept_field(const Record& record, const FieldRule& rule, const Field& field) {
    const auto refuse = [&](const char* reason) { return fail(bad, record.rule->type, rule.id, field.at, reason); };
    if (field.kind != rule.kind) return refuse("a field of another kind");
    if (is_number(rule.kind)) {
        if (field.length != 8) return refuse("a number that has not 8 bytes");
        if (!in_range(rule, field.number)) return refuse("a value out of its range");
        if (rule.kind != KRG_GHOST_REF) return true;
        if (field.number == 0) return !(rule.rules & rule_required) || refuse("no object where one is required");
        return accept_reference(record, rule, field, field.number);
    }
    if (rule.kind == KRG_GHOST_REFS) {
        if (field.length % 8 || field.length / 8 > refs_max) return refuse("impossible length of a list");
        for (u32 i = 0; i < field.length; i += 8)
            if (!accept_reference(record, rule, field, load(field.bytes + i, 8))) return false;
        return true;
    }
    if (field.length < rule.least || field.length > rule.most) return refuse("too short or too long");
    if (rule.kind == KRG_GHOST_WORDS && field.length % 8) return refuse("not whole words");
    if (rule.kind == KRG_GHOST_TEXT)
        for (u32 i = 0; i < field.length; i++)
            if (!field.bytes[i]) return refuse("a zero byte in a text");
    return true;
}

bool Judge::accept_reference(const Record& record, const FieldRule& rule, const Field& field, u64 id) {
    if (id == 0 || id > totals_.objects)
        return fail(bad, record.rule->type, rule.id, field.at, "refers to an object that is not there yet");
    if (!(rule.most >> objects_[id].cls & 1))
        return fail(bad, record.rule->type, rule.id, field.at, "refers to an object of another class");
    return true;
}

/// Once means once; records with a key ascend by it and are not mixed with those of another type.
bool Judge::accept_order(const Record& record) {
    const RecordRule& rule = *record.rule;
    if (rule.slot == no_slot) return true;
    const Object& owner = owner_of(record);
    const bool before = owner.seen >> rule.slot & 1;
    if (rule.rules & rule_once) return !before || fail(bad, rule.type, 0, 0, "a second record where there is one only");
    if (rule.count < 2 || !(table().fields[rule.first + 1].rules & rule_key) || !before) return true;
    if (rule.type == KRG_GHOST_PAGES && features_ & KRG_GHOST_ROUNDS) return true;
    const FieldRule& key = table().fields[rule.first + 1];
    if (owner.edge_type != rule.type) return fail(bad, rule.type, key.id, 0, "records of one kind and owner are not together");
    return number(record, key.id) >= owner.edge ||
           fail(bad, rule.type, key.id, 0, "does not ascend, or overlaps the one before");
}

void Judge::remember(const Record& record) {
    const RecordRule& rule = *record.rule;
    totals_.data += record.data;
    totals_.records++;
    totals_.tasks += rule.type == KRG_GHOST_TASK;
    totals_.threads += rule.type == KRG_GHOST_THREAD;
    u64 edge = rule.count > 1 ? number(record, table().fields[rule.first + 1].id) + 1 : 0;
    if (rule.type == KRG_GHOST_VMA) edge = number(record, KRG_GHOST_VMA_END);
    if (rule.type == KRG_GHOST_PAGES) {
        const u64 count = number(record, KRG_GHOST_PAGES_COUNT);
        totals_.pages += count;
        edge = number(record, KRG_GHOST_PAGES_AT) + count * page_size;
    }
    if (rule.type == KRG_GHOST_IMAGE) {
        purpose_ = number(record, KRG_GHOST_IMAGE_PURPOSE);
        increment_ = number(record, KRG_GHOST_IMAGE_PARENT) != 0;
    }
    closed_ = rule.type == KRG_GHOST_END;
    if (rule.slot != no_slot) {
        Object& owner = owner_of(record);
        owner.seen |= u64{1} << rule.slot;
        if (rule.count > 1 && table().fields[rule.first + 1].rules & rule_key) {
            owner.edge = edge;
            owner.edge_type = rule.type;
        }
    }
    if (rule.cls == KRG_GHOST_NONE) return;
    Object& made = objects_[++totals_.objects];
    made = {};
    made.cls = rule.cls;
    made.type = rule.type;
    made.owner = static_cast<u32>(record.owner);
    if (rule.type == KRG_GHOST_VMA)
        made.begin = number(record, KRG_GHOST_VMA_START), made.end = number(record, KRG_GHOST_VMA_END);
    if (rule.type == KRG_GHOST_MEMORY)
        made.end = (number(record, KRG_GHOST_MEMORY_SIZE) + page_size - 1) / page_size * page_size;
    if (rule.type == KRG_GHOST_TASK) made.begin = number(record, KRG_GHOST_TASK_PID);
}

/// The end record: its totals are right and no object lacks a record that it needs.
bool Judge::complete(const Record& end) {
    const struct {
        u16 field;
        u64 is;
    } sums[] = {{KRG_GHOST_END_RECORDS, totals_.records}, {KRG_GHOST_END_OBJECTS, totals_.objects},
                {KRG_GHOST_END_TASKS, totals_.tasks},     {KRG_GHOST_END_THREADS, totals_.threads},
                {KRG_GHOST_END_PAGES, totals_.pages},     {KRG_GHOST_END_DATA, totals_.data}};
    for (const auto& sum : sums)
        if (number(end, sum.field) != sum.is) return wrong(end, sum.field, "a total that is not what was read");
    for (u32 n = 0; n < table().record_count; n++) {
        const RecordRule& rule = table().records[n];
        if (!(rule.rules & rule_need)) continue;
        for (u64 id = 1; id <= totals_.objects; id++)
            if (rule.owners >> objects_[id].cls & 1 && !(objects_[id].seen >> rule.slot & 1))
                return fail(bad, rule.type, 0, 0, "an object has none of these, and must");
    }
    return true;
}

}  // namespace krg::ghost
