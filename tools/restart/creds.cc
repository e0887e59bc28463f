// SPDX-License-Identifier: GPL-2.0
// Credentials of a thread as a list of calls. Nobody gets what he could not give himself: each call asks the kernel with the
// caller's own rights; the one capability restart is installed with is given up here.
#include <cerrno>
#include <cstring>
#include <fstream>

#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tools/restart/task.hh"

namespace krg::restart {

namespace {

constexpr u64 bit(int capability) { return u64{1} << capability; }

struct CapData {
    u32 effective, permitted, inheritable;
};

void set_capabilities(Calls& calls, Area& area, const std::string& what, const Capabilities& to) {
    const __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    CapData data[2];
    for (int i = 0; i < 2; i++)
        data[i] = {static_cast<u32>(to.effective >> 32 * i), static_cast<u32>(to.permitted >> 32 * i),
                   static_cast<u32>(to.inheritable >> 32 * i)};
    calls.call(what, SYS_capset, {area.put(header), area.put(data, sizeof(data))});
}

struct Ids {
    u64 uid[4], gid[4];  // real, effective, saved, file system
};

Ids own_ids() {
    Ids ids{};
    std::ifstream status("/proc/thread-self/status");
    for (std::string word; status >> word;) {
        if (word == "Uid:")
            for (u64& id : ids.uid) status >> id;
        if (word == "Gid:")
            for (u64& id : ids.gid) status >> id;
    }
    return ids;
}

std::string own_groups() {
    std::string list(static_cast<size_t>(std::max(getgroups(0, nullptr), 0)) * sizeof(gid_t), 0);
    if (!list.empty() && getgroups(static_cast<int>(list.size() / sizeof(gid_t)), reinterpret_cast<gid_t*>(list.data())) < 0)
        list.clear();
    return list;
}

}  // namespace

Capabilities own_capabilities() {
    Capabilities own;
    std::ifstream status("/proc/thread-self/status");
    for (std::string word; status >> word;) {
        if (word == "CapInh:") status >> std::hex >> own.inheritable;
        if (word == "CapPrm:") status >> std::hex >> own.permitted;
        if (word == "CapEff:") status >> std::hex >> own.effective;
        if (word == "CapBnd:") status >> std::hex >> own.bounding;
        if (word == "CapAmb:") status >> std::hex >> own.ambient;
        status >> std::dec;
    }
    return own;
}

void add_credentials(const Plan& plan, const Record& thread, Area& area, Calls& calls) {
    const Record& creds = plan.object(thread.number(KRG_GHOST_THREAD_CREDS));
    const auto what = [&](const std::string& step) {
        return fmt::format("thread {}: cannot set its {}", thread.number(KRG_GHOST_THREAD_TID), step);
    };
    const auto id = [&](int field) { return creds.number(static_cast<u16>(KRG_GHOST_CREDS_UID + field)); };
    const Capabilities own = own_capabilities();
    const Capabilities want{creds.number(KRG_GHOST_CREDS_EFFECTIVE), creds.number(KRG_GHOST_CREDS_PERMITTED),
                            creds.number(KRG_GHOST_CREDS_INHERITABLE), creds.number(KRG_GHOST_CREDS_BOUNDING),
                            creds.number(KRG_GHOST_CREDS_AMBIENT)};
    const Ids now = own_ids();
    const u64 bits = creds.number(KRG_GHOST_CREDS_SECUREBITS);
    const auto own_bits = static_cast<u64>(prctl(PR_GET_SECUREBITS));
    const u64 may_set = bit(CAP_SETPCAP) & own.effective;
    bool ids_differ = false;
    for (int i = 0; i < 4; i++) ids_differ = ids_differ || now.uid[i] != id(i) || now.gid[i] != id(4 + i);

    if (creds.bytes != own_groups())
        calls.call(what("groups"), SYS_setgroups,
                   {creds.bytes.size() / sizeof(gid_t), area.put(creds.bytes.data(), creds.bytes.size())});
    if (ids_differ) {
        // Ids change without taking capabilities along, or what follows could not be done.
        if (may_set)
            calls.call(what("securebits"), SYS_prctl,
                       {PR_SET_SECUREBITS, own_bits | SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS});
        calls.call(what("group ids"), SYS_setresgid, {id(4), id(5), id(6)});
        calls.try_it("", SYS_setfsgid, {id(7)});
        calls.exactly(what("file system group id"), static_cast<s64>(id(7)), SYS_setfsgid, {~u64{0}});
        calls.call(what("user ids"), SYS_setresuid, {id(0), id(1), id(2)});
        calls.try_it("", SYS_setfsuid, {id(3)});
        calls.exactly(what("file system user id"), static_cast<s64>(id(3)), SYS_setfsuid, {~u64{0}});
    }
    for (int capability = 0; capability < 64; capability++)
        if (own.bounding & ~want.bounding & bit(capability))
            calls.call(what("bounding set"), SYS_prctl, {PR_CAPBSET_DROP, static_cast<u64>(capability), 0, 0, 0});
    Capabilities between = want;
    between.effective |= may_set;
    between.permitted |= may_set;
    set_capabilities(calls, area, what("capabilities"), between);
    if (own.ambient & ~want.ambient)
        calls.call(what("ambient capabilities"), SYS_prctl, {PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0});
    for (int capability = 0; capability < 64; capability++)
        if (want.ambient & bit(capability))
            calls.call(what("ambient capabilities"), SYS_prctl,
                       {PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, static_cast<u64>(capability), 0, 0});
    if (bits != own_bits || (ids_differ && may_set)) calls.call(what("securebits"), SYS_prctl, {PR_SET_SECUREBITS, bits});
    if (between.effective != want.effective || between.permitted != want.permitted)
        set_capabilities(calls, area, what("capabilities"), want);
}

}  // namespace krg::restart
