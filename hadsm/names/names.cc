// SPDX-License-Identifier: GPL-2.0
// Names come and go: lookup, create, link, unlink, rmdir. Moving them is in
// rename.cc.
#include "hadsm/names/change.hh"
#include "hadsm/names/slot.hh"

namespace krg::names {

int write_child(const Pages& pages, const InodePage& dir, const Entry& entry, InodePage*& child) {
    if (entry.ino == dir.ino || entry.ino == KRG_NAMES_ROOT) return e_uclean;
    const int rc = write_inode(pages, entry.ino, child);
    if (rc) return rc == e_stale ? e_uclean : rc;
    if (!child->nlink || type_of(child->mode) != static_cast<Type>(entry.type)) return e_uclean;
    return is_dir(*child) && child->parent != dir.ino ? e_uclean : 0;
}

int plan_loss(const Pages& pages, InodePage& inode, Loss& loss) {
    loss.inode = &inode;
    return loss.last() ? plan_orphan(pages, loss.orphan) : 0;
}

void lose(const Loss& loss, u32 node, const krg_names_time& now) {
    InodePage& r = *loss.inode;
    if (loss.last())
        make_orphan(loss.orphan, node, r);
    else
        r.nlink--;
    changed(r, now);
}

namespace {

int lookup(const Pages& pages, u64 ino, const char* name, u32 len, u64& found, u8& type) {
    if (const int rc = check_name(name, len)) return rc;
    const InodePage* dir;
    Path path;
    if (const int rc = read_dir(pages, ino, dir)) return rc;
    if (const int rc = find_name(pages, *dir, name, len, KRG_NAMES_READ, path)) return rc;
    if (!path.found()) return e_noent;
    found = path.entry().ino;
    type = path.entry().type;
    return 0;
}

/// A directory that gets a name it does not have yet.
int plan_name(const Pages& pages, u64 ino, const char* name, u32 len, InodePage*& dir, Insertion& plan) {
    if (const int rc = check_name(name, len)) return rc;
    Path path;
    if (const int rc = write_dir(pages, ino, dir)) return rc;
    if (const int rc = find_name(pages, *dir, name, len, change_mode(*dir), path)) return rc;
    return path.found() ? e_exist : plan_insertion(pages, path, plan);
}

void put_name(const Insertion& plan, InodePage& dir, const InodePage& child, const krg_names_time& now) {
    insert(plan, child.ino, type_of(child.mode));
    dir.entries++;
    if (is_dir(child)) dir.nlink++;
    touch_dir(dir, now);
}

/// An inode that is to be made.
struct New {
    Slot slot;
    u64 ino = 0;
    InodePage* r = nullptr;
};

int plan_new(const Pages& pages, New& fresh) {
    if (const int rc = plan_slot(pages, pages.self(), fresh.slot, fresh.ino)) return rc;
    return write_fresh(pages, fresh.ino, fresh.r);
}

void make_new(const Pages& pages, const New& fresh, const krg_names_attr& attr) {
    take_slot(fresh.slot, fresh.ino);
    fill_inode(*fresh.r, fresh.ino, attr, pages.now());
}

int create(const Pages& pages, u64 ino, const char* name, u32 len, krg_names_attr& attr, const char* target, u32 target_len) {
    if (const int rc = check_new(pages, attr, target, target_len)) return rc;
    const bool directory = type_of(attr.mode) == Type::dir;
    InodePage* dir;
    Insertion insertion;
    New fresh;
    if (const int rc = plan_name(pages, ino, name, len, dir, insertion)) return rc;
    if (const int rc = directory ? can_get_dir(*dir) : 0) return rc;
    if (const int rc = plan_new(pages, fresh)) return rc;
    make_new(pages, fresh, attr);
    InodePage& r = *fresh.r;
    r.nlink = directory ? 2 : 1;
    r.parent = directory ? dir->ino : 0;
    if (target_len) {
        __builtin_memcpy(r.tail, target, target_len);
        r.target_len = static_cast<u16>(target_len);
        set_size(r, target_len);
    }
    put_name(insertion, *dir, r, pages.now());
    fill_attr(r, attr);
    return 0;
}

int tmpfile(const Pages& pages, krg_names_attr& attr) {
    if (const int rc = check_new(pages, attr, nullptr, 0)) return rc;
    if (type_of(attr.mode) == Type::dir) return e_isdir;
    New fresh;
    Orphan orphan;
    if (const int rc = plan_new(pages, fresh)) return rc;
    if (const int rc = plan_orphan(pages, orphan)) return rc;
    make_new(pages, fresh, attr);
    make_orphan(orphan, pages.self(), *fresh.r);
    fresh.r->users[pages.self() / 64] |= 1ull << pages.self() % 64;
    fill_attr(*fresh.r, attr);
    return 0;
}

int link(const Pages& pages, u64 ino, u64 dir_ino, const char* name, u32 len) {
    InodePage *r, *dir;
    Insertion insertion;
    Orphan orphan;
    if (!valid_time(pages.now())) return e_inval;
    if (const int rc = write_inode(pages, ino, r)) return rc;
    if (is_dir(*r)) return e_perm;
    if (const int rc = plan_name(pages, dir_ino, name, len, dir, insertion)) return rc;
    if (r->nlink >= nlink_max) return e_mlink;
    const bool orphaned = r->nlink == 0;
    if (orphaned) {
        // Only who uses it can give it a name again: else its end may have begun.
        if (r->orphan_node != pages.self() || !used_by(*r, pages.self())) return e_noent;
        if (const int rc = plan_adoption(pages, *r, orphan)) return rc;
        leave_list(orphan);
        r->orphan_node = r->orphan_at = 0;
    }
    r->nlink++;
    changed(*r, pages.now());
    put_name(insertion, *dir, *r, pages.now());
    return 0;
}

int unlink(const Pages& pages, u64 dir_ino, const char* name, u32 len, bool directory, u64& ino) {
    if (const int rc = check_name(name, len)) return rc;
    if (!is_node(pages.self()) || !valid_time(pages.now())) return e_inval;
    InodePage *dir, *child;
    Path path;
    Removal removal;
    Loss loss;
    if (const int rc = write_dir(pages, dir_ino, dir)) return rc;
    if (const int rc = find_name(pages, *dir, name, len, change_mode(*dir), path)) return rc;
    if (!path.found()) return e_noent;
    if (const int rc = write_child(pages, *dir, path.entry(), child)) return rc;
    if (is_dir(*child) != directory) return directory ? e_notdir : e_isdir;
    if (directory && child->entries) return e_notempty;
    if (const int rc = directory ? can_lose_dir(*dir) : 0) return rc;
    if (const int rc = plan_loss(pages, *child, loss)) return rc;
    if (const int rc = plan_removal(pages, path, removal)) return rc;
    remove(removal);
    dir->entries--;
    if (directory) dir->nlink--;
    touch_dir(*dir, pages.now());
    lose(loss, pages.self(), pages.now());
    ino = child->ino;
    return 0;
}

int readlink(const Pages& pages, u64 ino, char* target, u32 room) {
    const InodePage* r;
    if (const int rc = read_inode(pages, ino, r)) return rc;
    if (type_of(r->mode) != Type::lnk) return e_inval;
    const u32 bytes = r->target_len < room ? r->target_len : room;
    if (bytes) __builtin_memcpy(target, r->tail, bytes);
    return r->target_len;
}

}  // namespace
}  // namespace krg::names

