// SPDX-License-Identifier: GPL-2.0
//
// A file system as POSIX and Linux describe it, in the memory of one process: names, inodes, sparse contents. Every operation
// returns 0 or the errno a real one must answer. What is done to a real file system, and the comparison, are not here.
#pragma once

#include <cstdint>
#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace krg::guest {

/// The bytes of a file; what nobody wrote takes no room.
class Bytes {
public:
    [[nodiscard]] std::uint64_t size() const { return size_; }
    void resize(std::uint64_t size);
    void write(std::uint64_t offset, const std::string& bytes);
    /// Makes zeros of a range; the size stays.
    void punch(std::uint64_t offset, std::uint64_t length);
    /// Fewer bytes than asked for at the end.
    [[nodiscard]] std::string read(std::uint64_t offset, std::uint64_t length) const;
    /// The offset of the first byte at or behind `from` that is not zero.
    [[nodiscard]] std::optional<std::uint64_t> first_data(std::uint64_t from) const;

private:
    std::map<std::uint64_t, std::string> pages_;  ///< by number, 4096 bytes each
    std::uint64_t size_ = 0;
};

enum class Kind { file, directory, link };

struct Inode {
    Kind kind = Kind::file;
    mode_t mode = 0;
    uid_t uid = 0;
    gid_t gid = 0;
    unsigned names = 0;  ///< of a file or symbolic link
    Bytes bytes;
    std::string target;
    std::map<std::string, std::string> xattrs;
    std::optional<timespec> mtime;  ///< when somebody set it, and nothing changed it since
    std::map<std::string, std::shared_ptr<Inode>> entries;
    Inode* parent = nullptr;
    ino_t number = 0;  ///< what the real file system says; 0: not asked yet

    [[nodiscard]] unsigned links() const;
};

using InodePtr = std::shared_ptr<Inode>;

class Model {
public:
    Model(uid_t uid, gid_t gid);

    [[nodiscard]] const InodePtr& root() const { return root_; }
    /// `follow`: also a symbolic link at the end.
    int lookup(const std::string& path, bool follow, InodePtr& found) const;
    int create(const std::string& path, mode_t mode, InodePtr& made);
    int mkdir(const std::string& path, mode_t mode);
    int symlink(const std::string& target, const std::string& path);
    int link(const std::string& from, const std::string& to);
    int unlink(const std::string& path);
    int rmdir(const std::string& path);
    /// `flags` as renameat2(2).
    int rename(const std::string& from, const std::string& to, unsigned flags);
    /// All paths of a kind that need no symbolic link.
    [[nodiscard]] std::vector<std::string> paths(Kind kind) const;

private:
    struct Place {
        InodePtr directory;
        std::string name;
        InodePtr inode;  ///< empty: no such name
    };
    int place(const std::string& path, Place& found) const;
    int walk(InodePtr& at, const std::string& path, bool follow, int& depth) const;
    int add(const std::string& path, const InodePtr& inode);
    static void put(const Place& place, const InodePtr& inode);

    InodePtr root_;
    uid_t uid_;
    gid_t gid_;
};

}  // namespace krg::guest
