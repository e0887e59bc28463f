// SPDX-License-Identifier: GPL-2.0
//
// Runs inside a guest with the debug kernel: loads or unloads a module while the Nth allocation of this task fails
// (/proc/thread-self/fail-nth). For test_allocfail.
//
//	krg-fail-nth load FILE N | unload NAME N
//
// Prints `ERRNO INJECTED`: the call's error number or 0, and whether N was reached, 1 or 0. Exit status 0 unless the test
// itself could not be done.
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

int failure(const char* what) {
    std::fprintf(stderr, "krg-fail-nth: cannot %s: %s\n", what, std::strerror(errno));
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fputs("usage: krg-fail-nth load FILE N | unload NAME N\n", stderr);
        return 2;
    }
    const std::string verb = argv[1], count = argv[3];
    const bool load = verb == "load";
    int module = load ? open(argv[2], O_RDONLY | O_CLOEXEC) : -1;
    if (load && module < 0) return failure("open the module");
    int nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
    if (nth < 0) return failure("open fail-nth (no fault injection in this kernel?)");
    if (write(nth, count.data(), count.size()) < 0) return failure("set fail-nth");
    long status = load ? syscall(SYS_finit_module, module, "", 0) : syscall(SYS_delete_module, argv[2], O_NONBLOCK);
    const int error = status == 0 ? 0 : errno;
    char left[32] = {};
    if (pread(nth, left, sizeof left - 1, 0) < 0) return failure("read fail-nth");
    if (pwrite(nth, "0", 1, 0) < 0) return failure("clear fail-nth");
    int remaining = 0;
    std::from_chars(left, left + std::strlen(left), remaining);
    std::printf("%d %d\n", error, remaining == 0 ? 1 : 0);
    return 0;
}
