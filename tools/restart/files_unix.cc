// SPDX-License-Identifier: GPL-2.0
// Unix sockets: names, listeners, connected pairs, and what is under way between them.
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools/lib/error.hh"
#include "tools/restart/files.hh"
#include "tools/restart/rights.hh"

namespace krg::restart {

namespace {

constexpr u64 listening = 1, connected = 2, not_accepted = 3;
constexpr u64 name_removed = 1;

struct Address {
    sockaddr_un at{};
    socklen_t length = 0;
    explicit Address(const std::string& name) {
        at.sun_family = AF_UNIX;
        std::memcpy(at.sun_path, name.data(), std::min(name.size(), sizeof(at.sun_path)));
        length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    }
    [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&at); }
};

/** A name that is relative is so to the folder that its socket is in: stays there as long as this lives. */
class Folder {
public:
    explicit Folder(const Record& file) {
        const std::string name = file.text(KRG_GHOST_FILE_UNIX_NAME), end = "/" + name.substr(0, name.find('\0'));
        if (name.empty() || name[0] == 0 || name[0] == '/') return;
        const std::string path = file.text(KRG_GHOST_FILE_UNIX_PATH);
        if (path.size() < end.size() || path.compare(path.size() - end.size(), end.size(), end) != 0)
            throw Error(Exit::unsafe,
                        fmt::format("{}: which folder its name is in is not known: not supported", name_of(file)));
        before_ = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
        const std::string folder = path.substr(0, std::max<size_t>(path.size() - end.size(), 1));
        if (before_ < 0 || chdir(folder.c_str()) != 0) fail_file(file, "cannot go to " + folder);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() {
        if (before_ < 0) return;
        (void)!fchdir(before_);
        close(before_);
    }

private:
    int before_ = -1;
};

int new_socket(const Record& file) {
    const int fd = socket(AF_UNIX, static_cast<int>(file.number(KRG_GHOST_FILE_UNIX_TYPE)) | SOCK_CLOEXEC, 0);
    if (fd < 0) fail_file(file, "socket");
    return fd;
}

/** A name in a folder is taken by the socket that was closed with the process; one that somebody listens on is not ours. */
void clear_name(const Record& file, const std::string& path) {
    struct stat st {};
    if (lstat(path.c_str(), &st) != 0) return;
    if (!S_ISSOCK(st.st_mode)) throw Error(Exit::failed, path + " is no socket any more", "move it away");
    const int probe = new_socket(file);
    const Address address(path);
    const bool answered = connect(probe, address.get(), address.length) == 0 || errno == EPROTOTYPE || errno == EAGAIN;
    close(probe);
    if (answered)
        throw Error(Exit::failed, fmt::format("{}: somebody else uses {}", name_of(file), path), "end that one first");
    if (unlink(path.c_str()) != 0) fail_file(file, "cannot replace " + path);
}

void bind_to(const Files& files, const Record& file, int fd) {
    const std::string name = file.text(KRG_GHOST_FILE_UNIX_NAME);
    if (name.empty()) return;
    std::optional<AsHolder> as;
    if (files.from_another_node()) as.emplace(files.plan(), file);
    const Folder folder(file);
    const bool in_folder = name[0] != 0;
    const std::string path = name.substr(0, name.find('\0'));
    struct stat st {};
    const bool there = in_folder && lstat(path.c_str(), &st) == 0;
    if (in_folder) clear_name(file, path);
    const Address address(in_folder ? path : name);
    if (bind(fd, address.get(), address.length) != 0) fail_file(file, "cannot bind it to its name");
    if (there && (chmod(path.c_str(), st.st_mode & 07777) != 0 || lchown(path.c_str(), st.st_uid, st.st_gid) != 0))
        fail_file(file, "cannot give " + path + " its rights");
    if (has(file, KRG_GHOST_FILE_UNIX_STATE_FLAGS, name_removed)) unlink(path.c_str());
}

void set_option(const Record& file, int fd, int name, int value) {
    int now = 0;
    socklen_t length = sizeof(now);
    if (getsockopt(fd, SOL_SOCKET, name, &now, &length) == 0 && now == value) return;
    if (setsockopt(fd, SOL_SOCKET, name, &value, sizeof(value)) != 0)
        fail_file(file, fmt::format("cannot set option {}", name));
}

void set_room(const Record& file, int fd, int name, u64 room) {
    int now = 0;
    socklen_t length = sizeof(now);
    if (!room || (getsockopt(fd, SOL_SOCKET, name, &now, &length) == 0 && static_cast<u64>(now) == room)) return;
    const int half = static_cast<int>(room / 2);  // the kernel doubles it
    if (setsockopt(fd, SOL_SOCKET, name, &half, sizeof(half)) != 0) fail_file(file, "cannot set the size of its buffers");
}

void set_options(const Record& file, int fd) {
    const u64 options = file.number(KRG_GHOST_FILE_UNIX_OPTIONS);
    set_option(file, fd, SO_PASSCRED, (options & 1) != 0);
    set_option(file, fd, SO_PASSSEC, (options & 2) != 0);
    set_option(file, fd, SO_BROADCAST, (options & 4) != 0);
    set_room(file, fd, SO_SNDBUF, file.number(KRG_GHOST_FILE_UNIX_SEND_ROOM));
    set_room(file, fd, SO_RCVBUF, file.number(KRG_GHOST_FILE_UNIX_RECEIVE_ROOM));
}

class Sockets {
public:
    explicit Sockets(Files& files) : files_(files), plan_(files.plan()) {}

