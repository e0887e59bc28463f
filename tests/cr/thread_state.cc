// SPDX-License-Identifier: GPL-2.0
//
// Programs whose state is what a thread has told the kernel about its memory: the list of its robust mutexes, its rseq area.
#include "program.hh"

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace krg::cr {

CR_PROGRAM(robust_list, Needs::nothing, "the head of the list of robust mutexes is where it was, for each thread") {
    struct Found {
        robust_list_head* head = nullptr;
        size_t length = 0;
    } mine, other;
    static std::atomic<pid_t> tid{0};
    static volatile bool end;
    pthread_t thread{};
    must(-pthread_create(
             &thread, nullptr,
             [](void*) -> void* {
                 tid = gettid();
                 while (!end) usleep(10000);
                 return nullptr;
             },
             nullptr),
         "pthread_create");
    while (tid == 0) usleep(1000);
    must(syscall(SYS_get_robust_list, 0, &mine.head, &mine.length), "get_robust_list");
    must(syscall(SYS_get_robust_list, tid.load(), &other.head, &other.length), "get_robust_list");
    run.operation([&] { must(syscall(SYS_set_robust_list, nullptr, sizeof(robust_list_head)), "set_robust_list"); });
    Found now;
    must(syscall(SYS_get_robust_list, 0, &now.head, &now.length), "get_robust_list");
    same("its own list", mine.head, now.head);
    must(syscall(SYS_get_robust_list, tid.load(), &now.head, &now.length), "get_robust_list");
    same("the other thread's list", other.head, now.head);
    same("its size", other.length, now.length);
    end = true;
    pthread_join(thread, nullptr);
}

CR_PROGRAM(robust_owner, Needs::nothing, "who waits for a robust mutex hears that its owner has ended") {
    void* shared = must_map(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    auto* mutex = static_cast<pthread_mutex_t*>(shared);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    must(-pthread_mutex_init(mutex, &attributes), "pthread_mutex_init");
    const pid_t owner = spawn([&] { must(-pthread_mutex_lock(mutex), "pthread_mutex_lock"); }, [] {});
    same("it is locked", EBUSY, pthread_mutex_trylock(mutex));
    run.operation([&] {
        must(munmap(shared, 4096), "munmap"),
            must_map(mmap(shared, 4096, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    });
    same("it is locked still", EBUSY, pthread_mutex_trylock(mutex));
    must(kill(owner, SIGKILL), "kill");
    must(waitpid(owner, nullptr, 0), "waitpid");
    same("its owner has ended", EOWNERDEAD, pthread_mutex_lock(mutex));
    must(-pthread_mutex_consistent(mutex), "pthread_mutex_consistent");
    must(-pthread_mutex_unlock(mutex), "pthread_mutex_unlock");
}

CR_PROGRAM(rseq_registered, Needs::nothing,
           "the area for restartable sequences is registered: the kernel writes the processor there") {
    if (__rseq_size == 0) skip(run, "libc has registered no area");
    auto* area = reinterpret_cast<volatile struct rseq*>(static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset);
    must(static_cast<int>(area->cpu_id) >= 0 ? 0 : -1, "rseq");
    run.operation([&] { must(syscall(SYS_rseq, area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG), "rseq"); });
    // A second registration of the same area is refused as busy; of one that was lost it would succeed.
    errno = 0;
    same("registering it again", -1L, syscall(SYS_rseq, area, 32, 0, RSEQ_SIG));
    same("is refused", EBUSY, errno);
    area->cpu_id = 0xfffffff0;
    for (int i = 0; i < 1000 && area->cpu_id == 0xfffffff0; i++) usleep(10000);
    same("the processor", static_cast<unsigned>(sched_getcpu()), static_cast<unsigned>(area->cpu_id));
}

}  // namespace krg::cr
