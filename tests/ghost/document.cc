// SPDX-License-Identifier: GPL-2.0
// One table for each record, with the words that only the schema's text has.
#include "tests/ghost/document.hh"

#include <algorithm>
#include <cctype>
#include <vector>

#include <fmt/format.h>

#include "proc/core/table.hh"

namespace krg::ghost::testing {
namespace {

struct Text {
    u16 type, field;  // field 0: the record
    const char *unit, *meaning;
};

#define R(NAME, type, cls, rules, meaning) {type, 0, "", meaning},
#define F(NAME, FIELD, id, kind, rules, least, most, unit, meaning) {KRG_GHOST_##NAME, id, unit, meaning},
constexpr Text texts[] = {
#include "proc/core/schema.h"
};
#undef R
#undef F

constexpr const char* kinds[] = {"", "unsigned", "signed", "bits", "reference", "text", "bytes", "words", "references"};
constexpr const char* classes[] = {"",     "session", "group",    "time",       "creds",  "sighand", "fs",
                                   "task", "thread",  "zombie",   "memory map", "memory", "mapping", "descriptors",
                                   "file", "pipe",    "terminal", "semaphores", "queue"};
static_assert(sizeof(classes) / sizeof(classes[0]) == KRG_GHOST_CLASSES);

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

std::string amount(u64 v) {
    if (v == KRG_ANY) return "2^64 - 1";
    if (v == static_cast<u64>(KRG_S64_MAX)) return "2^63 - 1";
    if (v == static_cast<u64>(KRG_S64_MIN)) return "-2^63";
    if (v == KRG_W32) return "2^32 - 1";
    if (v >= 65535 && v != 65536) return fmt::format("{:#x}", v);
    return std::to_string(v);
}

std::string allowed(const FieldRule& rule) {
    switch (rule.kind) {
    case KRG_GHOST_REF:
    case KRG_GHOST_REFS: {
        std::string out;
        for (u32 cls = 0; cls < KRG_GHOST_CLASSES; cls++)
            if (rule.most >> cls & 1) out += (out.empty() ? "" : " or ") + std::string(classes[cls]);
        return out;
    }
    case KRG_GHOST_B: return rule.most == KRG_ANY ? "any" : fmt::format("{:#x}", rule.most);
    case KRG_GHOST_S: {
        const auto side = [](u64 v) {
            const s64 s = static_cast<s64>(v);
            return s > -5000000 && s < 5000000 ? std::to_string(s) : s < 0 && s == KRG_S32_MIN ? "-2^31" : amount(v);
        };
        return side(rule.least) + " to " + side(rule.most);
    }
    default: return amount(rule.least) + " to " + amount(rule.most) + (rule.kind == KRG_GHOST_U ? "" : " bytes");
    }
}

std::string about(const RecordRule& rule, const std::string& meaning) {
    std::string out = fmt::format("\n### {}: {}\n\n{}{}.", rule.type, lower(rule.name),
                                  static_cast<char>(std::toupper(meaning[0])), meaning.substr(1));
    if (rule.cls != KRG_GHOST_NONE) out += fmt::format(" Defines an object of class *{}*.", classes[rule.cls]);
    if (rule.rules & rule_once) out += rule.owners ? " One for each owner at most." : " One in an image.";
    if (rule.rules & rule_need) out += " Every owner has one.";
    if (rule.rules & rule_data) out += " May have data.";
    out += "\n";
    if (rule.count) out += "\n| id | field | type | allowed | unit | | meaning |\n|---|---|---|---|---|---|---|\n";
    return out;
}

}  // namespace

std::string record_tables() {
    std::string out;
    for (const Text& text : texts) {
        const RecordRule& record = *find_record(text.type);
        if (text.field == 0) {
            out += about(record, text.meaning);
            continue;
        }
        const FieldRule& rule = *find_field(record, text.field);
        const char* note = rule.rules & rule_owner      ? "owner"
                           : rule.rules & rule_key      ? "key"
                           : rule.rules & rule_required ? "required"
                                                        : "";
        out += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", rule.id, lower(rule.name), kinds[rule.kind], allowed(rule),
                           text.unit, note, text.meaning);
    }
    return out;
}

}  // namespace krg::ghost::testing
