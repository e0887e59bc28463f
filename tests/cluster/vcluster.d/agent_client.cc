// SPDX-License-Identifier: GPL-2.0
//
// The host end of the agent's connection: see agent_client.h and agent_protocol.h.
#include "agent_client.h"

#include "agent_protocol.h"

#include <arpa/inet.h>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <optional>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>

namespace krg::vcluster {

namespace {

constexpr double connect_timeout_s = 30;
constexpr int look_after_ms = 1000;  // silence after which the supervisor is asked whether the node still lives

/// A terminal in raw mode, put back whatever happens.
class RawTerminal {
public:
    RawTerminal() {
        active_ = tcgetattr(0, &saved_) == 0;
        if (!active_) return;
        termios raw = saved_;
        cfmakeraw(&raw);
        tcsetattr(0, TCSADRAIN, &raw);
    }
    ~RawTerminal() {
        if (active_) tcsetattr(0, TCSADRAIN, &saved_);
    }
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;

private:
    termios saved_{};
    bool active_ = false;
};

class RemoteSession {
public:
    RemoteSession(const ClusterState& state, const RemoteCommand& command) : state_(state), command_(command) {}
    int run(const std::string& checkout);

private:
    void connect();
    void send_command(const std::string& checkout);
    void send(FrameType type, const void* data, size_t size);
    void send_window();
    void read_stdin();
    void handle_signal();
    void read_frames();
    void handle_frame(FrameType type, const char* data, size_t size);
    void check_node(bool connection_lost);
    [[nodiscard]] bool may_read_stdin() const;
    [[nodiscard]] std::string what() const;

    const ClusterState& state_;
    const RemoteCommand& command_;
    Fd socket_, signals_;
    int boots_ = 0;
    uint32_t credit_ = stdin_window_bytes;
    bool stdin_open_ = true;
    int interrupts_ = 0;
    std::string received_;
    std::optional<int> status_;
};

std::string RemoteSession::what() const { return command_.terminal ? "its shell" : command_.arguments[0]; }

void RemoteSession::connect() {
    Json answer = state_.request({{"verb", "connect"}, {"node", command_.node}}, &socket_);
    boots_ = answer.at("boots");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(answer.at("port").get<int>()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fcntl(socket_.get(), F_SETFL, O_NONBLOCK);
    if (::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 && errno != EINPROGRESS)
        throw system_error(fmt::format("cannot reach node {}", command_.node));
    double end = now_s() + connect_timeout_s;
    for (pollfd wait{socket_.get(), POLLOUT, 0}; poll(&wait, 1, look_after_ms) <= 0;) {
        check_node(false);
        if (now_s() > end) throw Error(fmt::format("node {} does not answer", command_.node), ExitCode::timed_out);
    }
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) throw Error(fmt::format("cannot reach node {}: {}", command_.node, std::strerror(error)));
    int one = 1;
    setsockopt(socket_.get(), IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one);
}

void RemoteSession::send(FrameType type, const void* data, size_t size) {
    FrameHeader header{static_cast<uint8_t>(type), {}, static_cast<uint32_t>(size)};
    std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
    bytes.append(static_cast<const char*>(data), size);
    if (!write_all(socket_.get(), bytes.data(), bytes.size())) check_node(true);
}

void RemoteSession::send_command(const std::string& checkout) {
    winsize size{24, 80, 0, 0};
    if (command_.terminal) ioctl(0, TIOCGWINSZ, &size);
    const char* term = std::getenv("TERM");
    std::vector<std::string> variables{"PATH=" + checkout +
                                           "/build/host/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                       "HOME=/root",
                                       "USER=root",
                                       "LOGNAME=root",
                                       "SHELL=/bin/bash",
                                       "LANG=C.UTF-8",
                                       fmt::format("KRG_NODE={}", command_.node),
                                       "KRG_CLUSTER=" + state_.name(),
                                       std::string("TERM=") + (command_.terminal && term ? term : "dumb")};
    std::error_code error;
    std::string directory = std::filesystem::current_path(error);
    std::vector<std::string> words{command_.terminal ? "tty" : "pipe", std::to_string(size.ws_row), std::to_string(size.ws_col),
                                   directory, std::to_string(variables.size())};
    words.insert(words.end(), variables.begin(), variables.end());
    words.insert(words.end(), command_.arguments.begin(), command_.arguments.end());
    std::string payload;
    for (const auto& word : words) payload += word + '\0';
    if (payload.size() > frame_max_bytes) throw Error("the command line is too long", ExitCode::usage);
    send(FrameType::exec, payload.data(), payload.size());
}

void RemoteSession::send_window() {
    winsize size{};
    if (!command_.terminal || ioctl(0, TIOCGWINSZ, &size) != 0) return;
    uint16_t payload[2] = {size.ws_row, size.ws_col};
    send(FrameType::window_size, payload, sizeof payload);
}

// A background job must not be stopped for reading its terminal.
bool RemoteSession::may_read_stdin() const {
    if (!stdin_open_ || credit_ == 0) return false;
    pid_t foreground = tcgetpgrp(0);
    return foreground < 0 || foreground == getpgrp();
}

void RemoteSession::read_stdin() {
    char buffer[65536];
    ssize_t got = read(0, buffer, std::min<size_t>(sizeof buffer, credit_));
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (got <= 0) {
        stdin_open_ = false;
        send(FrameType::stdin_end, "", 0);
        return;
    }
    credit_ -= static_cast<uint32_t>(got);
    send(FrameType::stdin_data, buffer, static_cast<size_t>(got));
}

void RemoteSession::handle_signal() {
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof info) != sizeof info) return;
    if (info.ssi_signo == SIGWINCH) return send_window();
    // A command that does not end when asked to is killed at the third request.
    if (++interrupts_ >= 3) info.ssi_signo = SIGKILL;
    char number = static_cast<char>(info.ssi_signo);
    send(FrameType::signal, &number, 1);
}

