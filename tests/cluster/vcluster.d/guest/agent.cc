// SPDX-License-Identifier: GPL-2.0
//
// The agent: one process per connection, one command per connection. The command's output travels as it comes, its input is
// handed on as far as it reads (credits), signals reach its whole process group. A connection that goes away takes the
// command with it: hang-up first, kill a second later.
#include "parts.h"

#include "../agent_protocol.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace krg::vcluster::guest {

namespace {

/// What the host asked to run.
struct Command {
    bool tty = false;
    unsigned short rows = 24, columns = 80;
    std::string directory;
    std::vector<std::string> variables, arguments;
};

class Session {
public:
    explicit Session(int socket_fd) : socket_(socket_fd) {}
    void run();

private:
    bool send(FrameType type, const void* data, size_t size);
    void send_failure(uint8_t status, const std::string& text);
    bool receive_command(Command& command);
    bool start(const Command& command);
    [[noreturn]] static void become(const Command& command, int error_pipe);
    bool handle_frames();
    bool handle_frame(FrameType type, std::string payload);
    void feed_stdin();
    bool pump_output(int& fd, FrameType type);
    void drain(int& fd, FrameType type);
    void finish();
    void hang_up();

    int socket_;
    int stdin_ = -1, stdout_ = -1, stderr_ = -1;  // our ends; all three are the same file with a terminal
    int pidfd_ = -1;
    pid_t child_ = -1;
    bool tty_ = false, stdin_ended_ = false;
    std::string received_, pending_stdin_;
};

bool Session::send(FrameType type, const void* data, size_t size) {
    FrameHeader header{static_cast<uint8_t>(type), {}, static_cast<uint32_t>(size)};
    return write_all(socket_, &header, sizeof header) && (size == 0 || write_all(socket_, data, size));
}

void Session::send_failure(uint8_t status, const std::string& text) {
    std::string payload(1, static_cast<char>(status));
    payload += text;
    send(FrameType::failed, payload.data(), payload.size());
}

bool Session::receive_command(Command& command) {
    FrameHeader header{};
    if (!read_exactly(socket_, &header, sizeof header) || header.type != static_cast<uint8_t>(FrameType::exec) ||
        header.length > frame_max_bytes)
        return false;
    std::string payload(header.length, '\0');
    if (!read_exactly(socket_, payload.data(), payload.size())) return false;
    std::vector<std::string> words;
    for (size_t at = 0; at < payload.size();) {
        size_t end = payload.find('\0', at);
        if (end == std::string::npos) return false;
        words.push_back(payload.substr(at, end - at));
        at = end + 1;
    }
    if (words.size() < 6) return false;
    command.tty = words[0] == "tty";
    command.rows = static_cast<unsigned short>(std::atoi(words[1].c_str()));
    command.columns = static_cast<unsigned short>(std::atoi(words[2].c_str()));
    command.directory = words[3];
    size_t variables = static_cast<size_t>(std::atoi(words[4].c_str()));
    if (words.size() < 6 + variables) return false;
    auto first_argument = words.begin() + 5 + static_cast<ptrdiff_t>(variables);
    command.variables.assign(words.begin() + 5, first_argument);
    command.arguments.assign(first_argument, words.end());
    return true;
}

// In the child: everything is set up, replace it by the command or say why not.
void Session::become(const Command& command, int error_pipe) {
    if (command.directory.empty() || chdir(command.directory.c_str()) != 0) (void)!chdir("/");
    for (const auto& variable : command.variables) putenv(const_cast<char*>(variable.c_str()));
    for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    std::vector<char*> argv;
    for (const auto& word : command.arguments) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
    int error = errno;
    (void)!write(error_pipe, &error, sizeof error);
    _exit(127);
}

bool Session::start(const Command& command) {
    int error_pipe[2], in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, terminal = -1;
    if (pipe2(error_pipe, O_CLOEXEC) != 0) return false;
    tty_ = command.tty;
    if (tty_) {
        winsize size{command.rows, command.columns, 0, 0};
        child_ = forkpty(&terminal, nullptr, nullptr, &size);
        if (child_ == 0) become(command, error_pipe[1]);
        fcntl(terminal, F_SETFD, FD_CLOEXEC);
        stdin_ = stdout_ = terminal;
    } else {
        if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) return false;
        child_ = fork();
        if (child_ == 0) {
            setsid();
            dup2(in[0], 0);
            dup2(out[1], 1);
            dup2(err[1], 2);
            become(command, error_pipe[1]);
        }
        close(in[0]);
        close(out[1]);
        close(err[1]);
        stdin_ = in[1];
        stdout_ = out[0];
        stderr_ = err[0];
    }
    close(error_pipe[1]);
    if (child_ < 0) return false;
    int error = 0;
    if (read_exactly(error_pipe[0], &error, sizeof error)) {
        waitpid(child_, nullptr, 0);
        send_failure(error == ENOENT ? 127 : 126, command.arguments[0] + ": " + std::strerror(error));
        child_ = -1;
        return false;
    }
    close(error_pipe[0]);
    fcntl(stdin_, F_SETFL, fcntl(stdin_, F_GETFL) | O_NONBLOCK);
    fcntl(stdout_, F_SETFL, fcntl(stdout_, F_GETFL) | O_NONBLOCK);
    if (stderr_ >= 0) fcntl(stderr_, F_SETFL, fcntl(stderr_, F_GETFL) | O_NONBLOCK);
    pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, child_, 0));
    return pidfd_ >= 0;
}

