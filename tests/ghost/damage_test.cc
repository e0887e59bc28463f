// SPDX-License-Identifier: GPL-2.0
// Images that were damaged, cut, put together from two, or made by somebody who
// computes CRCs: refused with what and where, never believed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proc/core/layout.hh"
#include "tests/ghost/image.hh"

namespace krg::ghost::testing {
namespace {

using ::testing::HasSubstr;

Span span_of(const Bytes& image, u16 type) {
    for (const Span& span : spans(image))
        if (span.type == type) return span;
    ADD_FAILURE() << "no record of type " << type;
    return {};
}

/// A record put in behind the image record; all later sequence numbers and the totals are made right.
Bytes with_record(u16 type, u8 version, u8 flags, u64 object, const Bytes& fields, const std::string& data) {
    Bytes image = sample_image(), made(KRG_GHOST_HEAD);
    store(&made[head::type], type, 2);
    made[head::version] = version;
    made[head::flags] = flags;
    store(&made[head::object], object, 8);
    store(&made[head::fields], fields.size(), 4);
    store(&made[head::data], data.size(), 4);
    made.insert(made.end(), fields.begin(), fields.end());
    made.insert(made.end(), data.begin(), data.end());
    made.resize(KRG_GHOST_HEAD + fields.size() + padded(static_cast<u32>(data.size())));
    image.insert(image.begin() + static_cast<long>(spans(image)[1].at), made.begin(), made.end());
    u32 sequence = 0;
    for (const Span& span : spans(image)) {
        store(&image[span.at + head::sequence], sequence++, 4);
        if (span.type == KRG_GHOST_END) {
            u8* records = &image[span.at + KRG_GHOST_HEAD + field_head];
            store(records, load(records, 8) + 1, 8);
            u8* bytes = &image[span.at + KRG_GHOST_HEAD + 5 * (field_head + 8) + field_head];
            store(bytes, load(bytes, 8) + data.size(), 8);
        }
        reseal(image, span);
    }
    return image;
}

Bytes field_bytes(u16 id, u8 kind, u8 flags, u32 length, const Bytes& bytes) {
    Bytes out(field_head + padded(static_cast<u32>(bytes.size())));
    store(out.data(), id, 2);
    out[2] = kind;
    out[3] = flags;
    store(&out[4], length, 4);
    std::copy(bytes.begin(), bytes.end(), out.begin() + field_head);
    return out;
}

TEST(GhostDamage, every_flipped_bit_is_seen) {
    const Bytes good = sample_image();
    for (size_t at = 0; at < good.size(); at++) {
        if (at % 7 && at > 2000) continue;
        Bytes bad = good;
        bad[at] ^= static_cast<u8>(1u << at % 8);
        const Reading reading = read_image(bad);
        EXPECT_NE(reading.error.code, 0) << at;
        EXPECT_LE(reading.error.offset, at) << reading.text();
    }
}

TEST(GhostDamage, an_image_cut_anywhere_is_incomplete) {
    const Bytes good = sample_image();
    for (size_t size = 0; size < good.size(); size += size < 600 ? 1 : 61) {
        const Reading reading = read_image(Bytes(good.begin(), good.begin() + static_cast<long>(size)));
        EXPECT_EQ(reading.error.code, -74) << size;
        EXPECT_THAT(reading.text(), HasSubstr("ends")) << size;
    }
}

TEST(GhostDamage, what_stands_behind_the_end_record_is_not_the_images) {
    Bytes image = sample_image();
    image.resize(image.size() + 100);
    EXPECT_EQ(read_image(image).text(), "");
}

TEST(GhostDamage, records_of_another_image_do_not_fit) {
    const Bytes one = sample_image(1, 7), two = sample_image(2, 8);
    ASSERT_EQ(one.size(), two.size());
    for (const Span& span : spans(one)) {
        Bytes spliced = one;
        const size_t end = span.at + KRG_GHOST_HEAD + span.fields + span.padded;
        std::copy(two.begin() + static_cast<long>(span.at), two.begin() + static_cast<long>(end),
                  spliced.begin() + static_cast<long>(span.at));
        const Reading reading = read_image(spliced);
        EXPECT_THAT(reading.text(), HasSubstr("of another image")) << span.type;
        EXPECT_EQ(reading.error.offset, span.at);
    }
}

TEST(GhostDamage, records_left_out_doubled_or_exchanged_are_seen) {
    const Bytes good = sample_image();
    const auto all = spans(good);
    for (size_t n = 0; n + 1 < all.size(); n++) {
        const auto from = good.begin() + static_cast<long>(all[n].at), to = good.begin() + static_cast<long>(all[n + 1].at);
        Bytes without(good.begin(), from);
        without.insert(without.end(), to, good.end());
        EXPECT_THAT(read_image(without).text(), HasSubstr("not the record that comes here")) << n;
        Bytes twice(good.begin(), to);
        twice.insert(twice.end(), from, good.end());
        EXPECT_THAT(read_image(twice).text(), HasSubstr("not the record that comes here")) << n;
    }
}

TEST(GhostDamage, damaged_data_are_found_when_taken_and_not_when_passed) {
    Bytes image = sample_image();
    const Span pages = span_of(image, KRG_GHOST_PAGES);
    image[pages.at + KRG_GHOST_HEAD + pages.fields + 5000] ^= 1;
    for (u32 chunk : {1u, 4096u, 100000u}) {
        const Reading reading = read_image(image, chunk);
        EXPECT_THAT(reading.text(), HasSubstr("CRC of the data"));
        EXPECT_EQ(reading.error.offset, pages.at);
    }
    EXPECT_EQ(read_image(image, 0).text(), "");
}

TEST(GhostDamage, an_unknown_record_that_may_be_skipped_is) {
    const Bytes image = with_record(999, 1, 0, 0, field_bytes(1, 1, 1, 8, Bytes(8, 3)), "12345");
    const Reading reading = read_image(image);
    EXPECT_EQ(reading.text(), "");
    ASSERT_GT(reading.records.size(), 1u);
    EXPECT_TRUE(reading.records[1].skipped);
    EXPECT_EQ(reading.records[1].data, "12345");
    EXPECT_TRUE(reading.records[1].fields.empty());
}

TEST(GhostDamage, an_unknown_record_that_must_be_understood_is_refused) {
    EXPECT_EQ(read_image(with_record(999, 1, mandatory, 0, {}, "")).error.code, -93);
    EXPECT_THAT(read_image(with_record(999, 1, 0, 1, {}, "")).text(), HasSubstr("defines an object"));
    EXPECT_THAT(read_image(with_record(KRG_GHOST_CREDS, 2, mandatory, 1, {}, "")).text(), HasSubstr("unknown record"));
    EXPECT_THAT(read_image(with_record(999, 1, 0x80, 0, {}, "")).text(), HasSubstr("unknown flags"));
    EXPECT_THAT(read_image(with_record(999, 0, 0, 0, {}, "")).text(), HasSubstr("no version"));
}

TEST(GhostDamage, an_unknown_field_is_skipped_or_refused_as_it_says) {
    const auto changed = [](u16 id, u8 flags) {
        Bytes image = sample_image();
        const Span span = span_of(image, KRG_GHOST_IMAGE);
        const size_t last = span.at + KRG_GHOST_HEAD + span.fields - 16;  // PARENT, a number
        store(&image[last], id, 2);
        image[last + 3] = flags;
        reseal(image, span);
        return read_image(image);
    };
    EXPECT_EQ(changed(500, mandatory).error.code, -93);
    EXPECT_THAT(changed(500, 0).text(), HasSubstr("an increment has a parent"));  // so it was not taken for PARENT
    EXPECT_THAT(changed(500, 2).text(), HasSubstr("unknown flags of a field"));
}

TEST(GhostDamage, fields_that_do_not_fit_are_refused) {
    const auto refused = [](const Bytes& fields) {
        return read_image(with_record(KRG_GHOST_RLIMIT, 1, 1, 0, fields, "")).text();
    };
    EXPECT_THAT(refused(field_bytes(1, 4, 1, 0xffffffff, Bytes(8))), HasSubstr("does not fit"));
    EXPECT_THAT(refused(field_bytes(1, 4, 1, 16, Bytes(8))), HasSubstr("does not fit"));
    EXPECT_THAT(refused(field_bytes(1, 1, 1, 8, Bytes(8))), HasSubstr("another kind"));
    EXPECT_THAT(refused(field_bytes(1, 4, 1, 4, Bytes(8))), HasSubstr("8 bytes"));
    EXPECT_THAT(refused(field_bytes(1, 4, 1, 4, Bytes(8, 1))), HasSubstr("padding"));
    EXPECT_THAT(refused(field_bytes(1, 4, 1, 8, Bytes(8))), HasSubstr("no object"));
    EXPECT_THAT(refused(field_bytes(1, 4, 1, 8, {1, 0, 0, 0, 0, 0, 0, 0})), HasSubstr("not there yet"));
    Bytes twice = field_bytes(2, 1, 1, 8, Bytes(8));
    twice.insert(twice.end(), twice.begin(), twice.begin() + 16);
    EXPECT_THAT(refused(twice), HasSubstr("required field is missing"));
}

TEST(GhostDamage, first_bytes_are_judged) {
    const auto changed = [](u32 at, u64 value, u32 bytes) {
        Bytes image = sample_image();
        store(&image[at], value, bytes);
        store(&image[prologue::crc], krg_ghost_crc32c(0, image.data(), prologue::crc), 4);
        return read_image(image).text();
    };
    EXPECT_THAT(changed(0, 'K', 1), HasSubstr("not a ghost image"));
    EXPECT_THAT(changed(prologue::major, 2, 2), HasSubstr("major version"));
    EXPECT_THAT(changed(prologue::order, 0x04030201, 4), HasSubstr("little endian"));
    EXPECT_THAT(changed(prologue::features, 1u << 20, 8), HasSubstr("feature"));
    EXPECT_THAT(changed(prologue::number, 0, 8), HasSubstr("number"));
    EXPECT_THAT(changed(prologue::reserved, 1, 8), HasSubstr("reserved"));
    EXPECT_THAT(changed(prologue::number, 77, 8), HasSubstr("of another image"));
}

TEST(GhostDamage, totals_that_lie_are_refused) {
    for (u32 n = 0; n < 6; n++) {
        Bytes image = sample_image();
        const Span end = span_of(image, KRG_GHOST_END);
        image[end.at + KRG_GHOST_HEAD + n * (field_head + 8) + field_head] ^= 1;
        reseal(image, end);
        EXPECT_THAT(read_image(image).text(), HasSubstr("total")) << n;
        EXPECT_EQ(read_image(image).error.field, n + 1);
    }
}

TEST(GhostDamage, a_reader_without_room_says_so) {
    EXPECT_EQ(read_image(sample_image(), 4096, 5).error.code, -28);
    Memory memory = memory_for(1);
    EXPECT_EQ(krg_ghost_reader_init(memory.get(), 0, nullptr), nullptr);
    EXPECT_EQ(krg_ghost_reader_init(memory.get(), KRG_GHOST_OBJECTS_MAX + 1, nullptr), nullptr);
}

}  // namespace
}  // namespace krg::ghost::testing
