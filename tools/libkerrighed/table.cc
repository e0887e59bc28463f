// SPDX-License-Identifier: GPL-2.0
// The table that the kernel reads, and the lock of all that is kept beside it.
#include <atomic>
#include <cstring>
#include <mutex>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/libkerrighed/callbacks.hh"
#include "tools/libkerrighed/internal.hh"

namespace krg::library {

namespace {

constexpr size_t table_size = 8192;
static_assert(sizeof(krg_self) <= table_size && offsetof(krg_self, magic) == 4096);

std::atomic<krg_self*> the_table = nullptr;
std::mutex mutex;

void before_fork() { mutex.lock(); }
void after_fork() { mutex.unlock(); }
// The child has the table, and not the thread of its parent.
void in_child() {
    if (krg_self* self = the_table.load(); self) {
        self->caller = 0;
        self->phase = KRG_SELF_IDLE;
    }
    forget_callbacks();
    mutex.unlock();
}

krg_self* make_table() {
    const int fd = memfd_create(KRG_SELF_NAME, MFD_CLOEXEC);
    if (fd < 0) throw Failure(errno, "memfd_create");
    void* at = ftruncate(fd, table_size) == 0 ? mmap(nullptr, table_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0)
                                              : MAP_FAILED;
    const int error = errno;
    close(fd);
    if (at == MAP_FAILED) throw Failure(error, "there is no memory for what this process wants");
    auto* self = static_cast<krg_self*>(at);
    self->magic = KRG_SELF_MAGIC;
    return self;
}

}  // namespace

Lock::Lock() noexcept { mutex.lock(); }
Lock::~Lock() { mutex.unlock(); }

krg_self* table_if_there() noexcept { return the_table.load(); }

krg_self& table() {
    if (krg_self* self = the_table.load(); self) return *self;
    const Lock lock;
    if (!the_table.load()) {
        krg_self* self = make_table();
        if (const int error = pthread_atfork(before_fork, after_fork, in_child); error) {
            munmap(self, table_size);
            throw Failure(error, "pthread_atfork");
        }
        the_table.store(self);
    }
    return *the_table.load();
}

}  // namespace krg::library
