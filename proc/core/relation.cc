// SPDX-License-Identifier: GPL-2.0
// What fields of one record must be to each other, and to the object they refer
// to: ranges, alignment, pages inside of their mapping, data as long as said.
#include "proc/core/judge.hh"

namespace krg::ghost {

bool Judge::wrong(const Record& record, u16 id, const char* reason) {
    Field field{};
    return fail(bad, record.rule->type, id, find(record, id, field) ? field.at : 0, reason);
}

bool Judge::points_to(const Record& record, u16 field, u16 type, const char* reason) {
    const u64 id = number(record, field);
    return id == 0 || objects_[id].type == type || wrong(record, field, reason);
}

bool Judge::ascend(const Record& record, u16 low, u16 high) {
    return number(record, low) <= number(record, high) || wrong(record, high, "an end before its beginning");
}

bool Judge::file_name(const Record& record, u16 field) {
    Field name{};
    if (!find(record, field, name)) return true;
    for (u32 i = 0; i < name.length; i++)
        if (name.bytes[i] == '/') return wrong(record, field, "a name with a slash");
    const bool dots = name.bytes[0] == '.' && (name.length == 1 || (name.length == 2 && name.bytes[1] == '.'));
    return !dots || wrong(record, field, "not the name of a file");
}

bool Judge::image(const Record& record) {
    const bool parent = number(record, KRG_GHOST_IMAGE_PARENT) != 0, later = number(record, KRG_GHOST_IMAGE_VERSION) != 0;
    if (parent != later)
        return wrong(record, KRG_GHOST_IMAGE_VERSION, "an increment has a parent and a version, a full image neither");
    if (parent && !number(record, KRG_GHOST_IMAGE_CHAIN))
        return wrong(record, KRG_GHOST_IMAGE_CHAIN, "an increment of no chain");
    if (parent && !(features_ & KRG_GHOST_INCREMENT))
        return wrong(record, KRG_GHOST_IMAGE_PARENT, "a parent, without the feature bit of increments");
    Field base{};
    if (!parent && find(record, KRG_GHOST_IMAGE_BASE, base))
        return wrong(record, KRG_GHOST_IMAGE_BASE, "the name of a parent, of a full image");
    return file_name(record, KRG_GHOST_IMAGE_BASE);
}

bool Judge::creds(const Record& record) {
    const u64 permitted = number(record, KRG_GHOST_CREDS_PERMITTED), inheritable = number(record, KRG_GHOST_CREDS_INHERITABLE);
    if (number(record, KRG_GHOST_CREDS_EFFECTIVE) & ~permitted)
        return wrong(record, KRG_GHOST_CREDS_EFFECTIVE, "effective capabilities that are not permitted");
    if (number(record, KRG_GHOST_CREDS_AMBIENT) & ~(permitted & inheritable))
        return wrong(record, KRG_GHOST_CREDS_AMBIENT, "ambient capabilities that are not permitted and inheritable");
    return (record.data % 4 == 0 && record.data <= 4 * 65536) || wrong(record, 0, "impossible number of groups");
}

bool Judge::thread(const Record& record) {
    const Object& task = owner_of(record);
    const bool first = !(task.seen >> record.rule->slot & 1), leader = number(record, KRG_GHOST_THREAD_TID) == task.begin;
    return first == leader || wrong(record, KRG_GHOST_THREAD_TID, "the first thread, and no other, has the id of the process");
}

bool Judge::vma(const Record& record) {
    const u64 start = number(record, KRG_GHOST_VMA_START), end = number(record, KRG_GHOST_VMA_END);
    if (start % page_size) return wrong(record, KRG_GHOST_VMA_START, "not aligned to pages");
    if (end % page_size || end <= start) return wrong(record, KRG_GHOST_VMA_END, "not a page behind its beginning");
    const u64 offset = number(record, KRG_GHOST_VMA_OFFSET);
    if (offset % page_size || offset > static_cast<u64>(KRG_S64_MAX) - (end - start))
        return wrong(record, KRG_GHOST_VMA_OFFSET, "not aligned to pages, or too large");
    const u64 kind = number(record, KRG_GHOST_VMA_KIND);
    const bool backed = number(record, KRG_GHOST_VMA_BACKING) != 0;
    if (kind == 1 && !backed) return wrong(record, KRG_GHOST_VMA_BACKING, "a shared mapping of nothing");
    return kind <= 1 || !backed || wrong(record, KRG_GHOST_VMA_BACKING, "a backing where there can be none");
}

bool Judge::pages_twin(const Record& record, u64 bytes) {
    const u64 twin = number(record, KRG_GHOST_PAGES_TWIN), at = number(record, KRG_GHOST_PAGES_TWIN_AT);
    if (number(record, KRG_GHOST_PAGES_SOURCE) != KRG_GHOST_SOURCE_TWIN)
        return !twin || wrong(record, KRG_GHOST_PAGES_TWIN, "another mapping, of pages that are not shared");
    const Object& owner = owner_of(record);
    if (!twin || owner.cls != KRG_GHOST_VMA_CLASS || objects_[twin].owner == owner.owner)
        return wrong(record, KRG_GHOST_PAGES_TWIN, "not a mapping of another address space");
    const Object& other = objects_[twin];
    return (at % page_size == 0 && at >= other.begin && at <= other.end && bytes <= other.end - at) ||
           wrong(record, KRG_GHOST_PAGES_TWIN_AT, "not in that mapping");
}

bool Judge::pages(const Record& record) {
    const Object& owner = owner_of(record);
    const u64 at = number(record, KRG_GHOST_PAGES_AT), count = number(record, KRG_GHOST_PAGES_COUNT), bytes = count * page_size;
    if (at % page_size || at < owner.begin || at > owner.end)
        return wrong(record, KRG_GHOST_PAGES_AT, "not in what it belongs to");
    if (count > (owner.end - at) / page_size) return wrong(record, KRG_GHOST_PAGES_COUNT, "reaches behind what it belongs to");
    const u64 source = number(record, KRG_GHOST_PAGES_SOURCE), codec = number(record, KRG_GHOST_PAGES_CODEC);
    if (source != KRG_GHOST_SOURCE_HERE) {
        if (record.data || codec) return wrong(record, KRG_GHOST_PAGES_SOURCE, "data, of pages that are elsewhere");
        if (source == KRG_GHOST_SOURCE_FOLLOWS && owner.cls != KRG_GHOST_VMA_CLASS)
            return wrong(record, KRG_GHOST_PAGES_SOURCE, "pages that follow, of no mapping");
        if (source == KRG_GHOST_SOURCE_PARENT && !increment_) return wrong(record, KRG_GHOST_PAGES_SOURCE, "no parent image");
        return pages_twin(record, bytes);
    }
    if (bytes > KRG_GHOST_DATA_MAX) return wrong(record, KRG_GHOST_PAGES_COUNT, "too many pages for one run of data");
    const bool right = codec == KRG_GHOST_CODEC_PLAIN ? record.data == bytes : record.data > 0 && record.data < bytes;
    return right ? pages_twin(record, bytes) : wrong(record, KRG_GHOST_PAGES_COUNT, "not as many data as pages");
}

bool Judge::internet(const Record& record) {
    const u32 length = number(record, KRG_GHOST_FILE_INET_FAMILY) == 2 ? 4 : 16;
    if (number(record, KRG_GHOST_FILE_INET_FAMILY) != 2 && number(record, KRG_GHOST_FILE_INET_FAMILY) != 10)
        return wrong(record, KRG_GHOST_FILE_INET_FAMILY, "neither AF_INET nor AF_INET6");
    constexpr u16 addresses[] = {KRG_GHOST_FILE_INET_ADDRESS, KRG_GHOST_FILE_INET_PEER_ADDRESS};
    for (const u16 id : addresses)
        if (Field field{}; find(record, id, field) && field.length != 0 && field.length != length)
            return wrong(record, id, "not an address of that family");
    return true;
}

bool Judge::lock(const Record& record) {
    const bool posix = number(record, KRG_GHOST_LOCK_KIND) == 1;
    if (posix != (number(record, KRG_GHOST_LOCK_FILES) != 0))
        return wrong(record, KRG_GHOST_LOCK_FILES, "a POSIX lock, and no other, belongs to a descriptor table");
    return ascend(record, KRG_GHOST_LOCK_START, KRG_GHOST_LOCK_END);
}

bool Judge::accept_relations(const Record& record) {
    switch (record.rule->type) {
    case KRG_GHOST_IMAGE: return image(record);
    case KRG_GHOST_MEMBER: return file_name(record, KRG_GHOST_MEMBER_NAME);
    case KRG_GHOST_CREDS: return creds(record);
    case KRG_GHOST_FS:
        return points_to(record, KRG_GHOST_FS_CWD, KRG_GHOST_FILE_DIRECTORY, "not a directory") &&
               points_to(record, KRG_GHOST_FS_ROOT, KRG_GHOST_FILE_DIRECTORY, "not a directory");
    case KRG_GHOST_TASK:
        return !number(record, KRG_GHOST_TASK_PARENT) || !number(record, KRG_GHOST_TASK_PARENT_PID) ||
               wrong(record, KRG_GHOST_TASK_PARENT_PID, "two parents");
    case KRG_GHOST_THREAD: return thread(record);
    case KRG_GHOST_MM:
        return ascend(record, KRG_GHOST_MM_START_CODE, KRG_GHOST_MM_END_CODE) &&
               ascend(record, KRG_GHOST_MM_START_DATA, KRG_GHOST_MM_END_DATA) &&
               ascend(record, KRG_GHOST_MM_START_BRK, KRG_GHOST_MM_BRK) &&
               ascend(record, KRG_GHOST_MM_ARG_START, KRG_GHOST_MM_ARG_END) &&
               ascend(record, KRG_GHOST_MM_ENV_START, KRG_GHOST_MM_ENV_END);
    case KRG_GHOST_VMA: return vma(record);
    case KRG_GHOST_PAGES: return pages(record);
    case KRG_GHOST_EPOLL_WATCH: return points_to(record, KRG_GHOST_EPOLL_WATCH_EPOLL, KRG_GHOST_FILE_EPOLL, "not an epoll set");
    case KRG_GHOST_INOTIFY_WATCH:
        return points_to(record, KRG_GHOST_INOTIFY_WATCH_INOTIFY, KRG_GHOST_FILE_INOTIFY, "not an inotify instance");
    case KRG_GHOST_FILE_UNIX: return points_to(record, KRG_GHOST_FILE_UNIX_LISTENER, KRG_GHOST_FILE_UNIX, "not a unix socket");
    case KRG_GHOST_UNIX_PEER:
        return points_to(record, KRG_GHOST_UNIX_PEER_SOCKET, KRG_GHOST_FILE_UNIX, "not a unix socket") &&
               points_to(record, KRG_GHOST_UNIX_PEER_PEER, KRG_GHOST_FILE_UNIX, "not a unix socket");
    case KRG_GHOST_UNIX_MESSAGE:
        return points_to(record, KRG_GHOST_UNIX_MESSAGE_SOCKET, KRG_GHOST_FILE_UNIX, "not a unix socket");
    case KRG_GHOST_FILE_INET: return internet(record);
    case KRG_GHOST_TCP: return points_to(record, KRG_GHOST_TCP_SOCKET, KRG_GHOST_FILE_INET, "not an internet socket");
    case KRG_GHOST_INET_DATA:
        return points_to(record, KRG_GHOST_INET_DATA_SOCKET, KRG_GHOST_FILE_INET, "not an internet socket");
    case KRG_GHOST_LOCK: return lock(record);
    case KRG_GHOST_SYSV_SEM:
        return record.data == 8 * number(record, KRG_GHOST_SYSV_SEM_COUNT) ||
               wrong(record, KRG_GHOST_SYSV_SEM_COUNT, "not as many data as semaphores");
    default: return true;
    }
}

}  // namespace krg::ghost
