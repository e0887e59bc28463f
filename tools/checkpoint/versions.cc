// SPDX-License-Identifier: GPL-2.0
#include "tools/checkpoint/versions.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>

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
    const std::vector<std::uint64_t> all = numbers();
    for (std::size_t i = 0; i + keep_ < all.size(); i++) unlink(name(all[i]).c_str());
}

}  // namespace krg::checkpoint
