// SPDX-License-Identifier: GPL-2.0
//
// krg-posix-sync: process-shared objects of POSIX in a mapped file, one process a node, written as for one machine: nothing but
// open or shm_open, ftruncate, mmap, pthread_* and sem_*. Exit status 0, 1 (mutual exclusion or order was broken), 2 (usage), 5 (a wait
// did not end).
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

constexpr unsigned most_players = 32;
constexpr std::uint32_t made = 0x6b7267;

struct Shared {
    volatile std::uint32_t state;
    volatile std::uint32_t arrived[most_players], left[most_players];
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_barrier_t barrier;
    sem_t turn[most_players];
    volatile std::uint64_t counter, owner, recovered;
    volatile std::uint64_t round[most_players];
};

struct Options {
    std::string file, kind = "mutex";
    unsigned me = 0, players = 0, patience = 120;
    std::uint64_t rounds = 50, die_at = 0;
    bool shm = false;
};

Options options;
std::uint64_t at_round;

[[noreturn]] void fail(int status, const std::string& what) {
    std::fprintf(stderr, "krg-posix-sync: %s, player %u, round %llu: %s\n", options.kind.c_str(), options.me,
                 static_cast<unsigned long long>(at_round), what.c_str());
    _exit(status);
}

void must(int error, const char* what) {
    if (error != 0) fail(1, std::string(what) + ": " + std::strerror(error));
}

void on_alarm(int) { fail(5, "a wait does not end"); }

void pause_ms(unsigned ms) { usleep(ms * 1000); }

void make(Shared& s) {
    pthread_mutexattr_t mutex;
    must(pthread_mutexattr_init(&mutex), "pthread_mutexattr_init");
    must(pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED), "pthread_mutexattr_setpshared");
    if (options.kind == "robust")
        must(pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST), "pthread_mutexattr_setrobust");
    must(pthread_mutex_init(&s.mutex, &mutex), "pthread_mutex_init");
    pthread_condattr_t condition;
    must(pthread_condattr_init(&condition), "pthread_condattr_init");
    must(pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED), "pthread_condattr_setpshared");
    must(pthread_cond_init(&s.changed, &condition), "pthread_cond_init");
    pthread_barrierattr_t barrier;
    must(pthread_barrierattr_init(&barrier), "pthread_barrierattr_init");
    must(pthread_barrierattr_setpshared(&barrier, PTHREAD_PROCESS_SHARED), "pthread_barrierattr_setpshared");
    must(pthread_barrier_init(&s.barrier, &barrier, options.players), "pthread_barrier_init");
    for (unsigned i = 0; i < options.players; i++)
        if (sem_init(&s.turn[i], 1, i == 0) != 0) must(errno, "sem_init");
}

Shared& open_shared() {
    const int flags = O_RDWR | O_CREAT;
    const int fd = options.shm ? shm_open(options.file.c_str(), flags, 0600) : open(options.file.c_str(), flags, 0600);
    if (fd < 0) must(errno, "open");
    struct stat st {};
    if (options.me == 0 && ftruncate(fd, sizeof(Shared)) != 0) must(errno, "ftruncate");
    for (; options.me != 0; pause_ms(20)) {
        if (fstat(fd, &st) != 0) must(errno, "fstat");
        if (st.st_size >= static_cast<off_t>(sizeof(Shared))) break;
    }
    void* at = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) must(errno, "mmap");
    close(fd);
    return *static_cast<Shared*>(at);
}

void meet(volatile std::uint32_t* flags) {
    flags[options.me] = 1;
    for (unsigned i = 0; i < options.players; i++)
        while (flags[i] == 0) pause_ms(5);
}

/// What only one may do at a time: `owner` and the two halves of the addition would show another one.
void alone(Shared& s) {
    if (s.owner != 0) fail(1, "I have the lock, and so has player " + std::to_string(s.owner - 1));
    s.owner = options.me + 1;
    const std::uint64_t before = s.counter;
    if (at_round % 3 == 0) sched_yield();
    if (s.owner != options.me + 1) fail(1, "player " + std::to_string(s.owner - 1) + " came in between");
    s.counter = before + 1;
    s.owner = 0;
}

void run_mutex(Shared& s) {
    for (at_round = 0; at_round < options.rounds; at_round++) {
        must(pthread_mutex_lock(&s.mutex), "pthread_mutex_lock");
        alone(s);
        must(pthread_mutex_unlock(&s.mutex), "pthread_mutex_unlock");
    }
}

void run_condvar(Shared& s) {
    for (at_round = 0; at_round < options.rounds; at_round++) {
        must(pthread_mutex_lock(&s.mutex), "pthread_mutex_lock");
        while (s.counter % options.players != options.me) must(pthread_cond_wait(&s.changed, &s.mutex), "pthread_cond_wait");
        if (s.counter != at_round * options.players + options.me) fail(1, "it is turn " + std::to_string(s.counter));
        alone(s);
        must(pthread_cond_broadcast(&s.changed), "pthread_cond_broadcast");
        must(pthread_mutex_unlock(&s.mutex), "pthread_mutex_unlock");
    }
}

