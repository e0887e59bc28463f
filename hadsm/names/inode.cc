// SPDX-License-Identifier: GPL-2.0
// Records of inodes: judged whole whenever one is lent, so that everything else can
// rely on what stands in them; attributes, the root, promises to append, users.
#include "hadsm/names/inode.hh"

#include "hadsm/names/xattr.hh"

namespace krg::names {

namespace {

bool valid_stamp(const krg_names_time& t) { return valid_time(t) && t.pad == 0; }

bool valid_kind(const InodePage& r) {
    const Type type = type_of(r.mode);
    if (!is_type(static_cast<u32>(type)) || (r.mode & ~(mode_type | mode_bits))) return false;
    if ((type == Type::lnk) != (r.target_len != 0)) return false;
    if (type == Type::lnk && r.size != r.target_len) return false;
    if (type != Type::dir) return r.entries == 0 && r.parent == 0;
    if (r.size != page_bytes || !is_ino(r.parent) || r.nlink == 1) return false;
    return r.nlink != 0 || r.entries == 0;
}

bool valid_links(const InodePage& r) {
    if (r.nlink > nlink_max) return false;
    return r.nlink ? r.orphan_node == 0 && r.orphan_at == 0
                   : is_node(r.orphan_node) && r.orphan_at < list_pages_max * OrphanPage::places;
}

int judge(const InodePage& r, u64 ino) {
    if (!valid_inode(r, slot_of(ino))) return is_zero(r) ? e_stale : e_uclean;
    return r.ino == ino ? 0 : e_stale;
}

}  // namespace

bool valid_inode(const InodePage& r, u64 index) {
    if (!is(r.head, Magic::inode) || !is_zero(r.zero)) return false;
    if (!is_ino(r.ino) || slot_of(r.ino) != index || (index == 0 && r.ino != KRG_NAMES_ROOT)) return false;
    if (r.size > size_max || r.promised > size_max || r.replicas < 1 || r.replicas > 4 || (r.users[0] & 1)) return false;
    if (!valid_stamp(r.atime) || !valid_stamp(r.mtime) || !valid_stamp(r.ctime) || !valid_stamp(r.btime)) return false;
    return valid_kind(r) && valid_links(r) && valid_xattrs(r);
}

int read_inode(const Pages& pages, u64 ino, const InodePage*& r) {
    if (!is_ino(ino)) return e_stale;
    const int rc = pages.read(KRG_NAMES_INODES, slot_of(ino), r);
    return rc ? rc : judge(*r, ino);
}

int write_inode(const Pages& pages, u64 ino, InodePage*& r) {
    if (!is_ino(ino)) return e_stale;
    const int rc = pages.write(KRG_NAMES_INODES, slot_of(ino), r);
    return rc ? rc : judge(*r, ino);
}

int read_dir(const Pages& pages, u64 ino, const InodePage*& r) {
    if (const int rc = read_inode(pages, ino, r)) return rc;
    return is_dir(*r) ? 0 : e_notdir;
}

int write_dir(const Pages& pages, u64 ino, InodePage*& r) {
    if (const int rc = write_inode(pages, ino, r)) return rc;
    if (!is_dir(*r)) return e_notdir;
    return r->nlink ? 0 : e_noent;
}

int write_fresh(const Pages& pages, u64 ino, InodePage*& r) {
    if (const int rc = pages.write(KRG_NAMES_INODES, slot_of(ino), r)) return rc;
    return is_zero(*r) ? 0 : e_uclean;
}

int check_new(const Pages& pages, const krg_names_attr& attr, const char* target, u32 target_len) {
    const Type type = type_of(attr.mode);
    if (!is_type(static_cast<u32>(type)) || (attr.mode & ~(mode_type | mode_bits))) return e_inval;
    if (attr.replicas < 1 || attr.replicas > 4 || !is_node(pages.self()) || !valid_time(pages.now())) return e_inval;
    if (type != Type::lnk) return target_len ? e_inval : 0;
    if (target_len > KRG_NAMES_TARGET_MAX) return e_nametoolong;
    for (u32 i = 0; i < target_len; i++)
        if (!target[i]) return e_inval;
    return target_len ? 0 : e_inval;
}

void fill_inode(InodePage& r, u64 ino, const krg_names_attr& attr, const krg_names_time& now) {
    const Type type = type_of(attr.mode);
    r.head = head_of(Magic::inode);
    r.ino = ino;
    set_size(r, type == Type::dir ? page_bytes : 0);
    r.mode = attr.mode;
    r.uid = attr.uid;
    r.gid = attr.gid;
    if (type == Type::chr || type == Type::blk) {
        r.rdev_major = attr.rdev_major;
        r.rdev_minor = attr.rdev_minor;
    }
    r.replicas = attr.replicas;
    r.atime = r.mtime = r.ctime = r.btime = now;
}

void fill_attr(const InodePage& r, krg_names_attr& attr) {
    attr = {};
    attr.ino = r.ino;
    attr.size = r.size;
    attr.parent = r.parent;
    attr.entries = r.entries;
    attr.mode = r.mode;
    attr.uid = r.uid;
    attr.gid = r.gid;
    attr.nlink = r.nlink;
    attr.rdev_major = r.rdev_major;
    attr.rdev_minor = r.rdev_minor;
    attr.replicas = r.replicas;
    attr.change = r.change;
    attr.atime = r.atime;
    attr.mtime = r.mtime;
    attr.ctime = r.ctime;
    attr.btime = r.btime;
}

void changed(InodePage& r, const krg_names_time& now) {
    r.ctime = now;
    r.change++;
}

void touch_dir(InodePage& r, const krg_names_time& now) {
    r.mtime = now;
    changed(r, now);
}

bool used_by(const InodePage& r, u32 node) { return r.users[node / 64] >> node % 64 & 1; }

namespace {

/// What setattr() refuses, before anything is changed.
int check_set(const InodePage& r, u32 mask, const krg_names_attr& a) {
    const Type type = type_of(r.mode);
    if ((mask & (KRG_NAMES_SET_SIZE | KRG_NAMES_SET_GROW))) {
        if (type != Type::reg) return type == Type::dir ? e_isdir : e_inval;
        if (a.size > size_max) return e_fbig;
    }
    if ((mask & KRG_NAMES_SET_ATIME) && !valid_time(a.atime)) return e_inval;
    if ((mask & KRG_NAMES_SET_MTIME) && !valid_time(a.mtime)) return e_inval;
    if ((mask & KRG_NAMES_SET_CTIME) && !valid_time(a.ctime)) return e_inval;
    if (mask & KRG_NAMES_SET_REPLICAS) {
        if (a.replicas < 1 || a.replicas > 4) return e_inval;
        if (a.replicas != r.replicas && (r.flags & static_cast<u32>(InodeFlag::had_data))) return e_busy;
    }
    return 0;
}

void resize(InodePage& r, u64 size) {
    set_size(r, size);
    if (size) r.flags |= static_cast<u32>(InodeFlag::had_data);
}

void set_attr(InodePage& r, u32 mask, const krg_names_attr& a) {
    if (mask & KRG_NAMES_SET_MODE) r.mode = (r.mode & mode_type) | (a.mode & mode_bits);
    if (mask & KRG_NAMES_SET_UID) r.uid = a.uid;
    if (mask & KRG_NAMES_SET_GID) r.gid = a.gid;
    if (mask & KRG_NAMES_SET_SIZE) {
        resize(r, a.size);
        r.promised = 0;
    }
    if ((mask & KRG_NAMES_SET_GROW) && a.size > r.size) resize(r, a.size);
    if (mask & KRG_NAMES_SET_ATIME) r.atime = {a.atime.sec, a.atime.nsec, 0};
    if (mask & KRG_NAMES_SET_MTIME) r.mtime = {a.mtime.sec, a.mtime.nsec, 0};
    if (mask & KRG_NAMES_SET_CTIME) r.ctime = {a.ctime.sec, a.ctime.nsec, 0};
    if (mask & KRG_NAMES_SET_REPLICAS) r.replicas = a.replicas;
    r.change++;
}

int init_root(const Pages& pages, const krg_names_attr& asked) {
    krg_names_attr attr = asked;
    attr.mode = mode_of(Type::dir) | (asked.mode & mode_bits);
    if (attr.replicas < 1 || attr.replicas > 4 || !valid_time(pages.now())) return e_inval;
    const InodePage* there;
    if (const int rc = pages.read(KRG_NAMES_INODES, slot_of(KRG_NAMES_ROOT), there)) return rc;
    if (!is_zero(*there)) return valid_inode(*there, 0) ? 0 : e_uclean;
    InodePage* r;
    if (const int rc = pages.write(KRG_NAMES_INODES, slot_of(KRG_NAMES_ROOT), r)) return rc;
    fill_inode(*r, KRG_NAMES_ROOT, attr, pages.now());
    r->parent = KRG_NAMES_ROOT;
    r->nlink = 2;
    return 0;
}

int append(const Pages& pages, u64 ino, u64 len, u64& offset) {
    const InodePage* there;
    if (const int rc = read_inode(pages, ino, there)) return rc;
    if (type_of(there->mode) != Type::reg) return is_dir(*there) ? e_isdir : e_inval;
    const u64 end = there->promised > there->size ? there->promised : there->size;
    if (len > size_max - end) return e_fbig;
    offset = end;
    if (!len) return 0;
    InodePage* r;
    if (const int rc = write_inode(pages, ino, r)) return rc;
    r->promised = end + len;
    r->flags |= static_cast<u32>(InodeFlag::had_data);
    r->change++;
    return 0;
}

int unpromise(const Pages& pages, u64 ino, u64 from, u64 end) {
    const InodePage* there;
    if (const int rc = read_inode(pages, ino, there)) return rc;
    if (type_of(there->mode) != Type::reg) return e_inval;
    if (from >= end || there->promised != end) return there->promised > end;
    InodePage* r;
    if (const int rc = write_inode(pages, ino, r)) return rc;
    r->promised = from > r->size ? from : 0;
    r->change++;
    return 0;
}

int use(const Pages& pages, u64 ino, bool on) {
    const u32 self = pages.self();
    if (!is_node(self)) return e_inval;
    const InodePage* there;
    if (const int rc = read_inode(pages, ino, there)) return rc;
    if (used_by(*there, self) == on) return 0;
    if (!there->nlink && on) return e_stale;
    InodePage* r;
    if (const int rc = write_inode(pages, ino, r)) return rc;
    r->users[self / 64] ^= 1ull << self % 64;
    return 0;
}

}  // namespace
}  // namespace krg::names

