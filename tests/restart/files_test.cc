// SPDX-License-Identifier: GPL-2.0
// Descriptors made of an image are looked at in a child, as a program would.
#include <csignal>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/restart/saved.hh"
#include "tools/restart/files.hh"
#include "tools/restart/task.hh"

namespace krg::restart::testing {
namespace {

constexpr int keep = 900;

struct Files_ : ::testing::Test {
    Saved saved;
    u64 table = saved.maker.add(KRG_GHOST_FILES, {});
    Options options;

    /** Adds the process, makes the files, takes them in a child, and looks. */
    std::string look(const std::function<std::string()>& body) {
        const u64 session = saved.session(100, true);
        saved.task(100, saved.group(100, session), 0, table);
        const std::string path = saved.write();
        return in_child([&] {
            const Plan plan(path);
            Files files(plan, options);
            files.make();
            take_files(files, plan.tasks().front(), keep);
            return body();
        });
    }
    std::string file(const std::string& name, const std::string& text) const {
        std::ofstream(saved.folder + "/" + name) << text;
        return saved.folder + "/" + name;
    }
};

std::string take(int fd, size_t most = 1000) {
    std::string text(most, 0);
    const ssize_t n = read(fd, text.data(), most);
    text.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return n < 0 ? std::string("error ") + std::to_string(errno) : text;
}

std::string same(const std::string& what, const std::string& expected, const std::string& found) {
    return expected == found ? "" : fmt::format("{}: expected '{}', found '{}'; ", what, expected, found);
}
template<typename T>
std::string same(const std::string& what, T expected, T found) {
    return expected == found ? "" : fmt::format("{}: expected {}, found {}; ", what, expected, found);
}

/** One after the other, which + does not promise. */
std::string operator<<(std::string all, const std::string& more) { return std::move(all) + more; }

TEST_F(Files_, RegularFilesHaveOffsetsFlagsAndSharing) {
    const std::string name = file("data", "0123456789");
    const u64 one = saved.regular(name, O_RDWR | O_APPEND | O_NONBLOCK, 4), two = saved.regular(name, O_RDONLY, 1);
    saved.descriptor(table, 0, two);
    saved.descriptor(table, 5, one, true);
    saved.descriptor(table, 700, one);
    EXPECT_EQ("", look([] {
                  return same("read", "456", take(5, 3))
                         << same("shared offset", 7L, lseek(700, 0, SEEK_CUR)) << same("own offset", 1L, lseek(0, 0, SEEK_CUR))
                         << same("flags", O_RDWR | O_APPEND | O_NONBLOCK, fcntl(5, F_GETFL) & ~O_LARGEFILE & ~0100000)
                         << same("cloexec", FD_CLOEXEC, fcntl(5, F_GETFD)) << same("no cloexec", 0, fcntl(700, F_GETFD))
                         << same("nothing else", -1, fcntl(1, F_GETFD)) << same("nothing else", -1, fcntl(701, F_GETFD))
                         << same("read only", -1L, write(0, "x", 1));
              }));
}

TEST_F(Files_, UnlinkedFilesAndMemfdsHaveTheirContents) {
    std::string page(4096, 0);
    page.replace(0, 5, "hello");
    const u64 contents = saved.maker.add(KRG_GHOST_MEMORY, {{KRG_GHOST_MEMORY_KEY, 1},
                                                            {KRG_GHOST_MEMORY_KIND, 4},
                                                            {KRG_GHOST_MEMORY_SIZE, 9000}});
    saved.maker.add(KRG_GHOST_PAGES,
                    {{KRG_GHOST_PAGES_OWNER, contents}, {KRG_GHOST_PAGES_AT, 4096}, {KRG_GHOST_PAGES_COUNT, 1}}, page);
    const u64 memory = saved.maker.add(KRG_GHOST_MEMORY, {{KRG_GHOST_MEMORY_KEY, 2},
                                                          {KRG_GHOST_MEMORY_KIND, 2},
                                                          {KRG_GHOST_MEMORY_SIZE, 5},
                                                          {KRG_GHOST_MEMORY_NAME, "name"},
                                                          {KRG_GHOST_MEMORY_SEALS, F_SEAL_SHRINK}});
    saved.maker.add(KRG_GHOST_PAGES, {{KRG_GHOST_PAGES_OWNER, memory}, {KRG_GHOST_PAGES_AT, 0}, {KRG_GHOST_PAGES_COUNT, 1}},
                    page);
    const u64 gone = saved.maker.add(KRG_GHOST_FILE_REGULAR, {{KRG_GHOST_FILE_REGULAR_FLAGS, O_RDWR},
                                                              {KRG_GHOST_FILE_REGULAR_PATH, saved.folder + "/gone"},
                                                              {KRG_GHOST_FILE_REGULAR_OFFSET, 4096},
                                                              {KRG_GHOST_FILE_REGULAR_CONTENTS, contents},
                                                              {KRG_GHOST_FILE_REGULAR_MODE, 0640},
                                                              {KRG_GHOST_FILE_REGULAR_STATE, 1}});
    const u64 memfd = saved.maker.add(KRG_GHOST_FILE_MEMFD, {{KRG_GHOST_FILE_MEMFD_FLAGS, O_RDWR},
                                                             {KRG_GHOST_FILE_MEMFD_MEMORY, memory},
                                                             {KRG_GHOST_FILE_MEMFD_OFFSET, 1}});
    saved.descriptor(table, 3, gone);
    saved.descriptor(table, 4, memfd);
    const std::string name = saved.folder + "/gone";
    EXPECT_EQ("", look([&] {
                  struct stat st {};
                  fstat(3, &st);
                  return same("unlinked", "hello", take(3, 5))
                         << same("size", 9000L, st.st_size) << same("mode", 0640u, st.st_mode & 07777)
                         << same("no name", -1, access(name.c_str(), F_OK)) << same("memfd", "ello", take(4))
                         << same("seals", F_SEAL_SHRINK, fcntl(4, F_GET_SEALS)) << same("writable", 1L, write(4, "x", 1));
              }));
}

TEST_F(Files_, PipesHaveContentsSizeAndPackets) {
    const u64 pipe = saved.maker.add(KRG_GHOST_PIPE, {{KRG_GHOST_PIPE_ROOM, 8192}});
    saved.maker.add(KRG_GHOST_PIPE_DATA, {{KRG_GHOST_PIPE_DATA_PIPE, pipe}}, "abc");
    saved.maker.add(KRG_GHOST_PIPE_DATA, {{KRG_GHOST_PIPE_DATA_PIPE, pipe}}, "def");
    const u64 packets = saved.maker.add(KRG_GHOST_PIPE, {{KRG_GHOST_PIPE_ROOM, 65536}});
    for (const char* packet : {"one", "three"})
        saved.maker.add(KRG_GHOST_PIPE_DATA, {{KRG_GHOST_PIPE_DATA_PIPE, packets}, {KRG_GHOST_PIPE_DATA_PACKET, 1}}, packet);
    const auto end = [&](u64 of, int flags) {
        return saved.maker.add(KRG_GHOST_FILE_PIPE, {{KRG_GHOST_FILE_PIPE_FLAGS, flags}, {KRG_GHOST_FILE_PIPE_PIPE, of}});
    };
    saved.descriptor(table, 3, end(pipe, O_RDONLY));
    saved.descriptor(table, 4, end(pipe, O_WRONLY | O_NONBLOCK));
    saved.descriptor(table, 5, end(packets, O_RDONLY | O_NONBLOCK));
    saved.descriptor(table, 6, end(packets, O_WRONLY | O_DIRECT));
    saved.descriptor(table, 7, end(pipe, O_RDONLY));
    EXPECT_EQ("", look([] {
                  std::string why = same("content", "abc", take(3, 3))
                                    << same("by another end", "def", take(7)) << same("size", 8192, fcntl(3, F_GETPIPE_SZ))
                                    << same("packet", "one", take(5)) << same("packet", "three", take(5))
                                    << same("empty", "error 11", take(5))
                                    << same("flags", O_WRONLY | O_DIRECT, fcntl(6, F_GETFL))
                                    << same("flags", O_WRONLY | O_NONBLOCK, fcntl(4, F_GETFL))
                                    << same("reads wait", 0, fcntl(7, F_GETFL) & O_NONBLOCK);
                  close(4);
                  return why << same("no writer left", "", take(3));
              }));
}

TEST_F(Files_, EventFilesHaveTheirState) {
    const u64 event = saved.maker.add(KRG_GHOST_FILE_EVENTFD, {{1, O_RDWR | O_NONBLOCK},
                                                               {KRG_GHOST_FILE_EVENTFD_COUNT, 0x100000000},
                                                               {KRG_GHOST_FILE_EVENTFD_SEMAPHORE, 1}});
    const u64 timer = saved.maker.add(KRG_GHOST_FILE_TIMERFD, {{1, O_RDWR},
                                                               {KRG_GHOST_FILE_TIMERFD_CLOCK, CLOCK_MONOTONIC},
                                                               {KRG_GHOST_FILE_TIMERFD_LEFT, 1000'000'000'000},
                                                               {KRG_GHOST_FILE_TIMERFD_INTERVAL, 5'000'000'000},
                                                               {KRG_GHOST_FILE_TIMERFD_TICKS, 3}});
    const u64 signal = saved.maker.add(KRG_GHOST_FILE_SIGNALFD,
                                       {{1, O_RDWR | O_NONBLOCK}, {KRG_GHOST_FILE_SIGNALFD_MASK, 1ull << (SIGUSR1 - 1)}});
    const u64 epoll = saved.maker.add(KRG_GHOST_FILE_EPOLL, {{1, O_RDWR}});
    saved.maker.add(KRG_GHOST_EPOLL_WATCH, {{KRG_GHOST_EPOLL_WATCH_EPOLL, epoll},
                                            {KRG_GHOST_EPOLL_WATCH_FILE, event},
                                            {KRG_GHOST_EPOLL_WATCH_NUMBER, 0},
                                            {KRG_GHOST_EPOLL_WATCH_EVENTS, EPOLLIN},
                                            {KRG_GHOST_EPOLL_WATCH_VALUE, 77}});
    saved.descriptor(table, 0, event);
    saved.descriptor(table, 1, timer);
    saved.descriptor(table, 2, signal);
    saved.descriptor(table, 3, epoll);
    EXPECT_EQ("", look([] {
                  u64 value = 0;
                  itimerspec left{};
                  epoll_event got{};
                  std::string why = same("watched", 1, epoll_wait(3, &got, 1, 0))
                                    << same("its value", 77ul, static_cast<unsigned long>(got.data.u64));
                  why += same("read", 8L, read(0, &value, 8))
                         << same("semaphore", 1ul, value) << same("ticks", 8L, read(1, &value, 8)) << same("ticks", 3ul, value);
                  timerfd_gettime(1, &left);
                  why += same("interval", 5L, left.it_interval.tv_sec)
                         << same("left", true, left.it_value.tv_sec > 900 && left.it_value.tv_sec <= 1000);
                  sigset_t set;
                  sigfillset(&set);
                  sigprocmask(SIG_BLOCK, &set, nullptr);
                  kill(getpid(), SIGUSR1);
                  signalfd_siginfo info{};
                  why += same("signal", 128L, read(2, &info, sizeof(info)))
                         << same("which", static_cast<u32>(SIGUSR1), info.ssi_signo);
                  return why << same("changed by number", 0, epoll_ctl(3, EPOLL_CTL_DEL, 0, nullptr));
              }));
}

TEST_F(Files_, UnixSocketsHaveWhatIsUnderWay) {
    const auto socket_of = [&](int type, int state, const std::string& name = "", int shut = 0) {
        return saved.maker.add(KRG_GHOST_FILE_UNIX, {{1, O_RDWR},
                                                     {KRG_GHOST_FILE_UNIX_TYPE, type},
                                                     {KRG_GHOST_FILE_UNIX_STATE, state},
                                                     {KRG_GHOST_FILE_UNIX_NAME, name},
                                                     {KRG_GHOST_FILE_UNIX_BACKLOG, 5},
                                                     {KRG_GHOST_FILE_UNIX_SHUTDOWN, shut}});
    };
    const u64 one = socket_of(SOCK_STREAM, 2), two = socket_of(SOCK_STREAM, 2, "", 2), lonely = socket_of(SOCK_SEQPACKET, 2);
    const u64 listener = socket_of(SOCK_STREAM, 1, saved.folder + "/socket");
    const u64 travelling = saved.regular(file("travelling", "by post"), O_RDONLY, 3);
    saved.maker.add(KRG_GHOST_UNIX_PEER, {{1, one}, {2, two}});
    saved.maker.add(KRG_GHOST_UNIX_PEER, {{1, two}, {2, one}});
    saved.maker.add(KRG_GHOST_UNIX_MESSAGE, {{1, one}}, "to one");
    const u64 refs = travelling;
    saved.maker.add(KRG_GHOST_UNIX_MESSAGE,
                    {{1, two}, {KRG_GHOST_UNIX_MESSAGE_FILES, std::string(reinterpret_cast<const char*>(&refs), 8)}}, "t");
    saved.maker.add(KRG_GHOST_UNIX_MESSAGE, {{1, lonely}}, "packet");
    saved.descriptor(table, 3, one);
    saved.descriptor(table, 4, two);
    saved.descriptor(table, 5, lonely);
    saved.descriptor(table, 6, listener);
    file("socket", "");
    unlink((saved.folder + "/socket").c_str());
    const int old = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    (saved.folder + "/socket").copy(address.sun_path, 100);
    ASSERT_EQ(0, bind(old, reinterpret_cast<sockaddr*>(&address), sizeof(address)));
    close(old);
    EXPECT_EQ("", look([&] {
                  std::string why = same("stream", "to one", take(3))
                                    << same("shut down", "", take(3)) << same("packet", "packet", take(5))
                                    << same("closed peer", "", take(5));
                  char byte = 0, control[100];
                  iovec part{&byte, 1};
                  msghdr header{};
                  header.msg_iov = &part;
                  header.msg_iovlen = 1;
                  header.msg_control = control;
                  header.msg_controllen = sizeof(control);
                  why += same("message", 1L, recvmsg(4, &header, 0));
                  const cmsghdr* c = CMSG_FIRSTHDR(&header);
                  if (!c) return why << "no descriptor came";
                  why += same("what came with it", "post", take(*reinterpret_cast<const int*>(CMSG_DATA(c))));
                  const int client = socket(AF_UNIX, SOCK_STREAM, 0);
                  return why << same("listens", 0, connect(client, reinterpret_cast<sockaddr*>(&address), sizeof(address)));
              }));
}

TEST_F(Files_, InternetSocketsHaveTheirPorts) {
    const std::string loopback("\x7f\0\0\1", 4);
    const auto inet = [&](int type, int state, int port) {
        return saved.maker.add(KRG_GHOST_FILE_INET, {{1, O_RDWR},
                                                     {KRG_GHOST_FILE_INET_FAMILY, AF_INET},
                                                     {KRG_GHOST_FILE_INET_TYPE, type},
                                                     {KRG_GHOST_FILE_INET_STATE, state},
                                                     {KRG_GHOST_FILE_INET_ADDRESS, loopback},
                                                     {KRG_GHOST_FILE_INET_PORT, port},
                                                     {KRG_GHOST_FILE_INET_BACKLOG, 7},
                                                     {KRG_GHOST_FILE_INET_OPTIONS, type == SOCK_DGRAM ? 8 : 0}});
    };
    saved.descriptor(table, 3, inet(SOCK_STREAM, 1, 47123));
    saved.descriptor(table, 4, inet(SOCK_DGRAM, 3, 47124));
    EXPECT_EQ("", look([] {
                  sockaddr_in address{};
                  socklen_t length = sizeof(address);
                  getsockname(4, reinterpret_cast<sockaddr*>(&address), &length);
                  int value = 0;
                  socklen_t room = sizeof(value);
                  std::string why = same("udp port", 47124, static_cast<int>(ntohs(address.sin_port)));
                  getsockopt(4, SOL_SOCKET, SO_BROADCAST, &value, &room);
                  why += same("SO_BROADCAST", 1, value);
                  getsockopt(3, SOL_SOCKET, SO_REUSEADDR, &value, &room);
                  why += same("SO_REUSEADDR", 0, value);
                  address.sin_port = htons(47123);
                  const int client = socket(AF_INET, SOCK_STREAM, 0);
                  return why << same("listens", 0, connect(client, reinterpret_cast<sockaddr*>(&address), length));
              }));
}

TEST_F(Files_, WatchesLocksAndOwners) {
    const std::string name = file("locked", "x");
    const u64 locked = saved.regular(name, O_RDWR, 0);
    saved.maker.add(KRG_GHOST_LOCK, {{1, locked}, {KRG_GHOST_LOCK_KIND, 2}, {KRG_GHOST_LOCK_MODE, 2}});
    saved.maker.add(KRG_GHOST_LOCK, {{1, locked},
                                     {KRG_GHOST_LOCK_KIND, 1},
                                     {KRG_GHOST_LOCK_MODE, 2},
                                     {KRG_GHOST_LOCK_START, 10},
                                     {KRG_GHOST_LOCK_END, 19},
                                     {KRG_GHOST_LOCK_FILES, table}});
    const u64 inotify = saved.maker.add(KRG_GHOST_FILE_INOTIFY, {{1, O_RDONLY | O_NONBLOCK}});
    saved.maker.add(KRG_GHOST_INOTIFY_WATCH, {{1, inotify},
                                              {KRG_GHOST_INOTIFY_WATCH_NUMBER, 9},
                                              {KRG_GHOST_INOTIFY_WATCH_PATH, saved.folder},
                                              {KRG_GHOST_INOTIFY_WATCH_EVENTS, IN_CREATE}});
    const u64 event = saved.maker.add(KRG_GHOST_FILE_EVENTFD, {{1, O_RDWR}, {2, getpid()}, {3, 1}, {4, SIGUSR2}});

    saved.descriptor(table, 3, locked);
    saved.descriptor(table, 4, inotify);
    saved.descriptor(table, 5, event);
    EXPECT_EQ("", look([&] {
                  std::string why = same("owner", getppid(), fcntl(5, F_GETOWN))
                                    << same("its signal", SIGUSR2, fcntl(5, F_GETSIG));
                  const int other = open(name.c_str(), O_RDWR);
                  why += same("flock", -1, flock(other, LOCK_EX | LOCK_NB));
                  struct flock range {};
                  range.l_type = F_WRLCK;
                  range.l_start = 15;
                  range.l_len = 1;
                  const pid_t self = getpid();
                  why += in_child([&] {
                      fcntl(other, F_GETLK, &range);
                      return same("posix lock", self, range.l_pid)
                             << same("from", 10L, range.l_start) << same("bytes", 10L, range.l_len);
                  });
                  close(open((saved.folder + "/new").c_str(), O_CREAT | O_WRONLY, 0600));
                  alignas(inotify_event) char buffer[4096];
                  const ssize_t got = read(4, buffer, sizeof(buffer));
                  return why << same("an event", true, got > 0)
                             << same("its watch", 9, reinterpret_cast<inotify_event*>(buffer)->wd);
              }));
}

TEST_F(Files_, SubstitutesAreTakenAndMissingFilesAreNamed) {
    const u64 there = saved.regular(saved.folder + "/nowhere", O_RDONLY, 0);
    saved.descriptor(table, 3, there);
    const int fd = open(file("instead", "instead").c_str(), O_RDONLY);
    options.substitutes[saved.folder + "/nowhere"] = fd;
    EXPECT_EQ("", look([] { return same("substitute", "instead", take(3)); }));
}

TEST_F(Files_, MissingFilesAreNamed) {
    saved.descriptor(table, 3, saved.regular(saved.folder + "/nowhere", O_RDONLY, 0));
    EXPECT_THAT(look([] { return std::string(); }), ::testing::HasSubstr("/nowhere"));
}

}  // namespace
}  // namespace krg::restart::testing
