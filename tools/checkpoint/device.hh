// SPDX-License-Identifier: GPL-2.0
// /dev/kerrighed as the tool checkpoint sees it: one operation, one function. What fails becomes an Error with the reasons
// the kernel gave, a line each.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <linux/krg_proc.h>

#include "tools/lib/error.hh"

namespace krg::checkpoint {

/** A descriptor that is closed at the end. */
class Descriptor {
public:
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor();

    [[nodiscard]] int get() const { return number_; }

private:
    int number_;
};

/** Exit status for an errno of krg_proc. */
[[nodiscard]] Exit exit_of(int error);

/** What the kernel refused, or why it failed: lines "name: what and why". */
class Refused : public Error {
public:
    Refused(Exit code, const std::string& what, const std::string& action, std::vector<std::string> reasons)
        : Error(code, what, action),
          reasons_(std::move(reasons)) {}

    [[nodiscard]] const std::vector<std::string>& reasons() const { return reasons_; }

private:
    std::vector<std::string> reasons_;
};

/** An increment cannot be made: what was written since its parent is not known. A full image can. */
class Stale : public Refused {
public:
    using Refused::Refused;
};

/** Where an image stands in a chain of increments. */
struct Place {
    std::uint64_t chain = 0, parent = 0;  // 0: in none; a full image
    std::string base;                     // file name of the parent
};

struct Image {
    std::uint64_t number, bytes, pages;
    std::uint32_t tasks, threads, version;
    std::vector<std::string> left_out;  ///< with KRG_PROC_IGNORE_UNSUPPORTED
};

class Device {
public:
    /** Opens it; Exit::not_running: the module is not loaded. */
    Device();

    /** What would be refused. */
    [[nodiscard]] std::vector<std::string> check(int pid, bool tree) const;
    /** @flags: KRG_PROC_*; @fd: where the image goes. Throws Refused, or Stale. */
    [[nodiscard]] Image capture(int pid, std::uint32_t flags, int fd, std::uint32_t timeout_ms, const std::string& description,
                                const Place& place = {}) const;
    /** Ends what a capture with KRG_PROC_STOP left frozen: all of it goes on, with a signal or without (0). */
    void release(int pid, int signal) const;

private:
    Descriptor device_;
};

}  // namespace krg::checkpoint
