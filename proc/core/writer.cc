// SPDX-License-Identifier: GPL-2.0
// Records made of what the caller says, judged, and given out as pieces.
#include "proc/core/state.hh"

namespace krg::ghost {

class Writer {
public:
    void init(Object* objects, u32 room, krg_ghost_crc crc, u64 number, u64 features) {
        judge.init(objects, room, features);
        crc_ = crc ? crc : krg_ghost_crc32c;
        sequence_ = 0;
        offset_ = KRG_GHOST_PROLOGUE;
        rule_ = nullptr;
        for (u8& byte : prologue_) byte = 0;
        for (u32 i = 0; i < sizeof(magic); i++) prologue_[i] = magic[i];
        store(prologue_ + prologue::major, KRG_GHOST_MAJOR, 2);
        store(prologue_ + prologue::minor, KRG_GHOST_MINOR, 2);
        store(prologue_ + prologue::order, byte_order, 4);
        store(prologue_ + prologue::features, features, 8);
        store(prologue_ + prologue::number, number, 8);
        seed_ = crc_(0, prologue_, prologue::crc);
        store(prologue_ + prologue::crc, seed_, 4);
    }
    [[nodiscard]] const u8* prologue_bytes() const { return prologue_; }

    int begin(u16 type, u64* object) {
        if (object) *object = 0;
        if (judge.error().code) return judge.error().code;
        const RecordRule* rule = find_record(type);
        if (!rule || rule_) return refuse(invalid, type, 0, rule ? "the record before was not ended" : "no such record type");
        rule_ = rule;
        length_ = 0;
        last_ = 0;
        object_ = rule->cls == KRG_GHOST_NONE ? 0 : judge.next_object();
        if (object) *object = object_;
        return 0;
    }

    int put(u16 id, u64 value) {
        const FieldRule* field = nullptr;
        if (const int rc = prepare(id, field)) return rc;
        if (field->kind > KRG_GHOST_REF) return refuse(invalid, rule_->type, id, "bytes are wanted, not a number");
        if (value == 0 && !(field->rules & rule_required)) return 0;
        u8 bytes[8];
        store(bytes, value, 8);
        return append(*field, bytes, 8);
    }

    int put_bytes(u16 id, const void* at, u32 length) {
        const FieldRule* field = nullptr;
        if (const int rc = prepare(id, field)) return rc;
        if (field->kind <= KRG_GHOST_REF) return refuse(invalid, rule_->type, id, "a number is wanted, not bytes");
        if (length == 0 && !(field->rules & rule_required)) return 0;
        return append(*field, static_cast<const u8*>(at), length);
    }

    int end(const krg_ghost_piece* data, u32 count, krg_ghost_piece* out, u32* used) {
        *used = 0;
        if (judge.error().code) return judge.error().code;
        if (!rule_) return refuse(invalid, 0, 0, "no record was begun");
        if (count > KRG_GHOST_PIECES_MAX) return refuse(invalid, rule_->type, 0, "too many pieces of data");
        u64 bytes = 0;
        u32 crc = 0;
        for (u32 i = 0; i < count; i++) {
            if (data[i].length > KRG_GHOST_DATA_MAX - bytes) return refuse(bad, rule_->type, 0, "too many data");
            bytes += data[i].length;
            crc = crc_(crc, data[i].at, data[i].length);
        }
        Record record;
        record.rule = rule_;
        record.fields = buffer_ + KRG_GHOST_HEAD;
        record.length = length_;
        record.data = static_cast<u32>(bytes);
        record.object = object_;
        if (!judge.accept(record)) return located();
        give(record, crc, data, count, out, used);
        rule_ = nullptr;
        return 0;
    }

    int close(krg_ghost_piece* out, u32* used) {
        *used = 0;
        const krg_ghost_totals t = judge.totals();
        if (const int rc = begin(KRG_GHOST_END, nullptr)) return rc;
        const u64 sums[] = {t.records, t.objects, t.tasks, t.threads, t.pages, t.data};
        for (u16 i = 0; i < 6; i++)
            if (const int rc = put(static_cast<u16>(KRG_GHOST_END_RECORDS + i), sums[i])) return rc;
        return end(nullptr, 0, out, used);
    }

