// SPDX-License-Identifier: GPL-2.0
//
// Programs whose state is in the processor. The first thread holds values in registers and spins, without a call or a
// store in between, while a second one waits for the end.
#include "program.hh"

#include <array>
#include <asm/prctl.h>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace krg::cr {

namespace {

volatile int go;
using Words = std::array<std::uint64_t, 64>;

// Runs `spin`, which ends when `go` is set, between ready and SIGTERM.
template<typename Spin>
void spin_through(Run& run, const Spin& spin) {
    std::thread other([&run] {
        run.ready();
        await_term();
        go = 1;
    });
    spin();
    other.join();
}

void compare(const std::string& what, const Words& expected, const Words& found, size_t words) {
    for (size_t i = 0; i < words; ++i) same(what + ", word " + std::to_string(i), expected[i], found[i]);
}

Words pattern() {
    Words words{};
    for (size_t i = 0; i < words.size(); ++i) words[i] = 0x9e3779b97f4a7c15ull * (i + 1);
    return words;
}

}  // namespace

CR_PROGRAM(cpu_gpr, Needs::nothing, "fifteen general registers and the red zone of the stack keep their values") {
    Words in = pattern(), out{};
    std::uint64_t *from = in.data(), *to = out.data();
    spin_through(run, [&] {
        // rbx and rbp are the compiler's to keep; they are put away by hand.
        asm volatile("push %%rbx\n push %%rbp\n push %[out]\n"
                     "mov 0(%[in]),%%rax\n mov 8(%[in]),%%rbx\n mov 16(%[in]),%%rcx\n mov 24(%[in]),%%rdx\n"
                     "mov 32(%[in]),%%rdi\n mov 40(%[in]),%%rbp\n mov 48(%[in]),%%r8\n mov 56(%[in]),%%r9\n"
                     "mov 64(%[in]),%%r10\n mov 72(%[in]),%%r11\n mov 80(%[in]),%%r12\n mov 88(%[in]),%%r13\n"
                     "mov 96(%[in]),%%r14\n mov 104(%[in]),%%r15\n mov 112(%[in]),%%rsi\n mov %%rsi,-64(%%rsp)\n"
                     "1: pause\n cmpl $0,%[go]\n je 1b\n"
                     "xchg %%rsi,(%%rsp)\n"
                     "mov %%rax,0(%%rsi)\n mov %%rbx,8(%%rsi)\n mov %%rcx,16(%%rsi)\n mov %%rdx,24(%%rsi)\n"
                     "mov %%rdi,32(%%rsi)\n mov %%rbp,40(%%rsi)\n mov %%r8,48(%%rsi)\n mov %%r9,56(%%rsi)\n"
                     "mov %%r10,64(%%rsi)\n mov %%r11,72(%%rsi)\n mov %%r12,80(%%rsi)\n mov %%r13,88(%%rsi)\n"
                     "mov %%r14,96(%%rsi)\n mov %%r15,104(%%rsi)\n pop %%rax\n mov %%rax,112(%%rsi)\n"
                     "mov -72(%%rsp),%%rax\n mov %%rax,120(%%rsi)\n pop %%rbp\n pop %%rbx\n"
                     : [in] "+S"(from), [out] "+D"(to)
                     : [go] "m"(go)
                     : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
    });
    run.disturb([&] { out[9] ^= 1; });
    compare("general registers", in, out, 15);
    same("red zone", in[14], out[15]);
}

CR_PROGRAM(cpu_flags, Needs::nothing, "the flags register keeps carry, parity, sign, direction and alignment check") {
    std::uint64_t found = 0;
    constexpr std::uint64_t wanted = 0x1 | 0x4 | 0x80 | 0x400 | 0x40000;
    spin_through(run, [&] {
        asm volatile("pushfq\n mov (%%rsp),%%rax\n or %[wanted],%%rax\n push %%rax\n popfq\n"
                     "1: pause\n mov %[go],%%ecx\n jrcxz 1b\n"
                     "pushfq\n pop %%rax\n mov %%rax,%%rdx\n popfq\n cld\n"
                     : "=&d"(found)
                     : [wanted] "r"(wanted), [go] "m"(go)
                     : "rax", "rcx", "memory", "cc");
    });
    run.disturb([&] { found ^= 1; });
    same("flags", wanted, found & wanted);
}

CR_PROGRAM(cpu_x87, Needs::nothing, "eight x87 registers, control word and stack top keep their values") {
    std::array<long double, 8> out{};
    std::uint16_t control = 0x0c7f, control_found = 0, status = 0;
    spin_through(run, [&] {
        asm volatile("fninit\n fldcw %[cw]\n fldpi\n fldl2e\n fldl2t\n fldlg2\n fldln2\n fld1\n fldz\n fldpi\n"
                     "1: pause\n cmpl $0,%[go]\n je 1b\n"
                     "fnstcw %[found]\n fnstsw %[sw]\n"
                     "fstpt 112(%[out])\n fstpt 96(%[out])\n fstpt 80(%[out])\n fstpt 64(%[out])\n"
                     "fstpt 48(%[out])\n fstpt 32(%[out])\n fstpt 16(%[out])\n fstpt 0(%[out])\n fninit\n"
                     : [found] "=m"(control_found), [sw] "=m"(status)
                     : [cw] "m"(control), [out] "r"(out.data()), [go] "m"(go)
                     : "memory", "cc");
    });
    run.disturb([&] { out[3] += 1; });
    // In the order they were loaded, made again now.
    std::array<long double, 8> in{};
    asm volatile("fninit\n fldcw %[cw]\n fldpi\n fstpt 0(%[in])\n fldl2e\n fstpt 16(%[in])\n fldl2t\n fstpt 32(%[in])\n"
                 "fldlg2\n fstpt 48(%[in])\n fldln2\n fstpt 64(%[in])\n fld1\n fstpt 80(%[in])\n fldz\n fstpt 96(%[in])\n"
                 "fldpi\n fstpt 112(%[in])\n fninit\n"
                 :
                 : [in] "r"(in.data()), [cw] "m"(control)
                 : "memory");
    for (size_t i = 0; i < in.size(); ++i) same("x87 register " + std::to_string(i), in[i], out[i]);
    same("x87 control word", control, control_found);
    same("x87 stack top", 0, (status >> 11) & 7);
}

CR_PROGRAM(cpu_sse, Needs::nothing, "sixteen xmm registers keep their values") {
    Words in = pattern(), out{};
    spin_through(run, [&] {
        asm volatile("movdqu 0(%[in]),%%xmm0\n movdqu 16(%[in]),%%xmm1\n movdqu 32(%[in]),%%xmm2\n movdqu 48(%[in]),%%xmm3\n"
                     "movdqu 64(%[in]),%%xmm4\n movdqu 80(%[in]),%%xmm5\n movdqu 96(%[in]),%%xmm6\n movdqu 112(%[in]),%%xmm7\n"
                     "movdqu 128(%[in]),%%xmm8\n movdqu 144(%[in]),%%xmm9\n movdqu 160(%[in]),%%xmm10\n"
                     "movdqu 176(%[in]),%%xmm11\n movdqu 192(%[in]),%%xmm12\n movdqu 208(%[in]),%%xmm13\n"
                     "movdqu 224(%[in]),%%xmm14\n movdqu 240(%[in]),%%xmm15\n"
                     "1: pause\n cmpl $0,%[go]\n je 1b\n"
                     "movdqu %%xmm0,0(%[out])\n movdqu %%xmm1,16(%[out])\n movdqu %%xmm2,32(%[out])\n"
                     "movdqu %%xmm3,48(%[out])\n movdqu %%xmm4,64(%[out])\n movdqu %%xmm5,80(%[out])\n"
                     "movdqu %%xmm6,96(%[out])\n movdqu %%xmm7,112(%[out])\n movdqu %%xmm8,128(%[out])\n"
                     "movdqu %%xmm9,144(%[out])\n movdqu %%xmm10,160(%[out])\n movdqu %%xmm11,176(%[out])\n"
                     "movdqu %%xmm12,192(%[out])\n movdqu %%xmm13,208(%[out])\n movdqu %%xmm14,224(%[out])\n"
                     "movdqu %%xmm15,240(%[out])\n"
                     :
                     : [in] "r"(in.data()), [out] "r"(out.data()), [go] "m"(go)
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                       "xmm12", "xmm13", "xmm14", "xmm15", "memory", "cc");
    });
    run.disturb([&] { out[17] = 0; });
    compare("xmm registers", in, out, 32);
}

__attribute__((target("avx"))) static void hold_ymm(const std::uint64_t* in, std::uint64_t* out) {
    asm volatile("vmovdqu 0(%[in]),%%ymm0\n vmovdqu 32(%[in]),%%ymm1\n vmovdqu 64(%[in]),%%ymm7\n vmovdqu 96(%[in]),%%ymm8\n"
                 "vmovdqu 128(%[in]),%%ymm12\n vmovdqu 160(%[in]),%%ymm13\n vmovdqu 192(%[in]),%%ymm14\n"
                 "vmovdqu 224(%[in]),%%ymm15\n"
                 "1: pause\n cmpl $0,%[go]\n je 1b\n"
                 "vmovdqu %%ymm0,0(%[out])\n vmovdqu %%ymm1,32(%[out])\n vmovdqu %%ymm7,64(%[out])\n"
                 "vmovdqu %%ymm8,96(%[out])\n vmovdqu %%ymm12,128(%[out])\n vmovdqu %%ymm13,160(%[out])\n"
                 "vmovdqu %%ymm14,192(%[out])\n vmovdqu %%ymm15,224(%[out])\n vzeroupper\n"
                 :
                 : [in] "r"(in), [out] "r"(out), [go] "m"(go)
                 : "xmm0", "xmm1", "xmm7", "xmm8", "xmm12", "xmm13", "xmm14", "xmm15", "memory", "cc");
}

CR_PROGRAM(cpu_avx, Needs::nothing, "256 bit registers keep their values, upper halves too") {
    if (!__builtin_cpu_supports("avx")) skip(run, "this processor has no AVX");
    Words in = pattern(), out{};
    spin_through(run, [&] { hold_ymm(in.data(), out.data()); });
    run.disturb([&] { out[3] = 0; });
    compare("ymm registers", in, out, 32);
}

__attribute__((target("avx512f"))) static void hold_zmm(const std::uint64_t* in, std::uint64_t* out) {
    asm volatile("vmovdqu64 0(%[in]),%%zmm0\n vmovdqu64 64(%[in]),%%zmm1\n vmovdqu64 128(%[in]),%%zmm15\n"
                 "vmovdqu64 192(%[in]),%%zmm16\n vmovdqu64 256(%[in]),%%zmm30\n vmovdqu64 320(%[in]),%%zmm31\n"
                 "kmovw 384(%[in]),%%k1\n kmovw 386(%[in]),%%k7\n"
                 "1: pause\n cmpl $0,%[go]\n je 1b\n"
                 "vmovdqu64 %%zmm0,0(%[out])\n vmovdqu64 %%zmm1,64(%[out])\n vmovdqu64 %%zmm15,128(%[out])\n"
                 "vmovdqu64 %%zmm16,192(%[out])\n vmovdqu64 %%zmm30,256(%[out])\n vmovdqu64 %%zmm31,320(%[out])\n"
                 "kmovw %%k1,384(%[out])\n kmovw %%k7,386(%[out])\n vzeroupper\n"
                 :
                 : [in] "r"(in), [out] "r"(out), [go] "m"(go)
                 : "xmm0", "xmm1", "xmm15", "xmm16", "xmm30", "xmm31", "memory", "cc");
}

CR_PROGRAM(cpu_avx512, Needs::nothing, "512 bit registers, the upper sixteen and mask registers keep their values") {
    if (!__builtin_cpu_supports("avx512f")) skip(run, "this processor has no AVX-512");
    Words in = pattern(), out{};
    spin_through(run, [&] { hold_zmm(in.data(), out.data()); });
    run.disturb([&] { out[47] = 0; });
    compare("zmm registers", in, out, 48);
    same("mask registers", in[48] & 0xffffffff, out[48] & 0xffffffff);
}

CR_PROGRAM(cpu_mxcsr, Needs::nothing, "rounding mode, flush to zero and sticky flags of mxcsr stay") {
    // Round towards zero, flush to zero, all masked, the inexact flag is up.
    std::uint32_t wanted = 0xffa0, found = 0, usual = 0x1f80;
    asm volatile("ldmxcsr %0" : : "m"(wanted));
    run.operation([&] { asm volatile("ldmxcsr %0" : : "m"(usual)); });
    asm volatile("stmxcsr %0" : "=m"(found));
    asm volatile("ldmxcsr %0" : : "m"(usual));
    same("mxcsr", wanted, found);
}

CR_PROGRAM(cpu_fs_base, Needs::nothing, "the fs base of two threads stays and reaches their own data") {
    static thread_local std::uint64_t own = 0;
    std::uint64_t before = 0, after = 0;
    must(syscall(SYS_arch_prctl, ARCH_GET_FS, &before), "arch_prctl");
    own = 0x1111;
    run.operation([&] { own = 0x2222; });
    must(syscall(SYS_arch_prctl, ARCH_GET_FS, &after), "arch_prctl");
    same("fs base", before, after);
    same("a word reached through it", 0x1111u, own);
}

CR_PROGRAM(cpu_gs_base, Needs::nothing, "a gs base set by arch_prctl stays and reaches its data") {
    static std::uint64_t words[8] = {1, 2, 3, 0xfeedface, 5, 6, 7, 8};
    must(syscall(SYS_arch_prctl, ARCH_SET_GS, words), "arch_prctl");
    run.operation([] { must(syscall(SYS_arch_prctl, ARCH_SET_GS, words + 1), "arch_prctl"); });
    std::uint64_t base = 0, found = 0;
    must(syscall(SYS_arch_prctl, ARCH_GET_GS, &base), "arch_prctl");
    same("gs base", reinterpret_cast<std::uint64_t>(words), base);
    asm volatile("mov %%gs:24,%0" : "=r"(found));
    same("a word reached through it", 0xfeedfaceu, found);
}

CR_PROGRAM(cpu_pkeys, Needs::nothing, "an allocated protection key, the pages it is on and its rights stay") {
    const int key = pkey_alloc(0, PKEY_DISABLE_WRITE);
    if (key < 0) skip(run, "this machine has no protection keys");
    void* page = must_map(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    must(pkey_mprotect(page, 4096, PROT_READ | PROT_WRITE, key), "pkey_mprotect");
    run.operation([&] { must(pkey_set(key, 0), "pkey_set"); });
    same("rights of the key", PKEY_DISABLE_WRITE, pkey_get(key));
    holds("the key of the page", smaps_of(page).find("ProtectionKey:") != std::string::npos &&
                                     smaps_of(page).find(" " + std::to_string(key) + "\n") != std::string::npos);
    must(pkey_free(key), "pkey_free");
}

CR_PROGRAM(cpu_computing, Needs::nothing, "a floating point sum going on all the time ends as it does undisturbed") {
    std::atomic<bool> stop{false};
    long rounds = 0;
    double sum = 0;
    std::thread worker([&] {
        while (!stop) {
            for (int i = 1; i <= 1000; ++i) sum += 1.0 / (static_cast<double>(rounds) * 1000 + i);
            ++rounds;
        }
    });
    run.operation();
    stop = true;
    worker.join();
    run.disturb([&] { sum += 1e-6; });
    double again = 0;
    for (long r = 0; r < rounds; ++r)
        for (int i = 1; i <= 1000; ++i) again += 1.0 / (static_cast<double>(r) * 1000 + i);
    same("sum of " + std::to_string(rounds * 1000) + " terms", again, sum);
}

}  // namespace krg::cr
