// SPDX-License-Identifier: GPL-2.0
//
// Runs inside a guest with the debug kernel: ordinary calls on files while allocations of this task may fail
// (/proc/thread-self/make-it-fail; what fails is set up by test_allocfail). Each call must work or end with ENOMEM, and what has
// worked must be there afterwards, on every node.
//
//	krg-fail-files work DIR SEED COUNT        works in DIR, and writes down what must be there in DIR.log
//	krg-fail-files look DIR SEED LOG          is it?
#include "tests/guest/guest.hh"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <sstream>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

using namespace krg::guest;

namespace {

constexpr std::size_t file_size = 12'000;

/// Calls made inside of it may find no memory.
class Hungry {
public:
    Hungry() { say("1"); }
    ~Hungry() {
        const int error = errno;
        say("0");
        errno = error;
    }
    Hungry(const Hungry&) = delete;
    Hungry& operator=(const Hungry&) = delete;

private:
    static void say(const char* value) {
        static const int fd = open("/proc/thread-self/make-it-fail", O_WRONLY | O_CLOEXEC);
        if (fd < 0 || pwrite(fd, value, 1, 0) != 1) fail_errno("make-it-fail (no fault injection in this kernel?)");
    }
};

std::string content(std::uint64_t seed, unsigned number) { return Random(mix(seed, number)).bytes(file_size); }

class Worker {
public:
    Worker(std::string dir, std::uint64_t seed) : dir_(std::move(dir)), seed_(seed), random_(seed) {}

    void run(unsigned count) {
        for (unsigned n = 0; n < count; n++) once(n);
        std::ostringstream log;
        for (const auto& [name, number] : sure_) log << name << ' ' << number << '\n';
        publish_text(dir_ + ".log", log.str());
        std::printf("%u calls, %u without memory, %zu files are there for sure\n", calls_, refused_, sure_.size());
    }

private:
    /// Did it work? Anything but success and ENOMEM ends the test.
    bool worked(long result, const char* what) {
        calls_++;
        if (result >= 0) return true;
        if (errno != ENOMEM) fail_errno(what);
        refused_++;
        return false;
    }

    bool write_file(const std::string& path, const std::string& bytes) {
        int fd = -1;
        {
            const Hungry hungry;
            fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
        }
        if (!worked(fd, "open")) return false;
        const Fd file(fd);
        for (std::size_t done = 0; done < bytes.size();) {
            ssize_t n = 0;
            {
                const Hungry hungry;
                n = pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
            }
            if (!worked(n, "write")) return false;
            done += static_cast<std::size_t>(n);
        }
        return true;
    }

    void once(unsigned n) {
        const std::string name = "f" + std::to_string(random_.below(20)), path = dir_ + "/" + name;
        switch (random_.below(4)) {
        case 0: {
            const std::string other = "f" + std::to_string(random_.below(20));
            if (!sure_.count(name) || other == name) return;
            int result = 0;
            {
                const Hungry hungry;
                result = rename(path.c_str(), (dir_ + "/" + other).c_str());
            }
            if (!worked(result, "rename")) return;
            sure_[other] = sure_[name];
            sure_.erase(name);
            return;
        }
        case 1: {
            if (!sure_.count(name)) return;
            int result = 0;
            {
                const Hungry hungry;
                result = unlink(path.c_str());
            }
            if (worked(result, "unlink")) sure_.erase(name);
            return;
        }
        default:
            sure_.erase(name);
            if (write_file(path, content(seed_, n))) sure_[name] = n;
        }
    }

    std::string dir_;
    std::uint64_t seed_;
    Random random_;
    std::map<std::string, unsigned> sure_;
    unsigned calls_ = 0, refused_ = 0;
};

void look(const std::string& dir, std::uint64_t seed, const std::string& log) {
    std::istringstream lines(read_text(log));
    std::string name;
    unsigned number = 0;
    while (lines >> name >> number) {
        const Fd fd = open_file(dir + "/" + name, O_RDONLY);
        struct stat st {};
        if (fstat(fd.get(), &st) != 0) fail_errno(name);
        if (st.st_size != static_cast<off_t>(file_size)) fail(name + " has " + std::to_string(st.st_size) + " bytes");
        if (read_all(fd.get(), 0, file_size) != content(seed, number)) fail(name + " is not what was written");
    }
}

}  // namespace

int main(int argc, char** argv) {
    set_program("krg-fail-files");
    const std::string what = argc > 1 ? argv[1] : "";
    if (what == "work" && argc == 5)
        Worker(argv[2], std::strtoull(argv[3], nullptr, 10)).run(static_cast<unsigned>(std::strtoul(argv[4], nullptr, 10)));
    else if (what == "look" && argc == 5)
        look(argv[2], std::strtoull(argv[3], nullptr, 10), argv[4]);
    else
        fail("usage: krg-fail-files work DIR SEED COUNT, or look DIR SEED LOG", krg::guest::usage);
}
