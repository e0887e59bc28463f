// SPDX-License-Identifier: GPL-2.0
//
// Steps that are about names and attributes: see single.hh.
#include "single.hh"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace krg::guest {

namespace {

constexpr mode_t modes[] = {0600, 0640, 0644, 0755, 0700, 0666, 0444};
constexpr int most_names = 60;  // in all, or every name exists in the end

}  // namespace

void Single::create() {
    const std::string path = any_path();
    const mode_t mode = modes[random_.below(std::size(modes))];
    say("create " + path + " mode " + std::to_string(mode));
    InodePtr made;
    const int expected = model_.create(path, mode, made);
    Fd fd(open(full(path).c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, mode));
    if (same(expected, fd.get())) keep(std::move(fd), made, false);
}

void Single::make_directory() {
    const std::string path = any_path();
    const mode_t mode = random_.chance(50) ? 0755 : 0700;
    say("mkdir " + path);
    const int expected = model_.mkdir(path, mode);
    same(expected, mkdir(full(path).c_str(), mode));
}

void Single::make_symlink() {
    const std::string path = any_path();
    const unsigned kind = static_cast<unsigned>(random_.below(4));
    std::string target = "nothing-" + std::to_string(random_.below(1000));
    if (kind == 1) target = "n" + std::to_string(random_.below(8));
    if (kind == 2) target = "d" + std::to_string(random_.below(4));
    if (kind == 3) target = std::string(random_.below(3000) + 1, 'x');
    if (target.size() > 255)
        target = target.substr(0, 200) + "/" + std::string(200, 'y') + "/" + std::string(random_.below(200) + 1, 'z');
    say("symlink " + target.substr(0, 20) + " " + path);
    const int expected = model_.symlink(target, path);
    same(expected, symlink(target.c_str(), full(path).c_str()));
}

void Single::make_link() {
    const std::string from = existing(Kind::file), to = any_path();
    say("link " + from + " " + to);
    const int expected = model_.link(from, to);
    same(expected, link(full(from).c_str(), full(to).c_str()));
}

void Single::unlink_name() {
    const bool full_house = model_.paths(Kind::file).size() > most_names;
    const std::string path = random_.chance(70) || full_house ? existing(random_.chance(80) ? Kind::file : Kind::link)
                                                              : any_path();
    say("unlink " + path);
    const int expected = model_.unlink(path);
    same(expected, unlink(full(path).c_str()));
}

void Single::remove_directory() {
    const std::string path = existing(Kind::directory);
    say("rmdir " + path);
    const int expected = model_.rmdir(path);
    same(expected, rmdir(full(path).c_str()));
}

void Single::rename_name() {
    const std::string from = existing(random_.chance(60) ? Kind::file : Kind::directory), to = any_path();
    const unsigned flags = random_.chance(25) && !off("noreplace") ? RENAME_NOREPLACE : 0;
    say("rename " + from + " " + to + (flags ? " NOREPLACE" : ""));
    const int expected = model_.rename(from, to, flags);
    same(expected, renameat2(AT_FDCWD, full(from).c_str(), AT_FDCWD, full(to).c_str(), flags));
}

void Single::exchange() {
    const std::string from = existing(random_.chance(50) ? Kind::file : Kind::directory);
    const std::string to = existing(random_.chance(50) ? Kind::file : Kind::directory);
    say("rename " + from + " " + to + " EXCHANGE");
    const int expected = model_.rename(from, to, RENAME_EXCHANGE);
    same(expected, renameat2(AT_FDCWD, full(from).c_str(), AT_FDCWD, full(to).c_str(), RENAME_EXCHANGE));
}

void Single::open_name() {
    const std::string path = existing(Kind::file);
    const bool cut = random_.chance(8), append = random_.chance(25);
    say("open " + path + (cut ? " TRUNC" : "") + (append ? " APPEND" : ""));
    InodePtr inode;
    int expected = model_.lookup(path, false, inode);
    if (!expected && inode->kind == Kind::directory) expected = EISDIR;
    if (!expected && inode->kind == Kind::link) expected = ELOOP;
    Fd fd(open(full(path).c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | (cut ? O_TRUNC : 0) | (append ? O_APPEND : 0)));
    if (!same(expected, fd.get())) return;
    if (cut) {
        inode->bytes.resize(0);
        inode->mtime.reset();
    }
    keep(std::move(fd), inode, append);
}

void Single::read_link() {
    const std::string path = existing(Kind::link);
    say("readlink " + path);
    InodePtr inode;
    int expected = model_.lookup(path, false, inode);
    if (!expected && inode->kind != Kind::link) expected = EINVAL;
    char target[4096];
    const ssize_t n = readlink(full(path).c_str(), target, sizeof target);
    if (same(expected, n)) compare_bytes(inode->target, std::string(target, static_cast<std::size_t>(n)), 0);
}

