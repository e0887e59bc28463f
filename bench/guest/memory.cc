// SPDX-License-Identifier: GPL-2.0
//
// See memory.hh.
#include "memory.hh"

#include "hadsm/core/dsm.h"

#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/mman.h>
#include <sys/stat.h>

namespace krg::bench {

namespace {

constexpr u16 max_node = 128;
constexpr u64 any_epoch = 1;

void* engine_alloc(void*, u64 bytes) { return std::aligned_alloc(16, (bytes + 15) / 16 * 16); }
void engine_free(void*, void* memory, u64) { std::free(memory); }

/// The domain of the mount, as /proc/kerrighed/containers says: an id, then name=value pairs.
u64 domain_id(const std::string& name, unsigned replicas) {
    std::ifstream file("/proc/kerrighed/containers");
    for (std::string line; std::getline(file, line);) {
        const std::string text = line + " ";
        if (text.find(" name=" + name + " ") != std::string::npos &&
            text.find(" replicas=" + std::to_string(replicas) + " ") != std::string::npos)
            return std::stoull(text, nullptr, 16);
    }
    guest::fail("/proc/kerrighed/containers knows no domain of " + name + " with " + std::to_string(replicas) + " copies");
}

std::vector<krg_dsm_member> members() {
    std::ifstream file("/proc/kerrighed/view");
    std::vector<krg_dsm_member> found;
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string word;
        if (!(words >> word) || word != "members") continue;
        for (u16 node = 0; words >> node;) found.push_back({node, 0, 0, any_epoch});
    }
    if (found.empty()) guest::fail("/proc/kerrighed/view names no members");
    return found;
}

}  // namespace

Memory::Memory(const std::string& path, std::uint64_t pages)
    : fd_(guest::open_file(path, O_RDWR | O_CREAT)),
      pages_(pages),
      base_(guest::map_file(fd_.get(), pages * page_bytes)) {}

Memory::~Memory() { munmap(base_, pages_ * page_bytes); }

std::uint64_t Memory::inode() const {
    struct stat st {};
    if (fstat(fd_.get(), &st) != 0) guest::fail_errno("fstat");
    return st.st_ino;
}

Homes::Homes(const std::string& name, unsigned replicas, std::uint64_t inode) : inode_(inode), replicas_(replicas) {
    krg_dsm_config config{};
    const std::vector<krg_dsm_member> all = members();
    config.self = all.front().node;
    config.max_nodes = max_node;
    config.domain = domain_id(name, replicas);
    config.params.retry_us = 1;  // it must have one
    config.memory = {engine_alloc, engine_free, nullptr};
    engine_ = krg_dsm_new(&config, 0);
    if (!engine_) guest::fail("no coherence engine");
    krg_dsm_event view{};
    view.type = KRG_DSM_EV_PREPARE;
    view.epoch = any_epoch;
    view.member = all.data();
    view.len = static_cast<u32>(all.size());
    krg_dsm_step(engine_, 0, &view);
    krg_dsm_action action;
    while (krg_dsm_next_action(engine_, &action)) {}
    if (home(0) == 0) guest::fail("the coherence engine knows no homes");
}

Homes::~Homes() {
    krg_dsm_stop(engine_);
    krg_dsm_delete(engine_);
}

unsigned Homes::home(std::uint64_t page) const {
    krg_dsm_object object{};
    object.container = inode_;
    object.index = page;
    object.policy.cls = replicas_ > 1 ? KRG_DSM_DURABLE : KRG_DSM_VOLATILE;
    object.policy.replicas = static_cast<u8>(replicas_);
    return krg_dsm_home(engine_, &object);
}

std::uint64_t FreshPages::next_chunk(unsigned home) {
    if (whole_.size() <= max_node) whole_.resize(max_node + 1);
    while (whole_[home].empty()) {
        const std::uint64_t first = chunk_++ * chunk_pages;
        if (first + chunk_pages > memory_.pages()) guest::fail("no page left with home " + std::to_string(home));
        whole_[homes_.home(first)].push_back(first);
    }
    const std::uint64_t first = whole_[home].back();
    whole_[home].pop_back();
    *memory_.at(first + chunk_pages - 1) = stamp(1, first);
    return first;
}

std::uint64_t FreshPages::take(unsigned home) {
    if (left_.size() <= max_node) left_.resize(max_node + 1);
    auto& left = left_[home];
    if (left.empty()) {
        const std::uint64_t first = next_chunk(home);
        for (std::uint64_t i = 0; i + 1 < chunk_pages; i++) left.push_back(first + i);
        for (std::size_t i = left.size(); i > 1; i--) std::swap(left[i - 1], left[random_.below(i)]);
    }
    const std::uint64_t page = left.back();
    left.pop_back();
    return page;
}

std::uint64_t FreshPages::take_run(unsigned home, std::uint64_t count) {
    if (count >= chunk_pages) guest::fail("a run is shorter than a chunk");
    return next_chunk(home);
}

}  // namespace krg::bench
