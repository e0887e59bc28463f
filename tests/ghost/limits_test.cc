// SPDX-License-Identifier: GPL-2.0
// Every field of every record at its limits and one step behind them: written,
// read back the same, or refused by its name.
#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proc/core/layout.hh"
#include "proc/core/table.hh"
#include "tests/ghost/image.hh"

namespace krg::ghost::testing {
namespace {

using ::testing::HasSubstr;

/// The fields of the sample's first record of each type: where every case starts from.
std::map<u16, std::vector<Put>> valid_records() {
    std::map<u16, std::vector<Put>> out;
    for (const Got& got : read_image(sample_image()).records) {
        if (out.count(got.record.type)) continue;
        auto& puts = out[got.record.type];
        for (size_t i = 0; i < got.fields.size(); i++) {
            const auto& [id, value] = got.fields[i];
            if (value.kind <= KRG_GHOST_REF)
                puts.emplace_back(id, value.number);
            else
                puts.emplace_back(id, got.texts[i]);
        }
    }
    out[KRG_GHOST_MEMBER] = {{1, 1}, {2, "node1.ghost"}, {3, 5}, {4, 1000}, {5, 20}};
    return out;
}

std::vector<Put> with(std::vector<Put> puts, const Put& put) {
    puts.erase(std::remove_if(puts.begin(), puts.end(), [&](const Put& p) { return p.field == put.field; }), puts.end());
    puts.insert(std::find_if(puts.begin(), puts.end(), [&](const Put& p) { return p.field > put.field; }), put);
    return puts;
}

std::string data_of(u16 type) {
    if (type == KRG_GHOST_SYSV_SEM) return std::string(8, 's');
    return type == KRG_GHOST_PAGES ? std::string(8192, 'p') : "";
}

struct Outcome {
    std::string refusal;
    u16 refused_field = 0;
    Got got;
};

/// What the sample defines behind its world is not there: another file is.
void refer_back(u16 type, std::vector<Put>& puts, u64 file) {
    for (Put& put : puts) {
        const FieldRule& rule = *find_field(*find_record(type), put.field);
        if (rule.kind == KRG_GHOST_REF && rule.most >> KRG_GHOST_FILE_CLASS == 1 && put.number > file) put.number = file;
        if (rule.kind == KRG_GHOST_REFS) store(reinterpret_cast<u8*>(put.bytes.data()), file, 8);
    }
}

/// An image with one record that has these fields, after all that it may need.
Outcome attempt(u16 type, const std::vector<Put>& puts) {
    Outcome out;
    Maker maker(KRG_GHOST_INCREMENT);
    if (type == KRG_GHOST_IMAGE) {
        maker.add(type, puts);
    } else {
        add_image(maker, {{KRG_GHOST_IMAGE_PURPOSE, type == KRG_GHOST_MEMBER ? 1u : 0u}});
        std::vector<Put> own = puts;
        if (type != KRG_GHOST_MEMBER) refer_back(type, own, add_world(maker).of[KRG_GHOST_FILE_CLASS]);
        // What belongs to an object once, or is needed, gets a fresh one.
        if (type == KRG_GHOST_THREAD || type == KRG_GHOST_REGISTERS) {
            std::vector<Put> task, thread;
            for (const auto& [t, p] : valid_records()) {
                if (t == KRG_GHOST_TASK) task = p;
                if (t == KRG_GHOST_THREAD) thread = p;
            }
            u64 pid = 300;
            for (const Put& p : own)
                if (type == KRG_GHOST_THREAD && p.field == KRG_GHOST_THREAD_TID) pid = p.number;
            const u64 process = maker.add(KRG_GHOST_TASK, with(task, {KRG_GHOST_TASK_PID, std::clamp<u64>(pid, 1, 4194304)}));
            if (type == KRG_GHOST_THREAD)
                own = with(own, {1, process});
            else
                own = with(own, {1, maker.add(KRG_GHOST_THREAD, with(with(thread, {1, process}), {2, pid}))});
        }
        if (type == KRG_GHOST_VMA) own = with(own, {1, maker.add(KRG_GHOST_MM, {{KRG_GHOST_MM_KEY, 77}})});
        maker.add(type, own, data_of(type));
    }
    if (maker.error().code) {
        out.refusal = maker.error().reason;
        out.refused_field = maker.error().field;
        EXPECT_EQ(maker.error().type, type) << out.refusal;
        return out;
    }
    const Reading reading = read_image(maker.bytes());
    EXPECT_THAT(reading.text(), HasSubstr("incomplete"));
    out.got = reading.records.back();
    return out;
}

bool is_number(const FieldRule& rule) { return rule.kind <= KRG_GHOST_REF; }

std::vector<Put> limits(const FieldRule& rule) {
    if (rule.kind == KRG_GHOST_REF || rule.kind == KRG_GHOST_REFS) return {};
    if (rule.kind == KRG_GHOST_B) return {{rule.id, u64{0}}, {rule.id, rule.most}};
    if (is_number(rule)) return {{rule.id, rule.least}, {rule.id, rule.most}};
    return {{rule.id, std::string(rule.least, 'a')}, {rule.id, std::string(rule.most, 'a')}};
}

std::vector<Put> beyond(const FieldRule& rule) {
    std::vector<Put> out;
    if (rule.kind == KRG_GHOST_U && rule.most != KRG_ANY) out.emplace_back(rule.id, rule.most + 1);
    if (rule.kind == KRG_GHOST_U && rule.least > 1) out.emplace_back(rule.id, rule.least - 1);
    if (rule.kind == KRG_GHOST_S && rule.most != KRG_S64_MAX) out.emplace_back(rule.id, rule.most + 1);
    if (rule.kind == KRG_GHOST_S && rule.least != static_cast<u64>(KRG_S64_MIN)) out.emplace_back(rule.id, rule.least - 1);
    if (rule.kind == KRG_GHOST_B && rule.most != KRG_ANY) out.emplace_back(rule.id, rule.most + 1);
    if (rule.kind >= KRG_GHOST_TEXT && rule.kind <= KRG_GHOST_WORDS) {
        out.emplace_back(rule.id, std::string(rule.most + 8, 'a'));
        if (rule.least > 1) out.emplace_back(rule.id, std::string(rule.least - 1, 'a'));
    }
    return out;
}

/// Fields that cannot reach every limit alone, since another field or an object bounds them more.
bool bounded_otherwise(const FieldRule& rule) {
    static const std::set<std::string> together = {"IMAGE VERSION",     "IMAGE PARENT",
                                                   "IMAGE CHAIN",       "CREDS EFFECTIVE",
                                                   "CREDS AMBIENT",     "VMA START",
                                                   "VMA END",           "VMA KIND",
                                                   "VMA OFFSET",        "PAGES AT",
                                                   "PAGES COUNT",       "PAGES SOURCE",
                                                   "PAGES CODEC",       "PAGES TWIN_AT",
                                                   "MM START_CODE",     "MM START_DATA",
                                                   "MM START_BRK",      "MM ARG_START",
                                                   "MM ENV_START",      "FILE_INET FAMILY",
                                                   "LOCK KIND",         "LOCK START",
                                                   "LOCK END",          "SYSV_SEM COUNT",
                                                   "FILE_INET ADDRESS", "FILE_INET PEER_ADDRESS",
                                                   "TASK PARENT_PID"};
    return together.count(fmt::format("{} {}", find_record(rule.type)->name, rule.name)) != 0;
}

TEST(GhostLimits, every_field_at_its_limits_comes_back_as_it_was_written) {
    const auto valid = valid_records();
    u32 cases = 0;
    for (u32 n = 0; n < table().field_count; n++) {
        const FieldRule& rule = table().fields[n];
        if (rule.type == KRG_GHOST_END) continue;
        for (const Put& put : limits(rule)) {
            const std::string name = fmt::format("{} {} = {}/{}", find_record(rule.type)->name, rule.name, put.number,
                                                 put.bytes.size());
            const Outcome out = attempt(rule.type, with(valid.at(rule.type), put));
            if (!out.refusal.empty()) {
                EXPECT_TRUE(bounded_otherwise(rule)) << name << ": " << out.refusal;
                EXPECT_EQ(out.refusal.find("out of its range"), std::string::npos) << name;
                continue;
            }
            cases++;
            bool found = false;
            for (size_t i = 0; i < out.got.fields.size(); i++) {
                if (out.got.fields[i].first != rule.id) continue;
                found = true;
                if (put.is_bytes)
                    EXPECT_EQ(out.got.texts[i], put.bytes) << name;
                else
                    EXPECT_EQ(out.got.fields[i].second.number, put.number) << name;
            }
            EXPECT_TRUE(found || (put.is_bytes ? put.bytes.empty() : put.number == 0)) << name;
        }
    }
    EXPECT_GT(cases, 600u);
}

TEST(GhostLimits, a_step_behind_a_limit_is_refused_by_the_fields_name) {
    const auto valid = valid_records();
    u32 cases = 0;
    for (u32 n = 0; n < table().field_count; n++) {
        const FieldRule& rule = table().fields[n];
        if (rule.type == KRG_GHOST_END) continue;
        for (const Put& put : beyond(rule)) {
            const Outcome out = attempt(rule.type, with(valid.at(rule.type), put));
            const std::string name = fmt::format("{} {} = {}/{}", find_record(rule.type)->name, rule.name, put.number,
                                                 put.bytes.size());
            EXPECT_FALSE(out.refusal.empty()) << name;
            EXPECT_EQ(out.refused_field, rule.id) << name << ": " << out.refusal;
            cases++;
        }
    }
    EXPECT_GT(cases, 250u);
}

TEST(GhostLimits, a_required_field_that_is_missing_is_named) {
    const auto valid = valid_records();
    u32 cases = 0;
    for (u32 n = 0; n < table().field_count; n++) {
        const FieldRule& rule = table().fields[n];
        if (!(rule.rules & rule_required) || rule.type == KRG_GHOST_END) continue;
        auto puts = valid.at(rule.type);
        puts.erase(std::remove_if(puts.begin(), puts.end(), [&](const Put& p) { return p.field == rule.id; }), puts.end());
        if (rule.rules & rule_owner &&
            (rule.type == KRG_GHOST_THREAD || rule.type == KRG_GHOST_REGISTERS || rule.type == KRG_GHOST_VMA))
            continue;  // attempt() puts it in again
        const Outcome out = attempt(rule.type, puts);
        EXPECT_EQ(out.refusal, "a required field is missing") << find_record(rule.type)->name << ' ' << rule.name;
        EXPECT_EQ(out.refused_field, rule.id);
        cases++;
    }
    EXPECT_GT(cases, 60u);
}

TEST(GhostLimits, the_sample_has_every_type_and_all_of_it_is_read) {
    std::set<u16> types;
    const Reading reading = read_image(sample_image());
    EXPECT_EQ(reading.text(), "");
    for (const Got& got : reading.records) types.insert(got.record.type);
    for (u32 n = 0; n < table().record_count; n++)
        EXPECT_NE(types.count(table().records[n].type), table().records[n].type == KRG_GHOST_MEMBER) << table().records[n].name;
    EXPECT_EQ(reading.totals.tasks, 1u);
    EXPECT_EQ(reading.totals.pages, 2u + 100 + 16 + 4 + 1);
}

TEST(GhostLimits, data_do_not_depend_on_the_pieces_they_are_cut_into) {
    const std::string data(256 * 4096, 'd');
    Bytes first;
    for (u32 pieces : {1u, 3u, 256u, u32{KRG_GHOST_PIECES_MAX}}) {
        Maker maker;
        add_image(maker);
        const World world = add_world(maker);
        maker.add(KRG_GHOST_PAGES, {{1, world.of[KRG_GHOST_VMA_CLASS]}, {3, 256}}, data, pieces);
        const Bytes image = maker.close();
        ASSERT_EQ(maker.error().code, 0) << maker.error().reason;
        if (first.empty()) first = image;
        EXPECT_EQ(image, first);
    }
    for (u32 chunk : {1u, 4095u, 1u << 20}) EXPECT_EQ(read_image(first, chunk).text(), "");
}

TEST(GhostLimits, crc_of_known_texts) {
    EXPECT_EQ(krg_ghost_crc32c(0, "123456789", 9), 0xe3069283u);
    EXPECT_EQ(krg_ghost_crc32c(0, std::string(32, '\0').data(), 32), 0x8a9136aau);
    EXPECT_EQ(krg_ghost_crc32c(krg_ghost_crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
}

}  // namespace
}  // namespace krg::ghost::testing
