// SPDX-License-Identifier: GPL-2.0
// Bytes in, records out. The reader asks for a head, then for the fields that
// the head announces, at most 64 KiB; only what its CRC and the judge let pass
// is given out. Data go past it, from the caller's source to the caller's place.
#include "proc/core/state.hh"

namespace krg::ghost {

class Reader {
public:
    void init(Object* objects, u32 room, krg_ghost_crc crc) {
        judge.init(objects, room, 0);
        objects_ = objects;
        room_ = room;
        crc_ = crc ? crc : krg_ghost_crc32c;
        offset_ = record_at_ = number_ = features_ = 0;
        sequence_ = 0;
        record = {};
        current_ = {};
        ask(Wait::prologue, 0, KRG_GHOST_PROLOGUE);
        asked_ = false;
    }

    int next(krg_ghost_step* step) {
        *step = {};
        if (judge.error().code) return judge.error().code;
        while (asked_) {
            asked_ = false;
            offset_ += want_;
            if (!arrived()) return located();
        }
        step->offset = offset_;
        switch (wait_) {
        case Wait::record:
            step->kind = unknown_ ? KRG_GHOST_SKIPPED : KRG_GHOST_RECORD;
            step->offset = record_at_;
            wait_ = current_.data ? Wait::data : behind();
            if (wait_ == Wait::head) ask(Wait::head, 0, KRG_GHOST_HEAD);
            return 0;
        case Wait::data:
            step->kind = KRG_GHOST_DATA;
            step->length = current_.data;
            left_ = current_.data;
            data_crc_ = 0;
            wait_ = Wait::taking;
            return 0;
        case Wait::taking: return refuse(invalid, "the data were neither taken nor passed");
        case Wait::done: step->kind = KRG_GHOST_DONE; return 0;
        default:
            step->kind = KRG_GHOST_NEED;
            step->at = buffer_ + at_;
            step->length = want_;
            asked_ = true;
            return 0;
        }
    }

    int take(const void* at, u32 length) {
        if (judge.error().code) return judge.error().code;
        if (wait_ != Wait::taking || length > left_) return refuse(invalid, "data taken where there are none");
        data_crc_ = crc_(data_crc_, at, length);
        offset_ += length;
        left_ -= length;
        if (left_) return 0;
        if (data_crc_ != stored_crc_) return refuse(bad, "the CRC of the data is wrong: they are damaged");
        ask_padding();
        return 0;
    }

    int pass() {
        if (judge.error().code) return judge.error().code;
        if (wait_ != Wait::taking) return refuse(invalid, "data passed where there are none");
        offset_ += left_;
        ask_padding();
        return 0;
    }

    int truncated() {
        if (wait_ == Wait::done) return 0;
        refuse(bad, wait_ == Wait::prologue ? "the image ends in its first bytes"
                                            : "the image ends before its end record: it is incomplete");
        return judge.error().code;
    }

    [[nodiscard]] const krg_ghost_record* current() const { return &current_; }
    [[nodiscard]] u64 image_number() const { return number_; }
    [[nodiscard]] u64 image_features() const { return features_; }
    Judge judge;
    Record record;

private:
    enum class Wait : u8 { prologue, head, fields, record, data, taking, padding, done };

    void ask(Wait wait, u32 at, u32 length) {
        wait_ = wait;
        at_ = at;
        want_ = length;
    }
    void ask_padding() {
        if (padded(current_.data) != current_.data)
            ask(Wait::padding, 0, padded(current_.data) - current_.data);
        else
            ask(Wait::head, 0, KRG_GHOST_HEAD);
    }
    [[nodiscard]] Wait behind() const { return judge.closed() ? Wait::done : Wait::head; }

    int refuse(s32 code, const char* reason) {
        judge.fail(code, current_.type, 0, 0, reason);
        return located();
    }
    int located() {
        krg_ghost_error& error = judge.error();
        error.record = sequence_ ? sequence_ - 1 : 0;
        error.offset = record_at_ + (error.field ? KRG_GHOST_HEAD + judge.error_at() : 0);
        return error.code;
    }
    bool wrong(s32 code, const char* reason) { return judge.fail(code, current_.type, 0, 0, reason); }

    /// What was asked for is in the buffer. False: it is not what it must be.
    bool arrived() {
        switch (wait_) {
        case Wait::prologue: return take_prologue();
        case Wait::head: return take_head();
        case Wait::fields: return take_fields();
        case Wait::padding:
            for (u32 i = 0; i < want_; i++)
                if (buffer_[i]) return wrong(bad, "the padding behind the data is not zero");
            ask(Wait::head, 0, KRG_GHOST_HEAD);
            return true;
        default: return true;
        }
    }

    bool take_prologue() {
        for (u32 i = 0; i < sizeof(magic); i++)
            if (buffer_[i] != magic[i]) return wrong(bad, "not a ghost image");
        seed_ = crc_(0, buffer_, prologue::crc);
        if (load(buffer_ + prologue::crc, 4) != seed_)
            return wrong(bad, "the CRC of the first bytes is wrong: they are damaged");
        if (load(buffer_ + prologue::major, 2) != KRG_GHOST_MAJOR)
            return wrong(unsupported, "a major version that is not known here");
        if (load(buffer_ + prologue::order, 4) != byte_order) return wrong(bad, "not little endian");
        features_ = load(buffer_ + prologue::features, 8);
        number_ = load(buffer_ + prologue::number, 8);
        if (features_ & ~known_features) return wrong(unsupported, "a feature that is not known here");
        if (number_ == 0) return wrong(bad, "an image without a number");
        for (u32 i = prologue::reserved; i < prologue::crc; i++)
            if (buffer_[i]) return wrong(bad, "reserved bytes are not zero");
        judge.init(objects_, room_, features_);
        ask(Wait::head, 0, KRG_GHOST_HEAD);
        return true;
    }