    void make() {
        for (const Record* file : plan_.all(KRG_GHOST_FILE_UNIX)) {
            if (files_.substitute(*file) >= 0) continue;
            if (file->number(KRG_GHOST_FILE_UNIX_STATE) < connected) alone(*file);
        }
        // Whoever waits to be accepted does so behind those that were.
        for (const Record* file : plan_.all(KRG_GHOST_FILE_UNIX)) {
            if (files_.substitute(*file) >= 0 || fds_.contains(file->object) || embryo(*file)) continue;
            if (const u64 peer = peer_of(*file); peer && embryo(plan_.object(peer))) continue;
            together(*file);
        }
        for (const Record* file : plan_.all(KRG_GHOST_FILE_UNIX))
            if (embryo(*file)) wait_for_accept(*file);
    }

    /** Sends what is under way, once every file that may travel with it is there. */
    void fill() {
        for (const auto& [object, fd] : fds_)
            for (const Record* message : plan_.of(object, KRG_GHOST_UNIX_MESSAGE)) send(plan_.object(object), *message);
        for (const Record* file : plan_.all(KRG_GHOST_FILE_UNIX))
            if (embryo(*file))
                for (const Record* message : plan_.of(file->object, KRG_GHOST_UNIX_MESSAGE)) send(*file, *message);
        for (const auto& [object, fd] : fds_) {
            const u64 how = plan_.object(object).number(KRG_GHOST_FILE_UNIX_SHUTDOWN);
            if (how && shutdown(fd, static_cast<int>(how) - 1) != 0 && errno != ENOTCONN)
                fail_file(plan_.object(object), "cannot shut it down");
        }
        for (const auto& [object, fd] : closed_) close(fd);
    }

private:
    static bool embryo(const Record& file) { return file.number(KRG_GHOST_FILE_UNIX_STATE) == not_accepted; }

    u64 peer_of(const Record& file) const {
        const auto peers = plan_.of(file.object, KRG_GHOST_UNIX_PEER);
        return peers.empty() ? 0 : peers[0]->number(KRG_GHOST_UNIX_PEER_PEER);
    }

    void keep(const Record& file, int fd) {
        set_options(file, fd);
        set_socket_options(plan_, file, fd);
        files_.made(file, fd);
        fds_[file.object] = files_.at(file.object);
    }

