// SPDX-License-Identifier: GPL-2.0
// Extended attributes: packed one behind the other in the tail of an inode's page,
// behind the target of a symbolic link. A new value goes to the end; what is removed
// leaves no hole.
#include "hadsm/names/xattr.hh"

#include "hadsm/names/inode.hh"

namespace krg::names {

namespace {

struct Xattr {
    const u8* start = nullptr;
    const u8* name = nullptr;
    const u8* value = nullptr;
    u32 len = 0, size = 0;
    [[nodiscard]] u32 bytes() const { return static_cast<u32>(sizeof(XattrHead)) + len + size; }
};

/// Steps through the attributes of a record that was judged.
class Xattrs {
public:
    explicit Xattrs(const InodePage& r) : at_(r.tail + r.target_len), end_(at_ + r.xattr_len) {}
    [[nodiscard]] bool next(Xattr& x) {
        if (at_ == end_) return false;
        XattrHead head;
        __builtin_memcpy(&head, at_, sizeof(head));
        x = {at_, at_ + sizeof(head), at_ + sizeof(head) + head.len, head.len, head.size};
        at_ += x.bytes();
        return true;
    }

private:
    const u8* at_;
    const u8* end_;
};

bool find(const InodePage& r, const char* name, u32 len, Xattr& x) {
    for (Xattrs all(r); all.next(x);)
        if (x.len == len && !__builtin_memcmp(x.name, name, len)) return true;
    return false;
}

int check_name(const char* name, u32 len) {
    if (len > KRG_NAMES_NAME_MAX) return e_nametoolong;
    for (u32 i = 0; i < len; i++)
        if (!name[i]) return e_inval;
    return len ? 0 : e_inval;
}

void remove(InodePage& r, const Xattr& x) {
    u8* const at = r.tail + (x.start - r.tail);
    u8* const end = r.tail + r.target_len + r.xattr_len;
    const u32 bytes = x.bytes();
    __builtin_memmove(at, at + bytes, static_cast<size_t>(end - at) - bytes);
    __builtin_memset(end - bytes, 0, bytes);
    r.xattr_len = static_cast<u16>(r.xattr_len - bytes);
}

void add(InodePage& r, const char* name, u32 len, const void* value, u32 size) {
    u8* at = r.tail + r.target_len + r.xattr_len;
    const XattrHead head{static_cast<u8>(len), 0, static_cast<u16>(size)};
    __builtin_memcpy(at, &head, sizeof(head));
    __builtin_memcpy(at + sizeof(head), name, len);
    if (size) __builtin_memcpy(at + sizeof(head) + len, value, size);
    r.xattr_len = static_cast<u16>(r.xattr_len + sizeof(head) + len + size);
}

/// A new value with its name.
struct Value {
    const char* name;
    u32 len;
    const void* value;  // nullptr: remove
    u32 size, flags;
};

int set(const Pages& pages, u64 ino, const Value& v) {
    if (const int rc = check_name(v.name, v.len)) return rc;
    if ((v.flags & ~(KRG_NAMES_XATTR_CREATE | KRG_NAMES_XATTR_REPLACE)) || !valid_time(pages.now())) return e_inval;
    InodePage* r;
    if (const int rc = write_inode(pages, ino, r)) return rc;
    Xattr old;
    const bool found = find(*r, v.name, v.len, old);
    if (!found && (!v.value || (v.flags & KRG_NAMES_XATTR_REPLACE))) return e_nodata;
    if (found && v.value && (v.flags & KRG_NAMES_XATTR_CREATE)) return e_exist;
    const u32 kept = r->target_len + r->xattr_len - (found ? old.bytes() : 0);
    const u32 room = static_cast<u32>(sizeof(r->tail)) - kept;
    if (v.value && u64{v.size} + v.len + sizeof(XattrHead) > room) return e_nospc;
    if (found) remove(*r, old);
    if (v.value) add(*r, v.name, v.len, v.value, v.size);
    changed(*r, pages.now());
    return 0;
}

int list(const InodePage& r, char* out, u32 room) {
    u32 bytes = 0;
    Xattr x;
    for (Xattrs all(r); all.next(x);) bytes += x.len + 1;
    if (!room) return static_cast<int>(bytes);
    if (bytes > room) return e_range;
    for (Xattrs all(r); all.next(x);) {
        __builtin_memcpy(out, x.name, x.len);
        out[x.len] = 0;
        out += x.len + 1;
    }
    return static_cast<int>(bytes);
}

}  // namespace

bool valid_xattrs(const InodePage& r) {
    if (u32{r.target_len} + r.xattr_len > sizeof(r.tail)) return false;
    const u8* at = r.tail + r.target_len;
    u32 left = r.xattr_len;
    while (left) {
        XattrHead head;
        if (left < sizeof(head)) return false;
        __builtin_memcpy(&head, at, sizeof(head));
        const u32 bytes = static_cast<u32>(sizeof(head)) + head.len + head.size;
        if (!head.len || head.zero || bytes > left) return false;
        at += bytes;
        left -= bytes;
    }
    return true;
}

}  // namespace krg::names

using namespace krg::names;

extern "C" {

int krg_names_getxattr(const struct krg_names_io* io, u64 ino, const char* name, u32 len, void* value, u32 room) {
    if (const int rc = check_name(name, len)) return rc;
    const InodePage* r;
    if (const int rc = read_inode(Pages(*io), ino, r)) return rc;
    Xattr x;
    if (!find(*r, name, len, x)) return e_nodata;
    if (room && x.size > room) return e_range;
    if (room && x.size) __builtin_memcpy(value, x.value, x.size);
    return static_cast<int>(x.size);
}

int krg_names_setxattr(const struct krg_names_io* io, u64 ino, const char* name, u32 len, const void* value, u32 size,
                       u32 flags) {
    return set(Pages(*io), ino, {name, len, value, size, flags});
}

int krg_names_listxattr(const struct krg_names_io* io, u64 ino, char* list_out, u32 room) {
    const InodePage* r;
    if (const int rc = read_inode(Pages(*io), ino, r)) return rc;
    return list(*r, list_out, room);
}
}
