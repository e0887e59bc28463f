// SPDX-License-Identifier: GPL-2.0
//
// Choosing a step, comparing what came of it, and comparing everything: see single.hh.
#include "single.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <numeric>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace krg::guest {

namespace {

constexpr std::size_t most_handles = 6, trace_length = 25;
constexpr std::uint64_t verify_every = 500;
constexpr unsigned directory_names = 4, other_names = 8, most_depth = 3;

unsigned char type_of(Kind kind) { return kind == Kind::directory ? DT_DIR : kind == Kind::link ? DT_LNK : DT_REG; }
mode_t format_of(Kind kind) { return kind == Kind::directory ? S_IFDIR : kind == Kind::link ? S_IFLNK : S_IFREG; }

std::string hex(const std::string& bytes) {
    std::string text;
    for (unsigned char c : bytes.substr(0, 16)) {
        char two[4];
        std::snprintf(two, sizeof two, "%02x ", c);
        text += two;
    }
    return text;
}

}  // namespace

Single::Single(SingleOptions options) : options_(std::move(options)), random_(options_.seed), model_(geteuid(), getegid()) {
    umask(0);
    struct stat st {};
    if (lstat(options_.dir.c_str(), &st) != 0) fail_errno("cannot stat " + options_.dir);
    Inode& root = *model_.root();
    root.mode = st.st_mode & 07777;
    root.uid = st.st_uid;
    root.gid = st.st_gid;
    root.number = st.st_ino;
}

const std::vector<Single::Step>& Single::steps() {
    static const std::vector<Step> all{
        {"create", 8, &Single::create},
        {"mkdir", 5, &Single::make_directory},
        {"symlink", 3, &Single::make_symlink},
        {"link", 4, &Single::make_link},
        {"unlink", 6, &Single::unlink_name},
        {"rmdir", 3, &Single::remove_directory},
        {"rename", 8, &Single::rename_name},
        {"exchange", 3, &Single::exchange},
        {"open", 8, &Single::open_name},
        {"readlink", 2, &Single::read_link},
        {"stat", 6, &Single::stat_name},
        {"readdir", 3, &Single::list_directory},
        {"rm-all", 1, &Single::empty_directory},
        {"chmod", 2, &Single::change_mode},
        {"chown", 2, &Single::change_owner},
        {"utimens", 2, &Single::set_time},
        {"setxattr", 3, &Single::set_xattr},
        {"getxattr", 2, &Single::read_xattrs},
        {"read", 10, &Single::read},
        {"write", 14, &Single::write},
        {"append", 5, &Single::append},
        {"truncate", 6, &Single::truncate},
        {"punch", 4, &Single::punch},
        {"fallocate", 3, &Single::allocate},
        {"mmap-read", 6, &Single::map_read},
        {"mmap-write", 8, &Single::map_write},
        {"mmap-private", 3, &Single::map_private},
        {"mmap-behind", 2, &Single::map_behind},
        {"window", 10, &Single::use_window},
        {"seek-data", 2, &Single::seek_data},
        {"copy", 2, &Single::copy},
        {"fsync", 1, &Single::sync},
        {"close", 4, &Single::close_one},
        {"fstat", 4, &Single::stat_open},
    };
    return all;
}

std::vector<std::string> Single::step_names() {
    std::vector<std::string> names;
    for (const Step& step : steps()) names.emplace_back(step.name);
    return names;
}

void Single::run(std::uint64_t count) {
    std::vector<const Step*> wheel;
    for (const Step& step : steps())
        if (!off(step.name)) wheel.insert(wheel.end(), step.weight, &step);
    for (std::uint64_t i = 0; i < count; i++) {
        const Step& step = *wheel[random_.below(wheel.size())];
        step_++;
        say(step.name);
        counts_[step.name]++;
        (this->*step.run)();
        if (step_ % verify_every == 0) verify();
    }
}

std::string Single::summary() const {
    std::string text;
    for (const auto& [name, count] : counts_) text += (text.empty() ? "" : " ") + name + "=" + std::to_string(count);
    return text;
}

// What a step does is said before it is done: a machine that hangs has told where.
void Single::say(const std::string& what) {
    trace_.push_back(std::to_string(step_) + ": " + what);
    if (trace_.size() > trace_length) trace_.pop_front();
}