    void alone(const Record& file) {
        const int fd = new_socket(file);
        bind_to(files_, file, fd);
        if (file.number(KRG_GHOST_FILE_UNIX_STATE) == listening &&
            listen(fd, static_cast<int>(file.number(KRG_GHOST_FILE_UNIX_BACKLOG))) != 0)
            fail_file(file, "cannot listen");
        keep(file, fd);
    }

    void join(const Record& file, int fd, const Record& to) {
        const std::string name = to.text(KRG_GHOST_FILE_UNIX_NAME);
        const Folder folder(to);
        const Address address(name[0] ? name.substr(0, name.find('\0')) : name);
        if (connect(fd, address.get(), address.length) != 0) fail_file(file, "cannot connect it");
    }

    const Record* listener_named(const std::string& name) const {
        for (const Record* file : plan_.all(KRG_GHOST_FILE_UNIX))
            if (file->number(KRG_GHOST_FILE_UNIX_STATE) == listening && !name.empty() &&
                file->text(KRG_GHOST_FILE_UNIX_NAME) == name)
                return file;
        return nullptr;
    }

    void together(const Record& file) {
        const u64 peer = peer_of(file);
        const Record* other = peer ? &plan_.object(peer) : nullptr;
        if (file.number(KRG_GHOST_FILE_UNIX_TYPE) == SOCK_DGRAM && other && peer_of(*other) != file.object)
            return one_way(file, *other);
        if (other && (!file.text(KRG_GHOST_FILE_UNIX_NAME).empty() || !other->text(KRG_GHOST_FILE_UNIX_NAME).empty()))
            return by_name(file, *other);
        if (!other && file.number(KRG_GHOST_FILE_UNIX_TYPE) != SOCK_DGRAM &&
            listener_named(file.text(KRG_GHOST_FILE_UNIX_NAME)))
            return left_alone(file);
        const auto [mine, its] = pair_of(file);
        bind_to(files_, file, mine);
        keep(file, mine);
        if (other && !fds_.contains(other->object))
            keep(*other, its);
        else
            closed_[file.object] = files_.park(its, name_of(file));  // its peer is closed; what that one sent is not
    }

    static std::pair<int, int> pair_of(const Record& file) {
        int fds[2];
        if (socketpair(AF_UNIX, static_cast<int>(file.number(KRG_GHOST_FILE_UNIX_TYPE)) | SOCK_CLOEXEC, 0, fds) != 0)
            fail_file(file, "socketpair");
        return {fds[0], fds[1]};
    }

    /** It was accepted, has the name of who listens, and its peer is closed. */
    void left_alone(const Record& file) {
        const int client = new_socket(file), at = files_.at(listener_named(file.text(KRG_GHOST_FILE_UNIX_NAME))->object);
        join(file, client, *listener_named(file.text(KRG_GHOST_FILE_UNIX_NAME)));
        const int end = accept4(at, nullptr, nullptr, SOCK_CLOEXEC);
        if (end < 0) fail_file(file, "cannot accept it");
        keep(file, end);
        closed_[file.object] = files_.park(client, name_of(file));
    }

    void wait_for_accept(const Record& end) {
        const Record* client = nullptr;
        for (const Record* file : plan_.all(KRG_GHOST_FILE_UNIX))
            if (peer_of(*file) == end.object) client = file;
        const int fd = new_socket(end);
        if (client) bind_to(files_, *client, fd);
        join(end, fd, plan_.object(end.number(KRG_GHOST_FILE_UNIX_LISTENER)));
        if (client)
            keep(*client, fd);
        else
            closed_[end.object] = files_.park(fd, name_of(end));
    }

    void one_way(const Record& file, const Record& other) {
        const int fd = new_socket(file);
        bind_to(files_, file, fd);
        if (!fds_.contains(other.object)) together(other);
        join(file, fd, other);
        keep(file, fd);
    }

