// SPDX-License-Identifier: GPL-2.0
//
// krg-restore-probe: the kernel's part of restore by itself, without a capture and without the tools: images of its own, and
// the least of a helper.
//
//	krg-restore-probe run ROUNDS             restores two processes, which judge themselves, so many times
//	krg-restore-probe damage ROUNDS SEED     damaged and forged images: refused, or failed with all killed, or run
//	krg-restore-probe orphan                 a restorer that dies leaves nobody behind; nor does one that gives up
#include "include/uapi/linux/krg_proc.h"
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <linux/sched.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image.hh"

using namespace krg::guest;
using namespace krg::probe;

namespace {

constexpr unsigned wait_ms = 10000;

struct Text {
    char bytes[4096] = {};
    [[nodiscard]] krg_proc_text room() { return {reinterpret_cast<std::uintptr_t>(bytes), sizeof bytes - 1, 0}; }
};

/// clone3; in the new task the next thing is the ioctl, in this one the id.
long clone_and_join(clone_args* args, int device, krg_proc_restore_join* join) {
    long result = SYS_clone3;
    register long fd asm("r12") = device;
    register krg_proc_restore_join* arg asm("r13") = join;
    asm volatile("syscall\n\t"
                 "test %%rax, %%rax\n\t"
                 "jnz 1f\n\t"
                 "mov %%r12d, %%edi\n\t"
                 "mov %[request], %%esi\n\t"
                 "mov %%r13, %%rdx\n\t"
                 "mov $16, %%eax\n\t"
                 "syscall\n\t"
                 "mov $99, %%edi\n\t"
                 "mov $60, %%eax\n\t"
                 "syscall\n"
                 "1:"
                 : "+a"(result)
                 : "D"(args), "S"(sizeof *args), [request] "i"(KRG_PROC_RESTORE_JOIN), "r"(fd), "r"(arg)
                 : "rcx", "rdx", "r11", "memory");
    return result < 0 ? (errno = static_cast<int>(-result), -1) : result;
}

long process_with_id(pid_t id) {
    clone_args args{};
    args.exit_signal = SIGCHLD;
    args.set_tid = reinterpret_cast<std::uintptr_t>(&id);
    args.set_tid_size = 1;
    return syscall(SYS_clone3, &args, sizeof args);
}

/// Of this thread: ids took rights, joining takes none.
void drop_rights() {
    if (syscall(SYS_setresgid, 65534, 65534, 65534) || syscall(SYS_setresuid, 65534, 65534, 65534)) _exit(97);
}

/// The helper of the first process: its second thread, then itself. Does not return.
[[noreturn]] void become_two(const Plan& plan, int device, bool drop) {
    static char stack[65536] __attribute__((aligned(16)));
    krg_proc_restore_join first = {plan.thread[0], device, 0}, second = {plan.thread[1], device, 0};
    pid_t id = static_cast<pid_t>(plan.second);
    clone_args args{};
    args.flags = CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    args.stack = reinterpret_cast<std::uintptr_t>(stack);
    args.stack_size = sizeof stack;
    args.set_tid = reinterpret_cast<std::uintptr_t>(&id);
    args.set_tid_size = 1;
    if (clone_and_join(&args, device, &second) < 0) _exit(98);
    if (drop) drop_rights();
    ioctl(device, KRG_PROC_RESTORE_JOIN, &first);
    _exit(99);
}

[[noreturn]] void become_one(const Plan& plan, int device, bool drop) {
    krg_proc_restore_join join = {plan.thread[2], device, 0};
    if (drop) drop_rights();
    ioctl(device, KRG_PROC_RESTORE_JOIN, &join);
    _exit(99);
}

int image_file(const std::string& image) {
    const int fd = memfd_create("image", 0);
    if (fd < 0) fail_errno("memfd_create");
    write_all(fd, 0, image);
    return fd;
}

/// One session. 0, or the errno of what was refused, with the reason in text().
class Session {
public:
    explicit Session(const std::string& image) : device_(open_file("/dev/kerrighed", O_RDWR)), image_(image_file(image)) {}
    int begin() {
        krg_proc_restore_begin arg{};
        arg.fd = image_.get();
        arg.error = text_.room();
        return ioctl(device_.get(), KRG_PROC_RESTORE_BEGIN, &arg) ? errno : 0;
    }
    /// False: an id is taken.
    bool start(const Plan& plan, bool drop = false) {
        first_ = static_cast<pid_t>(process_with_id(static_cast<pid_t>(plan.first)));
        if (first_ == 0) become_two(plan, device_.get(), drop);
        if (first_ > 0) other_ = static_cast<pid_t>(process_with_id(static_cast<pid_t>(plan.other)));
        if (other_ == 0) become_one(plan, device_.get(), drop);
        return first_ > 0 && other_ > 0;
    }
    int wait() {
        krg_proc_restore_wait arg{};
        arg.timeout_ms = wait_ms;
        arg.error = text_.room();
        return ioctl(device_.get(), KRG_PROC_RESTORE_WAIT, &arg) ? errno : 0;
    }
    int go() { return ioctl(device_.get(), KRG_PROC_RESTORE_GO) ? errno : 0; }
    int abort() { return ioctl(device_.get(), KRG_PROC_RESTORE_ABORT) ? errno : 0; }
    void write_image(const std::string& bytes, off_t at) { write_all(image_.get(), at, bytes); }
    [[nodiscard]] std::string text() const { return text_.bytes; }
    [[nodiscard]] pid_t first() const { return first_; }
    [[nodiscard]] pid_t other() const { return other_; }

private:
    Fd device_, image_;
    Text text_;
    pid_t first_ = -1, other_ = -1;
};

int ended(pid_t id, int flags = 0) {
    int status = 0;
    if (waitpid(id, &status, flags) != id) fail_errno("process " + std::to_string(id) + " cannot be waited for");
    return status;
}

/// Both are gone; true: both by SIGKILL.
bool reap(const Session& session) {
    bool killed = true;
    for (const pid_t id : {session.first(), session.other()})
        if (id > 0) {
            const int status = ended(id);
            killed = killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        }
    return killed;
}

void must_exit(pid_t id, const char* what) {
    const int status = ended(id);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 42) return;
    fail(std::string(what) + (WIFEXITED(status) ? " ended with status " + std::to_string(WEXITSTATUS(status))
                                                : " was ended by signal " + std::to_string(WTERMSIG(status))));
}

