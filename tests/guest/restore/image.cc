// SPDX-License-Identifier: GPL-2.0
//
// Writes the image. Values are arbitrary, but no two are the same.
#include "image.hh"

#include <cstring>
#include <memory>
#include <sys/utsname.h>
#include <vector>

#include "places.hh"

namespace krg::probe {
namespace {

using guest::fail;

constexpr std::uint32_t objects_max = 64;
constexpr std::uint64_t magic = 0x5a17c0de00000000;

/// One record after the other; the format's own writer judges them.
class Writer {
public:
    explicit Writer(std::uint64_t number)
        : memory_(std::make_unique<std::uint64_t[]>(krg_ghost_memory(objects_max) / 8 + 1)),
          writer_(krg_ghost_writer_init(memory_.get(), objects_max, nullptr, number, 0)) {
        bytes_.assign(reinterpret_cast<const char*>(krg_ghost_prologue(writer_)), KRG_GHOST_PROLOGUE);
    }
    std::uint64_t begin(std::uint16_t type) {
        std::uint64_t object = 0;
        must(krg_ghost_begin(writer_, type, &object));
        return object;
    }
    Writer& put(std::uint16_t field, std::uint64_t value) {
        must(krg_ghost_put(writer_, field, value));
        return *this;
    }
    Writer& put(std::uint16_t field, const std::string& bytes) {
        must(krg_ghost_put_bytes(writer_, field, bytes.data(), static_cast<std::uint32_t>(bytes.size())));
        return *this;
    }
    void end(const std::string& data = "") {
        const krg_ghost_piece piece = {data.data(), data.size()};
        must(krg_ghost_end(writer_, &piece, data.empty() ? 0 : 1, pieces_, &used_));
        keep();
    }
    std::string close() {
        must(krg_ghost_close(writer_, pieces_, &used_));
        keep();
        return bytes_;
    }

private:
    void must(int err) {
        if (err) fail(std::string("the image cannot be written: ") + krg_ghost_writer_error(writer_)->reason);
    }
    void keep() {
        for (std::uint32_t i = 0; i < used_; i++) bytes_.append(static_cast<const char*>(pieces_[i].at), pieces_[i].length);
    }
    std::unique_ptr<std::uint64_t[]> memory_;
    krg_ghost_writer* writer_;
    krg_ghost_piece pieces_[KRG_GHOST_PIECES_MAX + 2] = {};
    std::uint32_t used_ = 0;
    std::string bytes_;
};

void poke(std::string& bytes, std::uint64_t at, std::uint64_t value, std::size_t size = 8) {
    std::memcpy(bytes.data() + at, &value, size);
}

/// Register number n of the order in REGISTERS, of the leader.
std::uint64_t value_of(unsigned n) { return 0x0101010101010101ULL * (n + 1); }

constexpr unsigned checked_registers = 15;  // r15 to di
constexpr std::uint32_t mxcsr = 0x1fa0;

std::string data_pages() {
    std::string data(4 * page, '\0');
    for (unsigned n = 0; n < checked_registers; n++) poke(data, 0x100 + 8 * n, value_of(n));
    poke(data, 0x178, magic + 1);  // at fs:0
    poke(data, 0x180, magic + 2);  // xmm7
    poke(data, 0x188, mxcsr);
    poke(data, 0x190, 0x7e57, 8);  // shared memory
    poke(data, 0x198, magic + 4);  // the closed page
    poke(data, 0x1a0, heap_end);
    poke(data, 0x408, 77);  // cleared by the second thread's end
    poke(data, 0x1000, magic + 1);
    poke(data, 0x1008, magic + 6);
    return data;
}

struct Mapping {
    std::uint64_t mm, start, end;
    unsigned prot, kind = 0;
    std::uint64_t backing = 0;
};

std::uint64_t put_mapping(Writer& w, const Mapping& m) {
    const std::uint64_t id = w.begin(KRG_GHOST_VMA);
    w.put(KRG_GHOST_VMA_MM, m.mm).put(KRG_GHOST_VMA_START, m.start).put(KRG_GHOST_VMA_END, m.end);
    w.put(KRG_GHOST_VMA_PROTECTION, m.prot).put(KRG_GHOST_VMA_KIND, m.kind).put(KRG_GHOST_VMA_BACKING, m.backing);
    // Fields that are 0 could be left out; they are there for the forger.
    w.put(KRG_GHOST_VMA_OFFSET, 0).put(KRG_GHOST_VMA_LOCKED, 0).put(KRG_GHOST_VMA_ADVICE, 0).put(KRG_GHOST_VMA_PKEY, 0);
    w.end();
    return id;
}

void put_pages(Writer& w, std::uint64_t owner, std::uint64_t at, const std::string& bytes) {
    w.begin(KRG_GHOST_PAGES);
    w.put(KRG_GHOST_PAGES_OWNER, owner).put(KRG_GHOST_PAGES_AT, at).put(KRG_GHOST_PAGES_COUNT, bytes.size() / page);
    w.end(bytes);
}

std::string page_with(std::uint64_t value) {
    std::string bytes(page, '\0');
    poke(bytes, 0, value);
    return bytes;
}

std::string code_page() {
    std::string code(reinterpret_cast<const char*>(krg_probe_code), static_cast<std::size_t>(krg_probe_end - krg_probe_code));
    code.resize(page);
    return code;
}

std::uint64_t put_mm(Writer& w, std::uint64_t key) {
    const std::uint64_t mm = w.begin(KRG_GHOST_MM);
    w.put(KRG_GHOST_MM_KEY, key).put(KRG_GHOST_MM_START_CODE, code_at).put(KRG_GHOST_MM_END_CODE, code_at + page);
    w.put(KRG_GHOST_MM_START_DATA, data_at).put(KRG_GHOST_MM_END_DATA, data_at + page);
    w.put(KRG_GHOST_MM_START_BRK, heap_at).put(KRG_GHOST_MM_BRK, heap_end).put(KRG_GHOST_MM_START_STACK, stack_end - 64);
    w.put(KRG_GHOST_MM_MMAP_BASE, 0x7f0000000000).put(KRG_GHOST_MM_DUMPABLE, 1).put(KRG_GHOST_MM_FLAGS, 0);
    w.end();
    return mm;
}

struct Shared {
    std::uint64_t files, fs, creds, sighand, group;
};

std::uint64_t put_thread(Writer& w, const Shared& s, std::uint64_t task, std::uint32_t tid, bool first) {
    const std::uint64_t id = w.begin(KRG_GHOST_THREAD);
    w.put(KRG_GHOST_THREAD_TASK, task).put(KRG_GHOST_THREAD_TID, tid).put(KRG_GHOST_THREAD_COMM, "probe");
    w.put(KRG_GHOST_THREAD_CREDS, s.creds).put(KRG_GHOST_THREAD_FILES, s.files).put(KRG_GHOST_THREAD_FS, s.fs);
    w.put(KRG_GHOST_THREAD_BLOCKED, 0).put(KRG_GHOST_THREAD_SAVED_BLOCKED, 0).put(KRG_GHOST_THREAD_FLAGS, 0);
    if (first) w.put(KRG_GHOST_THREAD_ALTSTACK, altstack_at).put(KRG_GHOST_THREAD_ALTSTACK_SIZE, page);
    w.put(KRG_GHOST_THREAD_ALTSTACK_FLAGS, 0).put(KRG_GHOST_THREAD_ROBUST_LIST, 0);
    w.put(KRG_GHOST_THREAD_CLEAR_TID, first ? 0 : clear_tid_at).put(KRG_GHOST_THREAD_RSEQ, 0);
    w.end();
    return id;
}

void put_registers(Writer& w, std::uint64_t thread, std::uint64_t ip, std::uint64_t sp, std::uint64_t ax) {
    w.begin(KRG_GHOST_REGISTERS);
    w.put(KRG_GHOST_REGISTERS_THREAD, thread);
    for (unsigned n = 0; n < checked_registers; n++)
        w.put(static_cast<std::uint16_t>(KRG_GHOST_REGISTERS_R15 + n),
              KRG_GHOST_REGISTERS_R15 + n == KRG_GHOST_REGISTERS_AX ? ax : value_of(n));
    w.put(KRG_GHOST_REGISTERS_ORIG_AX, ~std::uint64_t{0}).put(KRG_GHOST_REGISTERS_IP, ip).put(KRG_GHOST_REGISTERS_CS, 0x33);
    w.put(KRG_GHOST_REGISTERS_FLAGS, 0x202).put(KRG_GHOST_REGISTERS_SP, sp).put(KRG_GHOST_REGISTERS_SS, 0x2b);
    w.put(KRG_GHOST_REGISTERS_FS_BASE, thread_area_at).put(KRG_GHOST_REGISTERS_GS_BASE, 0).put(KRG_GHOST_REGISTERS_DS, 0);
    w.put(KRG_GHOST_REGISTERS_ES, 0).put(KRG_GHOST_REGISTERS_FS, 0).put(KRG_GHOST_REGISTERS_GS, 0);
    w.end();
    std::string x87(152, '\0'), sse(264, '\0');
    poke(x87, 0, 0x37f, 2);
    poke(sse, 0, mxcsr, 4);
    poke(sse, 8 + 7 * 16, magic + 2);
    w.begin(KRG_GHOST_XSTATE);
    w.put(KRG_GHOST_XSTATE_THREAD, thread).put(KRG_GHOST_XSTATE_COMPONENT, 0).put(KRG_GHOST_XSTATE_BYTES, x87).end();
    w.begin(KRG_GHOST_XSTATE);
    w.put(KRG_GHOST_XSTATE_THREAD, thread).put(KRG_GHOST_XSTATE_COMPONENT, 1).put(KRG_GHOST_XSTATE_BYTES, sse).end();
}

std::uint64_t put_task(Writer& w, const Shared& s, std::uint64_t mm, std::uint32_t pid, unsigned stopped) {
    const std::uint64_t task = w.begin(KRG_GHOST_TASK);
    w.put(KRG_GHOST_TASK_PID, pid).put(KRG_GHOST_TASK_PARENT_PID, 1).put(KRG_GHOST_TASK_GROUP, s.group);
    w.put(KRG_GHOST_TASK_MM, mm).put(KRG_GHOST_TASK_SIGHAND, s.sighand).put(KRG_GHOST_TASK_EXIT_SIGNAL, 17);
    w.put(KRG_GHOST_TASK_STOPPED, stopped);
    w.end();
    return task;
}

void put_image(Writer& w) {
    utsname name{};
    uname(&name);
    w.begin(KRG_GHOST_IMAGE);
    w.put(KRG_GHOST_IMAGE_MACHINE, 62).put(KRG_GHOST_IMAGE_PAGE_SIZE, page).put(KRG_GHOST_IMAGE_KERNEL, name.release);
    w.put(KRG_GHOST_IMAGE_XFEATURES, 3).end();
}

Shared put_shared(Writer& w, std::uint32_t pgid) {
    Shared s{};
    const std::uint64_t session = w.begin(KRG_GHOST_SESSION);
    w.put(KRG_GHOST_SESSION_SID, 1).put(KRG_GHOST_SESSION_OUTSIDE, 1).end();
    s.group = w.begin(KRG_GHOST_GROUP);
    w.put(KRG_GHOST_GROUP_PGID, pgid).put(KRG_GHOST_GROUP_SESSION, session).end();
    s.creds = w.begin(KRG_GHOST_CREDS);
    w.end();
    s.files = w.begin(KRG_GHOST_FILES);
    w.end();
    s.fs = w.begin(KRG_GHOST_FS);
    w.end();
    s.sighand = w.begin(KRG_GHOST_SIGHAND);
    w.end();
    w.begin(KRG_GHOST_SIGACTION);
    w.put(KRG_GHOST_SIGACTION_SIGHAND, s.sighand).put(KRG_GHOST_SIGACTION_SIGNAL, 10);
    w.put(KRG_GHOST_SIGACTION_HANDLER, place(krg_probe_handler));
    w.put(KRG_GHOST_SIGACTION_FLAGS, 0x04000000 | 0x08000000);  // SA_RESTORER, SA_ONSTACK
    w.put(KRG_GHOST_SIGACTION_RESTORER, place(krg_probe_restorer)).end();
    return s;
}

}  // namespace

std::string make_image(Plan& plan) {
    Writer w(0x6b7267);
    put_image(w);
    const Shared shared = put_shared(w, plan.first);

    const std::uint64_t memory = w.begin(KRG_GHOST_MEMORY);
    w.put(KRG_GHOST_MEMORY_KEY, 1).put(KRG_GHOST_MEMORY_KIND, 1).put(KRG_GHOST_MEMORY_SIZE, 2 * page).end();
    put_pages(w, memory, 0, page_with(0x7e57));

    const std::uint64_t mm = put_mm(w, 1);
    const std::uint64_t code = put_mapping(w, {mm, code_at, code_at + page, 5});
    const std::uint64_t data = put_mapping(w, {mm, data_at, data_at + 4 * page, 3});
    const std::uint64_t closed = put_mapping(w, {mm, closed_at, closed_at + page, 0});
    put_mapping(w, {mm, shared_at, shared_at + 2 * page, 1, 1, memory});
    put_mapping(w, {mm, heap_at, heap_end, 3, 6});
    const std::uint64_t stack = put_mapping(w, {mm, stack_at, stack_end, 3, 5});
    put_pages(w, code, code_at, code_page());
    put_pages(w, data, data_at, data_pages());
    put_pages(w, closed, closed_at, page_with(magic + 4));
    put_pages(w, stack, stack_at, std::string(2 * page, '\x11'));

    const std::uint64_t other_mm = put_mm(w, 2);
    const std::uint64_t other_code = put_mapping(w, {other_mm, code_at, code_at + page, 5});
    const std::uint64_t other_data = put_mapping(w, {other_mm, data_at + page, data_at + 2 * page, 1});
    put_mapping(w, {other_mm, shared_at, shared_at + 2 * page, 3, 1, memory});
    const std::uint64_t twin = put_mapping(w, {other_mm, twin_at, twin_at + page, 1});
    put_pages(w, other_code, code_at, code_page());
    put_pages(w, other_data, data_at + page, data_pages().substr(page, page));
    w.begin(KRG_GHOST_PAGES);
    w.put(KRG_GHOST_PAGES_OWNER, twin).put(KRG_GHOST_PAGES_AT, twin_at).put(KRG_GHOST_PAGES_COUNT, 1);
    w.put(KRG_GHOST_PAGES_SOURCE, KRG_GHOST_SOURCE_TWIN).put(KRG_GHOST_PAGES_TWIN, data);
    w.put(KRG_GHOST_PAGES_TWIN_AT, thread_area_at).end();

    const std::uint64_t task = put_task(w, shared, mm, plan.first, 0);
    plan.thread[0] = put_thread(w, shared, task, plan.first, true);
    put_registers(w, plan.thread[0], place(krg_probe_code), stack_end - 256, value_of(10));
    plan.thread[1] = put_thread(w, shared, task, plan.second, false);
    put_registers(w, plan.thread[1], place(krg_probe_second), data_at + 4 * page - 64, 219);
    w.begin(KRG_GHOST_RESTART);
    w.put(KRG_GHOST_RESTART_THREAD, plan.thread[1]).put(KRG_GHOST_RESTART_KIND, 1).put(KRG_GHOST_RESTART_CLOCK, 1);
    w.put(KRG_GHOST_RESTART_LEFT, 50'000'000).put(KRG_GHOST_RESTART_FLAGS, 1).end();
    const std::uint64_t other = put_task(w, shared, other_mm, plan.other, 20);
    plan.thread[2] = put_thread(w, shared, other, plan.other, true);
    put_registers(w, plan.thread[2], place(krg_probe_other), 0, 0);
    return w.close();
}

}  // namespace krg::probe
