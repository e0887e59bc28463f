// SPDX-License-Identifier: GPL-2.0
// The thread that calls functions before the process is saved and after. It sleeps on a word of the table; the kernel changes
// the word when all threads are held, so the sleep ends when they go on. See krg_self.h.
#include "tools/libkerrighed/callbacks.hh"

#include <algorithm>
#include <csignal>
#include <ctime>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "tools/libkerrighed/internal.hh"

namespace krg::library {

namespace {

struct Callback {
    int number;
    krg_cr_moment moment;
    krg_cr_callback function;
    void* argument;
};

// Never destroyed: the thread may use them while the program ends.
std::vector<Callback>& callbacks() {
    static auto* const all = new std::vector<Callback>;
    return *all;
}
int last_number = 0;
bool has_thread = false;

std::uint32_t phase_of(const krg_self& self) { return __atomic_load_n(&self.phase, __ATOMIC_SEQ_CST); }

// While the word is @phase; @often: also when nobody may have woken us.
void sleep_while(krg_self& self, std::uint32_t phase, bool often) {
    const timespec limit{0, 100'000'000};
    while (phase_of(self) == phase)
        syscall(SYS_futex, &self.phase, FUTEX_WAIT_PRIVATE, phase, often ? &limit : nullptr, nullptr, 0);
}

void call_all(krg_cr_moment moment) {
    std::vector<Callback> all;
    {
        const Lock lock;
        all = callbacks();
    }
    if (moment == KRG_CR_BEFORE) std::reverse(all.begin(), all.end());
    for (const Callback& callback : all)
        if (callback.moment == moment) callback.function(callback.argument);
}

// Those before have been called. A word that is idle again without our doing is that of a restart.
void wait_and_call_after(krg_self& self) {
    std::uint32_t phase = KRG_SELF_CALL;
    __atomic_compare_exchange_n(&self.phase, &phase, static_cast<std::uint32_t>(KRG_SELF_READY), false, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
    sleep_while(self, KRG_SELF_READY, true);
    call_all(phase_of(self) == KRG_SELF_IDLE ? KRG_CR_RESTART : KRG_CR_CONTINUE);
    __atomic_store_n(&self.phase, static_cast<std::uint32_t>(KRG_SELF_IDLE), __ATOMIC_SEQ_CST);
}

void* run(void* /*unused*/) {
    krg_self& self = table();
    __atomic_store_n(&self.caller, static_cast<std::int32_t>(syscall(SYS_gettid)), __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &self.caller, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    for (;;) {
        sleep_while(self, KRG_SELF_IDLE, false);
        if (phase_of(self) == KRG_SELF_CALL) call_all(KRG_CR_BEFORE);
        wait_and_call_after(self);
    }
}

void start_thread(krg_self& self) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_t thread;
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&thread, nullptr, run, nullptr);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (error) throw Failure(error, "the thread for callbacks cannot be made");
    pthread_detach(thread);
    while (!__atomic_load_n(&self.caller, __ATOMIC_SEQ_CST))
        syscall(SYS_futex, &self.caller, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
}

}  // namespace

void forget_callbacks() noexcept {
    callbacks().clear();
    has_thread = false;
}

}  // namespace krg::library

using namespace krg::library;

extern "C" int krg_cr_register(enum krg_cr_moment moment, krg_cr_callback function, void* argument) {
    return at_border([&] {
        if (!function || (moment != KRG_CR_BEFORE && moment != KRG_CR_CONTINUE && moment != KRG_CR_RESTART))
            throw Failure(EINVAL, "no function, or no such moment");
        krg_self& self = table();
        const Lock lock;
        callbacks().push_back({++last_number, moment, function, argument});
        if (has_thread) return last_number;
        try {
            start_thread(self);
        } catch (...) {
            callbacks().pop_back();
            throw;
        }
        has_thread = true;
        return last_number;
    });
}

extern "C" int krg_cr_unregister(int number) {
    return at_border([&] {
        const Lock lock;
        if (std::erase_if(callbacks(), [&](const Callback& callback) { return callback.number == number; }) == 0)
            throw Failure(ENOENT, "there is no such callback");
        return 0;
    });
}
