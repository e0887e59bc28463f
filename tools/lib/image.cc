// SPDX-License-Identifier: GPL-2.0
// Reads image files. Memory grows with the objects that an image really has.
#include "tools/lib/image.hh"

#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <sys/stat.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "proc/core/table.hh"
#include "tools/lib/error.hh"

namespace krg::image {
namespace {

constexpr u32 first_objects = 1u << 16;
constexpr u64 exact_in_json = u64{1} << 53;

std::string lower(const char* name, const char* prefix, unsigned id) {
    if (!name) return fmt::format("{}-{}", prefix, id);
    std::string text = name;
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
}

[[noreturn]] void refuse(const std::string& path, const krg_ghost_error& error) {
    std::string where = fmt::format("{}: byte {}, record {}", path, error.offset, error.record);
    if (error.type) where += " (" + lower(krg_ghost_type_name(error.type), "type", error.type);
    if (error.type && error.field)
        where += ", field " + lower(krg_ghost_field_name(error.type, error.field), "field", error.field);
    if (error.type) where += ")";
    std::string action = "use another copy or an earlier version of this image";
    if (error.code == -EPROTONOSUPPORT) action = "use a krgimg as new as what wrote the image";
    throw Error(Exit::failed, where + ": " + error.reason, action);
}

class File {
public:
    explicit File(const std::string& path) : path_(path) {
        struct stat st {};
        if (stat(path.c_str(), &st) == 0 && !S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
            throw Error(Exit::failed, path + " is not a file", "name an image, not the directory it is in");
        stream_.open(path, std::ios::binary);
        if (stream_) return;
        const int why = errno;
        throw Error(why == ENOENT   ? Exit::no_object
                    : why == EACCES ? Exit::not_permitted
                                    : Exit::failed,
                    fmt::format("{}: {}", path, std::strerror(why)), why == ENOENT ? "check the name" : "");
    }
    /** So many of them were there. */
    size_t take(u8* at, size_t length) {
        stream_.read(reinterpret_cast<char*>(at), static_cast<std::streamsize>(length));
        return static_cast<size_t>(stream_.gcount());
    }
    void skip(u32 length) { stream_.seekg(length, std::ios::cur); }

private:
    std::string path_;
    std::ifstream stream_;
};

Item item_of(const krg_ghost_reader* reader, const krg_ghost_step& step, u64 index) {
    const krg_ghost_record& record = *krg_ghost_current(reader);
    Item item;
    item.index = index;
    item.offset = step.offset;
    item.object = record.object;
    item.owner = record.owner;
    item.data = record.data;
    item.type = record.type;
    item.skipped = step.kind == KRG_GHOST_SKIPPED;
    item.name = lower(krg_ghost_type_name(record.type), "type", record.type);
    krg_ghost_value v{};
    for (u32 cursor = 0; krg_ghost_each(reader, &cursor, &v);) {
        Value value{v.field, v.kind, lower(krg_ghost_field_name(record.type, v.field), "field", v.field), v.number, {}};
        if (v.kind > KRG_GHOST_REF) value.bytes.assign(reinterpret_cast<const char*>(v.bytes), v.length);
        item.values.push_back(std::move(value));
    }
    return item;
}

/** False: more objects than there was room for. */
bool read_with(const std::string& path, const Visitor& visitor, u32 objects, Summary& summary) {
    File file(path);
    const auto memory = std::make_unique<u64[]>((krg_ghost_memory(objects) + 7) / 8);
    krg_ghost_reader* reader = krg_ghost_reader_init(memory.get(), objects, nullptr);
    Item item;
    u64 index = 0;
    std::vector<u8> data;
    krg_ghost_step step{};
    while (krg_ghost_next(reader, &step) == 0 && step.kind != KRG_GHOST_DONE) {
        if (step.kind == KRG_GHOST_DATA) item.data_offset = step.offset;
        if (step.kind == KRG_GHOST_NEED) {
            if (file.take(step.at, step.length) < step.length && krg_ghost_truncated(reader)) break;
        } else if (step.kind == KRG_GHOST_DATA && visitor.pass && visitor.pass(item)) {
            file.skip(step.length);
            if (krg_ghost_pass(reader)) break;
        } else if (step.kind == KRG_GHOST_DATA) {
            data.resize(step.length);
            if (file.take(data.data(), step.length) < step.length && krg_ghost_truncated(reader)) break;
            if (krg_ghost_take(reader, data.data(), step.length)) break;
            if (visitor.data) visitor.data(item, data);
        } else {
            item = item_of(reader, step, index++);
            if (visitor.record) visitor.record(item);
        }
    }
    const krg_ghost_error& error = *krg_ghost_reader_error(reader);
    if (error.code == -ENOSPC && objects < KRG_GHOST_OBJECTS_MAX) return false;
    if (error.code) refuse(path, error);
    summary = {krg_ghost_number(reader), krg_ghost_features(reader), step.offset, *krg_ghost_reader_totals(reader)};
    return true;
}

std::string hex(const std::string& bytes) {
    std::string out;
    for (const char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
    return out;
}

std::string printable(const std::string& text) {
    std::string out;
    for (const char c : text)
        out += c >= ' ' && c != 0x7f && c != '"' && c != '\\' ? std::string(1, c)
                                                              : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    return out;
}

}  // namespace

u64 Item::number(u16 field) const {
    for (const Value& value : values)
        if (value.field == field) return value.number;
    return 0;
}

std::string Item::text(u16 field) const {
    for (const Value& value : values)
        if (value.field == field) return value.bytes;
    return "";
}

Summary read(const std::string& path, const Visitor& visitor) {
    // The first pass only counts, so that a visitor never sees a record twice.
    Summary summary;
    u32 objects = first_objects;
    while (!read_with(path, {{}, {}, visitor.pass}, objects, summary))
        objects = objects < KRG_GHOST_OBJECTS_MAX / 16 ? objects * 16 : KRG_GHOST_OBJECTS_MAX;
    if ((visitor.record || visitor.data) && !read_with(path, visitor, objects, summary))
        throw Error(Exit::failed, path + " changed while it was read", "try again when nobody writes to it");
    return summary;
}

void peek(const std::string& path, const std::function<void(u64 number, const Item&)>& record) {
    File file(path);
    const auto memory = std::make_unique<u64[]>((krg_ghost_memory(first_objects) + 7) / 8);
    krg_ghost_reader* reader = krg_ghost_reader_init(memory.get(), first_objects, nullptr);
    u64 index = 0;
    krg_ghost_step step{};
    while (krg_ghost_next(reader, &step) == 0 && step.kind != KRG_GHOST_DONE) {
        if (step.kind == KRG_GHOST_NEED) {
            if (file.take(step.at, step.length) < step.length && krg_ghost_truncated(reader)) break;
        } else if (step.kind == KRG_GHOST_DATA) {
            file.skip(step.length);
            if (krg_ghost_pass(reader)) break;
        } else {
            record(krg_ghost_number(reader), item_of(reader, step, index++));
        }
    }
    if (krg_ghost_reader_error(reader)->code) refuse(path, *krg_ghost_reader_error(reader));
}

std::string shown(u16 type, const Value& value) {
    const auto* record = ghost::find_record(type);
    const auto* rule = record ? ghost::find_field(*record, value.field) : nullptr;
    switch (value.kind) {
    case KRG_GHOST_S: return std::to_string(static_cast<s64>(value.number));
    case KRG_GHOST_B: return fmt::format("{:#x}", value.number);
    case KRG_GHOST_REF: return fmt::format("@{}", value.number);
    case KRG_GHOST_U: return rule && rule->most > KRG_W32 ? fmt::format("{:#x}", value.number) : std::to_string(value.number);
    case KRG_GHOST_TEXT: return '"' + printable(value.bytes) + '"';
    default:
        return value.bytes.size() <= 32 ? hex(value.bytes)
                                        : fmt::format("{}... ({} bytes)", hex(value.bytes.substr(0, 16)), value.bytes.size());
    }
}

Json json_of(u16 type, const Value& value) {
    const auto* record = ghost::find_record(type);
    const auto* rule = record ? ghost::find_field(*record, value.field) : nullptr;
    switch (value.kind) {
    case KRG_GHOST_S: return static_cast<s64>(value.number);
    case KRG_GHOST_B: return fmt::format("{:016x}", value.number);
    case KRG_GHOST_REF: return value.number;
    case KRG_GHOST_U:
        if (rule && rule->most >= exact_in_json) return fmt::format("{:016x}", value.number);
        return value.number;
    case KRG_GHOST_TEXT: return printable(value.bytes);
    default: return hex(value.bytes);
    }
}

}  // namespace krg::image