void Session::feed_stdin() {
    while (stdin_ >= 0 && !pending_stdin_.empty()) {
        ssize_t put = write(stdin_, pending_stdin_.data(), pending_stdin_.size());
        if (put < 0 && errno == EINTR) continue;
        if (put < 0 && errno == EAGAIN) return;
        // A command that closed its input gets no more; the sender's window opens all the same.
        uint32_t done = put < 0 ? static_cast<uint32_t>(pending_stdin_.size()) : static_cast<uint32_t>(put);
        pending_stdin_.erase(0, done);
        send(FrameType::stdin_credit, &done, sizeof done);
    }
    if (stdin_ >= 0 && stdin_ended_ && pending_stdin_.empty() && !tty_) {
        close(stdin_);
        stdin_ = -1;
    }
}

bool Session::handle_frame(FrameType type, std::string payload) {
    switch (type) {
    case FrameType::stdin_data:
        pending_stdin_ += payload;
        if (pending_stdin_.size() > 2 * stdin_window_bytes) return false;
        feed_stdin();
        return true;
    case FrameType::stdin_end:
        if (tty_) pending_stdin_ += '\4';  // what a terminal's user types for it
        stdin_ended_ = true;
        feed_stdin();
        return true;
    case FrameType::signal:
        if (!payload.empty()) kill(-child_, payload[0]);
        return true;
    case FrameType::window_size:
        if (payload.size() == 4 && tty_) {
            winsize size{};
            std::memcpy(&size.ws_row, payload.data(), 2);
            std::memcpy(&size.ws_col, payload.data() + 2, 2);
            ioctl(stdout_, TIOCSWINSZ, &size);
        }
        return true;
    default: return false;
    }
}

