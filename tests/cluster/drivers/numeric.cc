// SPDX-License-Identifier: GPL-2.0
//
// krg-numeric: heat that spreads in a plate, computed by threads of OpenMP or by POSIX threads that meet at barriers. Runs in guests.
// The result does not depend on how many threads there are, nor on who was first.
//
//	krg-numeric openmp|pthreads ROUNDS PROGRESS	a line in PROGRESS for every 16 rounds; prints the sum of the plate
#include <array>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <pthread.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

constexpr int side = 640, workers = 4, every = 16;

/// Doubles: each cell is computed from the same operands in the same order, whoever does it.
class Plate {
public:
    Plate() : now_(side * side), next_(side * side) {
        for (size_t i = 0; i < side; i++) now_[i] = next_[i] = 100.0 + static_cast<double>(i % 7);
    }
    void row(size_t y) {
        for (size_t x = 1; x < side - 1; x++) {
            const size_t at = y * side + x;
            next_[at] = 0.2 * (now_[at] + now_[at - 1] + now_[at + 1] + now_[at - side] + now_[at + side]);
        }
    }
    void turn() { now_.swap(next_); }
    /// FNV-1a over the bits of all cells.
    [[nodiscard]] std::uint64_t sum() const {
        std::uint64_t sum = 0xcbf29ce484222325;
        for (const double cell : now_) {
            std::uint64_t bits = 0;
            std::memcpy(&bits, &cell, sizeof(bits));
            sum = (sum ^ bits) * 0x100000001b3;
        }
        return sum;
    }

private:
    std::vector<double> now_, next_;
};

void progress(int fd, int round) {
    char line[32];
    const int length = std::snprintf(line, sizeof(line), "%d\n", round);
    if (round % every == 0 && write(fd, line, static_cast<size_t>(length)) != length) std::exit(1);
}

void with_openmp(Plate& plate, int rounds, int fd) {
    for (int round = 1; round <= rounds; round++) {
#pragma omp parallel for schedule(dynamic, 16) default(none) shared(plate)
        for (size_t y = 1; y < side - 1; y++) plate.row(y);
        plate.turn();
        progress(fd, round);
    }
}

void with_pthreads(Plate& plate, int rounds, int fd) {
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, nullptr, workers);
    std::array<std::thread, workers> threads;
    for (size_t me = 0; me < workers; me++)
        threads[me] = std::thread([&, me] {
            for (int round = 1; round <= rounds; round++) {
                for (size_t y = 1 + me; y < side - 1; y += workers) plate.row(y);
                if (pthread_barrier_wait(&barrier) != 0) {
                    plate.turn();
                    progress(fd, round);
                }
                pthread_barrier_wait(&barrier);
            }
        });
    for (auto& thread : threads) thread.join();
    pthread_barrier_destroy(&barrier);
}

}  // namespace

int main(int argc, char** argv) {
    const bool openmp = argc == 4 && std::strcmp(argv[1], "openmp") == 0;
    if (!openmp && (argc != 4 || std::strcmp(argv[1], "pthreads") != 0)) {
        std::fprintf(stderr, "usage: krg-numeric openmp|pthreads ROUNDS PROGRESS\n");
        return 2;
    }
    const int rounds = std::atoi(argv[2]), fd = open(argv[3], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) {
        std::perror(argv[3]);
        return 1;
    }
    Plate plate;
    if (openmp)
        with_openmp(plate, rounds, fd);
    else
        with_pthreads(plate, rounds, fd);
    std::printf("%016" PRIx64 "\n", plate.sum());
    return 0;
}
