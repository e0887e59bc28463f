// SPDX-License-Identifier: GPL-2.0
//
// Mapped files as krg-memory-bench uses them, and which node is the home of which of their pages: asked of the coherence engine
// itself, with the members and the domain that this node's kernel knows. Nothing here measures.
#pragma once

#include "tests/guest/guest.hh"

#include <memory>
#include <vector>

struct krg_dsm;

namespace krg::bench {

inline constexpr std::size_t page_bytes = 4096;
inline constexpr std::uint64_t chunk_pages = 512;

/// What a page of `round` begins with, or is full of.
[[nodiscard]] inline std::uint64_t stamp(std::uint64_t round, std::uint64_t page) { return round << 32 | page; }

/// A file, mapped whole.
class Memory {
public:
    Memory(const std::string& path, std::uint64_t pages);
    ~Memory();
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    [[nodiscard]] volatile std::uint64_t* at(std::uint64_t page) const {
        return reinterpret_cast<std::uint64_t*>(base_ + page * page_bytes);
    }
    [[nodiscard]] std::uint64_t pages() const { return pages_; }
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] std::uint64_t inode() const;

private:
    guest::Fd fd_;
    std::uint64_t pages_;
    char* base_;
};

/// The homes of the pages of a file on the mount `name` with `replicas` copies.
class Homes {
public:
    Homes(const std::string& name, unsigned replicas, std::uint64_t inode);
    ~Homes();
    Homes(const Homes&) = delete;
    Homes& operator=(const Homes&) = delete;

    [[nodiscard]] unsigned home(std::uint64_t page) const;

private:
    krg_dsm* engine_;
    std::uint64_t inode_;
    unsigned replicas_;
};

/// Hands out pages of a file that nobody has touched, by home and far from each other. Each chunk they come from was written
/// once before: the first write of a chunk is told to all nodes, which is not what is measured.
class FreshPages {
public:
    FreshPages(const Memory& memory, const Homes& homes, unsigned seed) : memory_(memory), homes_(homes), random_(seed) {}

    [[nodiscard]] std::uint64_t take(unsigned home);
    /// `count` pages one after the other, from a chunk of their own.
    [[nodiscard]] std::uint64_t take_run(unsigned home, std::uint64_t count);

private:
    [[nodiscard]] std::uint64_t next_chunk(unsigned home);

    const Memory& memory_;
    const Homes& homes_;
    guest::Random random_;
    std::uint64_t chunk_ = 0;
    std::vector<std::vector<std::uint64_t>> left_;   // by home
    std::vector<std::vector<std::uint64_t>> whole_;  // first pages of chunks not used yet, by home
};

}  // namespace krg::bench