void Single::wrong(const std::string& what) {
    std::string text = "seed " + std::to_string(options_.seed) + ", step " + std::to_string(step_) + ", " + options_.dir +
                       ": " + what;
    for (const std::string& line : trace_) text += "\n  " + line;
    fail(text);
}

bool Single::same(int expected, long result) {
    const int actual = result < 0 ? errno : 0;
    if (actual != expected) wrong(error_name(actual) + ", not " + error_name(expected));
    return actual == 0;
}

std::string Single::any_path() {
    const std::vector<std::string> directories = model_.paths(Kind::directory);
    std::string path;
    if (!directories.empty() && random_.chance(75)) path = directories[random_.below(directories.size())] + "/";
    if (std::count(path.begin(), path.end(), '/') >= most_depth) path.clear();
    // Sometimes through a name that is no directory, or that is a symbolic link.
    if (random_.chance(4)) path += "n" + std::to_string(random_.below(other_names)) + "/";
    if (random_.chance(25)) return path + "d" + std::to_string(random_.below(directory_names));
    return path + "n" + std::to_string(random_.below(other_names));
}

std::string Single::existing(Kind kind) {
    const std::vector<std::string> all = model_.paths(kind);
    return all.empty() || random_.chance(10) ? any_path() : all[random_.below(all.size())];
}

std::uint64_t Single::offset() {
    if (random_.chance(3)) return random_.below(options_.far);
    return random_.chance(50) ? random_.below(options_.bytes) : random_.below(12 << 10);
}

timespec Single::any_time(Random& random) {
    return {static_cast<time_t>(random.below(4'000'000'000)), static_cast<long>(random.below(1'000'000'000))};
}

void Single::keep(Fd fd, const InodePtr& inode, bool append) {
    if (handles_.size() >= most_handles) drop(random_.below(handles_.size()));
    handles_.push_back({std::move(fd), inode, append, nullptr});
}

Single::Handle* Single::handle() {
    if (handles_.empty()) open_name();
    return handles_.empty() ? nullptr : &handles_[random_.below(handles_.size())];
}

void Single::compare_stat(const Inode& inode, const struct stat& st) {
    const auto differs = [&](const char* what, std::uint64_t actual, std::uint64_t expected) {
        if (actual != expected)
            wrong(std::string(what) + " is " + std::to_string(actual) + ", not " + std::to_string(expected));
    };
    differs("the type", st.st_mode & S_IFMT, format_of(inode.kind));
    differs("the inode's number", st.st_ino, inode.number == 0 ? st.st_ino : inode.number);
    differs("the mode", st.st_mode & 07777, inode.mode);
    differs("the owner", st.st_uid, inode.uid);
    differs("the group", st.st_gid, inode.gid);
    if (inode.kind == Kind::file) differs("the size", static_cast<std::uint64_t>(st.st_size), inode.bytes.size());
    if (inode.kind == Kind::link) differs("the size", static_cast<std::uint64_t>(st.st_size), inode.target.size());
    // A directory may say 1: "not counted".
    if (inode.kind != Kind::directory || st.st_nlink != 1) differs("the number of links", st.st_nlink, inode.links());
    if (inode.mtime && (st.st_mtim.tv_sec != inode.mtime->tv_sec || st.st_mtim.tv_nsec != inode.mtime->tv_nsec))
        wrong("the time of modification is not what was set");
}

void Single::compare_bytes(const std::string& expected, const std::string& actual, std::uint64_t offset) {
    if (actual == expected) return;
    if (actual.size() != expected.size())
        wrong(std::to_string(actual.size()) + " bytes at " + std::to_string(offset) + ", not " +
              std::to_string(expected.size()));
    std::size_t at = 0, bytes = 0;
    while (actual[at] == expected[at]) at++;
    for (std::size_t i = at; i < actual.size(); i++) bytes += actual[i] != expected[i];
    wrong(std::to_string(bytes) + " bytes differ, the first at " + std::to_string(offset + at) + ": " + hex(actual.substr(at)) +
          ", not " + hex(expected.substr(at)));
}