void Single::stat_name() {
    const std::string path = random_.chance(70) ? existing(static_cast<Kind>(random_.below(3))) : any_path();
    const bool follow = random_.chance(50);
    say(std::string(follow ? "stat " : "lstat ") + path);
    InodePtr inode;
    const int expected = model_.lookup(path, follow, inode);
    struct stat st {};
    if (same(expected, fstatat(AT_FDCWD, full(path).c_str(), &st, follow ? 0 : AT_SYMLINK_NOFOLLOW))) compare_stat(*inode, st);
}

void Single::list_directory() {
    const std::string path = existing(Kind::directory);
    InodePtr inode;
    if (model_.lookup(path, false, inode) != 0 || inode->kind != Kind::directory) return;
    say("readdir " + path);
    compare_entries(*inode, path);
}

// What rm -r does: names go while they are read. Afterwards none may be left.
void Single::empty_directory() {
    const std::string path = existing(Kind::directory);
    InodePtr inode;
    if (model_.lookup(path, false, inode) != 0 || inode->kind != Kind::directory) return;
    say("remove all names of " + path);
    DIR* dir = opendir(full(path).c_str());
    if (!dir) wrong("cannot open the directory: " + error_name(errno));
    while (const dirent* entry = readdir(dir)) {
        const std::string name = entry->d_name;
        if (name == "." || name == "..") continue;
        const auto it = inode->entries.find(name);
        if (it == inode->entries.end()) wrong("readdir says " + name + ", which is not there (any more)");
        if (it->second->kind == Kind::directory) continue;
        const int expected = model_.unlink(path + "/" + name);
        same(expected, unlinkat(dirfd(dir), name.c_str(), 0));
    }
    closedir(dir);
    for (const auto& [name, left] : inode->entries)
        if (left->kind != Kind::directory) wrong("readdir, with unlink in between, did not say " + name);
    compare_entries(*inode, path);
}

void Single::change_mode() {
    const std::string path = existing(random_.chance(70) ? Kind::file : Kind::directory);
    InodePtr inode;
    const int expected = model_.lookup(path, true, inode);
    const mode_t mode = modes[random_.below(std::size(modes))] | 0700;
    say("chmod " + path);
    if (same(expected, chmod(full(path).c_str(), mode))) inode->mode = mode;
}

void Single::change_owner() {
    if (geteuid() != 0) return;
    const std::string path = existing(static_cast<Kind>(random_.below(3)));
    InodePtr inode;
    const int expected = model_.lookup(path, false, inode);
    const uid_t uid = static_cast<uid_t>(random_.below(70000));
    const gid_t gid = static_cast<gid_t>(random_.below(70000));
    say("lchown " + path);
    if (!same(expected, lchown(full(path).c_str(), uid, gid))) return;
    inode->uid = uid;
    inode->gid = gid;
}

void Single::set_time() {
    const std::string path = existing(Kind::file);
    InodePtr inode;
    const int expected = model_.lookup(path, true, inode);
    const timespec times[2] = {any_time(random_), any_time(random_)};
    say("utimens " + path);
    if (same(expected, utimensat(AT_FDCWD, full(path).c_str(), times, 0)) && inode->kind == Kind::file) inode->mtime = times[1];
}

void Single::set_xattr() {
    const std::string path = existing(random_.chance(80) ? Kind::file : Kind::directory);
    InodePtr inode;
    int expected = model_.lookup(path, false, inode);
    if (!expected && inode->kind == Kind::link) return;
    const std::string name = options_.xattr_prefix + "a" + std::to_string(random_.below(4));
    const bool there = !expected && inode->xattrs.count(name) != 0;
    if (random_.chance(25)) {
        say("removexattr " + path + " " + name);
        if (!expected && !there) expected = ENODATA;
        if (same(expected, lremovexattr(full(path).c_str(), name.c_str()))) inode->xattrs.erase(name);
        return;
    }
    constexpr int flags[] = {0, 0, XATTR_CREATE, XATTR_REPLACE};
    const int flag = flags[random_.below(std::size(flags))];
    const std::string value = random_.bytes(random_.below(60));
    say("setxattr " + path + " " + name + " flags " + std::to_string(flag));
    if (!expected && flag == XATTR_CREATE && there) expected = EEXIST;
    if (!expected && flag == XATTR_REPLACE && !there) expected = ENODATA;
    if (same(expected, lsetxattr(full(path).c_str(), name.c_str(), value.data(), value.size(), flag)))
        inode->xattrs[name] = value;
}

void Single::read_xattrs() {
    const std::string path = existing(random_.chance(80) ? Kind::file : Kind::directory);
    InodePtr inode;
    if (model_.lookup(path, false, inode) != 0 || inode->kind == Kind::link) return;
    say("xattrs of " + path);
    compare_xattrs(*inode, path);
    const std::string name = options_.xattr_prefix + "none";
    same(ENODATA, lgetxattr(full(path).c_str(), name.c_str(), nullptr, 0));
}

}  // namespace krg::guest