/// Ids far from those that are given out now, below the kernel's limit.
Plan plan_of() {
    unsigned long limit = 0;
    if (!(std::ifstream("/proc/sys/kernel/pid_max") >> limit)) fail("pid_max cannot be read");
    const auto id = static_cast<std::uint32_t>(limit > 22000 ? 21000 : limit - 16);
    Plan plan{};
    plan.first = id;
    plan.second = id + 1;
    plan.other = id + 2;
    return plan;
}

void run_once(const Plan& plan, const std::string& image, bool drop) {
    Session session(image);
    if (const int err = session.begin()) fail("BEGIN: " + error_name(err) + ": " + session.text());
    if (!session.start(plan, drop)) fail_errno("a helper with the right id");
    if (const int err = session.wait()) fail("WAIT: " + error_name(err) + ": " + session.text());
    const double start = now_s();
    if (const int err = session.go()) fail("GO: " + error_name(err));
    const int status = ended(session.other(), WUNTRACED);
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTSTP) fail("the stopped process is not stopped by SIGTSTP");
    sleep_ms(20);
    kill(session.other(), SIGCONT);
    must_exit(session.other(), "the other process");
    must_exit(session.first(), "the first process");
    if (now_s() - start < 0.045) fail("the nanosleep that had 50 ms left took less");
}

int run(unsigned rounds) {
    Plan plan = plan_of();
    const std::string image = make_image(plan);
    for (unsigned n = 0; n < rounds; n++) run_once(plan, image, n % 2 == 1);
    std::printf("%u sessions, each with two processes and three threads that judged themselves\n", rounds);
    return done;
}

struct Counts {
    unsigned refused = 0, failed = 0, ran = 0;
};

