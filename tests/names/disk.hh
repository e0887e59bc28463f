// SPDX-License-Identifier: GPL-2.0
// Pages for the name space engine to work on, in memory, and the caller that names.h
// asks for: it lends pages to one operation at a time and watches that the operation
// keeps its side: nothing changes before the last page was asked for, nothing changes
// that was lent for reading, nothing changes when it fails. Any request for a page can
// be made to fail.
#pragma once

#include "hadsm/names/names.h"

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace krg::test {

struct alignas(8) Page {
    std::array<u8, KRG_NAMES_PAGE> bytes{};
};

class Disk {
public:
    using Where = std::pair<u64, u64>;  // container, index
    using Operation = std::function<int(const krg_names_io&)>;

    /// Runs one operation of node @self. First with each of its requests for a page failing in turn, when thorough.
    int run(u32 self, const Operation& operation);

    /// The page, of zeros when it never was.
    Page& page(u64 container, u64 index) { return pages_[{container, index}]; }
    [[nodiscard]] const std::map<Where, Page>& pages() const { return pages_; }
    /// Everything of a container becomes zeros.
    void punch(u64 container);

    bool thorough = true;
    u64 clock = 1;      // seconds
    u32 most_lent = 0;  // pages of one operation
    u32 last_lent = 0;

private:
    struct Loan {
        u32 mode = 0;
        Page before;
    };

    int attempt(u32 self, const Operation& operation, u32 failing, int error);
    int lend(u64 container, u64 index, u32 mode, u8** bytes);
    [[nodiscard]] std::string changed(u32 up_to) const;
    static int lend_page(void* disk, u64 container, u64 index, u32 mode, u8** bytes) {
        return static_cast<Disk*>(disk)->lend(container, index, mode, bytes);
    }

    std::map<Where, Page> pages_;  // addresses stay
    std::map<Where, Loan> loans_;
    u32 requests_ = 0, failing_ = 0;
    int error_ = 0;
};

/// All of names.h by node @self on a disk, with C++ types.
class Node {
public:
    explicit Node(Disk& disk, u32 self = 1) : disk_(disk), self_(self) {}
    [[nodiscard]] u32 self() const { return self_; }
    [[nodiscard]] Disk& disk() const { return disk_; }

    int init_root(u32 mode = 0755, u32 replicas = 2);
    int getattr(u64 ino, krg_names_attr& attr);
    int setattr(u64 ino, u32 mask, krg_names_attr& attr);
    int append(u64 ino, u64 len, u64& offset);
    int unpromise(u64 ino, u64 from, u64 end);
    int lookup(u64 dir, std::string_view name, u64& ino, u8& type);
    int create(u64 dir, std::string_view name, krg_names_attr& attr, std::string_view target = {});
    int tmpfile(krg_names_attr& attr);
    int link(u64 ino, u64 dir, std::string_view name);
    int unlink(u64 dir, std::string_view name, u64& ino);
    int rmdir(u64 dir, std::string_view name, u64& ino);
    int rename(u64 dir, std::string_view name, u64 to, std::string_view new_name, u32 flags, u64& replaced);
    int readdir(u64 dir, u64& cookie, krg_names_entry* entry, u32 room);
    int readlink(u64 ino, std::string& target);
    int getxattr(u64 ino, std::string_view name, std::string& value);
    int setxattr(u64 ino, std::string_view name, std::string_view value, u32 flags);
    int removexattr(u64 ino, std::string_view name);
    int listxattr(u64 ino, std::string& list);
    int use(u64 ino, bool on);
    int orphan(u32 node, u32 at, u64& ino);
    int unused(u64 ino, const u64 live[2]);
    int free(u32 node, u64 ino);
    int count(u32 node, u64& inodes);

    // Shorter, for what must work: 0 when it did not.
    u64 file(u64 dir, std::string_view name);
    u64 mkdir(u64 dir, std::string_view name);
    u64 find(u64 dir, std::string_view name);
    krg_names_attr attr(u64 ino);

private:
    Disk& disk_;
    u32 self_;
};

/// What a new inode of this mode is asked for with.
[[nodiscard]] krg_names_attr wanted(u32 mode);

}  // namespace krg::test
