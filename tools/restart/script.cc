// SPDX-License-Identifier: GPL-2.0
#include "tools/restart/script.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <sys/mman.h>

#include "tools/lib/error.hh"

namespace krg::restart {

namespace {

constexpr size_t page = 4096;
constexpr size_t stack = 4 * page;

size_t whole_pages(size_t size) { return (size + page - 1) / page * page; }

}  // namespace

void* map_away_from(const std::vector<Range>& away, size_t size, int flags) {
    std::vector<void*> refused;
    void* found = nullptr;
    for (int i = 0; i < 64 && !found; i++) {
        void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (at == MAP_FAILED) break;
        const auto begin = reinterpret_cast<std::uint64_t>(at);
        const bool free = std::none_of(away.begin(), away.end(),
                                       [&](const Range& r) { return begin < r.end && r.begin < begin + size; });
        if (free)
            found = at;
        else
            refused.push_back(at);  // kept for now, so that the next one is elsewhere
    }
    for (void* at : refused) munmap(at, size);
    if (!found) throw Error(Exit::failed, fmt::format("cannot map {} bytes: {}", size, std::strerror(errno)));
    return found;
}

Area::Area(const std::vector<Range>& away, size_t size)
    : base_(static_cast<std::uint8_t*>(map_away_from(away, whole_pages(size), MAP_PRIVATE | MAP_ANONYMOUS))),
      size_(whole_pages(size)) {}

Area::~Area() { munmap(base_, size_); }

void* Area::room(size_t size) {
    const size_t at = (used_ + 15) / 16 * 16;
    if (size > size_ || at > size_ - size) throw Error(Exit::failed, "the last stage's memory is too small");
    used_ = at + size;
    return base_ + at;
}

std::uint64_t Area::put(const void* at, size_t size) {
    void* to = room(size);
    std::memcpy(to, at, size);
    return reinterpret_cast<std::uint64_t>(to);
}

void Area::run(const Script& script) {
    const size_t length = static_cast<size_t>(__stop_krg_last - __start_krg_last);
    auto* own_stack = static_cast<std::uint8_t*>(room(stack));
    const std::uint64_t kept = put(script);
    // Whole pages of its own: they are made executable.
    used_ = whole_pages(used_);
    auto* code = static_cast<std::uint8_t*>(room(whole_pages(length)));
    std::memcpy(code, __start_krg_last, length);
    if (mprotect(code, whole_pages(length), PROT_READ | PROT_EXEC) != 0)
        throw Error(Exit::failed, fmt::format("cannot make the last stage executable: {}", std::strerror(errno)));
    const auto top = (reinterpret_cast<std::uint64_t>(own_stack) + stack) / 16 * 16;
    reinterpret_cast<LastStage>(code + last_stage_entry())(reinterpret_cast<const Script*>(kept), reinterpret_cast<void*>(top));
    __builtin_unreachable();
}

void Calls::add(Op op, const std::string& what) {
    ops_.push_back(op);
    names_.push_back(what);
}

namespace {

Op made(Do what, long number, std::int64_t want, std::initializer_list<std::uint64_t> arguments) {
    Op op;
    op.what = what;
    op.number = number;
    op.want = want;
    std::copy(arguments.begin(), arguments.end(), op.a);
    return op;
}

}  // namespace

void Calls::call(const std::string& what, long number, std::initializer_list<std::uint64_t> arguments) {
    add(made(Do::call, number, 0, arguments), what);
}

void Calls::exactly(const std::string& what, std::int64_t want, long number, std::initializer_list<std::uint64_t> arguments) {
    add(made(Do::exactly, number, want, arguments), what);
}

void Calls::try_it(const std::string& what, long number, std::initializer_list<std::uint64_t> arguments) {
    add(made(Do::try_it, number, 0, arguments), what);
}

Script Calls::place(Area& area) const {
    std::vector<Op> ops = ops_;
    for (size_t i = 0; i < ops.size(); i++)
        ops[i].name = reinterpret_cast<const char*>(area.put(names_[i].c_str(), names_[i].size() + 1));
    Script script;
    script.ops = reinterpret_cast<const Op*>(area.put(ops.data(), ops.size() * sizeof(Op)));
    script.count = ops_.size();
    return script;
}

}  // namespace krg::restart
