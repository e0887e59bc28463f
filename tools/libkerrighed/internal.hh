// SPDX-License-Identifier: GPL-2.0
// What the files of libkerrighed share: errors on their way to C, and the table in the program's memory.
#pragma once

#include <cerrno>
#include <new>
#include <string>

#include <linux/krg_self.h>

#include "kerrighed.h"
#include "tools/lib/error.hh"

namespace krg::library {

/** A failure with an error number of C. */
class Failure : public std::exception {
public:
    Failure(int number, std::string why) : number_(number), why_(std::move(why)) {}
    [[nodiscard]] int number() const { return number_; }
    [[nodiscard]] const char* what() const noexcept override { return why_.c_str(); }

private:
    int number_;
    std::string why_;
};

/** Sets errno and krg_why(); -1. */
int failed(int number, const char* why) noexcept;
/** Of the exception that is being handled. */
int failed_with_exception() noexcept;

/** The border to C: whatever @body throws becomes -1. */
template<typename Body>
int at_border(Body&& body) noexcept {
    try {
        return body();
    } catch (...) {
        return failed_with_exception();
    }
}

void only_flags(unsigned flags, unsigned known);

/** The table that the kernel reads; made when it is first asked for. Throws Failure. */
krg_self& table();
/** The table if there is one. */
krg_self* table_if_there() noexcept;

/** One thread at a time changes regions and callbacks. */
class Lock {
public:
    Lock() noexcept;
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
};

}  // namespace krg::library
