// SPDX-License-Identifier: GPL-2.0
#include "tests/names/fsck.hh"

#include "hadsm/names/dirpage.hh"

#include <fmt/format.h>
#include <set>

namespace krg::test {

using namespace krg::names;

namespace {

class Fsck {
public:
    explicit Fsck(const Disk& disk) : disk_(disk) {}
    std::vector<std::string> run() {
        sort_pages();
        for (const auto& [ino, r] : inodes_) check_inode(*r);
        for (const auto& [ino, r] : inodes_) check_names(*r);
        check_slots();
        check_orphans();
        for (const auto& where : dir_pages_) fault("page {}/{} belongs to no directory", where.first, where.second);
        return faults_;
    }

private:
    template<typename... A>
    void fault(fmt::format_string<A...> format, A&&... a) {
        faults_.push_back(fmt::format(format, std::forward<A>(a)...));
    }
    template<typename P>
    static const P& as(const Page& page) {
        return *reinterpret_cast<const P*>(page.bytes.data());
    }

    void sort_pages() {
        for (const auto& [where, page] : disk_.pages()) {
            if (!krg_names_valid(where.first, where.second, page.bytes.data()))
                fault("page {}/{} is damaged", where.first, where.second);
            if (page.bytes == Page{}.bytes) continue;
            if (where.first == KRG_NAMES_INODES)
                inodes_[as<InodePage>(page).ino] = &as<InodePage>(page);
            else if (where.first > KRG_NAMES_LOCKS)
                dir_pages_.insert(where);
        }
    }

    void check_inode(const InodePage& r) {
        if (!is_dir(r)) return;
        names_ = 0;
        walk(r, 0, 0);
        if (names_ != r.entries) fault("{:x} has {} names and says {}", r.ino, names_, r.entries);
    }

    /// One page of a directory and those below it.
    void walk(const InodePage& dir, u32 hash, u32 level) {
        const u64 index = page_index(hash, level);
        const auto found = disk_.pages().find({dir.ino, index});
        const bool there = found != disk_.pages().end() && dir_pages_.erase({dir.ino, index});
        if (!there) {
            if (level) fault("page {}/{} is missing", dir.ino, index);
            return;
        }
        const DirPage& page = as<DirPage>(found->second);
        if (level && !page.count && !page.children) fault("page {}/{} should be gone", dir.ino, index);
        for (u32 at = chain_start; at != page_bytes; at += entry_at(page, at).bytes)
            if (entry_at(page, at).ino) check_entry(dir, entry_at(page, at));
        for (u32 n = 0; n < 16; n++)
            if (page.children >> n & 1) walk(dir, hash | n << (28 - 4 * level), level + 1);
    }

    void check_entry(const InodePage& dir, const Entry& e) {
        const std::string name(text_of(e), e.len);
        names_++;
        if (!unique_.insert({dir.ino, name}).second) fault("{:x} has {} twice", dir.ino, name);
        const auto found = inodes_.find(e.ino);
        if (found == inodes_.end()) return fault("{:x}/{} names {:x}, which is not there", dir.ino, name, e.ino);
        const InodePage& r = *found->second;
        if (static_cast<u8>(type_of(r.mode)) != e.type) fault("{:x}/{} has another type than its inode", dir.ino, name);
        links_[e.ino]++;
        if (!is_dir(r)) return;
        subdirs_[dir.ino]++;
        if (r.parent != dir.ino) fault("{:x} is in {:x} and says {:x}", r.ino, dir.ino, r.parent);
    }

    void check_names(const InodePage& r) {
        u32 expected = links_[r.ino];
        if (is_dir(r)) {
            if (r.ino == KRG_NAMES_ROOT) expected++;
            if (expected > 1) fault("directory {:x} has {} names", r.ino, expected);
            if (expected) expected = 2 + subdirs_[r.ino];
        }
        if (r.nlink != expected) fault("{:x} has nlink {}, not {}", r.ino, r.nlink, expected);
        if (r.nlink) return;
        const u64 index = list_page(r.orphan_node, r.orphan_at / OrphanPage::places);
        const auto found = disk_.pages().find({KRG_NAMES_ORPHANS, index});
        if (found == disk_.pages().end() || as<OrphanPage>(found->second).place[r.orphan_at % OrphanPage::places] != r.ino)
            fault("{:x} is not in the list it says", r.ino);
    }

    template<typename P, typename F>
    void each_place(u64 container, F each) {
        std::map<u32, u64> total, listed;
        for (const auto& [where, page] : disk_.pages()) {
            if (where.first != container || page.bytes == Page{}.bytes) continue;
            const P& p = as<P>(page);
            const u32 node = where.second % KRG_NAMES_NODES, j = static_cast<u32>(where.second / KRG_NAMES_NODES);
            total[node] += p.used;
            if (j == 0) listed[node] = p.total;
            const Page& first = disk_.pages().at({container, node});
            if (j >= as<P>(first).pages) fault("page {} of list {}/{} is beyond its end", j, container, node);
            if (j < as<P>(first).cursor && p.used != P::places && container == KRG_NAMES_ORPHANS)
                fault("page {} of list {}/{} has room below the cursor", j, container, node);
            for (u32 at = 0; at < P::places; at++)
                if (in_use(p.place[at])) each(node, j, at, p.place[at]);
        }
        if (total != listed) fault("a list of container {} counts wrong", container);
    }

    void check_slots() {
        std::set<u64> used;
        each_place<GroupPage>(KRG_NAMES_GROUPS, [&](u32 node, u32 j, u32 at, u32 value) {
            const u64 ino = ino_of(value & ~slot_used, static_cast<u32>(list_page(node, j) * slots_per_page + at));
            used.insert(ino);
            if (!inodes_.count(ino)) fault("slot of {:x} is in use, there is no inode", ino);
        });
        for (const auto& [ino, r] : inodes_)
            if (ino != KRG_NAMES_ROOT && !used.count(ino)) fault("{:x} has no slot", ino);
    }

    void check_orphans() {
        each_place<OrphanPage>(KRG_NAMES_ORPHANS, [&](u32 node, u32 j, u32 at, u64 ino) {
            const auto found = inodes_.find(ino);
            if (found == inodes_.end()) return fault("orphan {:x} is not there", ino);
            const InodePage& r = *found->second;
            if (r.nlink || r.orphan_node != node || r.orphan_at != j * OrphanPage::places + at)
                fault("{:x} does not know of its place in a list", ino);
        });
    }

    const Disk& disk_;
    std::vector<std::string> faults_;
    std::map<u64, const InodePage*> inodes_;
    std::set<Disk::Where> dir_pages_;
    std::set<std::pair<u64, std::string>> unique_;
    std::map<u64, u32> links_, subdirs_;
    u64 names_ = 0;
};

}  // namespace

std::vector<std::string> fsck(const Disk& disk) { return Fsck(disk).run(); }

}  // namespace krg::test
