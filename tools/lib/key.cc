// SPDX-License-Identifier: GPL-2.0
// Key files and key derivation; the cryptography is libgcrypt's.
#include "tools/lib/key.hh"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include <fcntl.h>
#include <fmt/format.h>
#include <gcrypt.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/lib/error.hh"

namespace krg {
namespace {

constexpr std::size_t mac_size = 32;

class File {
public:
    File(const std::string& path, int flags, mode_t mode = 0) : fd_(open(path.c_str(), flags | O_CLOEXEC, mode)) {}
    ~File() {
        if (fd_ >= 0) close(fd_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    [[nodiscard]] int fd() const { return fd_; }

private:
    int fd_;
};

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/** The key in a file's content; empty when it is none. */
Bytes parse_key(const Bytes& content) {
    if (content.size() == key_size) return content;
    std::size_t length = content.size();
    while (length > 0 && std::strchr("\r\n \t", content[length - 1]) != nullptr) length--;
    if (length != 2 * key_size) return {};
    Bytes key;
    for (std::size_t i = 0; i < length; i += 2) {
        const int high = hex_value(static_cast<char>(content[i]));
        const int low = hex_value(static_cast<char>(content[i + 1]));
        if (high < 0 || low < 0) return {};
        key.push_back(static_cast<std::uint8_t>(high << 4 | low));
    }
    return key;
}

void check_permissions(const std::string& path, int fd) {
    struct stat info {};
    if (fstat(fd, &info) != 0) throw Error(Exit::failed, fmt::format("cannot look at {}: {}", path, std::strerror(errno)));
    if ((info.st_mode & 077) != 0)
        throw Error(Exit::failed,
                    fmt::format("key file {} can be read or written by others (mode {:04o})", path,
                                static_cast<unsigned>(info.st_mode & 07777)),
                    fmt::format("chmod 600 {}; if somebody may have read it, make a new key on all nodes", path));
}

struct CloseMac {
    void operator()(gcry_mac_hd_t mac) const { gcry_mac_close(mac); }
};

void need_gcrypt() {
    static const bool ready = [] {
        if (gcry_check_version("1.8.0") == nullptr) return false;
        gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
        gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
        return true;
    }();
    if (!ready) throw Error(Exit::failed, "libgcrypt is too old");
}

Bytes hmac_sha256(const Bytes& key, const std::string& text) {
    need_gcrypt();
    gcry_mac_hd_t raw = nullptr;
    if (gcry_mac_open(&raw, GCRY_MAC_HMAC_SHA256, 0, nullptr) != 0) throw Error(Exit::failed, "libgcrypt has no HMAC-SHA256");
    const std::unique_ptr<gcry_mac_handle, CloseMac> mac(raw);
    Bytes out(mac_size);
    std::size_t length = out.size();
    if (gcry_mac_setkey(raw, key.data(), key.size()) != 0 || gcry_mac_write(raw, text.data(), text.size()) != 0 ||
        gcry_mac_read(raw, out.data(), &length) != 0 || length != mac_size)
        throw Error(Exit::failed, "libgcrypt could not compute an HMAC");
    return out;
}

}  // namespace

Bytes read_key(const std::string& path) {
    const File file(path, O_RDONLY);
    if (file.fd() < 0) {
        const bool denied = errno == EACCES;
        throw Error(denied ? Exit::not_permitted : Exit::failed,
                    fmt::format("cannot read the cluster key {}: {}", path, std::strerror(errno)),
                    denied ? "run as root" : "copy the key file of another node (krgadm cluster create makes the first one)");
    }
    check_permissions(path, file.fd());
    Bytes content(4 * key_size);
    const ssize_t got = read(file.fd(), content.data(), content.size());
    if (got < 0) throw Error(Exit::failed, fmt::format("cannot read the cluster key {}: {}", path, std::strerror(errno)));
    content.resize(static_cast<std::size_t>(got));
    Bytes key = parse_key(content);
    if (key.empty())
        throw Error(Exit::failed, fmt::format("{} is no cluster key (64 hexadecimal digits or 32 bytes)", path),
                    "copy the key file of another node");
    return key;
}

Bytes create_key(const std::string& path) {
    std::error_code ignored;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
    const File file(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (file.fd() < 0)
        throw Error(errno == EACCES ? Exit::not_permitted : Exit::failed,
                    fmt::format("cannot create the cluster key {}: {}", path, std::strerror(errno)));
    Bytes key = random_bytes(key_size);
    const std::string text = to_hex(key) + "\n";
    if (write(file.fd(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || fsync(file.fd()) != 0) {
        const int error = errno;
        unlink(path.c_str());
        throw Error(Exit::failed, fmt::format("cannot write the cluster key {}: {}", path, std::strerror(error)));
    }
    return key;
}

Bytes derive(const Bytes& key, const std::string& label, const std::string& context, std::size_t size) {
    Bytes out;
    for (unsigned char block = 1; out.size() < size; block++) {
        std::string text = label;
        text.push_back('\0');
        text += context;
        text.push_back('\0');
        text.push_back(static_cast<char>(block));
        const Bytes mac = hmac_sha256(key, text);
        out.insert(out.end(), mac.begin(), mac.end());
    }
    out.resize(size);
    return out;
}

std::string to_hex(const Bytes& bytes) {
    std::string text;
    for (const auto byte : bytes) text += fmt::format("{:02x}", byte);
    return text;
}

Bytes random_bytes(std::size_t size) {
    Bytes bytes(size);
    if (getrandom(bytes.data(), size, 0) != static_cast<ssize_t>(size))
        throw Error(Exit::failed, std::string("no random numbers: ") + std::strerror(errno));
    return bytes;
}

}  // namespace krg