using namespace krg::names;

extern "C" {

int krg_names_init_root(const struct krg_names_io* io, const struct krg_names_attr* attr) {
    return init_root(Pages(*io), *attr);
}

int krg_names_getattr(const struct krg_names_io* io, u64 ino, struct krg_names_attr* attr) {
    const InodePage* r;
    if (const int rc = read_inode(Pages(*io), ino, r)) return rc;
    fill_attr(*r, *attr);
    return 0;
}

int krg_names_setattr(const struct krg_names_io* io, u64 ino, u32 mask, struct krg_names_attr* attr) {
    constexpr u32 sizes = KRG_NAMES_SET_SIZE | KRG_NAMES_SET_GROW;
    if (!mask) return krg_names_getattr(io, ino, attr);
    if (mask >= 2 * KRG_NAMES_SET_REPLICAS || (mask & sizes) == sizes) return e_inval;
    InodePage* r;
    if (const int rc = write_inode(Pages(*io), ino, r)) return rc;
    if (const int rc = check_set(*r, mask, *attr)) return rc;
    set_attr(*r, mask, *attr);
    fill_attr(*r, *attr);
    return 0;
}

int krg_names_append(const struct krg_names_io* io, u64 ino, u64 len, u64* offset) {
    return append(Pages(*io), ino, len, *offset);
}

int krg_names_unpromise(const struct krg_names_io* io, u64 ino, u64 from, u64 end) {
    return unpromise(Pages(*io), ino, from, end);
}

int krg_names_use(const struct krg_names_io* io, u64 ino, u32 on) { return use(Pages(*io), ino, on != 0); }

int krg_names_users(const struct krg_names_io* io, u64 ino, u64 users[2]) {
    const InodePage* r;
    if (const int rc = read_inode(Pages(*io), ino, r)) return rc;
    users[0] = r->users[0];
    users[1] = r->users[1];
    return 0;
}
}
