// SPDX-License-Identifier: GPL-2.0
//
// Programs whose state is their address space.
#include "program.hh"

#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace krg::cr {

namespace {

constexpr size_t page = 4096;

char* anonymous(size_t size, int flags = MAP_PRIVATE, int protection = PROT_READ | PROT_WRITE) {
    return static_cast<char*>(must_map(mmap(nullptr, size, protection, flags | MAP_ANONYMOUS, -1, 0)));
}

int file_of(const std::string& name, size_t size, unsigned seed) {
    const int fd = static_cast<int>(must(open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644), "open"));
    std::vector<char> bytes(size);
    fill(bytes.data(), size, seed);
    same("bytes written", size, static_cast<size_t>(must(write(fd, bytes.data(), size), "write")));
    return fd;
}

sigjmp_buf back;
void jump_back(int) { siglongjmp(back, 1); }

bool faults(const volatile char* address, bool writing) {
    struct sigaction action {
    }, old_segv{}, old_bus{};
    action.sa_handler = jump_back;
    must(sigaction(SIGSEGV, &action, &old_segv), "sigaction");
    must(sigaction(SIGBUS, &action, &old_bus), "sigaction");
    bool faulted = true;
    if (sigsetjmp(back, 1) == 0) {
        const char byte = *address;
        if (writing) *const_cast<volatile char*>(address) = byte;
        faulted = false;
    }
    must(sigaction(SIGSEGV, &old_segv, nullptr), "sigaction");
    must(sigaction(SIGBUS, &old_bus, nullptr), "sigaction");
    return faulted;
}

// A mapping that keeps a flag of smaps.
void keeps_flag(Run& run, int advice, int undo, const std::string& flag) {
    char* at = anonymous(4 << 20);
    must(madvise(at, 4 << 20, advice), "madvise");
    fill(at, page, 1);
    holds("flag " + flag + " at the beginning", mapping_has_flag(at, flag));
    run.operation([&] { must(madvise(at, 4 << 20, undo), "madvise"); });
    holds("flag " + flag, mapping_has_flag(at, flag));
    verify("its bytes", at, page, 1);
}

}  // namespace

CR_PROGRAM(mem_anon_private, Needs::nothing, "4 MiB of private anonymous memory keep their bytes") {
    char* at = anonymous(4 << 20);
    fill(at, 4 << 20, 1);
    run.operation([&] { at[1234567] ^= 1; });
    verify("private memory", at, 4 << 20, 1);
}

CR_PROGRAM(mem_anon_shared, Needs::nothing, "shared anonymous memory keeps its bytes") {
    char* at = anonymous(1 << 20, MAP_SHARED);
    fill(at, 1 << 20, 2);
    run.operation([&] { at[99] ^= 1; });
    verify("shared memory", at, 1 << 20, 2);
}

