// SPDX-License-Identifier: GPL-2.0
// What the name space means, as simply as it can be said: maps of names and inodes.
// Every operation says what it must return, and changes the maps when it works. How
// anything is stored, and what is asked for first, is not in here.
#pragma once

#include "hadsm/names/names.h"

#include <map>
#include <set>
#include <string>

namespace krg::test {

struct ModelInode {
    u64 ino = 0;
    u32 mode = 0, uid = 0, gid = 0, nlink = 0, replicas = 0, rdev = 0;
    u64 size = 0, promised = 0, parent = 0;
    bool had_data = false;
    u64 mtime = 0, ctime = 0;
    std::string target;
    std::map<std::string, std::string> xattrs;
    std::map<std::string, u64> names;  // of a directory
    std::set<u32> users;
    u32 orphan_of = 0;
    [[nodiscard]] bool is_dir() const;
    [[nodiscard]] bool is_reg() const;
};

class Model {
public:
    Model();

    // Each returns what the engine must return, for node @self at time @now. Where the engine chooses a number (create,
    // tmpfile) it is told afterwards, with adopt().
    [[nodiscard]] int may_create(u64 dir, const std::string& name, u32 mode) const;
    void create(u64 dir, const std::string& name, const krg_names_attr& made, const std::string& target, u64 now);
    void tmpfile(const krg_names_attr& made, u32 self, u64 now);
    int link(u64 ino, u64 dir, const std::string& name, u32 self, u64 now);
    int unlink(u64 dir, const std::string& name, bool directory, u32 self, u64 now, u64& ino);
    int rename(u64 dir, const std::string& name, u64 to, const std::string& new_name, u32 flags, u32 self, u64 now,
               u64& replaced);
    int setattr(u64 ino, u32 mask, const krg_names_attr& attr);
    int append(u64 ino, u64 len, u64& offset);
    int setxattr(u64 ino, const std::string& name, const std::string* value, u32 flags, u64 now);
    int use(u64 ino, bool on, u32 self);
    void free(u64 ino) { inodes.erase(ino); }

    [[nodiscard]] const ModelInode* find(u64 ino) const;
    [[nodiscard]] int lookup(u64 dir, const std::string& name, u64& ino) const;

    std::map<u64, ModelInode> inodes;

private:
    [[nodiscard]] int dir_error(u64 dir) const;
    [[nodiscard]] bool within(u64 dir, u64 ino) const;
    ModelInode& make(const krg_names_attr& made, u64 now);
    void lose(ModelInode& inode, u32 self, u64 now);
    void touch(ModelInode& dir, u64 now);
    void put(ModelInode& dir, const std::string& name, ModelInode& child);
    void take(ModelInode& dir, const std::string& name, ModelInode& child);
    [[nodiscard]] static int may_replace(const ModelInode& by, const ModelInode& there);
};

}  // namespace krg::test
