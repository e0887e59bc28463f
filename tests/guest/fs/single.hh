// SPDX-License-Identifier: GPL-2.0
//
// One player in a directory of its own: every step is done in the file system and in the model, and must have the same
// outcome. The steps are in single_names.cc and single_data.cc, choosing and comparing in single.cc.
#pragma once

#include "../guest.hh"
#include "model.hh"

#include <deque>
#include <set>
#include <string>
#include <sys/stat.h>
#include <vector>

namespace krg::guest {

struct SingleOptions {
    std::string dir;  ///< exists and is empty
    std::uint64_t seed = 1;
    std::set<std::string> without;  ///< steps that the file system does not have, by name
    std::string xattr_prefix = "user.";
    std::uint64_t bytes = 96 << 10;  ///< most writes are below
    std::uint64_t far = 1ULL << 33;  ///< the others
};

class Single {
public:
    explicit Single(SingleOptions options);
    void run(std::uint64_t steps);
    /// Everything in the directory against everything in the model.
    void verify();
    /// How often each kind of step was done, for a reader.
    [[nodiscard]] std::string summary() const;
    [[nodiscard]] static std::vector<std::string> step_names();

private:
    struct Handle {
        Fd fd;
        InodePtr inode;
        bool append = false;
        char* window = nullptr;  ///< a mapping of the first bytes, that stays
    };
    struct Step {
        const char* name;
        unsigned weight;
        void (Single::*run)();
    };
    static const std::vector<Step>& steps();

    // single_names.cc
    void create(), make_directory(), make_symlink(), make_link(), unlink_name(), remove_directory(), rename_name(), exchange();
    void open_name(), read_link(), stat_name(), list_directory(), empty_directory();
    void change_mode(), change_owner(), set_time(), set_xattr(), read_xattrs();
    // single_data.cc
    void read(), write(), append(), truncate(), punch(), allocate(), map_read(), map_write(), map_private(), map_behind();
    void use_window(), seek_data(), copy(), sync(), close_one(), stat_open();

    [[nodiscard]] std::string full(const std::string& path) const { return options_.dir + "/" + path; }
    [[nodiscard]] std::string any_path();
    [[nodiscard]] std::string existing(Kind kind);
    [[nodiscard]] bool off(const char* step) const { return options_.without.count(step) != 0; }
    /// What a call must have returned; `result` is 0 or -1 with errno. True when it worked.
    bool same(int expected, long result);
    void say(const std::string& what);
    [[noreturn]] void wrong(const std::string& what);
    void compare_stat(const Inode& inode, const struct stat& st);
    void compare_bytes(const std::string& expected, const std::string& actual, std::uint64_t offset);
    void compare_entries(const Inode& directory, const std::string& path);
    void compare_xattrs(const Inode& inode, const std::string& path);
    void verify_directory(const InodePtr& directory, const std::string& path);
    void keep(Fd fd, const InodePtr& inode, bool append);
    Handle* handle();
    void drop(std::size_t at);
    [[nodiscard]] std::uint64_t offset();
    [[nodiscard]] static timespec any_time(Random& random);

    SingleOptions options_;
    Random random_;
    Model model_;
    std::vector<Handle> handles_;
    std::map<std::string, std::uint64_t> counts_;
    std::deque<std::string> trace_;
    std::map<ino_t, const Inode*> numbers_;  ///< while everything is compared
    std::uint64_t step_ = 0;
};

}  // namespace krg::guest