CR_PROGRAM(mem_anon_shared_child, Needs::nothing, "shared anonymous memory is still shared with a child, in both directions") {
    auto* words = reinterpret_cast<volatile int*>(anonymous(page, MAP_SHARED));
    const pid_t child = spawn([] {},
                              [&] {
                                  same("what the parent wrote", 71, words[0]);
                                  words[1] = 72;
                              });
    run.operation([&] {
        must_map(mmap(const_cast<int*>(words), page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    });
    words[0] = 71;
    finish(child);
    same("what the child wrote", 72, words[1]);
}

CR_PROGRAM(mem_sparse, Needs::nothing, "one page in a hundred of a large mapping is kept, the others read zero") {
    const size_t pages = 10000;
    char* at = anonymous(pages * page, MAP_PRIVATE | MAP_NORESERVE);
    for (size_t i = 0; i < pages; i += 100) at[i * page + 7] = static_cast<char>(i / 100 + 1);
    run.operation([&] { at[page * 200 + 7] = 0; });
    for (size_t i = 0; i < pages; i += 10)
        same("page " + std::to_string(i), i % 100 == 0 ? static_cast<char>(i / 100 + 1) : 0, +at[i * page + 7]);
}

CR_PROGRAM(mem_heap, Needs::nothing, "a heap of many small and large blocks can be used and freed") {
    std::vector<char*> blocks;
    for (unsigned i = 0; i < 500; ++i) {
        const size_t size = (i + 1) * 37;
        blocks.push_back(static_cast<char*>(std::malloc(size)));
        fill(blocks.back(), size, i);
    }
    run.operation([&] { blocks[77][5] ^= 1; });
    for (unsigned i = 0; i < blocks.size(); ++i) {
        verify("block " + std::to_string(i), blocks[i], (i + 1) * 37, i);
        std::free(blocks[i]);
    }
}

CR_PROGRAM(mem_brk, Needs::nothing, "the end of the data segment stays and can be moved on") {
    char* begin = static_cast<char*>(sbrk(1 << 16));
    fill(begin, 1 << 16, 3);
    run.ready();
    // The C library's own memory grows there too; from here on nothing is allocated.
    char* end = static_cast<char*>(sbrk(0));
    await_term();
    run.disturb([] { (void)!sbrk(page); });
    void* const now = sbrk(0);
    void* const grown = sbrk(page);
    same("the break", static_cast<void*>(end), now);
    verify("memory below it", begin, 1 << 16, 3);
    same("the break grows from there", static_cast<void*>(end), grown);
    end[page - 1] = 1;
}

static int deep(int depth, const Run* run) {
    volatile char frame[1000];
    frame[0] = static_cast<char>(depth);
    if (depth == 0 && run != nullptr) run->operation();
    const int below = depth == 0 ? 0 : deep(depth - 1, run);
    return below + (frame[0] == static_cast<char>(depth) ? 1 : 0);
}

CR_PROGRAM(mem_stack, Needs::nothing, "300 frames of a deep stack are kept, and it grows further afterwards") {
    same("frames", 301, deep(300, &run));
    same("frames of a stack that grows now", 3001, deep(3000, nullptr));
}

CR_PROGRAM(mem_growsdown, Needs::nothing, "a mapping that grows down still does") {
    char* area = anonymous(1024 * page, MAP_PRIVATE, PROT_NONE);
    must(munmap(area, 1024 * page), "munmap");
    char* at = static_cast<char*>(must_map(mmap(area + 1000 * page, 2 * page, PROT_READ | PROT_WRITE,
                                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0)));
    at[0] = 5;
    run.operation([&] {
        must_map(mmap(at, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
        at[0] = 5;
    });
    same("its byte", 5, +at[0]);
    holds("flag gd", mapping_has_flag(at, "gd"));
    holds("it grows", !faults(at - 1, true));
}

CR_PROGRAM(mem_guard_page, Needs::nothing, "a page without rights between two others faults, they do not") {
    char* at = anonymous(3 * page);
    fill(at, 3 * page, 4);
    must(mprotect(at + page, page, PROT_NONE), "mprotect");
    run.operation([&] { must(mprotect(at + page, page, PROT_READ), "mprotect"); });
    holds("a guard page", faults(at + page, false));
    verify("the page before", at, page, 4);
    holds("the page after can be written", !faults(at + 2 * page, true));
    must(mprotect(at + page, page, PROT_READ), "mprotect");
    verify("what the guard page held", at, 3 * page, 4);
}

CR_PROGRAM(mem_read_only, Needs::nothing, "a read only mapping keeps its bytes and its rights") {
    char* at = anonymous(page);
    fill(at, page, 5);
    must(mprotect(at, page, PROT_READ), "mprotect");
    run.operation([&] { must(mprotect(at, page, PROT_READ | PROT_WRITE), "mprotect"); });
    verify("its bytes", at, page, 5);
    holds("writing faults", faults(at, true));
}

CR_PROGRAM(mem_executable, Needs::nothing, "code that the program made itself runs") {
    char* at = anonymous(page);
    const unsigned char code[] = {0x8d, 0x47, 0x2a, 0xc3};  // lea 42(%rdi),%eax; ret
    std::memcpy(at, code, sizeof(code));
    must(mprotect(at, page, PROT_READ | PROT_EXEC), "mprotect");
    run.operation([&] {
        must(mprotect(at, page, PROT_READ | PROT_WRITE), "mprotect");
        at[2] = 41;
        must(mprotect(at, page, PROT_READ | PROT_EXEC), "mprotect");
    });
    same("what it computes", 142, reinterpret_cast<int (*)(int)>(at)(100));
}

CR_PROGRAM(mem_holes, Needs::nothing, "what was unmapped stays unmapped") {
    char* at = anonymous(9 * page);
    for (int i = 1; i < 9; i += 2) must(munmap(at + i * static_cast<long>(page), page), "munmap");
    run.operation([&] { must_map(mmap(at + page, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)); });
    for (int i = 0; i < 9; ++i)
        same("page " + std::to_string(i) + " is a hole", i % 2 == 1, faults(at + i * static_cast<long>(page), false));
}

CR_PROGRAM(mem_many_mappings, Needs::nothing, "a thousand small mappings with different rights") {
    char* at = anonymous(1000 * page);
    for (unsigned i = 0; i < 1000; ++i) {
        fill(at + i * page, 64, i);
        if (i % 2 == 1) must(mprotect(at + i * page, page, PROT_READ), "mprotect");
    }
    run.operation([&] { at[500 * page] ^= 1; });
    for (unsigned i = 0; i < 1000; ++i) verify("mapping " + std::to_string(i), at + i * page, 64, i);
    holds("rights of mapping 501", faults(at + 501 * page, true));
}

CR_PROGRAM(mem_file_private, Needs::file,
           "a private file mapping: changed pages are kept, others are the file's, the file is not changed") {
    const int fd = file_of(run.filename, 4 * page, 6);
    char* at = static_cast<char*>(must_map(mmap(nullptr, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0)));
    fill(at + page, page, 7);
    run.operation([&] { at[page + 9] ^= 1; });
    std::vector<char> expected(4 * page);
    fill(expected.data(), 4 * page, 6);
    holds("an unchanged page", std::memcmp(at, expected.data(), page) == 0);
    verify("a changed page", at + page, page, 7);
    std::vector<char> file(4 * page);
    must(pread(fd, file.data(), file.size(), 0), "pread");
    verify("the file", file.data(), file.size(), 6);
}

CR_PROGRAM(mem_file_shared, Needs::file, "a shared file mapping shows what is written to the file and the other way round") {
    const int fd = file_of(run.filename, 2 * page, 8);
    char* at = static_cast<char*>(must_map(mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)));
    at[10] = 'a';
    run.operation([&] { must_map(mmap(at, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0)); });
    at[11] = 'b';
    must(msync(at, 2 * page, MS_SYNC), "msync");
    char found[2] = {};
    must(pread(fd, found, 2, 10), "pread");
    same("the file", std::string("ab"), std::string(found, 2));
}

CR_PROGRAM(mem_file_offset, Needs::file, "a mapping from the middle of a file keeps its offset") {
    const int fd = file_of(run.filename, 8 * page, 9);
    const char* at = static_cast<char*>(must_map(mmap(nullptr, page, PROT_READ, MAP_SHARED, fd, 5 * page)));
    close(fd);
    run.operation([&] {
        const int again = static_cast<int>(must(open(run.filename.c_str(), O_RDWR), "open"));
        must_map(mmap(const_cast<char*>(at), page, PROT_READ, MAP_SHARED | MAP_FIXED, again, page));
    });
    std::vector<char> expected(8 * page);
    fill(expected.data(), 8 * page, 9);
    holds("the sixth page", std::memcmp(at, expected.data() + 5 * page, page) == 0);
}

CR_PROGRAM(mem_memfd_mapped, Needs::nothing, "a memfd mapped twice: its bytes, its size, and one memory behind both") {
    const int fd = static_cast<int>(must(memfd_create("krg-cr", MFD_CLOEXEC), "memfd_create"));
    must(ftruncate(fd, 3 * page), "ftruncate");
    char* one = static_cast<char*>(must_map(mmap(nullptr, 3 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)));
    char* two = static_cast<char*>(must_map(mmap(nullptr, 3 * page, PROT_READ, MAP_SHARED, fd, 0)));
    fill(one, 3 * page, 10);
    run.operation([&] { one[17] ^= 1; });
    verify("by the other mapping", two, 3 * page, 10);
    one[1] = 'x';
    char found = 0;
    must(pread(fd, &found, 1, 1), "pread");
    same("by the descriptor", 'x', found);
    same("its size", 3 * static_cast<off_t>(page), lseek(fd, 0, SEEK_END));
}

CR_PROGRAM(mem_memfd_seals, Needs::nothing, "the seals of a memfd hold") {
    const int fd = static_cast<int>(must(memfd_create("krg-cr", MFD_CLOEXEC | MFD_ALLOW_SEALING), "memfd_create"));
    must(ftruncate(fd, page), "ftruncate");
    must(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE), "F_ADD_SEALS");
    run.operation([&] { must(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), "F_ADD_SEALS"); });
    same("seals", F_SEAL_SHRINK | F_SEAL_WRITE, fcntl(fd, F_GET_SEALS));
    same("a write is refused", -1, write(fd, "x", 1));
}

CR_PROGRAM(mem_madv_dontfork, Needs::nothing, "MADV_DONTFORK stays") { keeps_flag(run, MADV_DONTFORK, MADV_DOFORK, "dc"); }
CR_PROGRAM(mem_madv_wipeonfork, Needs::nothing, "MADV_WIPEONFORK stays") {
    keeps_flag(run, MADV_WIPEONFORK, MADV_KEEPONFORK, "wf");
}
CR_PROGRAM(mem_madv_dontdump, Needs::nothing, "MADV_DONTDUMP stays") { keeps_flag(run, MADV_DONTDUMP, MADV_DODUMP, "dd"); }
CR_PROGRAM(mem_madv_random, Needs::nothing, "MADV_RANDOM stays") { keeps_flag(run, MADV_RANDOM, MADV_NORMAL, "rr"); }
CR_PROGRAM(mem_madv_sequential, Needs::nothing, "MADV_SEQUENTIAL stays") {
    keeps_flag(run, MADV_SEQUENTIAL, MADV_NORMAL, "sr");
}

CR_PROGRAM(mem_madv_hugepage, Needs::nothing, "MADV_HUGEPAGE stays, with its bytes") {
    if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) != 0)
        skip(run, "this kernel has no transparent huge pages");
    keeps_flag(run, MADV_HUGEPAGE, MADV_NOHUGEPAGE, "hg");
}

