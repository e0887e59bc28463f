// SPDX-License-Identifier: GPL-2.0
// Everything an engine may use: it must be accepted.
#include <kerrighed/ctypes.h>

#include <array>
#include <bit>
#include <cstdint>
#include <new>
#include <span>

extern "C" void krg_engine_abort(const char* file, int line);

namespace krg {
namespace {

struct Handler {
    virtual std::uint64_t on(std::uint64_t x) = 0;

protected:
    ~Handler() = default;
};

struct Rotate final : Handler {
    std::uint64_t on(std::uint64_t x) override { return std::rotl(x, 13); }
};

struct Negate final : Handler {
    std::uint64_t on(std::uint64_t x) override { return ~x; }
};

constinit std::array<std::uint64_t, 4> table{1, 2, 3, 4};

struct Engine {
    Rotate rotate;
    Negate negate;
    std::array<Handler*, 2> handlers{&rotate, &negate};
    std::array<u8, 4096> memory{};
};

}  // namespace
}  // namespace krg

extern "C" void* krg_good_init(void* where) { return new (where) krg::Engine; }

extern "C" std::uint64_t krg_good_step(void* engine, std::uint64_t now, const std::uint8_t* in, std::uint32_t length) {
    auto* self = static_cast<krg::Engine*>(engine);
    if (length > self->memory.size()) krg_engine_abort(__FILE__, __LINE__);
    __builtin_memcpy(self->memory.data(), in, length);
    std::uint64_t sum = krg::table[now % krg::table.size()];
    for (auto byte : std::span(self->memory).first(length)) sum = self->handlers[now & 1]->on(sum + byte);
    return sum;
}
