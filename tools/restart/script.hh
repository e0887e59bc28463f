// SPDX-License-Identifier: GPL-2.0
// Lists of system calls for the last stage, and the memory they, their arguments and the stacks lie in: one mapping that is
// not where the vdso of the image goes.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "tools/restart/last_stage.hh"

namespace krg::restart {

struct Range {
    std::uint64_t begin = 0, end = 0;
};

/** Anonymous memory, readable and writable, that touches none of @away. Throws krg::Error. */
void* map_away_from(const std::vector<Range>& away, size_t size, int flags);

class Area {
public:
    Area(const std::vector<Range>& away, size_t size);
    ~Area();
    Area(const Area&) = delete;
    Area& operator=(const Area&) = delete;

    /** Room there, aligned to 16. Throws krg::Error when it is full. */
    void* room(size_t size);
    std::uint64_t put(const void* at, size_t size);
    template<typename T>
    std::uint64_t put(const T& value) {
        return put(&value, sizeof(value));
    }
    /** The last stage's code, executable, and a jump to it on the stack that is given. */
    [[noreturn]] void run(const Script& script);

private:
    std::uint8_t* base_;
    size_t size_, used_ = 0;
};

/** The calls of one thread. */
class Calls {
public:
    void call(const std::string& what, long number, std::initializer_list<std::uint64_t> arguments);
    void exactly(const std::string& what, std::int64_t want, long number, std::initializer_list<std::uint64_t> arguments);
    void try_it(const std::string& what, long number, std::initializer_list<std::uint64_t> arguments);
    void add(Op op, const std::string& what);
    [[nodiscard]] Script place(Area& area) const;
    [[nodiscard]] const std::vector<Op>& ops() const { return ops_; }
    [[nodiscard]] const std::string& name(size_t op) const { return names_.at(op); }

private:
    std::vector<Op> ops_;
    std::vector<std::string> names_;
};

}  // namespace krg::restart
