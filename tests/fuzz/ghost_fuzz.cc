// SPDX-License-Identifier: GPL-2.0
//
// Fuzz target: the reader of ghost images. The first byte of an input says whether CRCs, sequence numbers and the totals'
// place in the image are made right first (so that what is behind them is reached), how large pieces of data are, and
// how many objects there is room for; the rest is the image. Whatever the bytes, the reader must come to an end, give out
// only what its own rules allow, and say why it stopped. What it accepts must be writable again: same records, same totals.
#include "proc/core/layout.hh"
#include "tests/fuzz/input.hh"

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace {

using krg::fuzz::require;
using namespace krg::ghost;

using Bytes = std::vector<u8>;

/// Every record that can be found gets the CRCs and the sequence number it should have.
void reseal(Bytes& image) {
    if (image.size() < KRG_GHOST_PROLOGUE) return;
    const u32 seed = krg_ghost_crc32c(0, image.data(), prologue::crc);
    store(&image[prologue::crc], seed, 4);
    u32 sequence = 0;
    for (size_t at = KRG_GHOST_PROLOGUE; image.size() - at >= KRG_GHOST_HEAD;) {
        u8* head = &image[at];
        const u64 fields = load(head + head::fields, 4), data = load(head + head::data, 4),
                  left = image.size() - at - KRG_GHOST_HEAD;
        if (fields > left || data > left - fields || data > KRG_GHOST_DATA_MAX) return;
        store(head + head::sequence, sequence++, 4);
        store(head + head::data_crc, data ? krg_ghost_crc32c(0, head + KRG_GHOST_HEAD + fields, data) : 0, 4);
        store(head + head::crc, krg_ghost_crc32c(krg_ghost_crc32c(seed, head, head::crc), head + KRG_GHOST_HEAD, fields), 4);
        const u64 whole = KRG_GHOST_HEAD + fields + padded(static_cast<u32>(data));
        if (whole > image.size() - at) return;
        at += whole;
    }
}

/// Writes again what was read.
class Copy {
public:
    Copy(u32 objects, u64 number, u64 features) : memory_(std::make_unique<u64[]>((krg_ghost_memory(objects) + 7) / 8)) {
        writer_ = krg_ghost_writer_init(memory_.get(), objects, nullptr, number, features);
        require(writer_ != nullptr);
    }
    void record(const krg_ghost_reader* r, const u8* data) {
        const krg_ghost_record& record = *krg_ghost_current(r);
        u64 object = 0;
        require(krg_ghost_begin(writer_, record.type, &object) == 0 && object == record.object);
        krg_ghost_value v{};
        for (u32 cursor = 0; krg_ghost_each(r, &cursor, &v);) {
            require(krg_ghost_field_name(record.type, v.field) != nullptr);
            const bool number = v.kind <= KRG_GHOST_REF;
            require((number ? krg_ghost_put(writer_, v.field, v.number)
                            : krg_ghost_put_bytes(writer_, v.field, v.bytes, v.length)) == 0);
        }
        const krg_ghost_piece piece = {data, record.data};
        krg_ghost_piece out[KRG_GHOST_PIECES_MAX + 2];
        u32 used = 0;
        require(krg_ghost_end(writer_, &piece, record.data ? 1 : 0, out, &used) == 0 && used >= 1);
    }
    [[nodiscard]] const krg_ghost_totals& totals() const { return *krg_ghost_writer_totals(writer_); }

private:
    std::unique_ptr<u64[]> memory_;
    krg_ghost_writer* writer_ = nullptr;
};

void play(const Bytes& image, u32 chunk, u32 objects) {
    const auto memory = std::make_unique<u64[]>((krg_ghost_memory(objects) + 7) / 8);
    krg_ghost_reader* r = krg_ghost_reader_init(memory.get(), objects, nullptr);
    std::unique_ptr<Copy> copy;
    bool skipped = false;
    size_t at = 0;
    krg_ghost_step step{};
    while (krg_ghost_next(r, &step) == 0 && step.kind != KRG_GHOST_DONE) {
        if (step.kind == KRG_GHOST_NEED) {
            require(step.length <= KRG_GHOST_FIELDS_MAX && step.length > 0 && step.offset == at);
            if (image.size() - at < step.length) {
                require(krg_ghost_truncated(r) != 0);
                break;
            }
            std::memcpy(step.at, image.data() + at, step.length);
            at += step.length;
            continue;
        }
        if (step.kind == KRG_GHOST_DATA) {
            require(step.length <= KRG_GHOST_DATA_MAX && step.offset == at);
            if (image.size() - at < step.length) {
                require(krg_ghost_truncated(r) != 0);
                break;
            }
            if (chunk == 0) require(krg_ghost_pass(r) == 0);
            for (u32 done = 0; chunk && done < step.length; done += chunk)
                if (krg_ghost_take(r, image.data() + at + done, step.length - done < chunk ? step.length - done : chunk)) break;
            at += step.length;
            continue;
        }
        if (!copy) copy = std::make_unique<Copy>(objects, krg_ghost_number(r), krg_ghost_features(r));
        skipped = skipped || step.kind == KRG_GHOST_SKIPPED;
        // After a record that was skipped the totals of the copy are others, so its end record would be too.
        const krg_ghost_record& record = *krg_ghost_current(r);
        require(record.data <= KRG_GHOST_DATA_MAX);
        if (step.kind == KRG_GHOST_RECORD && !(skipped && record.type == KRG_GHOST_END) && image.size() - at >= record.data)
            copy->record(r, image.data() + at);
        else if (image.size() - at < record.data)
            skipped = true;
    }
    const krg_ghost_error& error = *krg_ghost_reader_error(r);
    require((error.code != 0) == (step.kind != KRG_GHOST_DONE || error.reason != nullptr));
    require(error.code == 0 || (error.reason != nullptr && error.offset <= image.size()));
    const int code = error.code;
    require(krg_ghost_next(r, &step) == code);
    if (code == 0 && !skipped) require(std::memcmp(&copy->totals(), krg_ghost_reader_totals(r), sizeof(krg_ghost_totals)) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    Bytes image(data + 1, data + size);
    if (data[0] & 1) reseal(image);
    constexpr u32 chunks[] = {0, 1, 4096, 1u << 20};
    play(image, chunks[data[0] >> 1 & 3], data[0] & 8 ? 5 : 200);
    return 0;
}
