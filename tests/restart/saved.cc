// SPDX-License-Identifier: GPL-2.0
#include "tests/restart/saved.hh"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace krg::restart::testing {

Saved::Saved() {
    char name[] = "/tmp/krg-restart-test-XXXXXX";
    folder = mkdtemp(name);
    ghost::testing::add_image(maker);
    creds_ = maker.add(KRG_GHOST_CREDS, {});
}

Saved::~Saved() { std::filesystem::remove_all(folder); }

u64 Saved::task(pid_t pid, u64 group, u64 parent, u64 table) {
    const u64 sighand = maker.add(KRG_GHOST_SIGHAND, {});
    const u64 fs = maker.add(KRG_GHOST_FS, {{KRG_GHOST_FS_UMASK, 027}});
    if (!table) table = maker.add(KRG_GHOST_FILES, {});
    const u64 mm = maker.add(KRG_GHOST_MM, {{KRG_GHOST_MM_KEY, pid}});
    std::vector<Put> fields{{KRG_GHOST_TASK_PID, pid}};
    if (parent) fields.push_back({KRG_GHOST_TASK_PARENT, parent});
    for (const Put& put : {Put{KRG_GHOST_TASK_GROUP, group}, Put{KRG_GHOST_TASK_MM, mm}, Put{KRG_GHOST_TASK_SIGHAND, sighand},
                           Put{KRG_GHOST_TASK_EXIT_SIGNAL, SIGCHLD}})
        fields.push_back(put);
    const u64 task = maker.add(KRG_GHOST_TASK, fields);
    const u64 thread = maker.add(KRG_GHOST_THREAD, {{KRG_GHOST_THREAD_TASK, task},
                                                    {KRG_GHOST_THREAD_TID, pid},
                                                    {KRG_GHOST_THREAD_CREDS, creds_},
                                                    {KRG_GHOST_THREAD_FILES, table},
                                                    {KRG_GHOST_THREAD_FS, fs}});
    maker.add(KRG_GHOST_REGISTERS, {{KRG_GHOST_REGISTERS_THREAD, thread},
                                    {KRG_GHOST_REGISTERS_IP, 4096},
                                    {KRG_GHOST_REGISTERS_CS, 0x33},
                                    {KRG_GHOST_REGISTERS_SP, 4096}});
    return task;
}

u64 Saved::regular(const std::string& path, int flags, u64 offset) {
    struct stat st {};
    stat(path.c_str(), &st);
    return maker.add(KRG_GHOST_FILE_REGULAR, {{KRG_GHOST_FILE_REGULAR_FLAGS, flags},
                                              {KRG_GHOST_FILE_REGULAR_PATH, path},
                                              {KRG_GHOST_FILE_REGULAR_OFFSET, offset},
                                              {KRG_GHOST_FILE_REGULAR_SIZE, static_cast<u64>(st.st_size)}});
}

void Saved::descriptor(u64 table, int number, u64 file, bool close_on_exec) {
    maker.add(KRG_GHOST_FD, {{KRG_GHOST_FD_FILES, table},
                             {KRG_GHOST_FD_NUMBER, number},
                             {KRG_GHOST_FD_FILE, file},
                             {KRG_GHOST_FD_FLAGS, close_on_exec ? 1 : 0}});
}

std::string Saved::write() {
    const auto bytes = maker.close();
    if (maker.error().code) throw std::runtime_error(std::string("the image is not right: ") + maker.error().reason);
    std::ofstream(folder + "/image", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
    return folder + "/image";
}

std::string in_child(const std::function<std::string()>& body) {
    int fds[2];
    if (pipe(fds) != 0) return "pipe";
    const pid_t child = fork();
    if (child == 0) {
        alarm(30);  // nothing here waits for ever
        // Descriptor tables are rebuilt here: what is said at the end goes through a number that is not in the way.
        const int out = dup2(fds[1], 900);
        std::string text;
        try {
            text = body();
        } catch (const std::exception& error) {
            text = std::string("thrown: ") + error.what();
        }
        if (write(out, text.data(), text.size()) < 0) _exit(1);
        _exit(0);
    }
    close(fds[1]);
    std::string text;
    char buffer[4096];
    for (ssize_t n; (n = read(fds[0], buffer, sizeof(buffer))) > 0;) text.append(buffer, static_cast<size_t>(n));
    close(fds[0]);
    int status = 0;
    waitpid(child, &status, 0);
    return status == 0 ? text : "the child ended with " + std::to_string(status) + " " + text;
}

pid_t free_pid(int n) {
    pid_t most = 32768;
    std::ifstream("/proc/sys/kernel/pid_max") >> most;
    pid_t pid = most - 50;
    for (int found = 0;; pid--)
        if (kill(pid, 0) != 0 && errno == ESRCH && kill(-pid, 0) != 0 && found++ == n) return pid;
}

}  // namespace krg::restart::testing
