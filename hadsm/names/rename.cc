// SPDX-License-Identifier: GPL-2.0
// Moving names: within a directory and between two, over another name, and two names
// against each other. A name that is replaced or exchanged keeps its place.
#include "hadsm/names/change.hh"

namespace krg::names {

namespace {

/// One of the two names of a rename.
struct Side {
    InodePage* dir = nullptr;
    InodePage* child = nullptr;  // nullptr: there is no such name
    Path path;
    [[nodiscard]] bool moves_dir() const { return child && is_dir(*child); }
};

struct Rename {
    Side old_side, new_side;
    [[nodiscard]] bool same_dir() const { return old_side.dir == new_side.dir; }
};

int find_side(const Pages& pages, u64 ino, const char* name, u32 len, Side& side) {
    if (const int rc = write_dir(pages, ino, side.dir)) return rc;
    if (const int rc = find_name(pages, *side.dir, name, len, change_mode(*side.dir), side.path)) return rc;
    return side.path.found() ? write_child(pages, *side.dir, side.path.entry(), side.child) : 0;
}

/// -EINVAL: @dir is @ino or within it. Parents that go round in a circle are damage.
int check_outside(const Pages& pages, const InodePage& dir, u64 ino) {
    u64 mark = 0, steps = 0;
    for (const InodePage* at = &dir; at->ino != KRG_NAMES_ROOT; steps++) {
        if (at->ino == ino) return e_inval;
        if (at->ino == mark) return e_uclean;
        if ((steps & (steps - 1)) == 0) mark = at->ino;
        const int rc = read_dir(pages, at->parent, at);
        if (rc) return rc == e_stale || rc == e_notdir ? e_uclean : rc;
    }
    return 0;
}

/// What moving a directory out of @from into another asks for; @instead: a directory comes back, or goes, for it.
int check_dir_moves(const Pages& pages, const Side& from, const Side& to, bool instead) {
    if (const int rc = check_outside(pages, *to.dir, from.child->ino)) return rc;
    if (const int rc = can_lose_dir(*from.dir)) return rc;
    return instead ? 0 : can_get_dir(*to.dir);
}

void move_dir(const Side& from, const Side& to) {
    from.dir->nlink--;
    to.dir->nlink++;
    from.child->parent = to.dir->ino;
}

int exchange(const Pages& pages, Rename& r) {
    Side &a = r.old_side, &b = r.new_side;
    if (!r.same_dir()) {
        if (const int rc = a.moves_dir() ? check_dir_moves(pages, a, b, b.moves_dir()) : 0) return rc;
        if (const int rc = b.moves_dir() ? check_dir_moves(pages, b, a, a.moves_dir()) : 0) return rc;
    }
    Entry *in_a, *in_b;
    if (const int rc = plan_swap(pages, a.path, in_a)) return rc;
    if (const int rc = plan_swap(pages, b.path, in_b)) return rc;
    const u64 ino = in_a->ino;
    const u8 type = in_a->type;
    in_a->ino = in_b->ino;
    in_a->type = in_b->type;
    in_b->ino = ino;
    in_b->type = type;
    if (!r.same_dir()) {
        if (a.moves_dir()) move_dir(a, b);
        if (b.moves_dir()) move_dir(b, a);
        touch_dir(*b.dir, pages.now());
    }
    touch_dir(*a.dir, pages.now());
    changed(*a.child, pages.now());
    changed(*b.child, pages.now());
    return 0;
}

int check_replace(const Side& a, const Side& b) {
    if (a.moves_dir() && !b.moves_dir()) return e_notdir;
    if (!a.moves_dir() && b.moves_dir()) return e_isdir;
    return b.child->entries ? e_notempty : 0;
}

/// Everything a plain rename changes.
struct Move {
    Removal removal;
    Insertion insertion;
    Entry* replaced = nullptr;
    Loss loss;
};

int plan_move(const Pages& pages, const Rename& r, Move& m) {
    const Side &a = r.old_side, &b = r.new_side;
    if (const int rc = b.child ? check_replace(a, b) : 0) return rc;
    if (a.moves_dir()) {
        if (const int rc = r.same_dir() ? 0 : check_dir_moves(pages, a, b, b.child != nullptr)) return rc;
        if (const int rc = b.child ? can_lose_dir(*b.dir) : 0) return rc;
    }
    if (b.child) {
        if (const int rc = plan_loss(pages, *b.child, m.loss)) return rc;
        if (const int rc = plan_swap(pages, b.path, m.replaced)) return rc;
    } else if (const int rc = plan_insertion(pages, b.path, m.insertion)) {
        return rc;
    }
    return plan_removal(pages, a.path, m.removal);
}

int move(const Pages& pages, const Rename& r) {
    const Side &a = r.old_side, &b = r.new_side;
    const krg_names_time now = pages.now();
    Move m;
    if (const int rc = plan_move(pages, r, m)) return rc;
    const bool directory = a.moves_dir();
    if (m.replaced) {
        m.replaced->ino = a.child->ino;
        m.replaced->type = static_cast<u8>(type_of(a.child->mode));
        if (directory) b.dir->nlink--;
        lose(m.loss, pages.self(), now);
    } else {
        insert(m.insertion, a.child->ino, type_of(a.child->mode));
        b.dir->entries++;
    }
    remove(m.removal);
    a.dir->entries--;
    if (!r.same_dir()) {
        if (directory) move_dir(a, b);
        touch_dir(*b.dir, now);
    }
    touch_dir(*a.dir, now);
    changed(*a.child, now);
    return 0;
}

/// The two names as they are asked for.
struct Asked {
    u64 dir;
    const char* name;
    u32 len;
};

int rename(const Pages& pages, const Asked& from, const Asked& to, u32 flags, u64& replaced) {
    if (const int rc = check_name(from.name, from.len)) return rc;
    if (const int rc = check_name(to.name, to.len)) return rc;
    if (flags > KRG_NAMES_EXCHANGE || !is_node(pages.self()) || !valid_time(pages.now())) return e_inval;
    Rename r;
    if (const int rc = find_side(pages, from.dir, from.name, from.len, r.old_side)) return rc;
    if (!r.old_side.child) return e_noent;
    if (const int rc = find_side(pages, to.dir, to.name, to.len, r.new_side)) return rc;
    const InodePage* there = r.new_side.child;
    if (there && flags == KRG_NAMES_NOREPLACE) return e_exist;
    if (!there && flags == KRG_NAMES_EXCHANGE) return e_noent;
    replaced = 0;
    if (there == r.old_side.child) return 0;
    const u64 ino = there && flags != KRG_NAMES_EXCHANGE ? there->ino : 0;
    const int rc = flags == KRG_NAMES_EXCHANGE ? exchange(pages, r) : move(pages, r);
    if (!rc) replaced = ino;
    return rc;
}

}  // namespace
}  // namespace krg::names

extern "C" int krg_names_rename(const struct krg_names_io* io, u64 old_dir, const char* old_name, u32 old_len, u64 new_dir,
                                const char* new_name, u32 new_len, u32 flags, u64* replaced) {
    return krg::names::rename(krg::names::Pages(*io), {old_dir, old_name, old_len}, {new_dir, new_name, new_len}, flags,
                              *replaced);
}
