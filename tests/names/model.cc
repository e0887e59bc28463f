// SPDX-License-Identifier: GPL-2.0
#include "tests/names/model.hh"

#include <cerrno>
#include <sys/stat.h>

namespace krg::test {

bool ModelInode::is_dir() const { return S_ISDIR(mode); }
bool ModelInode::is_reg() const { return S_ISREG(mode); }

Model::Model() {
    ModelInode& root = inodes[KRG_NAMES_ROOT];
    root.ino = root.parent = KRG_NAMES_ROOT;
    root.mode = S_IFDIR | 0755;
    root.nlink = 2;
    root.replicas = 2;
    root.size = KRG_NAMES_PAGE;
    root.uid = 1000;
    root.gid = 100;
    root.mtime = root.ctime = 1;
}

const ModelInode* Model::find(u64 ino) const {
    const auto it = inodes.find(ino);
    return it == inodes.end() ? nullptr : &it->second;
}

/// Why @dir takes no change of its names.
int Model::dir_error(u64 dir) const {
    const ModelInode* d = find(dir);
    if (!d) return -ESTALE;
    if (!d->is_dir()) return -ENOTDIR;
    return d->nlink ? 0 : -ENOENT;
}

int Model::lookup(u64 dir, const std::string& name, u64& ino) const {
    const ModelInode* d = find(dir);
    if (!d) return -ESTALE;
    if (!d->is_dir()) return -ENOTDIR;
    const auto it = d->names.find(name);
    if (it == d->names.end()) return -ENOENT;
    ino = it->second;
    return 0;
}

int Model::may_create(u64 dir, const std::string& name, u32) const {
    if (const int rc = dir_error(dir)) return rc;
    u64 ino;
    return lookup(dir, name, ino) ? 0 : -EEXIST;
}

ModelInode& Model::make(const krg_names_attr& made, u64 now) {
    ModelInode& i = inodes[made.ino];
    i = {};
    i.ino = made.ino;
    i.mode = made.mode;
    i.uid = made.uid;
    i.gid = made.gid;
    i.replicas = made.replicas;
    if (S_ISCHR(i.mode) || S_ISBLK(i.mode)) i.rdev = made.rdev_minor;
    if (i.is_dir()) i.size = KRG_NAMES_PAGE;
    i.mtime = i.ctime = now;
    return i;
}

void Model::touch(ModelInode& dir, u64 now) { dir.mtime = dir.ctime = now; }

void Model::put(ModelInode& dir, const std::string& name, ModelInode& child) {
    dir.names[name] = child.ino;
    if (!child.is_dir()) return;
    child.parent = dir.ino;
    dir.nlink++;
}

void Model::take(ModelInode& dir, const std::string& name, ModelInode& child) {
    dir.names.erase(name);
    dir.nlink -= child.is_dir();
}

void Model::lose(ModelInode& inode, u32 self, u64 now) {
    inode.nlink = inode.is_dir() ? 0 : inode.nlink - 1;
    inode.ctime = now;
    if (!inode.nlink) inode.orphan_of = self;
}

void Model::create(u64 dir, const std::string& name, const krg_names_attr& made, const std::string& target, u64 now) {
    ModelInode& i = make(made, now);
    i.nlink = i.is_dir() ? 2 : 1;
    i.target = target;
    if (!target.empty()) i.size = target.size();
    put(inodes[dir], name, i);
    touch(inodes[dir], now);
}

void Model::tmpfile(const krg_names_attr& made, u32 self, u64 now) {
    ModelInode& i = make(made, now);
    i.orphan_of = self;
    i.users.insert(self);
}

int Model::link(u64 ino, u64 dir, const std::string& name, u32 self, u64 now) {
    if (!find(ino)) return -ESTALE;
    ModelInode& i = inodes[ino];
    if (i.is_dir()) return -EPERM;
    if (const int rc = may_create(dir, name, i.mode)) return rc;
    if (!i.nlink && (i.orphan_of != self || !i.users.count(self))) return -ENOENT;
    i.orphan_of = 0;
    i.nlink++;
    i.ctime = now;
    put(inodes[dir], name, i);
    touch(inodes[dir], now);
    return 0;
}

int Model::unlink(u64 dir, const std::string& name, bool directory, u32 self, u64 now, u64& ino) {
    if (const int rc = dir_error(dir)) return rc;
    if (const int rc = lookup(dir, name, ino)) return rc;
    ModelInode& i = inodes[ino];
    if (i.is_dir() != directory) return directory ? -ENOTDIR : -EISDIR;
    if (!i.names.empty()) return -ENOTEMPTY;
    take(inodes[dir], name, i);
    touch(inodes[dir], now);
    lose(i, self, now);
    return 0;
}

bool Model::within(u64 dir, u64 ino) const {
    for (;; dir = inodes.at(dir).parent) {
        if (dir == ino) return true;
        if (dir == KRG_NAMES_ROOT) return false;
    }
}

int Model::may_replace(const ModelInode& by, const ModelInode& there) {
    if (by.is_dir() && !there.is_dir()) return -ENOTDIR;
    if (!by.is_dir() && there.is_dir()) return -EISDIR;
    return there.names.empty() ? 0 : -ENOTEMPTY;
}

int Model::rename(u64 dir, const std::string& name, u64 to, const std::string& new_name, u32 flags, u32 self, u64 now,
                  u64& replaced) {
    u64 moved = 0, there = 0;
    if (flags > 2) return -EINVAL;
    if (const int rc = dir_error(dir)) return rc;
    if (const int rc = lookup(dir, name, moved)) return rc;
    if (const int rc = dir_error(to)) return rc;
    const bool exists = !lookup(to, new_name, there);
    if (exists && flags == KRG_NAMES_NOREPLACE) return -EEXIST;
    if (!exists && flags == KRG_NAMES_EXCHANGE) return -ENOENT;
    replaced = 0;
    if (exists && there == moved) return 0;
    ModelInode &a = inodes[moved], &from = inodes[dir], &into = inodes[to];
    if (flags == KRG_NAMES_EXCHANGE) {
        ModelInode& b = inodes[there];
        if ((a.is_dir() && within(to, moved)) || (b.is_dir() && within(dir, there))) return -EINVAL;
        take(from, name, a);
        take(into, new_name, b);
        put(from, name, b);
        put(into, new_name, a);
        b.ctime = now;
    } else {
        const int rc = exists ? may_replace(a, inodes[there]) : 0;
        if (rc) return rc;
        if (a.is_dir() && within(to, moved)) return -EINVAL;
        if (exists) {
            take(into, new_name, inodes[there]);
            lose(inodes[there], self, now);
            replaced = there;
        }
        take(from, name, a);
        put(into, new_name, a);
    }
    a.ctime = now;
    touch(from, now);
    touch(into, now);
    return 0;
}

int Model::setattr(u64 ino, u32 mask, const krg_names_attr& attr) {
    const u32 sizes = KRG_NAMES_SET_SIZE | KRG_NAMES_SET_GROW;
    if ((mask & sizes) == sizes) return -EINVAL;
    if (!find(ino)) return -ESTALE;
    ModelInode& i = inodes[ino];
    if ((mask & sizes) && !i.is_reg()) return i.is_dir() ? -EISDIR : -EINVAL;
    if ((mask & KRG_NAMES_SET_REPLICAS) && attr.replicas != i.replicas && i.had_data) return -EBUSY;
    if (mask & KRG_NAMES_SET_MODE) i.mode = (i.mode & S_IFMT) | (attr.mode & 07777);
    if (mask & KRG_NAMES_SET_UID) i.uid = attr.uid;
    if (mask & KRG_NAMES_SET_GID) i.gid = attr.gid;
    if (mask & KRG_NAMES_SET_SIZE) i.promised = 0;
    if ((mask & KRG_NAMES_SET_SIZE) || ((mask & KRG_NAMES_SET_GROW) && attr.size > i.size)) i.size = attr.size;
    if ((mask & sizes) && i.size) i.had_data = true;
    if (mask & KRG_NAMES_SET_MTIME) i.mtime = static_cast<u64>(attr.mtime.sec);
    if (mask & KRG_NAMES_SET_CTIME) i.ctime = static_cast<u64>(attr.ctime.sec);
    if (mask & KRG_NAMES_SET_REPLICAS) i.replicas = attr.replicas;
    return 0;
}

int Model::append(u64 ino, u64 len, u64& offset) {
    if (!find(ino)) return -ESTALE;
    ModelInode& i = inodes[ino];
    if (!i.is_reg()) return i.is_dir() ? -EISDIR : -EINVAL;
    offset = i.promised > i.size ? i.promised : i.size;
    if (len) i.promised = offset + len, i.had_data = true;
    return 0;
}

int Model::setxattr(u64 ino, const std::string& name, const std::string* value, u32 flags, u64 now) {
    if (!find(ino)) return -ESTALE;
    ModelInode& i = inodes[ino];
    const auto old = i.xattrs.find(name);
    const bool found = old != i.xattrs.end();
    if (!found && (!value || (flags & KRG_NAMES_XATTR_REPLACE))) return -ENODATA;
    if (found && value && (flags & KRG_NAMES_XATTR_CREATE)) return -EEXIST;
    auto after = i.xattrs;
    after.erase(name);
    if (value) after[name] = *value;
    size_t bytes = i.target.size();
    for (const auto& [n, v] : after) bytes += 4 + n.size() + v.size();
    if (value && bytes > KRG_NAMES_TARGET_MAX) return -ENOSPC;
    i.xattrs = after;
    i.ctime = now;
    return 0;
}

int Model::use(u64 ino, bool on, u32 self) {
    if (!find(ino)) return -ESTALE;
    ModelInode& i = inodes[ino];
    if (on && !i.nlink && !i.users.count(self)) return -ESTALE;
    if (on)
        i.users.insert(self);
    else
        i.users.erase(self);
    return 0;
}

}  // namespace krg::test
