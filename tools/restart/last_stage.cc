// SPDX-License-Identifier: GPL-2.0
// Compiled freestanding and position independent; calls nothing and refers to nothing outside of its section.
#include "tools/restart/last_stage.hh"

#include <asm/errno.h>
#include <asm/unistd.h>

#define IN_LAST_STAGE __attribute__((section("krg_last"), used))
#define IN_LAST_STAGE_INLINE __attribute__((always_inline)) inline

namespace krg::restart {

namespace {

constexpr std::uint64_t timers_tried = 1u << 20;

IN_LAST_STAGE_INLINE std::int64_t call(std::int64_t number, std::uint64_t a, std::uint64_t b, std::uint64_t c, std::uint64_t d,
                                       std::uint64_t e, std::uint64_t f) {
    std::int64_t result;
    register std::uint64_t r10 asm("r10") = d;
    register std::uint64_t r8 asm("r8") = e;
    register std::uint64_t r9 asm("r9") = f;
    asm volatile("syscall"
                 : "=a"(result)
                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                 : "rcx", "r11", "memory");
    return result;
}

[[noreturn]] IN_LAST_STAGE_INLINE void fail(const Script* script, const char* name, std::int64_t result) {
    LastFailure* failure = script->failure;
    std::uint32_t none = 0;
    if (__atomic_compare_exchange_n(&failure->state, &none, 1u, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        volatile char* to = failure->name;
        for (std::uint32_t i = 0; name && name[i] && i + 1 < sizeof(failure->name); i++) to[i] = name[i];
        failure->result = static_cast<std::int32_t>(result);
        failure->thread = script->thread;
        __atomic_store_n(&failure->state, 2u, __ATOMIC_SEQ_CST);
    }
    call(__NR_ioctl, static_cast<std::uint64_t>(script->device), script->abort, script->reason, 0, 0, 0);
    for (;;) call(__NR_exit_group, 1, 0, 0, 0, 0, 0);
}

}  // namespace

extern "C" [[noreturn]] IN_LAST_STAGE void krg_last_run(const Script* script);

/** The child begins with an empty stack that the arguments of clone3 name, and with its script in r13. */
IN_LAST_STAGE_INLINE std::int64_t make_thread(const Op& op) {
    std::int64_t result;
    register std::uint64_t script asm("r13") = op.a[2];
    asm volatile("syscall\n\t"
                 "test %%rax, %%rax\n\t"
                 "jnz 1f\n\t"
                 "xor %%ebp, %%ebp\n\t"
                 "mov %%r13, %%rdi\n\t"
                 "call krg_last_run\n\t"
                 "ud2\n"
                 "1:"
                 : "=a"(result)
                 : "a"(static_cast<std::int64_t>(__NR_clone3)), "D"(op.a[0]), "S"(op.a[1]), "r"(script)
                 : "rcx", "r11", "memory");
    return result;
}

IN_LAST_STAGE_INLINE std::int64_t make_timer(const Op& op) {
    volatile std::int32_t* id = reinterpret_cast<volatile std::int32_t*>(op.a[2]);
    std::int64_t result = 0;
    for (std::uint64_t i = 0; i < timers_tried; i++) {
        result = call(__NR_timer_create, op.a[0], op.a[1], op.a[2], 0, 0, 0);
        if (result < 0 || *id == op.want) return result;
        call(__NR_timer_delete, static_cast<std::uint64_t>(*id), 0, 0, 0, 0, 0);
        if (*id > op.want) break;
    }
    return -ERANGE;
}

extern "C" [[noreturn]] IN_LAST_STAGE void krg_last_run(const Script* script) {
    for (std::uint64_t i = 0; i < script->count; i++) {
        const Op& op = script->ops[i];
        std::int64_t result = 0;
        if (op.what == Do::make_thread) {
            result = make_thread(op);
        } else if (op.what == Do::make_timer) {
            result = make_timer(op);
        } else if (op.what == Do::drain) {
            do result = call(__NR_read, op.a[0], op.a[1], op.a[2], 0, 0, 0);
            while (result > 0);
            result = 0;
        } else {
            result = call(op.number, op.a[0], op.a[1], op.a[2], op.a[3], op.a[4], op.a[5]);
        }
        if (op.what == Do::try_it) continue;
        if (result < 0 || (op.what == Do::exactly && result != op.want)) fail(script, op.name, result);
    }
    fail(script, nullptr, 0);
}

/** Changes to a stack beside the list, because the one of now may lie where the vdso goes. */
extern "C" __attribute__((naked)) IN_LAST_STAGE void krg_last_enter(const Script* /*script*/, void* /*stack_end*/) {
    asm("mov %rsi, %rsp\n\t"
        "xor %ebp, %ebp\n\t"
        "call krg_last_run\n\t"
        "ud2");
}

std::uint64_t last_stage_entry() {
    return reinterpret_cast<std::uint64_t>(krg_last_enter) - reinterpret_cast<std::uint64_t>(__start_krg_last);
}

}  // namespace krg::restart
