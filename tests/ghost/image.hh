// SPDX-License-Identifier: GPL-2.0
// Ghost images in memory, for tests: made record by record, read back as text,
// and broken in chosen places with their CRCs made right again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "proc/core/ghost.h"

namespace krg::ghost::testing {

using Bytes = std::vector<u8>;
using Memory = std::unique_ptr<u64[]>;

Memory memory_for(u32 objects);

/** One field of a record under construction. */
struct Put {
    template<typename T>
    requires(std::is_integral_v<T> || std::is_enum_v<T>) Put(u16 f, T v) : field(f), number(static_cast<u64>(v)) {}
    Put(u16 f, const std::string& s) : field(f), bytes(s), is_bytes(true) {}
    Put(u16 f, const char* s) : field(f), bytes(s), is_bytes(true) {}
    u16 field;
    u64 number = 0;
    std::string bytes;
    bool is_bytes = false;
};

/** An image that grows. After a refusal error() says why and nothing more is added. */
class Maker {
public:
    explicit Maker(u64 features = 0, u64 number = 0x1234, u32 objects = 1000);
    /** The id of the object it defines, or 0. @pieces: into so many pieces the data are cut. */
    u64 add(u16 type, const std::vector<Put>& fields, const std::string& data = "", u32 pieces = 1);
    Bytes close();
    [[nodiscard]] const Bytes& bytes() const { return bytes_; }
    [[nodiscard]] const krg_ghost_error& error() const { return *krg_ghost_writer_error(writer_); }
    [[nodiscard]] const krg_ghost_totals& totals() const { return *krg_ghost_writer_totals(writer_); }

private:
    void append(const krg_ghost_piece* pieces, u32 count);
    Memory memory_;
    krg_ghost_writer* writer_;
    Bytes bytes_;
};

/** Adds the image record, with what is required. */
u64 add_image(Maker& maker, const std::vector<Put>& more = {});

/** What there is of each class: by class, ids. */
struct World {
    u64 of[KRG_GHOST_CLASSES] = {};
    u64 directory = 0, epoll = 0, inotify = 0, unix_socket = 0, other_vma = 0, inet = 0;
};

/** Adds one object of every class and all that those need, so that any record can follow. */
World add_world(Maker& maker);

/** A whole image with at least one record of every type. */
Bytes sample_image(u64 number = 0x1234, u8 fill = 7);

struct Got {
    krg_ghost_record record{};
    u64 offset = 0;
    bool skipped = false;
    std::vector<std::pair<u16, krg_ghost_value>> fields;  // bytes point into texts
    std::vector<std::string> texts;
    std::string data;
};

struct Reading {
    krg_ghost_error error{};
    krg_ghost_totals totals{};
    std::vector<Got> records;
    [[nodiscard]] std::string text() const;  // of the error
};

/** Reads all. @chunk: data are taken in pieces of so many bytes; 0: passed. */
Reading read_image(const Bytes& image, u32 chunk = 4096, u32 objects = 1000);

/** Where a record is, as its head says. */
struct Span {
    size_t at, fields, data, padded;
    u16 type;
};
std::vector<Span> spans(const Bytes& image);
/** Makes the CRCs of the record there right again after its bytes were changed. */
void reseal(Bytes& image, const Span& span);

}  // namespace krg::ghost::testing
