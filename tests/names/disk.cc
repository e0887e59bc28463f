// SPDX-License-Identifier: GPL-2.0
#include "tests/names/disk.hh"

#include <cerrno>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace krg::test {

namespace {

// What a caller finds when the page is not there, cannot be had, or there are too many.
constexpr int errors[] = {-EAGAIN, -EAGAIN, -EIO, -ELOOP};

}  // namespace

void Disk::punch(u64 container) {
    for (auto& [where, page] : pages_)
        if (where.first == container) page = {};
}

int Disk::lend(u64 container, u64 index, u32 mode, u8** bytes) {
    EXPECT_EQ(changed(KRG_NAMES_WRITE), "") << "before page " << container << '/' << index << " was asked for";
    if (++requests_ == failing_) return error_;
    Page& page = pages_[{container, index}];
    const auto [loan, first] = loans_.try_emplace({container, index});
    if (first) loan->second.before = page;
    loan->second.mode = std::max(loan->second.mode, mode);
    *bytes = page.bytes.data();
    return 0;
}

/// Names a page, lent at most for @up_to, that is not as it was.
std::string Disk::changed(u32 up_to) const {
    for (const auto& [where, loan] : loans_)
        if (loan.mode <= up_to && pages_.at(where).bytes != loan.before.bytes)
            return fmt::format("page {}/{} changed", where.first, where.second);
    return {};
}

int Disk::attempt(u32 self, const Operation& operation, u32 failing, int error) {
    krg_names_io io{};
    io.page = lend_page;
    io.context = this;
    io.self = self;
    io.now = {static_cast<s64>(clock), 5, 77};  // what is in the padding must not matter
    loans_.clear();
    requests_ = 0;
    failing_ = failing;
    error_ = error;
    const int rc = operation(io);
    EXPECT_EQ(changed(rc < 0 ? KRG_NAMES_WRITE : KRG_NAMES_READ), "") << "by an operation that returned " << rc;
    last_lent = static_cast<u32>(loans_.size());
    return rc;
}

int Disk::run(u32 self, const Operation& operation) {
    for (u32 failing = thorough ? 1 : 0;; failing++) {
        const int error = errors[failing % std::size(errors)];
        const int rc = attempt(self, operation, failing, error);
        if (failing && requests_ >= failing) {
            EXPECT_EQ(rc, error) << "request " << failing;
            continue;
        }
        for (const auto& [where, loan] : loans_) {
            if (rc < 0) break;
            // What was damaged in a way that a page alone does not show may stay so.
            if (!krg_names_valid(where.first, where.second, loan.before.bytes.data())) continue;
            EXPECT_TRUE(krg_names_valid(where.first, where.second, pages_[where].bytes.data()))
                << "page " << where.first << '/' << where.second;
        }
        most_lent = std::max(most_lent, last_lent);
        clock++;
        return rc;
    }
}

krg_names_attr wanted(u32 mode) {
    krg_names_attr attr{};
    attr.mode = mode;
    attr.uid = 1000;
    attr.gid = 100;
    attr.replicas = 2;
    return attr;
}

namespace {

u32 length(std::string_view text) { return static_cast<u32>(text.size()); }

}  // namespace