void run_sem(Shared& s) {
    for (at_round = 0; at_round < options.rounds; at_round++) {
        while (sem_wait(&s.turn[options.me]) != 0)
            if (errno != EINTR) must(errno, "sem_wait");
        if (s.counter != at_round * options.players + options.me) fail(1, "it is turn " + std::to_string(s.counter));
        alone(s);
        if (sem_post(&s.turn[(options.me + 1) % options.players]) != 0) must(errno, "sem_post");
    }
}

void wait_barrier(Shared& s) {
    const int result = pthread_barrier_wait(&s.barrier);
    if (result == PTHREAD_BARRIER_SERIAL_THREAD) {
        s.counter = s.counter + 1;
    } else {
        must(result, "pthread_barrier_wait");
    }
}

void run_barrier(Shared& s) {
    for (at_round = 0; at_round < options.rounds; at_round++) {
        s.round[options.me] = at_round + 1;
        wait_barrier(s);
        for (unsigned i = 0; i < options.players; i++)
            if (s.round[i] != at_round + 1)
                fail(1, "behind the barrier player " + std::to_string(i) + " is at " + std::to_string(s.round[i]));
        wait_barrier(s);
    }
}

void run_robust(Shared& s) {
    for (at_round = 0; at_round < options.rounds; at_round++) {
        const int result = pthread_mutex_lock(&s.mutex);
        if (result == EOWNERDEAD) {
            s.recovered = s.recovered + 1;
            s.owner = 0;
            must(pthread_mutex_consistent(&s.mutex), "pthread_mutex_consistent");
        } else {
            must(result, "pthread_mutex_lock");
        }
        if (options.die_at && at_round == options.die_at) {
            s.owner = options.me + 1;
            raise(SIGKILL);
        }
        alone(s);
        must(pthread_mutex_unlock(&s.mutex), "pthread_mutex_unlock");
        pause_ms(1);
    }
}

int usage() {
    std::fprintf(
        stderr,
        "usage: krg-posix-sync FILE --me I --players P [--rounds N] [--kind mutex|condvar|sem|barrier|robust]\n"
        "       [--shm] (FILE is a name for shm_open) [--patience SECONDS] [--die-at ROUND] (robust: with the lock held)\n");
    return 2;
}

bool read_options(int argc, char** argv) {
    static const option names[] = {{"me", 1, nullptr, 'm'},       {"players", 1, nullptr, 'p'}, {"rounds", 1, nullptr, 'r'},
                                   {"kind", 1, nullptr, 'k'},     {"shm", 0, nullptr, 's'},     {"die-at", 1, nullptr, 'd'},
                                   {"patience", 1, nullptr, 't'}, {nullptr, 0, nullptr, 0}};
    for (int c; (c = getopt_long(argc, argv, "", names, nullptr)) != -1;) {
        const std::uint64_t value = optarg ? std::strtoull(optarg, nullptr, 10) : 0;
        switch (c) {
        case 'm': options.me = static_cast<unsigned>(value); break;
        case 'p': options.players = static_cast<unsigned>(value); break;
        case 'r': options.rounds = value; break;
        case 'k': options.kind = optarg; break;
        case 's': options.shm = true; break;
        case 'd': options.die_at = value; break;
        case 't': options.patience = static_cast<unsigned>(value); break;
        default: return false;
        }
    }
    if (optind + 1 != argc) return false;
    options.file = argv[optind];
    return options.players > 0 && options.players <= most_players && options.me < options.players;
}

}  // namespace

int main(int argc, char** argv) {
    if (!read_options(argc, argv)) return usage();
    void (*run)(Shared&) = options.kind == "mutex"     ? run_mutex
                           : options.kind == "condvar" ? run_condvar
                           : options.kind == "sem"     ? run_sem
                           : options.kind == "barrier" ? run_barrier
                           : options.kind == "robust"  ? run_robust
                                                       : nullptr;
    if (!run) return usage();
    signal(SIGALRM, on_alarm);
    alarm(options.patience);
    Shared& s = open_shared();
    if (options.me == 0) {
        make(s);
        s.state = made;
    }
    while (s.state != made) pause_ms(5);
    meet(s.arrived);
    run(s);
    at_round = options.rounds;
    if (options.kind == "robust") {
        std::printf("recovered %llu\n", static_cast<unsigned long long>(s.recovered));
        return 0;
    }
    meet(s.left);
    const std::uint64_t expected = options.kind == "barrier" ? 2 * options.rounds : options.players * options.rounds;
    if (s.counter != expected) fail(1, "counted " + std::to_string(s.counter) + ", not " + std::to_string(expected));
    return 0;
}
