// SPDX-License-Identifier: GPL-2.0
// Failures of C++ as C sees them.
#include <cstring>

#include "tools/checkpoint/control.hh"
#include "tools/checkpoint/device.hh"
#include "tools/libkerrighed/internal.hh"

namespace krg::library {

namespace {

constexpr size_t why_room = 4096;

// A thread's own, without memory to be had: also for "out of memory".
thread_local char why_text[why_room];

int number_of(Exit code) {
    switch (code) {
    case Exit::usage: return EINVAL;
    case Exit::not_running: return ENODEV;
    case Exit::not_permitted: return EPERM;
    case Exit::timed_out: return ETIMEDOUT;
    case Exit::unsafe: return EOPNOTSUPP;
    case Exit::no_object: return ESRCH;
    default: return EIO;
    }
}

}  // namespace

int failed(int number, const char* why) noexcept {
    std::strncpy(why_text, why, why_room - 1);
    errno = number;
    return -1;
}

int failed_with_exception() noexcept {
    try {
        throw;
    } catch (const Failure& failure) {
        return failed(failure.number(), failure.what());
    } catch (const checkpoint::Refused& refused) {
        try {
            std::string all = refused.what();
            for (const std::string& reason : refused.reasons()) all += "\n" + reason;
            return failed(number_of(refused.code()), all.c_str());
        } catch (...) {
            return failed(number_of(refused.code()), refused.what());
        }
    } catch (const checkpoint::ControlFailed& error) {
        return failed(error.number(), error.what());
    } catch (const Error& error) {
        return failed(number_of(error.code()), error.what());
    } catch (const std::bad_alloc&) {
        return failed(ENOMEM, "out of memory");
    } catch (const std::exception& error) {
        return failed(EIO, error.what());
    } catch (...) {
        return failed(EIO, "failed");
    }
}

void only_flags(unsigned flags, unsigned known) {
    if (flags & ~known) throw Failure(EINVAL, "flags that this function does not know");
}

}  // namespace krg::library

extern "C" const char* krg_why(void) { return krg::library::why_text; }