CR_PROGRAM(mem_madv_nohugepage, Needs::nothing, "MADV_NOHUGEPAGE stays") {
    if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) != 0)
        skip(run, "this kernel has no transparent huge pages");
    keeps_flag(run, MADV_NOHUGEPAGE, MADV_HUGEPAGE, "nh");
}

CR_PROGRAM(mem_thp_disable, Needs::nothing, "PR_SET_THP_DISABLE stays") {
    must(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), "PR_SET_THP_DISABLE");
    run.operation([] { must(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0), "PR_SET_THP_DISABLE"); });
    same("PR_GET_THP_DISABLE", 1, prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
}

CR_PROGRAM(mem_mlock, Needs::nothing, "locked memory stays locked") {
    char* at = anonymous(4 * page);
    must(mlock(at, 4 * page), "mlock");
    const std::string locked = status_field("VmLck");
    run.operation([&] { must(munlock(at, page), "munlock"); });
    holds("flag lo", mapping_has_flag(at, "lo"));
    same("VmLck", locked, status_field("VmLck"));
}

CR_PROGRAM(mem_mlockall_future, Needs::nothing, "mappings made later are locked because mlockall said so before") {
    must(mlockall(MCL_FUTURE), "mlockall");
    run.operation([] { must(munlockall(), "munlockall"); });
    holds("a new mapping is locked", mapping_has_flag(anonymous(page), "lo"));
}