using krg::names::Pages;

extern "C" {

int krg_names_lookup(const struct krg_names_io* io, u64 dir, const char* name, u32 len, u64* ino, u8* type) {
    return krg::names::lookup(Pages(*io), dir, name, len, *ino, *type);
}

int krg_names_create(const struct krg_names_io* io, u64 dir, const char* name, u32 len, struct krg_names_attr* attr,
                     const char* target, u32 target_len) {
    return krg::names::create(Pages(*io), dir, name, len, *attr, target, target_len);
}

int krg_names_tmpfile(const struct krg_names_io* io, struct krg_names_attr* attr) {
    return krg::names::tmpfile(Pages(*io), *attr);
}

int krg_names_link(const struct krg_names_io* io, u64 ino, u64 dir, const char* name, u32 len) {
    return krg::names::link(Pages(*io), ino, dir, name, len);
}

int krg_names_unlink(const struct krg_names_io* io, u64 dir, const char* name, u32 len, u64* ino) {
    return krg::names::unlink(Pages(*io), dir, name, len, false, *ino);
}

int krg_names_rmdir(const struct krg_names_io* io, u64 dir, const char* name, u32 len, u64* ino) {
    return krg::names::unlink(Pages(*io), dir, name, len, true, *ino);
}

int krg_names_readlink(const struct krg_names_io* io, u64 ino, char* target, u32 room) {
    return krg::names::readlink(Pages(*io), ino, target, room);
}
}