void Single::compare_entries(const Inode& directory, const std::string& path) {
    DIR* dir = opendir(full(path).c_str());
    if (!dir) wrong("cannot open the directory '" + path + "': " + error_name(errno));
    std::set<std::string> seen;
    errno = 0;
    while (const dirent* entry = readdir(dir)) {
        const std::string name = entry->d_name;
        if (!seen.insert(name).second) wrong("readdir of '" + path + "' says " + name + " twice");
        if (name == "." || name == "..") continue;
        const auto it = directory.entries.find(name);
        if (it == directory.entries.end()) wrong("readdir of '" + path + "' says " + name + ", which is not there");
        if (entry->d_type != DT_UNKNOWN && entry->d_type != type_of(it->second->kind))
            wrong("readdir of '" + path + "' says that " + name + " has type " + std::to_string(entry->d_type));
        if (it->second->number && entry->d_ino != it->second->number) wrong("readdir says another inode number of " + name);
    }
    if (errno) wrong("readdir of '" + path + "': " + error_name(errno));
    closedir(dir);
    for (const auto& [name, inode] : directory.entries)
        if (seen.count(name) == 0) wrong("readdir of '" + path + "' does not say " + name);
    if (seen.count(".") == 0 || seen.count("..") == 0) wrong("readdir of '" + path + "' does not say . and ..");
}

void Single::compare_xattrs(const Inode& inode, const std::string& path) {
    if (off("setxattr")) return;
    char list[4096];
    const ssize_t length = llistxattr(full(path).c_str(), list, sizeof list);
    if (length < 0) wrong("listxattr of " + path + ": " + error_name(errno));
    std::set<std::string> names;
    for (const char* at = list; at < list + length; at += std::strlen(at) + 1)
        if (std::strncmp(at, options_.xattr_prefix.c_str(), options_.xattr_prefix.size()) == 0) names.insert(at);
    for (const auto& [name, value] : inode.xattrs) {
        if (names.erase(name) == 0) wrong("listxattr of " + path + " does not say " + name);
        char bytes[256];
        const ssize_t n = lgetxattr(full(path).c_str(), name.c_str(), bytes, sizeof bytes);
        if (n < 0) wrong("getxattr of " + path + ", " + name + ": " + error_name(errno));
        compare_bytes(value, std::string(bytes, static_cast<std::size_t>(n)), 0);
    }
    // What the file system itself says of a file under user.hadsm is not ours.
    for (const std::string& name : names)
        if (name.rfind("user.hadsm.", 0) != 0) wrong("listxattr of " + path + " says " + name + ", which is not there");
}

void Single::verify_directory(const InodePtr& directory, const std::string& path) {
    compare_entries(*directory, path);
    for (const auto& [name, inode] : directory->entries) {
        const std::string below = path.empty() ? name : path + "/" + name;
        struct stat st {};
        say("verify " + below);
        if (lstat(full(below).c_str(), &st) != 0) wrong("cannot stat " + below + ": " + error_name(errno));
        compare_stat(*inode, st);
        inode->number = st.st_ino;
        if (const auto [it, fresh] = numbers_.emplace(st.st_ino, inode.get()); !fresh && it->second != inode.get())
            wrong(below + " has the inode number of another file");
        if (inode->kind != Kind::link) compare_xattrs(*inode, below);
        if (inode->kind == Kind::directory) verify_directory(inode, below);
        if (inode->kind != Kind::file) continue;
        const Fd fd(::open(full(below).c_str(), O_RDONLY | O_CLOEXEC));
        if (!fd) wrong("cannot open " + below + ": " + error_name(errno));
        // Holes of gigabytes are left to seek-data.
        for (std::uint64_t at = 0; at < inode->bytes.size() && at < 4 * options_.bytes; at += 65536) {
            const std::string expected = inode->bytes.read(at, 65536);
            compare_bytes(expected, read_all(fd.get(), static_cast<off_t>(at), expected.size()), at);
        }
    }
}

void Single::verify() {
    say("verify everything");
    numbers_.clear();
    for (const auto& h : handles_) {
        struct stat st {};
        if (fstat(h.fd.get(), &st) != 0) wrong("fstat: " + error_name(errno));
        compare_stat(*h.inode, st);
        h.inode->number = st.st_ino;
        numbers_[st.st_ino] = h.inode.get();
    }
    verify_directory(model_.root(), "");
}

}  // namespace krg::guest
