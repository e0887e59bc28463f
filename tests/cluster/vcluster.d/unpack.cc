// SPDX-License-Identifier: GPL-2.0
//
// A kernel image unpacked ahead: bzImage unpacks itself, which takes an emulated processor three seconds, more than all the
// rest of the boot. QEMU also starts the ELF file inside, by its PVH entry. The bits that run are the same.
#include "kernel.h"

#include <cstring>
#include <elf.h>
#include <filesystem>
#include <fmt/format.h>
#include <sys/stat.h>

namespace krg::vcluster {

namespace {

// Offsets in the boot protocol's header (Documentation/arch/x86/boot.rst of the kernel).
constexpr size_t setup_sectors_at = 0x1f1, magic_at = 0x202, payload_offset_at = 0x248, payload_length_at = 0x24c;
constexpr uint32_t pvh_entry_note = 18;

template<typename T>
T value_at(const std::string& bytes, size_t at) {
    T value{};
    if (at + sizeof value <= bytes.size()) std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}

std::string payload_of(const std::string& image) {
    if (image.size() < 1024 || image.compare(magic_at, 4, "HdrS") != 0) return {};
    size_t sectors = static_cast<unsigned char>(image[setup_sectors_at]);
    size_t code = ((sectors ? sectors : 4) + 1) * 512;
    size_t begin = code + value_at<uint32_t>(image, payload_offset_at);
    size_t length = value_at<uint32_t>(image, payload_length_at);
    return begin < image.size() && length <= image.size() - begin ? image.substr(begin, length) : std::string();
}

/// Whether an ELF file has the note that says where a PVH start begins.
bool starts_by_pvh(const std::string& elf) {
    if (!elf.starts_with(ELFMAG) || elf.size() < sizeof(Elf64_Ehdr) || elf[EI_CLASS] != ELFCLASS64) return false;
    auto header = value_at<Elf64_Ehdr>(elf, 0);
    for (size_t i = 0; i < header.e_phnum; ++i) {
        auto segment = value_at<Elf64_Phdr>(elf, header.e_phoff + i * sizeof(Elf64_Phdr));
        if (segment.p_type != PT_NOTE) continue;
        for (size_t at = segment.p_offset; at + sizeof(Elf64_Nhdr) <= segment.p_offset + segment.p_filesz;) {
            auto note = value_at<Elf64_Nhdr>(elf, at);
            if (note.n_type == pvh_entry_note && elf.compare(at + sizeof note, 4, "Xen\0", 4) == 0) return true;
            at += sizeof note + (note.n_namesz + 3) / 4 * 4 + (note.n_descsz + 3) / 4 * 4;
        }
    }
    return false;
}

std::string unpacked(const std::string& packed, const std::string& scratch) {
    std::vector<std::string> tool;
    if (packed.starts_with(std::string_view("\xfd"
                                            "7zXZ\0",
                                            6)))
        tool = {"xz", "-dcq"};
    else if (packed.starts_with("\x28\xb5\x2f\xfd"))
        tool = {"zstd", "-dcqf"};
    else if (packed.starts_with("\x1f\x8b"))
        tool = {"gzip", "-dcq"};
    else
        return {};
    write_file(scratch, packed);
    tool.push_back(scratch);
    // The size that follows the packed bytes makes some of them complain after all is done: what came out is looked at.
    std::string command = fmt::format("exec {} {} '{}' 2>/dev/null", tool[0], tool[1], tool[2]);
    return run({"sh", "-c", command}, false).output;
}

}  // namespace

std::string boot_image(const Kernel& kernel) {
    struct stat st {};
    if (stat(kernel.image.c_str(), &st) != 0) throw system_error("cannot find " + kernel.image);
    std::string directory = cache_dir() + "/kernels/unpacked";
    std::string file = fmt::format("{}/{}-{}-{}", directory, kernel.version, st.st_size, st.st_mtim.tv_sec);
    if (access(file.c_str(), R_OK) == 0) return file;
    std::string packed = payload_of(read_file(kernel.image));
    if (packed.empty()) return kernel.image;
    std::filesystem::create_directories(directory);
    std::string scratch = fmt::format("{}.{}", file, getpid());
    std::string elf = unpacked(packed, scratch);
    std::error_code error;
    std::filesystem::remove(scratch, error);
    if (!starts_by_pvh(elf)) return kernel.image;
    write_file(scratch, elf, 0644);
    std::filesystem::rename(scratch, file);
    return file;
}

}  // namespace krg::vcluster
