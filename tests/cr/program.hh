// SPDX-License-Identifier: GPL-2.0
//
// The protocol of the programs in this folder. A program sets something up, calls Run::operation(), which says that it is
// ready and returns when SIGTERM came, and checks that everything is as it was. While it waits anything may have happened
// to it: it may have been saved and restarted, or may run on another machine. It must not be able to tell.
//
// What the states are, and how they are checked, is in the other files; how programs are started and judged in ../cluster.
#pragma once

#include <functional>
#include <sstream>
#include <string>
#include <sys/types.h>
#include <vector>

namespace krg::cr {

/// What a program wants from whoever starts it; becomes its `.args` file.
enum class Needs { nothing, file, directory };

class Run {
public:
    std::string filename;   ///< does not exist yet
    std::string directory;  ///< does not exist yet

    /// Says ready, waits for SIGTERM. With --break `disturb` is called then: the checks that follow have to notice.
    void operation(const std::function<void()>& disturb = {}) const;
    /// The two halves of it, for programs whose first thread is busy meanwhile.
    void ready() const;
    void disturb(const std::function<void()>& what) const;

    bool broken = false;  ///< --break
    std::string pidfile;
};

struct Program {
    const char* name;
    const char* checks;  ///< one line
    Needs needs;
    void (*body)(Run& run);
};

/// Fills the list main() looks in.
struct Registered {
    explicit Registered(const Program& program);
};

#define CR_PROGRAM(name, needs, checks)                                                                                        \
    static void program_##name(Run& run);                                                                                      \
    static const Registered registered_##name({#name, checks, needs, program_##name});                                         \
    static void program_##name([[maybe_unused]] Run& run)

/// Blocks until SIGTERM, which is blocked in every thread and child from the beginning.
void await_term();

/// Writes the reason to the outfile and ends the process. Works in threads and children too: one failure is enough.
[[noreturn]] void fail(const std::string& reason);

/// The state cannot exist on this machine. Goes to the outfile; the program passes without having shown anything.
[[noreturn]] void skip(const Run& run, const std::string& reason);

/// A remark in the outfile.
void remark(const std::string& text);

/// The result of a call without which there is nothing to check.
long must(long result, const char* call);
void* must_map(void* address);

template<typename T>
std::string shown(const T& value) {
    std::ostringstream text;
    text << value;
    return text.str();
}

template<typename A, typename B>
void same(const std::string& what, const A& expected, const B& found) {
    if (!(found == static_cast<B>(expected))) fail(what + ": expected " + shown(expected) + ", found " + shown(found));
}

inline void holds(const std::string& what, bool found) {
    if (!found) fail(what + ": does not hold any more");
}

/// At least `least`, at most `most`.
template<typename T>
void within(const std::string& what, T least, T most, T found) {
    if (found < least || found > most)
        fail(what + ": expected " + shown(least) + " to " + shown(most) + ", found " + shown(found));
}

/// A child: `before` is done when this returns; after SIGTERM to the child it does `after` and ends with status 0.
pid_t spawn(const std::function<void()>& before, const std::function<void()>& after);
/// SIGTERM to such a child, and its end with status 0.
void finish(pid_t child);

/// The whole of a file; of /proc too.
std::string contents(const std::string& path);
/// The rest of the line of /proc/self/status that begins with `field:`.
std::string status_field(const std::string& field, pid_t pid = 0);
/// Lines of /proc/self/smaps about the mapping that holds `address`.
std::string smaps_of(const void* address);
bool mapping_has_flag(const void* address, const std::string& flag);

/// Bytes that differ from place to place and from seed to seed.
void fill(void* to, size_t size, unsigned seed);
void verify(const std::string& what, const void* found, size_t size, unsigned seed);

double clock_s(clockid_t clock);

}  // namespace krg::cr