CR_PROGRAM(mem_mlock_onfault, Needs::nothing, "memory locked on fault stays so") {
    char* at = anonymous(16 * page);
    must(mlock2(at, 16 * page, MLOCK_ONFAULT), "mlock2");
    run.operation([&] { must(munlock(at, 16 * page), "munlock"); });
    holds("flag lo", mapping_has_flag(at, "lo"));
    at[0] = 1;
}

CR_PROGRAM(mem_cow_private, Needs::nothing, "memory of before a fork: parent and child see only their own writes") {
    char* at = anonymous(16 * page);
    fill(at, 16 * page, 11);
    const pid_t child = spawn([&] { fill(at, page, 12); },
                              [&] {
                                  verify("the child's page", at, page, 12);
                                  std::vector<char> expected(16 * page);
                                  fill(expected.data(), expected.size(), 11);
                                  holds("pages nobody wrote", std::memcmp(at + page, expected.data() + page, 15 * page) == 0);
                              });
    run.operation([&] { at[0] ^= 1; });
    verify("the parent's pages", at, 16 * page, 11);
    at[5 * page] ^= 1;
    finish(child);
}

CR_PROGRAM(mem_cow_stays_shared, Needs::nothing,
           "pages not written after a fork are still one memory: the proportional size is half") {
    const size_t size = 4 << 20;
    char* at = anonymous(size);
    fill(at, size, 13);
    const pid_t child = spawn([] {}, [&] { verify("the child's view", at, size, 13); });
    run.operation([&] { fill(at, size, 13); });
    const std::string smaps = smaps_of(at);
    long shared = 0;
    for (const char* field : {"Shared_Dirty:", "Shared_Clean:"}) {
        const size_t found = smaps.find(field);
        if (found != std::string::npos) shared += std::strtol(smaps.c_str() + found + std::strlen(field), nullptr, 10);
    }
    within("kB that are shared", 3L << 10, 5L << 10, shared);
    finish(child);
}