bool Session::handle_frames() {
    char buffer[65536];
    ssize_t got = recv(socket_, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (got <= 0) return false;
    received_.append(buffer, static_cast<size_t>(got));
    for (FrameHeader header{}; received_.size() >= sizeof header;) {
        std::memcpy(&header, received_.data(), sizeof header);
        if (header.length > frame_max_bytes) return false;
        if (received_.size() < sizeof header + header.length) break;
        std::string payload = received_.substr(sizeof header, header.length);
        received_.erase(0, sizeof header + header.length);
        if (!handle_frame(static_cast<FrameType>(header.type), std::move(payload))) return false;
    }
    return true;
}

// False when the host is gone. At the end of the file `fd` becomes -1.
bool Session::pump_output(int& fd, FrameType type) {
    char buffer[65536];
    ssize_t got = read(fd, buffer, sizeof buffer);
    if (got > 0) return send(type, buffer, static_cast<size_t>(got));
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (!tty_) close(fd);
    fd = -1;
    return true;
}

void Session::drain(int& fd, FrameType type) {
    char buffer[65536];
    for (ssize_t got; fd >= 0 && (got = read(fd, buffer, sizeof buffer)) > 0;) send(type, buffer, static_cast<size_t>(got));
}

// The command has ended: everything it wrote is in the pipes by now. A daemon it left behind may keep them open; nobody
// waits for that.
void Session::finish() {
    int status = 0;
    waitpid(child_, &status, 0);
    drain(stdout_, FrameType::stdout_data);
    drain(stderr_, FrameType::stderr_data);
    uint8_t payload[2] = {};
    payload[1] = WIFSIGNALED(status) ? static_cast<uint8_t>(WTERMSIG(status)) : 0;
    payload[0] = WIFSIGNALED(status) ? static_cast<uint8_t>(128 + WTERMSIG(status)) : static_cast<uint8_t>(WEXITSTATUS(status));
    send(FrameType::exited, payload, sizeof payload);
    shutdown(socket_, SHUT_WR);
    pollfd wait{socket_, POLLIN, 0};
    for (char c[512]; poll(&wait, 1, 5000) > 0 && read(socket_, c, sizeof c) > 0;) {}
}

void Session::hang_up() {
    kill(-child_, SIGHUP);
    kill(-child_, SIGCONT);
    pollfd wait{pidfd_, POLLIN, 0};
    if (poll(&wait, 1, 1000) == 0) kill(-child_, SIGKILL);
    waitpid(child_, nullptr, 0);
}

void Session::run() {
    Command command;
    if (!receive_command(command)) return;
    if (!start(command)) {
        if (child_ > 0)
            hang_up();
        else
            send_failure(126, std::string("the agent cannot start it: ") + std::strerror(errno));
        return;
    }
    bool read_socket = true;
    for (;;) {
        pollfd waits[5] = {{pidfd_, POLLIN, 0},
                           {read_socket ? socket_ : -1, POLLIN, 0},
                           {stdout_, POLLIN, 0},
                           {stderr_, POLLIN, 0},
                           {pending_stdin_.empty() ? -1 : stdin_, POLLOUT, 0}};
        if (poll(waits, 5, -1) < 0 && errno != EINTR) break;
        if (waits[2].revents && !pump_output(stdout_, FrameType::stdout_data)) return hang_up();
        if (waits[3].revents && stderr_ >= 0 && !pump_output(stderr_, FrameType::stderr_data)) return hang_up();
        if (waits[4].revents) feed_stdin();
        if (waits[1].revents && !handle_frames()) return hang_up();
        if (waits[0].revents) return finish();
    }
}

int listen_on_management_network() {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(agent_port);
    inet_pton(AF_INET, guest_address, &address.sin_addr);
    if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener, 128) != 0)
        boot_failure("listen for commands");
    return listener;
}

}  // namespace

void run_agent() {
    prctl(PR_SET_NAME, "krg-agent");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);  // sessions are reaped by the kernel
    rlimit files{65536, 65536};
    setrlimit(RLIMIT_NOFILE, &files);
    int listener = listen_on_management_network();
    tell_host("ready");
    for (;;) {
        int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (connection < 0) {
            usleep(10'000);
            continue;
        }
        pid_t child = fork();
        if (child == 0) {
            close(listener);
            signal(SIGCHLD, SIG_DFL);
            int one = 1;
            setsockopt(connection, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one);
            Session(connection).run();
            _exit(0);
        }
        close(connection);
    }
}

}  // namespace krg::vcluster::guest
