// SPDX-License-Identifier: GPL-2.0
//
// Finding or fetching the guest's kernel: see kernel.h.
#include "kernel.h"

#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>
#include <unistd.h>

namespace krg::vcluster {

namespace fs = std::filesystem;

namespace {

std::string trimmed(std::string text) {
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
    return text;
}

std::string env_value(const std::string& text, const std::string& key) {
    for (size_t at = 0; at < text.size();) {
        size_t end = std::min(text.find('\n', at), text.size());
        std::string line = text.substr(at, end - at);
        at = end + 1;
        if (!line.starts_with(key + "=")) continue;
        std::string value = line.substr(key.size() + 1);
        if (value.size() >= 2 && (value.front() == '\'' || value.front() == '"')) value = value.substr(1, value.size() - 2);
        return value;
    }
    return {};
}

Kernel debug_kernel() {
    std::string file = cache_dir() + "/debug-kernel/current/kernel.env";
    std::string text = read_file(file);
    Kernel kernel{env_value(text, "KVER"), env_value(text, "IMAGE"), {}};
    kernel.modules = env_value(text, "MODULES") + "/lib/modules/" + kernel.version;
    if (kernel.version.empty() || access(kernel.image.c_str(), R_OK) != 0 || !fs::is_directory(kernel.modules))
        throw Error("there is no debug kernel in " + cache_dir() +
                        "/debug-kernel; build it with `make debug-kernel` (about 15 minutes)",
                    ExitCode::no_such_object);
    return kernel;
}

bool usable(const Kernel& kernel) {
    return access(kernel.image.c_str(), R_OK) == 0 && access((kernel.modules + "/modules.dep").c_str(), R_OK) == 0 &&
           fs::is_directory(kernel.modules + "/kernel");
}

void must_run(const std::vector<std::string>& argv, const std::string& directory, const std::string& what) {
    RunResult result = run(argv, true, directory);
    if (result.status != 0) throw Error(fmt::format("{}: {} failed ({}):\n{}", what, argv[0], result.status, result.output));
}

// The package is unpacked, not installed: a guest's kernel must not become the host's next one.
void fetch_package(const std::string& version, const std::string& target) {
    std::string package = "linux-image-" + version;
    fmt::print(stderr, "vcluster: fetching {} (about 70 MB, once)\n", package);
    fs::create_directories(cache_dir() + "/kernels");
    std::string work = fmt::format("{}/kernels/.{}.{}", cache_dir(), version, getpid());
    fs::remove_all(work);
    fs::create_directories(work + "/root");
    std::vector<std::string> download{"apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package};
    if (run(download, true, work).status != 0) {
        (void)run({"apt-get", "-q", "update"});
        must_run(download, work, "cannot download " + package);
    }
    for (const auto& entry : fs::directory_iterator(work)) {
        if (entry.path().extension() == ".deb")
            must_run({"dpkg", "-x", entry.path(), work + "/root"}, {}, "cannot unpack " + package);
    }
    if (!fs::exists(work + "/root/lib") && fs::exists(work + "/root/usr/lib"))
        fs::create_symlink("usr/lib", work + "/root/lib");
    must_run({"depmod", "-b", work + "/root", version}, {}, "cannot index the modules of " + package);
    std::error_code error;
    fs::rename(work + "/root", target, error);  // somebody else may have been faster
    fs::remove_all(work);
}

}  // namespace

std::string cache_dir() {
    if (const char* dir = std::getenv("KRG_CACHE"); dir && *dir) return dir;
    const char* home = std::getenv("HOME");
    return std::string(home && *home ? home : "/root") + "/.cache/kerrighed";
}

Kernel find_kernel(const std::string& checkout, const std::string& wanted) {
    if (wanted == "debug") return debug_kernel();
    RunResult kver = run({checkout + "/scripts/kver", "--version", wanted}, true);
    if (kver.status != 0) throw Error(trimmed(kver.output), ExitCode::no_such_object);
    std::string version = trimmed(kver.output);
    Kernel installed{version, "/boot/vmlinuz-" + version, "/lib/modules/" + version};
    if (usable(installed)) return installed;
    std::string root = cache_dir() + "/kernels/" + version;
    Kernel cached{version, root + "/boot/vmlinuz-" + version, root + "/lib/modules/" + version};
    if (!usable(cached)) {
        fs::remove_all(root);
        fetch_package(version, root);
    }
    if (!usable(cached)) throw Error("the package linux-image-" + version + " holds no kernel that can be used");
    return cached;
}

}  // namespace krg::vcluster
