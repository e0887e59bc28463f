// SPDX-License-Identifier: GPL-2.0
//
// krg-forge: an image as somebody would write it who knows the format, with other values and right checksums.
//
//	krg-forge IN OUT TYPE FIELD KIND VALUE...      numbers as in Documentation/ghost-format.md; each record of the type gets it
//
// KIND 1 to 4: a number; 5: text; 6: bytes in hexadecimal.
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <string>

#include "proc/core/ghost.h"
#include "proc/core/layout.hh"

namespace {

struct Field {
    u8 kind = 0, flags = 1;
    std::string value;
};

u64 load(const std::string& from, size_t at, u32 bytes) {
    return krg::ghost::load(reinterpret_cast<const u8*>(from.data()) + at, bytes);
}
void store(std::string& to, size_t at, u64 value, u32 bytes) {
    krg::ghost::store(reinterpret_cast<u8*>(to.data()) + at, value, bytes);
}

std::map<u64, Field> fields_of(const std::string& bytes) {
    std::map<u64, Field> all;
    for (size_t at = 0; at + 8 <= bytes.size();) {
        const u64 length = load(bytes, at + 4, 4);
        all[load(bytes, at, 2)] = {static_cast<u8>(load(bytes, at + 2, 1)), static_cast<u8>(load(bytes, at + 3, 1)),
                                   bytes.substr(at + 8, length)};
        at += 8 + (length + 7) / 8 * 8;
    }
    return all;
}

std::string bytes_of(const std::map<u64, Field>& fields) {
    std::string all;
    for (const auto& [id, field] : fields) {
        std::string head(8, '\0');
        store(head, 0, id, 2);
        store(head, 2, field.kind, 1);
        store(head, 3, field.flags, 1);
        store(head, 4, field.value.size(), 4);
        all += head + field.value;
        all.resize((all.size() + 7) / 8 * 8);
    }
    return all;
}

std::string value_of(int kind, const std::string& word) {
    if (kind == 5) return word;
    std::string value;
    if (kind == 6) {
        for (size_t i = 0; i + 1 < word.size(); i += 2) value += static_cast<char>(std::stoul(word.substr(i, 2), nullptr, 16));
        return value;
    }
    value.resize(8);
    store(value, 0, std::stoull(word, nullptr, 0), 8);
    return value;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 7 || (argc - 3) % 4) {
        std::cerr << "usage: krg-forge IN OUT TYPE FIELD KIND VALUE...\n";
        return 2;
    }
    std::ifstream in(argv[1], std::ios::binary);
    const std::string image{std::istreambuf_iterator<char>(in), {}};
    if (image.size() < KRG_GHOST_PROLOGUE) return 1;
    std::string out = image.substr(0, KRG_GHOST_PROLOGUE);
    const u32 seed = static_cast<u32>(load(out, krg::ghost::prologue::crc, 4));
    int changed = 0;
    for (size_t at = KRG_GHOST_PROLOGUE; at + KRG_GHOST_HEAD <= image.size();) {
        std::string head = image.substr(at, KRG_GHOST_HEAD);
        const u64 length = load(head, krg::ghost::head::fields, 4), data = (load(head, krg::ghost::head::data, 4) + 7) / 8 * 8;
        std::map<u64, Field> fields = fields_of(image.substr(at + KRG_GHOST_HEAD, length));
        for (int i = 3; i < argc; i += 4) {
            if (load(head, 0, 2) != std::stoull(argv[i])) continue;
            const int kind = std::stoi(argv[i + 2]);
            Field& field = fields[std::stoull(argv[i + 1])];
            field.kind = static_cast<u8>(kind);
            field.value = value_of(kind, argv[i + 3]);
            changed++;
        }
        const std::string bytes = bytes_of(fields);
        store(head, krg::ghost::head::fields, bytes.size(), 4);
        u32 crc = krg_ghost_crc32c(seed, head.data(), krg::ghost::head::crc);
        crc = krg_ghost_crc32c(crc, bytes.data(), bytes.size());
        store(head, krg::ghost::head::crc, crc, 4);
        out += head + bytes + image.substr(at + KRG_GHOST_HEAD + length, data);
        at += KRG_GHOST_HEAD + length + data;
    }
    std::ofstream(argv[2], std::ios::binary) << out;
    return changed ? 0 : 1;
}
