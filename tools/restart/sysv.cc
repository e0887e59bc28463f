// SPDX-License-Identifier: GPL-2.0
#include "tools/restart/sysv.hh"

#include <cerrno>
#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

#include "tools/lib/error.hh"

namespace krg::restart {

namespace {

constexpr u64 to_be_removed = 1, locked = 2, page = 4096;
constexpr size_t semaphore_bytes = 8;

// By the first field of an object's record: what follows it.
enum { key_field = 1, mode_field, uid_field, gid_field, creator_uid_field, creator_gid_field };

u64 get(const Record& record, u16 first, int field) { return record.number(static_cast<u16>(first + field)); }

const char* name_of_kind(u16 type) {
    return type == KRG_GHOST_SYSV_SHM ? "shared memory" : type == KRG_GHOST_SYSV_SEM ? "semaphores" : "message queue";
}

union SemaphoreArgument {
    int value;
    semid_ds* set;
    unsigned short* values;
};

[[noreturn]] void fail(const std::string& what) {
    const int why = errno;
    throw Error(why == EPERM || why == EACCES ? Exit::not_permitted : Exit::failed,
                fmt::format("SysV: {}: {}", what, std::strerror(why)),
                why == ENOSPC ? "raise the limits in /proc/sys/kernel" : "");
}

void remove_object(u16 type, int id) {
    if (type == KRG_GHOST_SYSV_SHM)
        shmctl(id, IPC_RMID, nullptr);
    else if (type == KRG_GHOST_SYSV_SEM)
        semctl(id, 0, IPC_RMID);
    else
        msgctl(id, IPC_RMID, nullptr);
}

void set_permissions(ipc_perm& to, const Record& record, u16 first) {
    to.uid = static_cast<uid_t>(get(record, first, uid_field));
    to.gid = static_cast<gid_t>(get(record, first, gid_field));
    to.mode = static_cast<decltype(to.mode)>(get(record, first, mode_field));
}

}  // namespace

u16 sysv_first_field(u16 type) {
    return type == KRG_GHOST_SYSV_SHM   ? static_cast<u16>(KRG_GHOST_SYSV_SHM_ID)
           : type == KRG_GHOST_SYSV_SEM ? static_cast<u16>(KRG_GHOST_SYSV_SEM_ID)
                                        : static_cast<u16>(KRG_GHOST_SYSV_QUEUE_ID);
}

std::string sysv_in_the_way(const Record& record) {
    const u16 first = sysv_first_field(record.type);
    const int id = static_cast<int>(get(record, first, 0)), key = static_cast<int>(get(record, first, key_field));
    shmid_ds segment{};
    semid_ds set{};
    msqid_ds queue{};
    SemaphoreArgument argument{};
    argument.set = &set;
    const int result = record.type == KRG_GHOST_SYSV_SHM   ? shmctl(id, IPC_STAT, &segment)
                       : record.type == KRG_GHOST_SYSV_SEM ? semctl(id, 0, IPC_STAT, argument)
                                                           : msgctl(id, IPC_STAT, &queue);
    const char option = record.type == KRG_GHOST_SYSV_SHM ? 'm' : record.type == KRG_GHOST_SYSV_SEM ? 's' : 'q';
    if (result >= 0 || (errno != EINVAL && errno != EIDRM))
        return fmt::format("SysV {}: id {} is in use here (ipcrm -{} {} removes it)", name_of_kind(record.type), id, option,
                           id);
    if (!key) return {};
    const int other = record.type == KRG_GHOST_SYSV_SHM   ? shmget(key, 0, 0)
                      : record.type == KRG_GHOST_SYSV_SEM ? semget(key, 0, 0)
                                                          : msgget(key, 0);
    if (other < 0 && errno == ENOENT) return {};
    return fmt::format("SysV {}: key {:#x} is in use here", name_of_kind(record.type), static_cast<unsigned>(key));
}

Sysv::~Sysv() {
    if (getpid() != maker_) return;
    for (const void* at : attached_) shmdt(at);
    for (const Made& object : made_) remove_object(object.type, object.id);
}

/** With the id and the creator of then. */
int Sysv::make_object(const Record& record, u16 first, const char* what, const char* next_id,
                      const std::function<int(int, int)>& get_object) {
    const int wanted = static_cast<int>(get(record, first, 0));
    std::ofstream next(fmt::format("/proc/sys/kernel/{}", next_id));
    next << wanted;
    if (!next.flush()) {
        errno = EPERM;
        fail(fmt::format("the id of {} {} cannot be chosen", what, wanted));
    }
    const auto uid = static_cast<uid_t>(get(record, first, creator_uid_field));
    const auto gid = static_cast<gid_t>(get(record, first, creator_gid_field));
    const uid_t own_uid = geteuid();
    const gid_t own_gid = getegid();
    if ((gid != own_gid && setegid(gid) != 0) || (uid != own_uid && seteuid(uid) != 0))
        fail(fmt::format("{} {} cannot be made as user {}, group {}", what, wanted, uid, gid));
    const int id = get_object(static_cast<int>(get(record, first, key_field)),
                              IPC_CREAT | IPC_EXCL | static_cast<int>(get(record, first, mode_field)));
    const int why = errno;
    if ((uid != own_uid && seteuid(own_uid) != 0) || (gid != own_gid && setegid(own_gid) != 0))
        fail("cannot be the caller again");
    errno = why;
    if (id < 0) fail(fmt::format("{} {} cannot be made", what, wanted));
    made_.push_back({record.type, id});
    if (id != wanted)
        throw Error(Exit::failed, fmt::format("SysV: {}: id {} is in use here", what, wanted), "remove what has it: ipcrm(1)");
    return id;
}

void Sysv::fill(const Record& record, char* at, u64 size) {
    const int image = open(plan_.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (image < 0) fail(plan_.path());
    for (const Run& run : plan_.runs(record.number(KRG_GHOST_SYSV_SHM_MEMORY))) {
        if (run.source == KRG_GHOST_SOURCE_ZERO) continue;
        const u64 length = std::min<u64>(run.pages * page, run.at < size ? size - run.at : 0);
        const bool plain = run.source == KRG_GHOST_SOURCE_HERE && run.codec == KRG_GHOST_CODEC_PLAIN;
        if (!plain || pread(image, at + run.at, length, static_cast<off_t>(run.offset)) != static_cast<ssize_t>(length)) {
            const int why = errno;
            close(image);
            errno = plain ? why : EINVAL;
            fail("the contents of a segment cannot be read from the image");
        }
    }
    close(image);
}

void Sysv::make_segment(const Record& record, const std::function<void(u64, const void*)>& attached) {
    const u64 memory = record.number(KRG_GHOST_SYSV_SHM_MEMORY), size = plan_.object(memory).number(KRG_GHOST_MEMORY_SIZE);
    const int id = make_object(record, KRG_GHOST_SYSV_SHM_ID, "shared memory", "shm_next_id",
                               [&](int key, int flags) { return shmget(key, size, flags); });
    void* at = shmat(id, nullptr, 0);
    if (at == reinterpret_cast<void*>(-1)) fail(fmt::format("segment {} cannot be attached", id));
    attached_.push_back(at);
    fill(record, static_cast<char*>(at), size);
    shmid_ds status{};
    if (shmctl(id, IPC_STAT, &status) != 0) fail(fmt::format("segment {}", id));
    set_permissions(status.shm_perm, record, KRG_GHOST_SYSV_SHM_ID);
    if (shmctl(id, IPC_SET, &status) != 0) fail(fmt::format("the owner of segment {} cannot be set", id));
    if (has(record, KRG_GHOST_SYSV_SHM_FLAGS, locked) && shmctl(id, SHM_LOCK, nullptr) != 0)
        fail(fmt::format("segment {} cannot be locked", id));
    if (has(record, KRG_GHOST_SYSV_SHM_FLAGS, to_be_removed)) removed_.push_back(id);
    attached(memory, at);
}

void Sysv::make_semaphores(const Record& record) {
    const auto count = static_cast<int>(record.number(KRG_GHOST_SYSV_SEM_COUNT));
    if (record.bytes.size() != static_cast<size_t>(count) * semaphore_bytes)
        throw Error(Exit::failed, "SysV: a set of semaphores has not as many values as semaphores");
    const int id = make_object(record, KRG_GHOST_SYSV_SEM_ID, "semaphores", "sem_next_id",
                               [&](int key, int flags) { return semget(key, count, flags); });
    std::vector<unsigned short> values;
    for (int i = 0; i < count; i++) {
        unsigned short value = 0;
        std::memcpy(&value, record.bytes.data() + static_cast<size_t>(i) * semaphore_bytes, sizeof(value));
        values.push_back(value);
    }
    SemaphoreArgument argument{};
    argument.values = values.data();
    if (semctl(id, 0, SETALL, argument) != 0) fail(fmt::format("the values of semaphores {} cannot be set", id));
    semid_ds status{};
    argument.set = &status;
    if (semctl(id, 0, IPC_STAT, argument) != 0) fail(fmt::format("semaphores {}", id));
    set_permissions(status.sem_perm, record, KRG_GHOST_SYSV_SEM_ID);
    if (semctl(id, 0, IPC_SET, argument) != 0) fail(fmt::format("the owner of semaphores {} cannot be set", id));
}

void Sysv::make_queue(const Record& record) {
    const int id = make_object(record, KRG_GHOST_SYSV_QUEUE_ID, "message queue", "msg_next_id",
                               [](int key, int flags) { return msgget(key, flags); });
    msqid_ds status{};
    if (msgctl(id, IPC_STAT, &status) != 0) fail(fmt::format("queue {}", id));
    status.msg_qbytes = record.number(KRG_GHOST_SYSV_QUEUE_ROOM);
    if (msgctl(id, IPC_SET, &status) != 0) fail(fmt::format("the room of queue {} cannot be set", id));
    for (const Record* message : plan_.of(record.object, KRG_GHOST_SYSV_MESSAGE)) {
        const auto type = static_cast<long>(message->number(KRG_GHOST_SYSV_MESSAGE_TYPE));
        std::string bytes(sizeof(type) + message->bytes.size(), 0);
        std::memcpy(bytes.data(), &type, sizeof(type));
        std::memcpy(bytes.data() + sizeof(type), message->bytes.data(), message->bytes.size());
        if (msgsnd(id, bytes.data(), message->bytes.size(), IPC_NOWAIT) != 0)
            fail(fmt::format("a message cannot be put into queue {}", id));
    }
    set_permissions(status.msg_perm, record, KRG_GHOST_SYSV_QUEUE_ID);
    if (msgctl(id, IPC_SET, &status) != 0) fail(fmt::format("the owner of queue {} cannot be set", id));
}

void Sysv::make(const std::function<void(u64, const void*)>& attached) {
    for (const Record* record : plan_.all(KRG_GHOST_SYSV_SHM)) make_segment(*record, attached);
    for (const Record* record : plan_.all(KRG_GHOST_SYSV_SEM)) make_semaphores(*record);
    for (const Record* record : plan_.all(KRG_GHOST_SYSV_QUEUE)) make_queue(*record);
}

void Sysv::settle() {
    for (const int id : removed_)
        if (shmctl(id, IPC_RMID, nullptr) != 0) fail(fmt::format("segment {} cannot be marked as removed", id));
    for (const void* at : attached_) shmdt(at);
    attached_.clear();
}

}  // namespace krg::restart
