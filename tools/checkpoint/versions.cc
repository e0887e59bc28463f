// SPDX-License-Identifier: GPL-2.0
#include "tools/checkpoint/versions.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>

#include "tools/lib/chain.hh"
#include "tools/lib/error.hh"

namespace krg::checkpoint {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t digits = 6;

}  // namespace

Versions::Versions(std::string path, unsigned keep) : path_(std::move(path)), keep_(keep) {
    const std::size_t slash = path_.rfind('/');
    folder_ = slash == std::string::npos ? "." : slash == 0 ? "/" : path_.substr(0, slash);
    base_ = slash == std::string::npos ? path_ : path_.substr(slash + 1);
    std::error_code error;
    if (fs::exists(fs::symlink_status(path_, error)) && !fs::is_symlink(fs::symlink_status(path_, error)))
        throw Error(Exit::usage, fmt::format("{} is there and is not a link to a version", path_), "give another name");
    for (const std::uint64_t number : numbers()) next_ = std::max(next_, number + 1);
}

std::vector<std::uint64_t> Versions::numbers() const {
    std::vector<std::uint64_t> found;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder_, error)) {
        const std::string file = entry.path().filename();
        if (file.size() < base_.size() + 1 + digits || file.rfind(base_ + ".", 0) != 0) continue;
        const std::string number = file.substr(base_.size() + 1);
        if (number.size() <= 18 && std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; }))
            found.push_back(std::stoull(number));
    }
    if (error)
        throw Error(error.value() == EACCES ? Exit::not_permitted : Exit::no_object,
                    fmt::format("cannot read the folder {}: {}", folder_, error.message()));
    std::sort(found.begin(), found.end());
    return found;
}

std::string Versions::name(std::uint64_t number) const { return fmt::format("{}.{:06}", path_, number); }

std::string Versions::next() const { return name(next_); }

void Versions::took() {
    // A link cannot be replaced but by another one's renaming.
    const std::string beside = fmt::format("{}/.{}.{}.link", folder_, base_, getpid());
    unlink(beside.c_str());
    if (symlink(fmt::format("{}.{:06}", base_, next_).c_str(), beside.c_str()) != 0 ||
        rename(beside.c_str(), path_.c_str()) != 0) {
        const int why = errno;
        unlink(beside.c_str());
        throw Error(Exit::failed, fmt::format("cannot make {} lead to its newest version: {}", path_, std::strerror(why)));
    }
    next_++;
    remove_others();
}

// Whoever is kept keeps what it adds to. When that cannot be told, because one of them is damaged, nothing goes.
void Versions::remove_others() const {
    const std::vector<std::uint64_t> all = numbers();
    if (all.size() <= keep_) return;
    std::set<std::string> needed;
    try {
        for (std::size_t i = all.size() - keep_; i < all.size(); i++)
            for (const image::Link& link : image::chain_of(name(all[i]))) needed.insert(fs::path(link.path).filename());
    } catch (const Error&) {
        return;
    }
    for (std::size_t i = 0; i + keep_ < all.size(); i++)
        if (!needed.count(fs::path(name(all[i])).filename())) unlink(name(all[i]).c_str());
}

std::optional<std::string> Versions::newest() const {
    std::error_code error;
    const fs::path target = fs::read_symlink(path_, error);
    if (error) return std::nullopt;
    const std::string path = (fs::path(folder_) / target.filename()).string();
    return fs::is_regular_file(path, error) ? std::optional(path) : std::nullopt;
}

}  // namespace krg::checkpoint