CR_PROGRAM(mem_vdso, Needs::nothing, "the vdso answers, and agrees with the system call") {
    const double before = clock_s(CLOCK_REALTIME);
    const unsigned long address = getauxval(AT_SYSINFO_EHDR);
    holds("there is a vdso", address != 0);
    run.operation();
    holds("its header", std::memcmp(reinterpret_cast<void*>(address), ELFMAG, SELFMAG) == 0);
    for (int i = 0; i < 1000; ++i) within("the time by vvar", before, before + 86400, clock_s(CLOCK_REALTIME));
    timespec raw{};
    must(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &raw), "clock_gettime");
    within("monotonic by vdso after the system call", static_cast<double>(raw.tv_sec), static_cast<double>(raw.tv_sec) + 100,
           clock_s(CLOCK_MONOTONIC));
    same("a call into it", 0, getcpu(nullptr, nullptr));
}

CR_PROGRAM(mem_auxv, Needs::nothing, "the auxiliary vector in /proc stays") {
    const std::string before = contents("/proc/self/auxv");
    run.operation();
    same("length of auxv", before.size(), contents("/proc/self/auxv").size());
    holds("auxv", before == contents("/proc/self/auxv"));
    same("AT_PAGESZ", page, static_cast<size_t>(getauxval(AT_PAGESZ)));
}

CR_PROGRAM(mem_cmdline, Needs::nothing, "the arguments in /proc stay") {
    const std::string before = contents("/proc/self/cmdline");
    run.operation();
    same("cmdline", before, contents("/proc/self/cmdline"));
}

CR_PROGRAM(mem_environ, Needs::nothing, "the environment in /proc and in memory stays") {
    const std::string before = contents("/proc/self/environ");
    setenv("KRG_CR_OWN", "kept", 1);
    run.operation([] { setenv("KRG_CR_OWN", "changed", 1); });
    same("environ", before, contents("/proc/self/environ"));
    same("a variable set later", std::string("kept"), std::string(getenv("KRG_CR_OWN")));
}

CR_PROGRAM(mem_exe, Needs::nothing, "the exe link names the same file") {
    char before[4096] = {}, after[4096] = {};
    must(readlink("/proc/self/exe", before, sizeof(before) - 1), "readlink");
    run.operation();
    must(readlink("/proc/self/exe", after, sizeof(after) - 1), "readlink");
    same("exe", std::string(before), std::string(after));
}

CR_PROGRAM(mem_layout, Needs::nothing, "addresses, rights and offsets of all mappings stay") {
    std::vector<std::string> before;
    const auto mappings = [] {
        std::istringstream text(contents("/proc/self/maps"));
        std::vector<std::string> list;
        for (std::string line; std::getline(text, line);)
            if (line.find("[heap]") == std::string::npos) list.push_back(line.substr(0, line.find(' ') + 14));
        return list;
    };
    before.reserve(1000);
    before = mappings();
    before = mappings();
    run.operation([] { anonymous(page, MAP_SHARED); });
    const std::vector<std::string> after = mappings();
    same("how many mappings", before.size(), after.size());
    for (size_t i = 0; i < before.size(); ++i) same("mapping " + std::to_string(i), before[i], after[i]);
}

}  // namespace krg::cr