void RemoteSession::handle_frame(FrameType type, const char* data, size_t size) {
    switch (type) {
    case FrameType::stdout_data:
        if (!write_all(1, data, size)) throw system_error("cannot write to stdout");
        break;
    case FrameType::stderr_data: (void)write_all(2, data, size); break;
    case FrameType::stdin_credit: {
        uint32_t more = 0;
        std::memcpy(&more, data, std::min(size, sizeof more));
        credit_ += more;
        break;
    }
    case FrameType::exited:
        if (size > 0) status_ = static_cast<unsigned char>(data[0]);
        break;
    case FrameType::failed:
        fmt::print(stderr, "vcluster: node {}: {}\n", command_.node, std::string(data + 1, size > 0 ? size - 1 : 0));
        status_ = size > 0 ? static_cast<unsigned char>(data[0]) : 126;
        break;
    default: throw Error(fmt::format("node {} sent what its agent never sends", command_.node));
    }
}

void RemoteSession::read_frames() {
    char buffer[65536];
    ssize_t got = recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (got <= 0) return check_node(true);
    received_.append(buffer, static_cast<size_t>(got));
    size_t at = 0;
    for (FrameHeader header{}; !status_ && received_.size() - at >= sizeof header;) {
        std::memcpy(&header, received_.data() + at, sizeof header);
        if (header.length > frame_max_bytes) throw Error(fmt::format("node {} sent garbage", command_.node));
        if (received_.size() - at < sizeof header + header.length) break;
        handle_frame(static_cast<FrameType>(header.type), received_.data() + at + sizeof header, header.length);
        at += sizeof header + header.length;
    }
    received_.erase(0, at);
}

// The node may be gone without a word on this connection: killed, reset, the whole cluster taken down.
void RemoteSession::check_node(bool connection_lost) {
    for (int attempt = 0;; ++attempt) {
        Json status = state_.request({{"verb", "status"}});
        for (const auto& node : status.at("nodes")) {
            if (node.at("id") != command_.node) continue;
            std::string state = node.at("state");
            bool gone = state == "crashed" || state == "off" || node.at("boots") != boots_;
            if (!gone && !connection_lost) return;
            if (!gone && attempt < 20) break;  // the end of its process may not have been seen yet
            std::string how = gone && state != "crashed" && state != "off" ? "was reset"
                              : state == "running"                         ? "closed the connection"
                                                                           : "is " + state;
            throw Error(fmt::format("node {} {} while {} was running", command_.node, how, what()));
        }
        usleep(50'000);
    }
}

int RemoteSession::run(const std::string& checkout) {
    sigset_t caught;
    sigemptyset(&caught);
    for (int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH}) sigaddset(&caught, number);
    sigprocmask(SIG_BLOCK, &caught, nullptr);
    signals_.reset(signalfd(-1, &caught, SFD_CLOEXEC));
    double end = command_.timeout_s > 0 ? now_s() + command_.timeout_s : 0;
    connect();
    send_command(checkout);
    std::optional<RawTerminal> raw;
    if (command_.terminal) raw.emplace();
    if (!command_.read_stdin) {
        stdin_open_ = false;
        send(FrameType::stdin_end, "", 0);
    }
    while (!status_) {
        pollfd waits[3] = {{socket_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}, {may_read_stdin() ? 0 : -1, POLLIN, 0}};
        int timeout_ms = look_after_ms;
        if (end > 0) timeout_ms = std::min(timeout_ms, std::max(0, static_cast<int>((end - now_s()) * 1000)));
        int ready = poll(waits, 3, timeout_ms);
        if (waits[0].revents)
            read_frames();
        else if (waits[1].revents)
            handle_signal();
        else if (waits[2].revents)
            read_stdin();
        if (status_) break;
        if (end > 0 && now_s() >= end) {
            char number = SIGKILL;
            send(FrameType::signal, &number, 1);
            throw Error(fmt::format("node {}: no end of {} after {} s; killed it", command_.node, what(), command_.timeout_s),
                        ExitCode::timed_out);
        }
        if (ready == 0) check_node(false);
    }
    return *status_;
}

}  // namespace

int run_remote(const ClusterState& state, const std::string& checkout, const RemoteCommand& command) {
    return RemoteSession(state, command).run(checkout);
}

}  // namespace krg::vcluster
