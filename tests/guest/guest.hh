// SPDX-License-Identifier: GPL-2.0
//
// What the programs that run inside guests share: ending with a message, numbers by chance that can be repeated, descriptors
// and mappings that close, waiting for the others through files. Nothing here knows what is tested.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <sys/types.h>
#include <utility>

namespace krg::guest {

/// Exit statuses, as everywhere in the project.
enum Status { done = 0, failed = 1, usage = 2, timed_out = 5 };

/// Said before every message.
void set_program(const std::string& name);
/// Further words for every message from now on: what repeats the run.
void set_context(const std::string& text);
[[noreturn]] void fail(const std::string& what, int status = failed);
/// `what`, and what errno says.
[[noreturn]] void fail_errno(const std::string& what);
/// The name of an error: "ENOENT"; "done" for 0.
[[nodiscard]] std::string error_name(int error);

[[nodiscard]] double now_s();
void sleep_ms(unsigned ms);

class Random {
public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}
    /// 0 .. n-1.
    [[nodiscard]] std::uint64_t below(std::uint64_t n) { return engine_() % n; }
    [[nodiscard]] bool chance(unsigned percent) { return below(100) < percent; }
    /// Bytes that are not zero, so that a hole is never taken for data.
    [[nodiscard]] std::string bytes(std::size_t n);

private:
    std::mt19937_64 engine_;
};

class Fd {
public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept;
    ~Fd();

    [[nodiscard]] int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }

private:
    int fd_ = -1;
};

/// Opens, or fails.
[[nodiscard]] Fd open_file(const std::string& path, int flags, mode_t mode = 0600);
/// All of it, or fails.
[[nodiscard]] std::string read_all(int fd, off_t offset, std::size_t length);
void write_all(int fd, off_t offset, const std::string& bytes);
[[nodiscard]] std::string read_text(const std::string& path);
/// Appears whole under its name.
void publish_text(const std::string& path, const std::string& text);
/// The whole file, made `length` long if it is shorter and that is possible, mapped shared for reading and writing.
[[nodiscard]] char* map_file(int fd, std::size_t length);

/// Returns when all players have called it with this name, each with its own number; fails after `timeout_s`.
void meet(const std::string& dir, const std::string& name, unsigned me, unsigned players, double timeout_s);

/// 64 bits that depend on every byte, for contents; not against an adversary.
[[nodiscard]] std::uint64_t hash_bytes(const std::string& bytes, std::uint64_t start = 0);
[[nodiscard]] std::uint64_t mix(std::uint64_t a, std::uint64_t b = 0);

}  // namespace krg::guest
