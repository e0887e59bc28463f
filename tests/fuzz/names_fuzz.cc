// SPDX-License-Identifier: GPL-2.0
//
// Fuzz target: the name space engine on pages that somebody wrote over. An input is a list of steps, see play(): bytes put
// anywhere into any page of a small tree, and operations with names, numbers and nodes of all kinds. Whatever is in the
// pages, the engine must not read or write outside of them (the sanitizers watch: each page is an allocation of its own),
// must come to an end, must ask for all pages before it changes one, must not change what it was lent for reading, must
// change nothing when it fails, and must leave a well-formed page well-formed.
#include "hadsm/names/names.h"
#include "tests/fuzz/input.hh"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace {

using krg::fuzz::Input;
using krg::fuzz::require;

constexpr u64 root = KRG_NAMES_ROOT;
constexpr u32 type_dir = 0040000, type_file = 0100000, type_link = 0120000;

struct alignas(8) Page {
    u8 bytes[KRG_NAMES_PAGE] = {};
};
bool same(const Page& a, const Page& b) { return !std::memcmp(a.bytes, b.bytes, sizeof(a.bytes)); }

using Where = std::pair<u64, u64>;

/// Lends pages and watches what becomes of them.
class Disk {
public:
    Page& page(Where where) {
        auto& p = pages_[where];
        if (!p) p = std::make_unique<Page>();
        return *p;
    }
    size_t pages() const { return pages_.size(); }
    Where nth(size_t n) const {
        auto it = pages_.begin();
        std::advance(it, static_cast<long>(n % pages_.size()));
        return it->first;
    }

    template<typename F>
    int run(u32 self, u32 failing, F operation) {
        loans_.clear();
        requests_ = 0;
        failing_ = failing;
        krg_names_io io{};
        io.page = lend;
        io.context = this;
        io.self = self;
        io.now = {1000, 5, 0};
        const int rc = operation(io);
        for (const auto& [where, loan] : loans_) {
            const Page& now = page(where);
            if (rc < 0 || loan.mode == KRG_NAMES_READ) require(same(now, loan.before));
            if (krg_names_valid(where.first, where.second, loan.before.bytes))
                require(krg_names_valid(where.first, where.second, now.bytes));
        }
        return rc;
    }

private:
    struct Loan {
        u32 mode = 0;
        Page before;
    };

    static int lend(void* context, u64 container, u64 index, u32 mode, u8** bytes) {
        Disk& disk = *static_cast<Disk*>(context);
        for (const auto& [where, loan] : disk.loans_) require(same(disk.page(where), loan.before));
        if (++disk.requests_ == disk.failing_ || disk.requests_ > 5000) return -11;
        const Where where{container, index};
        Loan& loan = disk.loans_[where];
        if (!loan.mode) loan.before = disk.page(where);
        loan.mode = mode > loan.mode ? mode : loan.mode;
        *bytes = disk.page(where).bytes;
        return 0;
    }

    std::map<Where, std::unique_ptr<Page>> pages_;
    std::map<Where, Loan> loans_;
    u32 requests_ = 0, failing_ = 0;
};

/// The tree everything begins with, and how steps name what is in it.
class World {
public:
    World() {
        krg_names_attr attr = wanted(type_dir);
        require(!disk.run(1, 0, [&](const auto& io) { return krg_names_init_root(&io, &attr); }));
        known_[0] = root;
        known_[1] = make(root, "a", type_dir);
        known_[2] = make(known_[1], "b", type_dir);
        known_[3] = make(root, "c", type_file);
        known_[4] = make(known_[1], "d", type_link);
        known_[5] = make(root, "e", type_file);
        attr = wanted(type_file);
        require(!disk.run(1, 0, [&](const auto& io) { return krg_names_tmpfile(&io, &attr); }));
        known_[6] = attr.ino;
        for (u32 i = 0; i < 30; i++) {
            const std::string name(200, static_cast<char>('0' + i));
            require(!disk.run(1, 0, [&](const auto& io) { return krg_names_link(&io, known_[3], root, name.data(), 200); }));
        }
        require(!disk.run(1, 0, [&](const auto& io) { return krg_names_setxattr(&io, known_[3], "x", 1, "value", 5, 0); }));
    }

    u64 ino(uint8_t b) const { return b & 8 ? known_[b % 8] + (u64{b} << 28) : known_[b % 7]; }
    static std::string name(uint8_t b) {
        if (b < 128) return std::string(1, static_cast<char>('a' + b % 8));
        return std::string(b < 192 ? 200 : b, static_cast<char>('0' + b % 40));
    }
    static krg_names_attr wanted(u32 mode) {
        krg_names_attr attr{};
        attr.mode = mode | 0644;
        attr.replicas = 1;
        return attr;
    }