void damage_once(const Plan& plan, const std::string& image, Random& random, Counts& counts) {
    Session session(image);
    if (session.begin()) {
        if (session.text().empty()) fail("an image was refused without a reason");
        counts.refused++;
        return;
    }
    if (!session.start(plan, random.chance(50))) fail_errno("a helper with the right id");
    if (const int err = session.wait()) {
        if (err == ETIMEDOUT) fail("a session neither failed nor became ready");
        if (session.text().empty()) fail("a session failed without a reason");
        // Who is not of the session, because it was refused before, ends by itself.
        reap(session);
        counts.failed++;
        return;
    }
    if (random.chance(30)) {
        session.abort();
        if (!reap(session)) fail("a session that was given up left somebody alive");
        return;
    }
    if (session.go()) fail("a session that is ready did not go");
    sleep_ms(static_cast<unsigned>(random.below(40)));
    for (const pid_t id : {session.first(), session.other()}) kill(id, SIGKILL);
    reap(session);
    counts.ran++;
}

int damage(unsigned rounds, std::uint64_t seed) {
    Plan plan = plan_of();
    const std::string image = make_image(plan);
    Random random(seed);
    Counts counts;
    set_context("seed " + std::to_string(seed));
    for (unsigned n = 0; n < rounds; n++) {
        const Damage kind = n % 4 == 0 ? static_cast<Damage>(random.below(3)) : Damage::forge;
        damage_once(plan, damaged(image, kind, random), random, counts);
    }
    std::printf("%u images: %u refused, %u failed, %u ran\n", rounds, counts.refused, counts.failed, counts.ran);
    if (!counts.refused || !counts.failed || !counts.ran) fail("not every outcome was seen: too few rounds");
    return done;
}

bool exists(pid_t id) { return kill(id, 0) == 0; }

/// Dies between the steps `begin` to `wait`, or closes the device.
void orphan_once(const Plan& plan, const std::string& image, bool close_only) {
    const pid_t restorer = fork();
    if (restorer == 0) {
        Session session(image);
        if (session.begin() || !session.start(plan) || (!close_only && session.wait())) _exit(1);
        if (!close_only) raise(SIGKILL);
        _exit(0);
    }
    ended(restorer);
    for (unsigned n = 0; exists(static_cast<pid_t>(plan.first)) || exists(static_cast<pid_t>(plan.other)); n++) {
        if (n > 500) fail("helpers are alive five seconds after their restorer");
        sleep_ms(10);
    }
}

void changed_image(const Plan& plan, const std::string& image) {
    Session session(image);
    if (session.begin()) fail("BEGIN: " + session.text());
    for (std::size_t at = 4096; at < image.size(); at += 1024) session.write_image("changed", static_cast<off_t>(at));
    if (!session.start(plan)) fail_errno("a helper with the right id");
    if (session.wait() != EBADMSG) fail("an image that has changed was restored: " + session.text());
    if (!reap(session)) fail("of an image that has changed somebody is alive");
}

void wrong_joins(const Plan& plan, const std::string& image) {
    Session session(image);
    if (session.begin()) fail("BEGIN: " + session.text());
    if (session.go() != EAGAIN) fail("GO before anybody has joined");
    Plan swapped = plan;
    swapped.thread[0] = plan.thread[2];
    swapped.thread[2] = plan.thread[0];
    if (!session.start(swapped)) fail_errno("a helper with the right id");
    if (session.wait() != ESRCH) fail("a process became one with another id: " + session.text());
    reap(session);
    if (session.go() != ECANCELED) fail("GO after failure");
}

int orphan() {
    Plan plan = plan_of();
    const std::string image = make_image(plan);
    for (int n = 0; n < 20; n++) orphan_once(plan, image, n % 2);
    changed_image(plan, image);
    wrong_joins(plan, image);
    std::printf("restorers that died, an image that changed, processes with the wrong id: nobody is left\n");
    return done;
}

}  // namespace

int main(int argc, char** argv) {
    set_program("krg-restore-probe");
    const std::string what = argc > 1 ? argv[1] : "";
    const auto number = [&](int n) { return argc > n ? std::strtoul(argv[n], nullptr, 10) : 0; };
    if (what == "run" && argc == 3) return run(static_cast<unsigned>(number(2)));
    if (what == "damage" && argc == 4) return damage(static_cast<unsigned>(number(2)), number(3));
    if (what == "orphan" && argc == 2) return orphan();
    fail("run ROUNDS | damage ROUNDS SEED | orphan", usage);
}