int Node::init_root(u32 mode, u32 replicas) {
    krg_names_attr attr = wanted(mode);
    attr.replicas = replicas;
    return disk_.run(self_, [&](const auto& io) { return krg_names_init_root(&io, &attr); });
}
int Node::getattr(u64 ino, krg_names_attr& attr) {
    return disk_.run(self_, [&](const auto& io) { return krg_names_getattr(&io, ino, &attr); });
}
int Node::setattr(u64 ino, u32 mask, krg_names_attr& attr) {
    return disk_.run(self_,
                     [&, asked = attr](const auto& io) { return attr = asked, krg_names_setattr(&io, ino, mask, &attr); });
}
int Node::append(u64 ino, u64 len, u64& offset) {
    return disk_.run(self_, [&](const auto& io) { return krg_names_append(&io, ino, len, &offset); });
}
int Node::unpromise(u64 ino, u64 from, u64 end) {
    return disk_.run(self_, [&](const auto& io) { return krg_names_unpromise(&io, ino, from, end); });
}
int Node::lookup(u64 dir, std::string_view name, u64& ino, u8& type) {
    return disk_.run(self_, [&](const auto& io) { return krg_names_lookup(&io, dir, name.data(), length(name), &ino, &type); });
}
int Node::create(u64 dir, std::string_view name, krg_names_attr& attr, std::string_view target) {
    return disk_.run(self_, [&, asked = attr](const auto& io) {
        attr = asked;
        return krg_names_create(&io, dir, name.data(), length(name), &attr, target.data(), length(target));
    });
}
int Node::tmpfile(krg_names_attr& attr) {
    return disk_.run(self_, [&, asked = attr](const auto& io) { return attr = asked, krg_names_tmpfile(&io, &attr); });
}
int Node::link(u64 ino, u64 dir, std::string_view name) {
    return disk_.run(self_, [&](const auto& io) { return krg_names_link(&io, ino, dir, name.data(), length(name)); });
}
int Node::unlink(u64 dir, std::string_view name, u64& ino) {
    return disk_.run(self_, [&](const auto& io) { return krg_names_unlink(&io, dir, name.data(), length(name), &ino); });
}
int Node::rmdir(u64 dir, std::string_view name, u64& ino) {
    return disk_.run(self_, [&](const auto& io) { return krg_names_rmdir(&io, dir, name.data(), length(name), &ino); });
}
int Node::rename(u64 dir, std::string_view name, u64 to, std::string_view new_name, u32 flags, u64& replaced) {
    return disk_.run(self_, [&](const auto& io) {
        return krg_names_rename(&io, dir, name.data(), length(name), to, new_name.data(), length(new_name), flags, &replaced);
    });
}
int Node::readdir(u64 dir, u64& cookie, krg_names_entry* entry, u32 room) {
    return disk_.run(self_, [&, from = cookie](const auto& io) {
        cookie = from;
        return krg_names_readdir(&io, dir, &cookie, entry, room);
    });
}
int Node::readlink(u64 ino, std::string& target) {
    target.resize(KRG_NAMES_TARGET_MAX);
    const int rc = disk_.run(self_,
                             [&](const auto& io) { return krg_names_readlink(&io, ino, target.data(), KRG_NAMES_TARGET_MAX); });
    target.resize(rc < 0 ? 0 : static_cast<size_t>(rc));
    return rc;
}
int Node::getxattr(u64 ino, std::string_view name, std::string& value) {
    value.resize(KRG_NAMES_PAGE);
    const int rc = disk_.run(self_, [&](const auto& io) {
        return krg_names_getxattr(&io, ino, name.data(), length(name), value.data(), KRG_NAMES_PAGE);
    });
    value.resize(rc < 0 ? 0 : static_cast<size_t>(rc));
    return rc;
}
int Node::setxattr(u64 ino, std::string_view name, std::string_view value, u32 flags) {
    const char* data = value.data() ? value.data() : "";
    return disk_.run(self_, [&](const auto& io) {
        return krg_names_setxattr(&io, ino, name.data(), length(name), data, length(value), flags);
    });
}
int Node::removexattr(u64 ino, std::string_view name) {
    return disk_.run(self_,
                     [&](const auto& io) { return krg_names_setxattr(&io, ino, name.data(), length(name), nullptr, 0, 0); });
}
int Node::listxattr(u64 ino, std::string& list) {
    list.resize(KRG_NAMES_PAGE);
    const int rc = disk_.run(self_, [&](const auto& io) { return krg_names_listxattr(&io, ino, list.data(), KRG_NAMES_PAGE); });
    list.resize(rc < 0 ? 0 : static_cast<size_t>(rc));
    return rc;
}
int Node::use(u64 ino, bool on) {
    return disk_.run(self_, [&](const auto& io) { return krg_names_use(&io, ino, on); });
}
int Node::orphan(u32 node, u32 at, u64& ino) {
    return disk_.run(self_, [&](const auto& io) { return krg_names_orphan(&io, node, at, &ino); });
}
int Node::unused(u64 ino, const u64 live[2]) {
    krg_names_attr attr;
    return disk_.run(self_, [&](const auto& io) { return krg_names_unused(&io, ino, live, &attr); });
}
int Node::free(u32 node, u64 ino) {
    return disk_.run(self_, [&](const auto& io) { return krg_names_free(&io, node, ino); });
}
int Node::count(u32 node, u64& inodes) {
    return disk_.run(self_, [&](const auto& io) { return krg_names_count(&io, node, &inodes); });
}

u64 Node::file(u64 dir, std::string_view name) {
    krg_names_attr attr = wanted(S_IFREG | 0644);
    EXPECT_EQ(create(dir, name, attr), 0);
    return attr.ino;
}
u64 Node::mkdir(u64 dir, std::string_view name) {
    krg_names_attr attr = wanted(S_IFDIR | 0755);
    EXPECT_EQ(create(dir, name, attr), 0);
    return attr.ino;
}
u64 Node::find(u64 dir, std::string_view name) {
    u64 ino = 0;
    u8 type = 0;
    return lookup(dir, name, ino, type) ? 0 : ino;
}
krg_names_attr Node::attr(u64 ino) {
    krg_names_attr attr{};
    EXPECT_EQ(getattr(ino, attr), 0);
    return attr;
}

}  // namespace krg::test