    bool take_head() {
        record_at_ = offset_ - KRG_GHOST_HEAD;
        current_.type = static_cast<u16>(load(buffer_ + head::type, 2));
        current_.version = buffer_[head::version];
        current_.flags = buffer_[head::flags];
        current_.data = static_cast<u32>(load(buffer_ + head::data, 4));
        current_.object = load(buffer_ + head::object, 8);
        current_.owner = 0;
        sequence_++;
        record = {};
        const u64 length = load(buffer_ + head::fields, 4);
        if (length > KRG_GHOST_FIELDS_MAX || length % 8) return wrong(bad, "impossible length of fields: the head is damaged");
        if (current_.data > KRG_GHOST_DATA_MAX) return wrong(bad, "impossible length of data: the head is damaged");
        record.length = static_cast<u32>(length);
        ask(Wait::fields, KRG_GHOST_HEAD, record.length);
        return record.length != 0 || take_fields();
    }

    bool take_fields() {
        const u32 crc = crc_(crc_(seed_, buffer_, head::crc), buffer_ + KRG_GHOST_HEAD, record.length);
        if (load(buffer_ + head::crc, 4) != crc) return wrong(bad, "the CRC is wrong: damaged, or of another image");
        if (load(buffer_ + head::sequence, 4) != sequence_ - 1) return wrong(bad, "not the record that comes here");
        if (current_.flags & ~mandatory || current_.version == 0) return wrong(bad, "unknown flags of a record, or no version");
        stored_crc_ = static_cast<u32>(load(buffer_ + head::data_crc, 4));
        if (current_.data == 0 && stored_crc_ != 0) return wrong(bad, "a CRC of data where there are none");
        record.rule = find_record(current_.type);
        record.fields = buffer_ + KRG_GHOST_HEAD;
        record.data = current_.data;
        record.object = current_.object;
        unknown_ = !record.rule || current_.version > record_version;
        wait_ = Wait::record;
        if (!unknown_) {
            if (!judge.accept(record)) return false;
            current_.owner = record.owner;
            return true;
        }
        if (current_.flags & mandatory) return wrong(unsupported, "an unknown record that must be understood");
        if (current_.object) return wrong(bad, "an unknown record that defines an object and may be skipped");
        record = {};
        return judge.accept_unknown(current_.data);
    }

    Object* objects_;
    u32 room_;
    krg_ghost_crc crc_;
    u64 offset_, record_at_, number_, features_;
    u32 seed_, sequence_;
    u32 at_, want_, left_, data_crc_, stored_crc_;
    Wait wait_;
    bool asked_, unknown_;
    krg_ghost_record current_;
    u8 buffer_[KRG_GHOST_HEAD + KRG_GHOST_FIELDS_MAX];
};

size_t reader_size() { return (sizeof(Reader) + 7) / 8 * 8; }

namespace {

/// What kind of field a record has under an id; an unknown field is none.
bool known(const Record& record, const Field& field) { return record.rule && find_field(*record.rule, field.id); }

}  // namespace
}  // namespace krg::ghost

struct krg_ghost_reader : krg::ghost::Reader {};

extern "C" {

size_t krg_ghost_memory(u32 objects) {
    return krg::ghost::state_size() + (static_cast<size_t>(objects) + 1) * sizeof(krg::ghost::Object);
}
struct krg_ghost_reader* krg_ghost_reader_init(void* memory, u32 objects, krg_ghost_crc crc) {
    if (objects == 0 || objects > KRG_GHOST_OBJECTS_MAX) return nullptr;
    auto* r = static_cast<krg_ghost_reader*>(memory);
    r->init(krg::ghost::objects_in(memory), objects, crc);
    return r;
}
int krg_ghost_next(struct krg_ghost_reader* r, struct krg_ghost_step* step) { return r->next(step); }
int krg_ghost_take(struct krg_ghost_reader* r, const void* at, u32 length) { return r->take(at, length); }
int krg_ghost_pass(struct krg_ghost_reader* r) { return r->pass(); }
int krg_ghost_truncated(struct krg_ghost_reader* r) { return r->truncated(); }
const struct krg_ghost_record* krg_ghost_current(const struct krg_ghost_reader* r) { return r->current(); }
u64 krg_ghost_get(const struct krg_ghost_reader* r, u16 field) { return krg::ghost::number(r->record, field); }

const u8* krg_ghost_get_bytes(const struct krg_ghost_reader* r, u16 id, u32* length) {
    krg::ghost::Field field{};
    *length = 0;
    if (!krg::ghost::find(r->record, id, field)) return nullptr;
    *length = field.length;
    return field.bytes;
}

int krg_ghost_each(const struct krg_ghost_reader* r, u32* cursor, struct krg_ghost_value* value) {
    krg::ghost::Field field{};
    while (krg::ghost::next_field(r->record.fields, r->record.length, *cursor, field)) {
        if (!krg::ghost::known(r->record, field)) continue;
        *value = {field.id, field.kind, field.length, field.number, field.bytes};
        return 1;
    }
    return 0;
}

u64 krg_ghost_number(const struct krg_ghost_reader* r) { return r->image_number(); }
u64 krg_ghost_features(const struct krg_ghost_reader* r) { return r->image_features(); }
const struct krg_ghost_error* krg_ghost_reader_error(const struct krg_ghost_reader* r) { return &r->judge.error(); }
const struct krg_ghost_totals* krg_ghost_reader_totals(const struct krg_ghost_reader* r) { return &r->judge.totals(); }
}
