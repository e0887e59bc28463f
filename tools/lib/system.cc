// SPDX-License-Identifier: GPL-2.0
// The machine behind the interface of system.hh. Programs are started without a shell.
#include "tools/lib/system.hh"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <linux/if.h>
#include <linux/tipc.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tools/lib/error.hh"
#include "tools/lib/key.hh"

namespace krg {
namespace {

const std::filesystem::path note_folder = "/run/kerrighed";

/** Runs a program with its output thrown away; true when it ended with 0. */
bool run(const std::vector<std::string>& command) {
    std::vector<char*> argv;
    argv.reserve(command.size() + 1);
    for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid = 0;
    const int error = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) return false;
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::string modprobe() {
    for (const char* path : {"/sbin/modprobe", "/usr/sbin/modprobe"})
        if (access(path, X_OK) == 0) return path;
    return "modprobe";
}

class Socket {
public:
    Socket(int domain, int type) : fd_(socket(domain, type | SOCK_CLOEXEC, 0)) {}
    ~Socket() {
        if (fd_ >= 0) close(fd_);
    }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;

    [[nodiscard]] int fd() const { return fd_; }

private:
    int fd_;
};

class Machine : public System {
public:
    std::unique_ptr<Transport> open(const std::string& family) override { return open_family(family); }

    bool load_module(const std::string& name) override { return run({modprobe(), "-q", name}); }

    bool module_available(const std::string& name) override { return run({modprobe(), "-n", "-q", name}); }

    bool unload_module(const std::string& name) override {
        return syscall(SYS_delete_module, name.c_str(), O_NONBLOCK) == 0 || errno == ENOENT;
    }

    std::optional<Bytes> mac(const std::string& link) override {
        std::ifstream file("/sys/class/net/" + link + "/address");
        std::string text;
        if (!(file >> text)) return std::nullopt;
        Bytes bytes;
        std::istringstream parts(text);
        for (std::string part; std::getline(parts, part, ':');)
            bytes.push_back(static_cast<std::uint8_t>(std::stoul(part, nullptr, 16)));
        if (bytes.size() != 6) return std::nullopt;
        return bytes;
    }

    bool bring_up(const std::string& link) override {
        const Socket socket(AF_INET, SOCK_DGRAM);
        ifreq request{};
        std::strncpy(request.ifr_name, link.c_str(), IFNAMSIZ - 1);
        if (socket.fd() < 0 || ioctl(socket.fd(), SIOCGIFFLAGS, &request) != 0) return false;
        if ((request.ifr_flags & IFF_UP) != 0) return true;
        request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
        return ioctl(socket.fd(), SIOCSIFFLAGS, &request) == 0;
    }

    std::uint32_t tipc_address(std::chrono::milliseconds timeout) override {
        const auto end = std::chrono::steady_clock::now() + timeout;
        const Socket socket(AF_TIPC, SOCK_RDM);
        if (socket.fd() < 0) return 0;
        for (;;) {
            sockaddr_tipc address{};
            socklen_t length = sizeof(address);
            if (getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&address), &length) == 0 && address.addr.id.node != 0)
                return address.addr.id.node;
            if (std::chrono::steady_clock::now() >= end) return 0;
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
        }
    }

    bool may_administer() override {
        constexpr unsigned sys_admin = 21;  // CAP_SYS_ADMIN, see capabilities(7)
        std::ifstream status("/proc/self/status");
        for (std::string word; status >> word;)
            if (std::uint64_t mask = 0; word == "CapEff:" && status >> std::hex >> mask) return (mask >> sys_admin & 1) != 0;
        return true;  // cannot tell: let the kernel say it
    }

    Bytes random(std::size_t size) override { return random_bytes(size); }

    std::string read_note(const std::string& name) override {
        std::ifstream file(note_folder / name);
        if (!file && errno == EACCES)
            throw Error(Exit::not_permitted, "cannot read " + (note_folder / name).string(), "run as root");
        std::stringstream text;
        text << file.rdbuf();
        return text.str();
    }

    FileText proc(const std::string& name, const std::string& question) override {
        const std::string path = "/proc/kerrighed/" + name;
        const int fd = ::open(path.c_str(), (question.empty() ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        if (fd < 0) return {errno, ""};
        FileText answer;
        if (!question.empty() && write(fd, question.data(), question.size()) < 0) answer.error = errno;
        std::array<char, 4096> piece;
        ssize_t got = 0;
        while (answer.error == 0 && (got = read(fd, piece.data(), piece.size())) > 0)
            answer.text.append(piece.data(), static_cast<std::size_t>(got));
        if (got < 0) answer.error = errno;
        close(fd);
        return answer;
    }

    FileText attribute(const std::string& path, const std::string& name) override {
        std::array<char, 256> value;
        const ssize_t got = getxattr(path.c_str(), name.c_str(), value.data(), value.size());
        if (got < 0) return {errno, ""};
        return {0, std::string(value.data(), static_cast<std::size_t>(got))};
    }

    void write_note(const std::string& name, const std::string& text) override {
        std::error_code ignored;
        std::filesystem::create_directories(note_folder, ignored);
        const auto path = note_folder / name;
        const auto fresh = note_folder / ("." + name + ".new");
        {
            const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
            const bool written = fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
            const int error = errno;
            if (fd >= 0) close(fd);
            if (!written)
                throw Error(error == EACCES ? Exit::not_permitted : Exit::failed,
                            "cannot write " + fresh.string() + ": " + std::strerror(error));
        }
        std::filesystem::rename(fresh, path);
    }
};

}  // namespace

std::unique_ptr<System> this_machine() { return std::make_unique<Machine>(); }

std::string host_name() {
    std::array<char, 256> name{};
    if (gethostname(name.data(), name.size() - 1) != 0) return {};
    const std::string full = name.data();
    return full.substr(0, full.find('.'));
}

}  // namespace krg
