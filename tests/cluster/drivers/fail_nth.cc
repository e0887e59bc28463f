// SPDX-License-Identifier: GPL-2.0
//
// Runs inside a guest with the debug kernel: loads or unloads a module again and again while the Nth allocation of this task
// fails (/proc/thread-self/fail-nth), for each N of a range. For test_allocfail.
//
//	krg-fail-nth load|unload FILE NAME FROM TO
//
// Prints a line `N ERRNO INJECTED` per N: the call's error number or 0, and whether N was reached, 1 or 0. The first N that
// was not reached is the last. Each N begins and ends with the module out. Exit status 0 unless the test itself could not be
// done. One process for many N: starting one costs an emulated machine more than the call.
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

class Failing {
public:
    Failing(bool loading, const char* file, const char* name) : loading_(loading), file_(file), name_(name) {}

    /// All of FROM..TO; main()'s exit status.
    int run(int from, int to) {
        module_ = open(file_, O_RDONLY | O_CLOEXEC);
        if (module_ < 0) return failure("open the module");
        nth_ = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
        if (nth_ < 0) return failure("open fail-nth (no fault injection in this kernel?)");
        for (int n = from; n <= to; ++n) {
            bool reached = false;
            if (int status = once(n, reached); status != 0) return status;
            if (!reached) break;
        }
        return 0;
    }

private:
    static int failure(const char* what) {
        std::fprintf(stderr, "krg-fail-nth: cannot %s: %s\n", what, std::strerror(errno));
        return 1;
    }

    [[nodiscard]] long load() const { return syscall(SYS_finit_module, module_, "", 0); }
    [[nodiscard]] long unload() const { return syscall(SYS_delete_module, name_, O_NONBLOCK); }

    int once(int n, bool& reached) const {
        if (!loading_ && load() != 0) return failure("load the module");
        const std::string count = std::to_string(n);
        if (pwrite(nth_, count.data(), count.size(), 0) < 0) return failure("set fail-nth");
        const long status = loading_ ? load() : unload();
        const int error = status == 0 ? 0 : errno;
        char left[32] = {};
        if (pread(nth_, left, sizeof left - 1, 0) < 0) return failure("read fail-nth");
        if (pwrite(nth_, "0", 1, 0) < 0) return failure("clear fail-nth");
        int remaining = 0;
        std::from_chars(left, left + std::strlen(left), remaining);
        reached = remaining == 0;
        std::printf("%d %d %d\n", n, error, reached ? 1 : 0);
        std::fflush(stdout);
        const bool in = loading_ == (error == 0);
        if (in && unload() != 0) return failure("unload the module");
        return 0;
    }

    bool loading_;
    const char* file_;
    const char* name_;
    int module_ = -1, nth_ = -1;
};

bool number(const char* text, int& value) {
    const char* end = text + std::strlen(text);
    return std::from_chars(text, end, value).ptr == end && value > 0;
}

}  // namespace

int main(int argc, char** argv) {
    int from = 0, to = 0;
    const std::string verb = argc == 6 ? argv[1] : "";
    if ((verb != "load" && verb != "unload") || !number(argv[4], from) || !number(argv[5], to)) {
        std::fputs("usage: krg-fail-nth load|unload FILE NAME FROM TO\n", stderr);
        return 2;
    }
    return Failing(verb == "load", argv[2], argv[3]).run(from, to);
}
