// SPDX-License-Identifier: GPL-2.0
//
// The file systems of a guest. Its root is the host's root over 9p, read-only and at the same paths; tmpfs where programs
// keep scratch files; a copy-on-write layer where they keep state; the checkout uncached, so that a rebuilt program is seen;
// the modules of the guest's kernel where modprobe looks. With systemd everything lies under one copy-on-write layer.
#include "parts.h"

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <dirent.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

namespace krg::vcluster::guest {

namespace {

// The largest message virtio can carry: 9p's cost is the number of messages.
constexpr const char* root_options = "trans=virtio,version=9p2000.L,msize=512000,cache=loose";
constexpr const char* checkout_options = "trans=virtio,version=9p2000.L,msize=512000,cache=mmap";
constexpr const char* layers = "/layers";  // in memory or on the guest's disk: upper directories, the plain root

std::string below(const std::string& path) { return new_root + path; }

bool is_directory(const std::string& path) {
    struct stat st {};
    return stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

void mount_or_fail(const char* source, const std::string& target, const char* type, unsigned long flags,
                   const std::string& options) {
    if (mount(source, target.c_str(), type, flags, options.c_str()) != 0) boot_failure("mount " + target);
}

void mount_tmpfs(const std::string& path, const char* options) {
    if (is_directory(below(path))) mount_or_fail("tmpfs", below(path), "tmpfs", MS_NOSUID | MS_NODEV, options);
}

// `lower` stays as it is on the host; what the guest writes goes into memory. index and the like need file handles,
// which 9p has not; switched off they are not warned about.
void mount_overlay(const std::string& lower, const std::string& target) {
    static int count = 0;
    std::string base = std::string(layers) + "/" + std::to_string(++count);
    make_dirs(base + "/upper");
    make_dirs(base + "/work");
    struct stat st {};
    if (stat(target.c_str(), &st) == 0) {
        chmod((base + "/upper").c_str(), st.st_mode & 07777);
        (void)!chown((base + "/upper").c_str(), st.st_uid, st.st_gid);
    }
    mount_or_fail("overlay", target, "overlay", 0,
                  "lowerdir=" + lower + ",upperdir=" + base + "/upper,workdir=" + base +
                      "/work,index=off,xino=off,nfs_export=off,metacopy=off");
}

// modprobe must find the modules of this kernel even when the host does not have it installed: the host's directory (often
// only the headers' links) below the complete one from the cache.
void mount_modules(const Settings& settings, const std::string& plain_root) {
    const std::string& kver = settings.get("kver");
    const std::string& modules = settings.get("modules");
    std::string usual = plain_root + "/lib/modules/" + kver;
    std::string complete = plain_root + modules;
    if (modules.empty() || !is_directory(complete)) boot_failure("find the kernel's modules in " + modules);
    std::string target = below("/lib/modules/" + kver);
    if (!is_directory(target) && !settings.enabled("systemd"))  // nothing of this kernel is installed: not even the headers
        mount_or_fail("tmpfs", below("/lib/modules"), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
    make_dirs(target);
    mount_overlay(is_directory(usual) && usual != complete ? complete + ":" + usual : complete, target);
}

void mount_checkout(const Settings& settings) {
    const std::string& checkout = settings.get("checkout");
    if (checkout.empty()) return;
    make_dirs(below(checkout));
    if (!settings.enabled("systemd")) {
        mount_or_fail("checkout", below(checkout), "9p", MS_RDONLY | MS_NODEV, checkout_options);
        return;
    }
    // A root that is writable as a whole: also `make install` in the checkout can be tried.
    std::string lower = std::string(layers) + "/checkout";
    mkdir(lower.c_str(), 0755);
    mount_or_fail("checkout", lower, "9p", MS_RDONLY | MS_NODEV, checkout_options);
    mount_overlay(lower, below(checkout));
}

void mount_devices() {
    mkdir("/dev/pts", 0755);
    mkdir("/dev/shm", 01777);
    mount_or_fail("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666");
    mount_or_fail("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
    symlink("/proc/self/fd", "/dev/fd");
    symlink("/proc/self/fd/0", "/dev/stdin");
    symlink("/proc/self/fd/1", "/dev/stdout");
    symlink("/proc/self/fd/2", "/dev/stderr");
    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
    mount("debugfs", "/sys/kernel/debug", "debugfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
    mount("tracefs", "/sys/kernel/tracing", "tracefs", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
    mount("configfs", "/sys/kernel/config", "configfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
}

void mount_writable_places() {
    for (const char* path : {"/etc", "/var", "/root", "/home", "/srv"}) {
        if (is_directory(below(path))) mount_overlay(below(path), below(path));
    }
    char real[PATH_MAX];
    // Our poweroff and reboot go beside the system's programs; /sbin is a link on a merged /usr.
    if (realpath(below("/sbin").c_str(), real) && std::string(real).starts_with(new_root))
        mount_overlay(real, real);
    else if (is_directory(below("/usr/sbin")))
        mount_overlay(below("/usr/sbin"), below("/usr/sbin"));
    mount_tmpfs("/tmp", "mode=1777");
    mount_tmpfs("/var/tmp", "mode=1777");
}

// The top of the tree is our own, so that /shared exists whatever the host has; every entry in it is the host's.
void bind_top_entries(const std::string& plain_root) {
    mount_or_fail("tmpfs", new_root, "tmpfs", 0, "mode=0755");
    DIR* dir = opendir(plain_root.c_str());
    if (!dir) boot_failure("read the host's root");
    while (dirent* entry = readdir(dir)) {
        std::string name = entry->d_name, from = plain_root + "/" + name, to = below("/" + name);
        struct stat st {};
        if (name == "." || name == ".." || lstat(from.c_str(), &st) != 0) continue;
        char target[PATH_MAX] = {};
        if (S_ISLNK(st.st_mode) && readlink(from.c_str(), target, sizeof target - 1) > 0) symlink(target, to.c_str());
        if (!S_ISDIR(st.st_mode)) continue;
        mkdir(to.c_str(), 0755);
        mount_or_fail(from.c_str(), to, nullptr, MS_BIND, "");
    }
    closedir(dir);
    make_dirs(below("/shared"));
}

}  // namespace

void mount_root(const Settings& settings) {
    mkdir(new_root, 0755);
    mkdir(layers, 0755);
    if (settings.enabled("disk"))
        mount_or_fail("/dev/vda", layers, "ext4", MS_NODEV, "");
    else
        mount_or_fail("tmpfs", layers, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
    std::string plain_root = std::string(layers) + "/root";
    mkdir(plain_root.c_str(), 0755);
    mount_or_fail("root", plain_root, "9p", MS_RDONLY, root_options);
    if (settings.enabled("systemd")) {
        mount_overlay(plain_root, new_root);
        mount_tmpfs("/tmp", "mode=1777");
    } else {
        bind_top_entries(plain_root);
        mount_writable_places();
    }
    mount_tmpfs("/run", "mode=0755");
    mount_modules(settings, plain_root);
    mount_checkout(settings);
    mount_devices();
    if (!settings.enabled("systemd")) mount(nullptr, new_root, nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr);
    make_dirs(below("/run/lock"));
    make_dirs(below("/run/krg"));
    if (!copy_file("/init", below(program_path).c_str(), 0755) || !copy_file("/krg.conf", below(settings_path).c_str(), 0600))
        boot_failure("copy the guest's program");
}

}  // namespace krg::vcluster::guest