    Disk disk;

private:
    u64 make(u64 dir, const char* text, u32 type) {
        krg_names_attr attr = wanted(type);
        require(!disk.run(1, 0, [&](const auto& io) {
            return krg_names_create(&io, dir, text, 1, &attr, "target", type == type_link ? 6 : 0);
        }));
        return attr.ino;
    }
    u64 known_[8] = {};
};

struct Step {
    u32 self, failing;
    u64 a, b;          // inodes
    std::string n, m;  // names
    u32 value;
};

int on_inode(Disk& disk, uint8_t what, const Step& s) {
    krg_names_attr attr = World::wanted(0);
    attr.size = s.value;
    attr.atime.nsec = s.value;
    u64 out[2] = {};
    std::string room(s.value % 5000 + 1, 0);
    const u32 len = static_cast<u32>(s.n.size()), size = static_cast<u32>(room.size());
    return disk.run(s.self, s.failing, [&](const auto& io) {
        switch (what % 12) {
        case 0: return krg_names_getattr(&io, s.a, &attr);
        case 1: return krg_names_setattr(&io, s.a, s.value, &attr);
        case 2: return krg_names_append(&io, s.a, s.value, out);
        case 3: return krg_names_readlink(&io, s.a, room.data(), size);
        case 4: return krg_names_getxattr(&io, s.a, s.n.data(), len, room.data(), size);
        case 5: return krg_names_setxattr(&io, s.a, s.n.data(), len, room.data(), size, s.value >> 14);
        case 6: return krg_names_setxattr(&io, s.a, s.n.data(), len, nullptr, 0, 0);
        case 7: return krg_names_listxattr(&io, s.a, room.data(), size);
        case 8: return krg_names_use(&io, s.a, s.value & 1);
        case 9: return krg_names_users(&io, s.a, out);
        case 10: return krg_names_unused(&io, s.a, out, &attr);
        default: return krg_names_init_root(&io, &attr);
        }
    });
}

int on_names(Disk& disk, uint8_t what, const Step& s) {
    constexpr u32 types[] = {type_file, type_dir, type_link, 0020000};
    const u32 type = types[s.value % 4], n = static_cast<u32>(s.n.size()), m = static_cast<u32>(s.m.size());
    krg_names_attr attr = World::wanted(type);
    krg_names_entry entry[5];
    u64 out = 0, cookie = u64{s.value} << (s.value & 31);
    u8 dt = 0;
    return disk.run(s.self, s.failing, [&](const auto& io) {
        switch (what % 11) {
        case 0: return krg_names_lookup(&io, s.a, s.n.data(), n, &out, &dt);
        case 1: return krg_names_create(&io, s.a, s.n.data(), n, &attr, s.m.data(), type == type_link ? m : 0);
        case 2: return krg_names_tmpfile(&io, &attr);
        case 3: return krg_names_link(&io, s.b, s.a, s.n.data(), n);
        case 4: return krg_names_unlink(&io, s.a, s.n.data(), n, &out);
        case 5: return krg_names_rmdir(&io, s.a, s.n.data(), n, &out);
        case 6: return krg_names_rename(&io, s.a, s.n.data(), n, s.b, s.m.data(), m, s.value % 4, &out);
        case 7: return krg_names_readdir(&io, s.a, &cookie, entry, 5);
        case 8: return krg_names_orphan(&io, s.value >> 8, s.value & 0xff, &out);
        case 9: return krg_names_free(&io, s.value % 129, s.a);
        default: return krg_names_count(&io, s.value % 129, &out);
        }
    });
}

/// Steps: what (0..99 of an inode, 100..199 of names, above: write into a page), and its arguments.
void play(Input& in) {
    World world;
    for (int steps = 0; !in.empty() && steps < 200; steps++) {
        const uint8_t what = in.byte();
        if (what >= 200) {
            const Where there = world.disk.nth(in.byte());
            const Where where = what < 240 ? there : Where{what & 1 ? there.first : what & 3, in.word()};
            const u32 at = in.word() % KRG_NAMES_PAGE, length = what < 230 ? in.byte() : in.word();
            const std::string bytes = in.bytes<std::string>(length);
            const size_t n = bytes.size() < KRG_NAMES_PAGE - at ? bytes.size() : KRG_NAMES_PAGE - at;
            std::memcpy(world.disk.page(where).bytes + at, bytes.data(), n);
            continue;
        }
        Step s;
        const uint8_t who = in.byte(), inodes = in.byte();
        s.self = who & 3 ? who & 3 : who / 2;
        s.failing = who >> 4;
        s.a = world.ino(inodes & 15);
        s.b = world.ino(inodes >> 4);
        s.n = World::name(in.byte());
        s.m = World::name(in.byte());
        s.value = in.word();
        what < 100 ? on_inode(world.disk, what, s) : on_names(world.disk, what, s);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input in(data, size);
    play(in);
    return 0;
}
