// SPDX-License-Identifier: GPL-2.0
//
// See model.hh. Where more than one error would be right, the order is that of the kernel's fs/namei.c, which is the same for
// all file systems.
#include "model.hh"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <sys/stat.h>
#include <utility>

namespace krg::guest {

namespace {

constexpr std::uint64_t page = 4096;
constexpr int most_links = 40;

bool is_under(const Inode* inode, const Inode* above) {
    for (; inode; inode = inode->parent)
        if (inode == above) return true;
    return false;
}

}  // namespace

void Bytes::resize(std::uint64_t size) {
    if (size < size_) punch(size, size_ - size);
    size_ = size;
}

void Bytes::write(std::uint64_t offset, const std::string& bytes) {
    for (std::uint64_t at = 0; at < bytes.size();) {
        const std::uint64_t in = (offset + at) % page, n = std::min<std::uint64_t>(page - in, bytes.size() - at);
        std::string& into = pages_.try_emplace((offset + at) / page, page, '\0').first->second;
        into.replace(in, n, bytes, at, n);
        at += n;
    }
    size_ = std::max(size_, offset + bytes.size());
}

void Bytes::punch(std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t end = offset + length;
    for (auto it = pages_.lower_bound(offset / page); it != pages_.end() && it->first * page < end;) {
        const std::uint64_t begin = it->first * page;
        const std::uint64_t from = std::max(begin, offset) - begin, to = std::min(begin + page, end) - begin;
        std::fill(it->second.begin() + static_cast<std::ptrdiff_t>(from), it->second.begin() + static_cast<std::ptrdiff_t>(to),
                  '\0');
        it = from == 0 && to == page ? pages_.erase(it) : std::next(it);
    }
}

std::string Bytes::read(std::uint64_t offset, std::uint64_t length) const {
    if (offset >= size_) return {};
    std::string bytes(std::min(length, size_ - offset), '\0');
    for (std::uint64_t at = 0; at < bytes.size();) {
        const std::uint64_t in = (offset + at) % page, n = std::min<std::uint64_t>(page - in, bytes.size() - at);
        if (auto it = pages_.find((offset + at) / page); it != pages_.end()) bytes.replace(at, n, it->second, in, n);
        at += n;
    }
    return bytes;
}

std::optional<std::uint64_t> Bytes::first_data(std::uint64_t from) const {
    for (auto it = pages_.lower_bound(from / page); it != pages_.end(); ++it) {
        const std::uint64_t begin = it->first * page, skip = from > begin ? from - begin : 0;
        const auto at = it->second.find_first_not_of('\0', skip);
        if (at != std::string::npos) return begin + at;
    }
    return std::nullopt;
}

unsigned Inode::links() const {
    if (kind != Kind::directory) return names;
    const auto below = std::count_if(entries.begin(), entries.end(),
                                     [](const auto& e) { return e.second->kind == Kind::directory; });
    return 2 + static_cast<unsigned>(below);
}

Model::Model(uid_t uid, gid_t gid) : root_(std::make_shared<Inode>()), uid_(uid), gid_(gid) {
    root_->kind = Kind::directory;
    root_->mode = 0755;
}

int Model::walk(InodePtr& at, const std::string& path, bool follow, int& depth) const {
    for (std::size_t begin = 0; begin < path.size();) {
        const std::size_t slash = std::min(path.find('/', begin), path.size());
        const std::string name = path.substr(begin, slash - begin);
        const bool last = slash == path.size();
        begin = slash + 1;
        if (at->kind != Kind::directory) return ENOTDIR;
        const auto found = at->entries.find(name);
        if (found == at->entries.end()) return ENOENT;
        InodePtr next = found->second;
        if (next->kind == Kind::link && (!last || follow)) {
            if (++depth > most_links) return ELOOP;
            InodePtr from = at;
            if (const int error = walk(from, next->target, true, depth)) return error;
            next = from;
        }
        at = next;
    }
    return 0;
}

int Model::lookup(const std::string& path, bool follow, InodePtr& found) const {
    int depth = 0;
    found = root_;
    return walk(found, path, follow, depth);
}

int Model::place(const std::string& path, Place& found) const {
    const std::size_t slash = path.rfind('/');
    int depth = 0;
    found.directory = root_;
    if (slash != std::string::npos)
        if (const int error = walk(found.directory, path.substr(0, slash), true, depth)) return error;
    if (found.directory->kind != Kind::directory) return ENOTDIR;
    found.name = slash == std::string::npos ? path : path.substr(slash + 1);
    const auto it = found.directory->entries.find(found.name);
    found.inode = it == found.directory->entries.end() ? nullptr : it->second;
    return 0;
}

void Model::put(const Place& place, const InodePtr& inode) {
    place.directory->entries[place.name] = inode;
    if (inode->kind == Kind::directory) inode->parent = place.directory.get();
}

int Model::add(const std::string& path, const InodePtr& inode) {
    Place to;
    if (const int error = place(path, to)) return error;
    if (to.inode) return EEXIST;
    inode->uid = uid_;
    inode->gid = gid_;
    inode->names = 1;
    put(to, inode);
    return 0;
}

int Model::create(const std::string& path, mode_t mode, InodePtr& made) {
    made = std::make_shared<Inode>();
    made->mode = mode;
    return add(path, made);
}

int Model::mkdir(const std::string& path, mode_t mode) {
    auto inode = std::make_shared<Inode>();
    inode->kind = Kind::directory;
    inode->mode = mode;
    return add(path, inode);
}

int Model::symlink(const std::string& target, const std::string& path) {
    auto inode = std::make_shared<Inode>();
    inode->kind = Kind::link;
    inode->mode = 0777;
    inode->target = target;
    return add(path, inode);
}

int Model::link(const std::string& from, const std::string& to) {
    InodePtr inode;
    Place at;
    if (const int error = lookup(from, false, inode)) return error;
    if (const int error = place(to, at)) return error;
    if (at.inode) return EEXIST;
    if (inode->kind == Kind::directory) return EPERM;
    put(at, inode);
    inode->names++;
    return 0;
}

int Model::unlink(const std::string& path) {
    Place at;
    if (const int error = place(path, at)) return error;
    if (!at.inode) return ENOENT;
    if (at.inode->kind == Kind::directory) return EISDIR;
    at.directory->entries.erase(at.name);
    at.inode->names--;
    return 0;
}

int Model::rmdir(const std::string& path) {
    Place at;
    if (const int error = place(path, at)) return error;
    if (!at.inode) return ENOENT;
    if (at.inode->kind != Kind::directory) return ENOTDIR;
    if (!at.inode->entries.empty()) return ENOTEMPTY;
    at.directory->entries.erase(at.name);
    at.inode->parent = nullptr;
    return 0;
}

int Model::rename(const std::string& from, const std::string& to, unsigned flags) {
    Place a, b;
    if (const int error = place(from, a)) return error;
    if (const int error = place(to, b)) return error;
    const bool exchange = flags & RENAME_EXCHANGE;
    if (!a.inode) return ENOENT;
    if ((flags & RENAME_NOREPLACE) && b.inode) return EEXIST;
    if (exchange && !b.inode) return ENOENT;
    if (a.directory != b.directory) {
        if (is_under(b.directory.get(), a.inode.get())) return EINVAL;
        if (b.inode && is_under(a.directory.get(), b.inode.get())) return exchange ? EINVAL : ENOTEMPTY;
    }
    if (a.inode == b.inode) return 0;
    const bool moves_directory = a.inode->kind == Kind::directory;
    if (b.inode && !exchange) {
        const bool onto_directory = b.inode->kind == Kind::directory;
        if (moves_directory != onto_directory) return moves_directory ? ENOTDIR : EISDIR;
        if (onto_directory && !b.inode->entries.empty()) return ENOTEMPTY;
        b.inode->names--;
        b.inode->parent = nullptr;
    }
    a.directory->entries.erase(a.name);
    if (exchange) put(a, b.inode);
    put(b, a.inode);
    return 0;
}

std::vector<std::string> Model::paths(Kind kind) const {
    std::vector<std::string> all;
    const std::function<void(const Inode&, const std::string&)> look = [&](const Inode& directory, const std::string& path) {
        for (const auto& [name, inode] : directory.entries) {
            if (inode->kind == kind) all.push_back(path + name);
            if (inode->kind == Kind::directory) look(*inode, path + name + "/");
        }
    };
    look(*root_, "");
    return all;
}

}  // namespace krg::guest