    /** An accepted socket has its listener's name; the listener may be closed since. */
    void by_name(const Record& one, const Record& two) {
        if (one.number(KRG_GHOST_FILE_UNIX_TYPE) == SOCK_DGRAM) {
            const auto [first, second] = pair_of(one);
            bind_to(files_, one, first);
            bind_to(files_, two, second);
            keep(one, first);
            return keep(two, second);
        }
        const std::string of_one = one.text(KRG_GHOST_FILE_UNIX_NAME);
        const bool one_accepted = !of_one.empty() && (listener_named(of_one) || two.text(KRG_GHOST_FILE_UNIX_NAME).empty());
        const Record& accepted = one_accepted ? one : two;
        const Record& client = one_accepted ? two : one;
        const std::string name = accepted.text(KRG_GHOST_FILE_UNIX_NAME);
        const Record* listener = listener_named(name);
        int at = listener ? files_.at(listener->object) : -1;
        const bool own = at < 0;
        if (own) {
            at = new_socket(accepted);
            bind_to(files_, accepted, at);
            if (listen(at, 1) != 0) fail_file(accepted, "cannot listen for it");
        }
        const int fd = new_socket(client);
        bind_to(files_, client, fd);
        join(client, fd, accepted);
        const int end = accept4(at, nullptr, nullptr, SOCK_CLOEXEC);
        if (end < 0) fail_file(accepted, "cannot accept it");
        if (own) close(at);
        keep(client, fd);
        keep(accepted, end);
    }

    int sender_of(const Record& receiver, const Record& message) {
        const std::string from = message.text(KRG_GHOST_UNIX_MESSAGE_FROM);
        if (const u64 peer = peer_of(receiver); peer && fds_.contains(peer)) return fds_.at(peer);
        if (closed_.contains(receiver.object)) return closed_.at(receiver.object);
        for (const auto& [object, fd] : fds_) {
            if (peer_of(plan_.object(object)) == receiver.object) return fd;
            if (!from.empty() && plan_.object(object).text(KRG_GHOST_FILE_UNIX_NAME) == from) return fd;
        }
        return -1;
    }

    void send(const Record& receiver, const Record& message) {
        int fd = sender_of(receiver, message);
        const bool own = fd < 0;
        if (own) fd = new_socket(receiver);
        msghdr header{};
        iovec part{const_cast<char*>(message.bytes.data()), message.bytes.size()};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        const Folder folder(receiver);
        Address to(receiver.text(KRG_GHOST_FILE_UNIX_NAME));
        if (receiver.number(KRG_GHOST_FILE_UNIX_TYPE) == SOCK_DGRAM && !receiver.text(KRG_GHOST_FILE_UNIX_NAME).empty() &&
            !closed_.contains(receiver.object)) {
            header.msg_name = &to.at;
            header.msg_namelen = to.length;
        }
        const std::string objects = message.text(KRG_GHOST_UNIX_MESSAGE_FILES);
        std::string control(CMSG_SPACE(objects.size() / 8 * sizeof(int)), 0);
        if (!objects.empty()) {
            header.msg_control = control.data();
            header.msg_controllen = control.size();
            cmsghdr* c = CMSG_FIRSTHDR(&header);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(objects.size() / 8 * sizeof(int));
            for (size_t i = 0; i < objects.size() / 8; i++) {
                u64 object = 0;
                std::memcpy(&object, objects.data() + i * 8, 8);
                const int travelling = files_.at(object);
                if (travelling < 0) throw Error(Exit::unsafe, name_of(receiver) + ": what travels with a message was not made");
                std::memcpy(CMSG_DATA(c) + i * sizeof(int), &travelling, sizeof(int));
            }
        }
        if (sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) != static_cast<ssize_t>(message.bytes.size()))
            fail_file(receiver, "cannot put back what it had not yet read");
        if (own) close(fd);
    }

    Files& files_;
    const Plan& plan_;
    std::map<u64, int> fds_, closed_;
};

}  // namespace

std::function<void()> make_unix_sockets(Files& files) {
    const auto sockets = std::make_shared<Sockets>(files);
    sockets->make();
    return [sockets] { sockets->fill(); };
}

}  // namespace krg::restart