    Judge judge;

private:
    int refuse(s32 code, u16 type, u16 field, const char* reason) {
        judge.fail(code, type, field, 0, reason);
        return located();
    }
    /// Says where in the image the record is that was refused.
    int located() {
        krg_ghost_error& error = judge.error();
        error.record = sequence_;
        error.offset = offset_ + (error.field ? KRG_GHOST_HEAD + judge.error_at() : 0);
        return error.code;
    }
    int prepare(u16 id, const FieldRule*& field) {
        if (judge.error().code) return judge.error().code;
        if (!rule_) return refuse(invalid, 0, id, "no record was begun");
        field = find_field(*rule_, id);
        if (!field) return refuse(invalid, rule_->type, id, "no such field in this record");
        if (id <= last_) return refuse(invalid, rule_->type, id, "fields are to be put in ascending order");
        last_ = id;
        return 0;
    }
    int append(const FieldRule& field, const u8* at, u32 length) {
        if (length > KRG_GHOST_FIELDS_MAX - field_head || length_ + field_head + padded(length) > KRG_GHOST_FIELDS_MAX)
            return refuse(bad, rule_->type, field.id, "more fields than fit into a record");
        u8* to = buffer_ + KRG_GHOST_HEAD + length_;
        store(to, field.id, 2);
        to[2] = field.kind;
        to[3] = mandatory;
        store(to + 4, length, 4);
        for (u32 i = 0; i < padded(length); i++) to[field_head + i] = i < length ? at[i] : 0;
        length_ += field_head + padded(length);
        return 0;
    }
    void give(const Record& record, u32 crc, const krg_ghost_piece* data, u32 count, krg_ghost_piece* out, u32* used) {
        static constexpr u8 zeros[8] = {};
        store(buffer_ + head::type, record.rule->type, 2);
        buffer_[head::version] = record_version;
        buffer_[head::flags] = mandatory;
        store(buffer_ + head::sequence, sequence_++, 4);
        store(buffer_ + head::object, record.object, 8);
        store(buffer_ + head::fields, record.length, 4);
        store(buffer_ + head::data, record.data, 4);
        store(buffer_ + head::data_crc, crc, 4);
        store(buffer_ + head::crc, crc_(crc_(seed_, buffer_, head::crc), record.fields, record.length), 4);
        u32 n = 0;
        out[n++] = {buffer_, KRG_GHOST_HEAD + record.length};
        for (u32 i = 0; i < count; i++)
            if (data[i].length) out[n++] = data[i];
        if (padded(record.data) != record.data) out[n++] = {zeros, padded(record.data) - record.data};
        offset_ += KRG_GHOST_HEAD + record.length + padded(record.data);
        *used = n;
    }

    krg_ghost_crc crc_;
    u32 seed_, sequence_;
    u64 offset_;
    const RecordRule* rule_;
    u64 object_;
    u32 length_;
    u16 last_;
    u8 prologue_[KRG_GHOST_PROLOGUE];
    u8 buffer_[KRG_GHOST_HEAD + KRG_GHOST_FIELDS_MAX];
};

size_t writer_size() { return (sizeof(Writer) + 7) / 8 * 8; }

}  // namespace krg::ghost

using krg::ghost::Writer;

struct krg_ghost_writer : Writer {};

extern "C" {

struct krg_ghost_writer* krg_ghost_writer_init(void* memory, u32 objects, krg_ghost_crc crc, u64 number, u64 features) {
    if (objects == 0 || objects > KRG_GHOST_OBJECTS_MAX || number == 0 || features & ~krg::ghost::known_features)
        return nullptr;
    auto* w = static_cast<krg_ghost_writer*>(memory);
    w->init(krg::ghost::objects_in(memory), objects, crc, number, features);
    return w;
}
const u8* krg_ghost_prologue(const struct krg_ghost_writer* w) { return w->prologue_bytes(); }
int krg_ghost_begin(struct krg_ghost_writer* w, u16 type, u64* object) { return w->begin(type, object); }
int krg_ghost_put(struct krg_ghost_writer* w, u16 field, u64 value) { return w->put(field, value); }
int krg_ghost_put_bytes(struct krg_ghost_writer* w, u16 field, const void* at, u32 length) {
    return w->put_bytes(field, at, length);
}
int krg_ghost_end(struct krg_ghost_writer* w, const struct krg_ghost_piece* data, u32 count, struct krg_ghost_piece* out,
                  u32* used) {
    return w->end(data, count, out, used);
}
int krg_ghost_close(struct krg_ghost_writer* w, struct krg_ghost_piece* out, u32* used) { return w->close(out, used); }
const struct krg_ghost_error* krg_ghost_writer_error(const struct krg_ghost_writer* w) { return &w->judge.error(); }
const struct krg_ghost_totals* krg_ghost_writer_totals(const struct krg_ghost_writer* w) { return &w->judge.totals(); }
}
