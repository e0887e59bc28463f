// SPDX-License-Identifier: GPL-2.0
//
// The initramfs of a guest: a cpio archive with the guest program, its settings and the modules it needs to reach its root.
// Uncompressed: an emulated processor loads bytes faster than it unpacks them.
#include "kernel.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>
#include <sys/stat.h>

namespace krg::vcluster {

namespace {

/// Modules a guest needs before it has a root file system; what the kernel has built in is left out.
constexpr const char* wanted_modules[] = {"virtio_mmio",  "virtio_pci", "virtio_console", "virtio_net",
                                          "9pnet_virtio", "9p",         "overlay",        "fuse"};
/// And when it has a disk.
constexpr const char* disk_modules[] = {"virtio_blk", "crc32c_generic", "ext4"};

/// Appends entries in the "newc" format, which is all the kernel reads.
class Cpio {
public:
    void directory(const std::string& name) { entry(name, S_IFDIR | 0755, {}); }
    void file(const std::string& name, int mode, const std::string& data) {
        entry(name, S_IFREG | static_cast<unsigned>(mode), data);
    }
    std::string finish() {
        entry("TRAILER!!!", 0, {});
        return std::move(bytes_);
    }

private:
    void entry(const std::string& name, unsigned mode, const std::string& data) {
        bytes_ += fmt::format("070701{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}", ++inode_,
                              mode, 0, 0, 1, 0, data.size(), 0, 0, 0, 0, name.size() + 1, 0);
        bytes_ += name;
        bytes_ += '\0';
        pad();
        bytes_ += data;
        pad();
    }
    void pad() { bytes_.resize((bytes_.size() + 3) / 4 * 4); }

    std::string bytes_;
    unsigned inode_ = 0;
};

/// modules.dep: "path: dependency dependency", dependencies to be loaded from the last to the first.
class ModuleIndex {
public:
    explicit ModuleIndex(const Kernel& kernel) : kernel_(kernel) {
        std::string text = read_file(kernel.modules + "/modules.dep");
        for (size_t at = 0; at < text.size();) {
            size_t end = std::min(text.find('\n', at), text.size());
            std::string line = text.substr(at, end - at);
            at = end + 1;
            size_t colon = line.find(':');
            if (colon != std::string::npos) lines_[module_name(line.substr(0, colon))] = line;
        }
        built_in_ = read_file(kernel.modules + "/modules.builtin");
    }

    /// Adds `name` and what it depends on to `order`, each once.
    void add(const std::string& name, std::vector<std::string>& order) {
        auto found = lines_.find(name);
        if (found == lines_.end()) {
            if (built_in(name)) return;
            throw Error("kernel " + kernel_.version + " has no module " + name + ", which its guests need");
        }
        std::vector<std::string> paths = words(found->second);
        for (auto path = paths.rbegin(); path != paths.rend(); ++path) {
            if (std::find(order.begin(), order.end(), *path) == order.end()) order.push_back(*path);
        }
    }

private:
    static std::string module_name(const std::string& path) {
        std::string base = path.substr(path.rfind('/') + 1);
        std::string name = base.substr(0, base.find(".ko"));
        std::replace(name.begin(), name.end(), '-', '_');
        return name;
    }
    static std::vector<std::string> words(const std::string& line) {
        std::vector<std::string> result;
        std::string word;
        for (char c : line + " ") {
            if (c == ' ' || c == ':') {
                if (!word.empty()) result.push_back(word);
                word.clear();
            } else {
                word += c;
            }
        }
        return result;
    }
    [[nodiscard]] bool built_in(const std::string& name) const {
        std::string dashed = name;
        std::replace(dashed.begin(), dashed.end(), '_', '-');
        return built_in_.find("/" + name + ".ko") != std::string::npos ||
               built_in_.find("/" + dashed + ".ko") != std::string::npos;
    }

    const Kernel& kernel_;
    std::map<std::string, std::string> lines_;
    std::string built_in_;
};

std::string module_bytes(const std::string& path) {
    std::vector<std::string> unpack;
    if (path.ends_with(".xz")) unpack = {"xz", "-dc", path};
    if (path.ends_with(".zst")) unpack = {"zstd", "-dqc", path};
    if (path.ends_with(".gz")) unpack = {"gzip", "-dc", path};
    if (unpack.empty()) return read_file(path);
    RunResult result = run(unpack, false);
    if (result.status != 0) throw Error("cannot unpack " + path + ": is " + unpack[0] + " installed?");
    return std::move(result.output);
}

}  // namespace

void write_initramfs(const std::string& path, const Kernel& kernel, const std::string& guest_program,
                     const std::map<std::string, std::string>& settings) {
    std::string program = read_file(guest_program);
    if (program.empty()) throw Error("there is no guest program " + guest_program + "; build the CMake target vcluster");
    std::vector<std::string> order;
    ModuleIndex index(kernel);
    for (const char* name : wanted_modules) index.add(name, order);
    auto disk = settings.find("disk");
    if (disk != settings.end() && disk->second == "1")
        for (const char* name : disk_modules) index.add(name, order);

    Cpio cpio;
    cpio.file("init", 0755, program);
    cpio.directory("dev");
    cpio.directory("modules");
    std::string list;
    for (const auto& module : order) {
        std::string base = module.substr(module.rfind('/') + 1);
        base = base.substr(0, base.find(".ko") + 3);
        std::string bytes = module_bytes(kernel.modules + "/" + module);
        if (bytes.empty()) throw Error("cannot read " + kernel.modules + "/" + module);
        cpio.file("modules/" + base, 0644, bytes);
        list += (list.empty() ? "" : "\n") + base;
    }
    cpio.file("modules/order", 0644, list);
    std::string text;
    for (const auto& [key, value] : settings) text += key + "=" + value + "\n";
    cpio.file("krg.conf", 0600, text);
    write_file(path, cpio.finish());
}

}  // namespace krg::vcluster
