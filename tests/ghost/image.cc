// SPDX-License-Identifier: GPL-2.0
// How test images are made, read and broken.
#include "tests/ghost/image.hh"

#include <cstring>
#include <stdexcept>

#include <fmt/format.h>

#include "proc/core/layout.hh"

namespace krg::ghost::testing {

Memory memory_for(u32 objects) { return std::make_unique<u64[]>((krg_ghost_memory(objects) + 7) / 8); }

Maker::Maker(u64 features, u64 number, u32 objects) : memory_(memory_for(objects)) {
    writer_ = krg_ghost_writer_init(memory_.get(), objects, nullptr, number, features);
    if (!writer_) throw std::invalid_argument("no writer");
    const u8* prologue = krg_ghost_prologue(writer_);
    bytes_.assign(prologue, prologue + KRG_GHOST_PROLOGUE);
}

void Maker::append(const krg_ghost_piece* pieces, u32 count) {
    for (u32 i = 0; i < count; i++) {
        const u8* at = static_cast<const u8*>(pieces[i].at);
        bytes_.insert(bytes_.end(), at, at + pieces[i].length);
    }
}

u64 Maker::add(u16 type, const std::vector<Put>& fields, const std::string& data, u32 pieces) {
    u64 object = 0;
    krg_ghost_begin(writer_, type, &object);
    for (const Put& put : fields) {
        if (put.is_bytes)
            krg_ghost_put_bytes(writer_, put.field, put.bytes.data(), static_cast<u32>(put.bytes.size()));
        else
            krg_ghost_put(writer_, put.field, put.number);
    }
    std::vector<krg_ghost_piece> parts;
    for (u32 i = 0; i < pieces; i++) {
        const size_t from = data.size() * i / pieces, to = data.size() * (i + 1) / pieces;
        parts.push_back({data.data() + from, to - from});
    }
    krg_ghost_piece out[KRG_GHOST_PIECES_MAX + 2];
    u32 used = 0;
    krg_ghost_end(writer_, parts.data(), static_cast<u32>(parts.size()), out, &used);
    append(out, used);
    return object;
}

Bytes Maker::close() {
    krg_ghost_piece out[KRG_GHOST_PIECES_MAX + 2];
    u32 used = 0;
    krg_ghost_close(writer_, out, &used);
    append(out, used);
    return bytes_;
}

u64 add_image(Maker& maker, const std::vector<Put>& more) {
    std::vector<Put> fields;
    const std::vector<Put> required = {{KRG_GHOST_IMAGE_MACHINE, 62},
                                       {KRG_GHOST_IMAGE_PAGE_SIZE, 4096},
                                       {KRG_GHOST_IMAGE_KERNEL, "6.1.0-56-amd64"},
                                       {KRG_GHOST_IMAGE_XFEATURES, 7}};
    for (u16 id = 1; id < 64; id++) {
        const auto* put = [&]() -> const Put* {
            for (const auto& p : more)
                if (p.field == id) return &p;
            for (const auto& p : required)
                if (p.field == id) return &p;
            return nullptr;
        }();
        if (put) fields.push_back(*put);
    }
    return maker.add(KRG_GHOST_IMAGE, fields);
}

World add_world(Maker& m) {
    World w;
    const auto put = [&](u32 cls, u64 id) { return w.of[cls] = id; };
    const u64 session = put(KRG_GHOST_SESSION_CLASS, m.add(KRG_GHOST_SESSION, {{1, 100}}));
    const u64 group = put(KRG_GHOST_GROUP_CLASS, m.add(KRG_GHOST_GROUP, {{1, 100}, {2, session}}));
    const u64 time = put(KRG_GHOST_TIME_CLASS, m.add(KRG_GHOST_TIME, {{1, 5'000'000'000}}));
    const u64 creds = put(KRG_GHOST_CREDS_CLASS, m.add(KRG_GHOST_CREDS, {{1, 1000}}, std::string("\4\0\0\0\5\0\0\0", 8)));
    const u64 sighand = put(KRG_GHOST_SIGHAND_CLASS, m.add(KRG_GHOST_SIGHAND, {}));
    put(KRG_GHOST_PIPE_CLASS, m.add(KRG_GHOST_PIPE, {{KRG_GHOST_PIPE_ROOM, 65536}}));
    put(KRG_GHOST_TTY_CLASS, m.add(KRG_GHOST_TTY, {{KRG_GHOST_TTY_TERMIOS, std::string(44, 't')}}));
    put(KRG_GHOST_SEM_CLASS, m.add(KRG_GHOST_SYSV_SEM, {{KRG_GHOST_SYSV_SEM_COUNT, 1}}, std::string(8, 's')));
    put(KRG_GHOST_QUEUE_CLASS, m.add(KRG_GHOST_SYSV_QUEUE, {{1, 3}}));
    put(KRG_GHOST_MEMORY_CLASS, m.add(KRG_GHOST_MEMORY, {{1, 11}, {2, 1}, {3, 1 << 20}}));
    w.directory = m.add(KRG_GHOST_FILE_DIRECTORY, {{KRG_GHOST_FILE_DIRECTORY_PATH, "/shared"}});
    w.epoll = m.add(KRG_GHOST_FILE_EPOLL, {});
    w.inotify = m.add(KRG_GHOST_FILE_INOTIFY, {});
    w.unix_socket = m.add(KRG_GHOST_FILE_UNIX, {{KRG_GHOST_FILE_UNIX_TYPE, 1}});
    w.inet = m.add(KRG_GHOST_FILE_INET, {{KRG_GHOST_FILE_INET_FAMILY, 2}, {KRG_GHOST_FILE_INET_TYPE, 1}});
    put(KRG_GHOST_FILE_CLASS, m.add(KRG_GHOST_FILE_REGULAR, {{KRG_GHOST_FILE_REGULAR_PATH, "/shared/program"}}));
    const u64 files = put(KRG_GHOST_FILES_CLASS, m.add(KRG_GHOST_FILES, {}));
    const u64 fs = put(KRG_GHOST_FS_CLASS, m.add(KRG_GHOST_FS, {{KRG_GHOST_FS_CWD, w.directory}}));
    const u64 other = m.add(KRG_GHOST_MM, {{KRG_GHOST_MM_KEY, 8}});
    w.other_vma = m.add(KRG_GHOST_VMA, {{1, other}, {2, 0x400000}, {3, 0x800000}});
    const u64 mm = put(KRG_GHOST_MM_CLASS, m.add(KRG_GHOST_MM, {{KRG_GHOST_MM_KEY, 9}}));
    put(KRG_GHOST_VMA_CLASS, m.add(KRG_GHOST_VMA, {{1, mm}, {2, 0}, {3, 0x800000}}));
    const u64 task = put(KRG_GHOST_TASK_CLASS, m.add(KRG_GHOST_TASK, {{KRG_GHOST_TASK_PID, 100},
                                                                      {KRG_GHOST_TASK_GROUP, group},
                                                                      {KRG_GHOST_TASK_MM, mm},
                                                                      {7, sighand},
                                                                      {8, time}}));
    const u64 thread = put(KRG_GHOST_THREAD_CLASS,
                           m.add(KRG_GHOST_THREAD, {{1, task}, {KRG_GHOST_THREAD_TID, 100}, {4, creds}, {5, files}, {6, fs}}));
    m.add(KRG_GHOST_REGISTERS, {{1, thread},
                                {KRG_GHOST_REGISTERS_IP, 0x400000},
                                {KRG_GHOST_REGISTERS_CS, 0x33},
                                {KRG_GHOST_REGISTERS_SP, 0x7ffe0000}});
    put(KRG_GHOST_ZOMBIE_CLASS, m.add(KRG_GHOST_ZOMBIE, {{1, 101}, {2, task}, {3, group}, {4, 0x300}}));
    return w;
}

namespace {

void add_process_records(Maker& m, const World& w) {
    const u64 thread = w.of[KRG_GHOST_THREAD_CLASS], task = w.of[KRG_GHOST_TASK_CLASS];
    for (u64 signal : {2, 15}) m.add(KRG_GHOST_SIGACTION, {{1, w.of[KRG_GHOST_SIGHAND_CLASS]}, {2, signal}, {3, 0x401000}});
    for (u64 part : {0, 1, 2}) m.add(KRG_GHOST_XSTATE, {{1, thread}, {2, part}, {3, std::string(part == 2 ? 256 : 160, 'x')}});
    m.add(KRG_GHOST_RESTART, {{1, thread}, {2, 1}, {3, 1}, {4, 1'500'000}, {5, 1}});
    m.add(KRG_GHOST_SIGNAL, {{1, task}, {2, 10}, {3, static_cast<u64>(-1)}, {5, std::string(16, 'i')}});
    m.add(KRG_GHOST_ITIMER, {{1, task}, {3, 1'000'000}});
    m.add(KRG_GHOST_POSIX_TIMER, {{1, task}, {2, 4}, {3, 1}, {5, 14}, {8, 77}, {10, 1}});
    m.add(KRG_GHOST_RLIMIT, {{1, task}, {2, 7}, {3, 1024}, {4, 4096}});
    m.add(KRG_GHOST_SCHEDULING, {{1, thread}, {4, static_cast<u64>(-5)}, {10, std::string("\3\0\0\0\0\0\0\0", 8)}});
    m.add(KRG_GHOST_SECCOMP, {{1, thread}, {3, 2}, {5, std::string(8, 'f')}});
}

void add_file_records(Maker& m, const World& w, u8 fill) {
    const u64 pipe = w.of[KRG_GHOST_PIPE_CLASS], files = w.of[KRG_GHOST_FILES_CLASS];
    const u64 end = m.add(KRG_GHOST_FILE_PIPE, {{5, pipe}});
    const u64 event = m.add(KRG_GHOST_FILE_EVENTFD, {{5, 3}});
    m.add(KRG_GHOST_PIPE_DATA, {{1, pipe}}, std::string(13, static_cast<char>(fill)), 2);
    m.add(KRG_GHOST_FILE_DEVICE, {{5, "/dev/null"}, {6, 1}, {7, 3}});
    m.add(KRG_GHOST_FILE_TIMERFD, {{5, 1}, {6, 900}});
    m.add(KRG_GHOST_FILE_SIGNALFD, {{5, 6}});
    m.add(KRG_GHOST_FILE_MEMFD, {{5, w.of[KRG_GHOST_MEMORY_CLASS]}, {6, 12}});
    m.add(KRG_GHOST_FILE_TTY, {{5, w.of[KRG_GHOST_TTY_CLASS]}, {6, 1}});
    m.add(KRG_GHOST_FILE_FORWARDED, {{5, 1}, {6, 2}, {7, 3}, {8, 1}, {9, "/tmp/log"}});
    m.add(KRG_GHOST_TTY_DATA, {{1, w.of[KRG_GHOST_TTY_CLASS]}}, "ls\n");
    m.add(KRG_GHOST_EPOLL_WATCH, {{1, w.epoll}, {2, end}, {3, 5}, {4, 1}, {5, 99}});
    m.add(KRG_GHOST_INOTIFY_WATCH, {{1, w.inotify}, {2, 1}, {3, "/shared"}, {4, 2}});
    m.add(KRG_GHOST_UNIX_PEER, {{1, w.unix_socket}, {2, w.unix_socket}});
    std::string passed(8, '\0');
    store(reinterpret_cast<u8*>(passed.data()), event, 8);
    m.add(KRG_GHOST_UNIX_MESSAGE, {{1, w.unix_socket}, {2, passed}, {3, 100}}, "hello");
    m.add(KRG_GHOST_TCP, {{1, w.inet}, {2, 1}, {3, 2}, {10, 1}});
    m.add(KRG_GHOST_INET_DATA, {{1, w.inet}, {2, 1}}, "GET /");
    m.add(KRG_GHOST_LOCK, {{1, w.of[KRG_GHOST_FILE_CLASS]}, {2, 1}, {3, 2}, {4, 0}, {5, 9}, {6, files}, {7, 100}});
    m.add(KRG_GHOST_SOCKET_OPTION, {{1, w.inet}, {2, 1}, {3, 20}, {4, 5000}});
    for (u64 fd : {0, 1}) m.add(KRG_GHOST_FD, {{1, files}, {2, fd}, {3, end}});
    m.add(KRG_GHOST_FD, {{1, files}, {2, 7}, {3, event}, {4, 1}});
    m.add(KRG_GHOST_SYSV_SHM, {{1, w.of[KRG_GHOST_MEMORY_CLASS]}, {2, 5}, {3, 0x77}, {4, 0600}});
    m.add(KRG_GHOST_SYSV_UNDO, {{1, w.of[KRG_GHOST_SEM_CLASS]}, {2, w.of[KRG_GHOST_TASK_CLASS]}, {4, static_cast<u64>(-1)}});
    m.add(KRG_GHOST_SYSV_MESSAGE, {{1, w.of[KRG_GHOST_QUEUE_CLASS]}, {2, 1}}, "message");
}

}  // namespace

Bytes sample_image(u64 number, u8 fill) {
    Maker m(KRG_GHOST_INCREMENT, number);
    add_image(m, {{KRG_GHOST_IMAGE_NODE, 3},
                  {KRG_GHOST_IMAGE_CLUSTER, "blue"},
                  {KRG_GHOST_IMAGE_DESCRIPTION, "a sample"},
                  {KRG_GHOST_IMAGE_CHAIN, 5},
                  {KRG_GHOST_IMAGE_VERSION, 1},
                  {KRG_GHOST_IMAGE_PARENT, 6}});
    const World w = add_world(m);
    add_process_records(m, w);
    add_file_records(m, w, fill);
    const u64 vma = w.of[KRG_GHOST_VMA_CLASS];
    m.add(KRG_GHOST_PAGES, {{1, vma}, {2, 0x1000}, {3, 2}}, std::string(8192, static_cast<char>(fill)), 2);
    m.add(KRG_GHOST_PAGES, {{1, vma}, {2, 0x3000}, {3, 100}, {4, KRG_GHOST_SOURCE_ZERO}});
    m.add(KRG_GHOST_PAGES, {{1, vma}, {2, 0x100000}, {3, 16}, {4, KRG_GHOST_SOURCE_PARENT}});
    m.add(KRG_GHOST_PAGES, {{1, vma}, {2, 0x200000}, {3, 4}, {4, KRG_GHOST_SOURCE_TWIN}, {6, w.other_vma}, {7, 0x400000}});
    m.add(KRG_GHOST_PAGES, {{1, vma}, {2, 0x300000}, {3, 1}, {5, KRG_GHOST_CODEC_LZ4}}, std::string(100, 'z'));
    Bytes image = m.close();
    if (m.error().code)
        throw std::logic_error(fmt::format("the sample: record {} type {} field {}: {}", m.error().record, m.error().type,
                                           m.error().field, m.error().reason));
    return image;
}

std::string Reading::text() const {
    if (!error.code) return "";
    const char* type = krg_ghost_type_name(error.type);
    const char* field = krg_ghost_field_name(error.type, error.field);
    return fmt::format("{} {}: {}", type ? type : "-", field ? field : "-", error.reason);
}

namespace {

bool take_data(krg_ghost_reader* reader, const Bytes& image, size_t& at, u32 length, u32 chunk, Got& got) {
    const size_t there = length < image.size() - at ? length : image.size() - at;
    if (there == length && chunk == 0) {
        at += length;
        return krg_ghost_pass(reader) == 0;
    }
    for (size_t done = 0; done < there;) {
        const size_t n = there - done < chunk ? there - done : chunk;
        // A copy of its own: reading behind its end is seen.
        const Bytes piece(image.begin() + static_cast<long>(at + done), image.begin() + static_cast<long>(at + done + n));
        got.data.append(piece.begin(), piece.end());
        done += n;
        if (krg_ghost_take(reader, piece.data(), static_cast<u32>(n))) return false;
    }
    at += there;
    if (there < length) krg_ghost_truncated(reader);
    return there == length;
}

Got taken(const krg_ghost_reader* reader) {
    Got got;
    got.record = *krg_ghost_current(reader);
    krg_ghost_value value{};
    for (u32 cursor = 0; krg_ghost_each(reader, &cursor, &value);) {
        got.texts.emplace_back(reinterpret_cast<const char*>(value.bytes), value.length);
        got.fields.emplace_back(value.field, value);
    }
    return got;
}

}  // namespace

Reading read_image(const Bytes& image, u32 chunk, u32 objects) {
    Reading reading;
    const Memory memory = memory_for(objects);
    krg_ghost_reader* reader = krg_ghost_reader_init(memory.get(), objects, nullptr);
    if (!reader) throw std::invalid_argument("no reader");
    size_t at = 0;
    krg_ghost_step step{};
    while (krg_ghost_next(reader, &step) == 0 && step.kind != KRG_GHOST_DONE) {
        if (step.kind == KRG_GHOST_NEED) {
            if (image.size() - at < step.length) {
                krg_ghost_truncated(reader);
                break;
            }
            std::memcpy(step.at, image.data() + at, step.length);
            at += step.length;
        } else if (step.kind == KRG_GHOST_DATA) {
            if (!take_data(reader, image, at, step.length, chunk, reading.records.back())) break;
        } else {
            reading.records.push_back(taken(reader));
            reading.records.back().offset = step.offset;
            reading.records.back().skipped = step.kind == KRG_GHOST_SKIPPED;
        }
    }
    reading.error = *krg_ghost_reader_error(reader);
    reading.totals = *krg_ghost_reader_totals(reader);
    return reading;
}

std::vector<Span> spans(const Bytes& image) {
    std::vector<Span> out;
    for (size_t at = KRG_GHOST_PROLOGUE; at + KRG_GHOST_HEAD <= image.size();) {
        Span span{};
        span.at = at;
        span.type = static_cast<u16>(load(&image[at + head::type], 2));
        span.fields = load(&image[at + head::fields], 4);
        span.data = load(&image[at + head::data], 4);
        span.padded = padded(static_cast<u32>(span.data));
        out.push_back(span);
        at += KRG_GHOST_HEAD + span.fields + span.padded;
    }
    return out;
}

void reseal(Bytes& image, const Span& span) {
    u8* at = &image[span.at];
    const u32 seed = static_cast<u32>(load(&image[prologue::crc], 4));
    if (span.data) store(at + head::data_crc, krg_ghost_crc32c(0, at + KRG_GHOST_HEAD + span.fields, span.data), 4);
    const u32 crc = krg_ghost_crc32c(krg_ghost_crc32c(seed, at, head::crc), at + KRG_GHOST_HEAD, span.fields);
    store(at + head::crc, crc, 4);
}

}  // namespace krg::ghost::testing
