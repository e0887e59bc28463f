// SPDX-License-Identifier: GPL-2.0
//
// Programs whose state is SysV shared memory, semaphores and message queues.
#include "program.hh"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

namespace krg::cr {

namespace {

constexpr size_t page = 4096;

union Argument {
    int value;
    semid_ds* set;
    unsigned short* values;
};

void set_value(int id, int number, int value) {
    Argument argument{};
    argument.value = value;
    must(semctl(id, number, SETVAL, argument), "SETVAL");
}

void operate(int id, unsigned short number, short by, short flags = 0) {
    sembuf operation{number, by, flags};
    must(semop(id, &operation, 1), "semop");
}

struct Message {
    long type;
    char text[64];
};

void put(int id, long type, const char* text) {
    Message message{type, {}};
    std::strcpy(message.text, text);
    must(msgsnd(id, &message, std::strlen(text) + 1, 0), "msgsnd");
}

void expect(int id, long wanted, long type, const char* text) {
    Message message{};
    const long length = must(msgrcv(id, &message, sizeof(message.text), wanted, IPC_NOWAIT), "msgrcv");
    same("length of a message", static_cast<long>(std::strlen(text) + 1), length);
    same("type of a message", type, message.type);
    same("text of a message", std::string(text), std::string(message.text));
}

key_t unused_key() { return static_cast<key_t>(0x6b000000 | getpid()); }

}  // namespace

CR_PROGRAM(sysv_shm, Needs::nothing, "an attached segment keeps its id, key, mode, contents, and is attached once") {
    const key_t key = unused_key();
    const int id = static_cast<int>(must(shmget(key, 5 * page + 100, IPC_CREAT | IPC_EXCL | 0640), "shmget"));
    auto* at = static_cast<char*>(shmat(id, nullptr, 0));
    holds("shmat", at != reinterpret_cast<char*>(-1));
    fill(at, 3 * page, 21);
    run.operation([&] { at[page] ^= 1; });
    verify("contents", at, 3 * page, 21);
    same("a page that was not touched", 0, static_cast<int>(at[4 * page]));
    same("id of the key", id, shmget(key, 0, 0));
    shmid_ds status{};
    must(shmctl(id, IPC_STAT, &status), "IPC_STAT");
    same("size", 5 * page + 100, status.shm_segsz);
    same("mode", 0640, static_cast<int>(status.shm_perm.mode & 0777));
    same("attached", 1ul, status.shm_nattch);
    must(shmdt(at), "shmdt");
    must(shmctl(id, IPC_RMID, nullptr), "IPC_RMID");
}

CR_PROGRAM(sysv_shm_removed, Needs::nothing, "a segment that is marked as removed stays until the last one detaches") {
    const int id = static_cast<int>(must(shmget(IPC_PRIVATE, 2 * page, IPC_CREAT | 0600), "shmget"));
    auto* at = static_cast<char*>(shmat(id, nullptr, 0));
    holds("shmat", at != reinterpret_cast<char*>(-1));
    must(shmctl(id, IPC_RMID, nullptr), "IPC_RMID");
    fill(at, page, 22);
    run.operation([&] { at[1] ^= 1; });
    verify("contents", at, page, 22);
    shmid_ds status{};
    must(shmctl(id, IPC_STAT, &status), "IPC_STAT");
    holds("the mark", (status.shm_perm.mode & SHM_DEST) != 0);
    must(shmdt(at), "shmdt");
    same("it is gone", -1, shmctl(id, IPC_STAT, &status));
}

CR_PROGRAM(sysv_shm_shared, Needs::nothing, "a segment attached by parent and child, read only there, is one memory") {
    const int id = static_cast<int>(must(shmget(IPC_PRIVATE, page, IPC_CREAT | 0600), "shmget"));
    auto* at = static_cast<volatile char*>(shmat(id, nullptr, 0));
    holds("shmat", at != reinterpret_cast<char*>(-1));
    at[7] = 1;
    const volatile char* theirs = nullptr;
    const pid_t child = spawn([&] { theirs = static_cast<char*>(shmat(id, nullptr, SHM_RDONLY)); },
                              [&] { same("what the parent wrote", 42, static_cast<int>(theirs[7])); });
    run.operation([&] { at[7] = 2; });
    same("before", 1, static_cast<int>(at[7]));
    at[7] = 42;
    finish(child);
    must(shmctl(id, IPC_RMID, nullptr), "IPC_RMID");
}

CR_PROGRAM(sysv_shm_detached, Needs::nothing, "a segment that nobody has attached stays with its creator") {
    const int id = static_cast<int>(must(shmget(IPC_PRIVATE, page, IPC_CREAT | 0600), "shmget"));
    auto* at = static_cast<char*>(shmat(id, nullptr, 0));
    fill(at, page, 23);
    must(shmdt(at), "shmdt");
    run.operation([&] { must(shmctl(id, IPC_RMID, nullptr), "IPC_RMID"); });
    at = static_cast<char*>(shmat(id, nullptr, 0));
    holds("shmat", at != reinterpret_cast<char*>(-1));
    verify("contents", at, page, 23);
    must(shmctl(id, IPC_RMID, nullptr), "IPC_RMID");
}

CR_PROGRAM(sysv_sem, Needs::nothing, "semaphores keep their id, key, mode and values") {
    const key_t key = unused_key();
    const int id = static_cast<int>(must(semget(key, 4, IPC_CREAT | IPC_EXCL | 0620), "semget"));
    for (int i = 0; i < 4; ++i) set_value(id, i, 100 * i + 3);
    run.operation([&] { set_value(id, 2, 1); });
    same("id of the key", id, semget(key, 0, 0));
    for (int i = 0; i < 4; ++i) same("value " + std::to_string(i), 100 * i + 3, semctl(id, i, GETVAL));
    semid_ds status{};
    Argument argument{};
    argument.set = &status;
    must(semctl(id, 0, IPC_STAT, argument), "IPC_STAT");
    same("mode", 0620, static_cast<int>(status.sem_perm.mode & 0777));
    must(semctl(id, 0, IPC_RMID), "IPC_RMID");
}

CR_PROGRAM(sysv_sem_undo, Needs::nothing, "what a child would undo of semaphores is undone at its end") {
    const int id = static_cast<int>(must(semget(IPC_PRIVATE, 2, IPC_CREAT | 0600), "semget"));
    set_value(id, 0, 10);
    set_value(id, 1, 10);
    const pid_t child = spawn(
        [&] {
            operate(id, 0, -4, SEM_UNDO);
            operate(id, 1, 5, SEM_UNDO);
        },
        [] {});
    run.operation([&] { operate(id, 0, 1); });
    same("value 0", 6, semctl(id, 0, GETVAL));
    same("value 1", 15, semctl(id, 1, GETVAL));
    finish(child);
    same("value 0, undone", 10, semctl(id, 0, GETVAL));
    same("value 1, undone", 10, semctl(id, 1, GETVAL));
    must(semctl(id, 0, IPC_RMID), "IPC_RMID");
}

CR_PROGRAM(sysv_sem_wait, Needs::nothing, "a child that waits for a semaphore goes on waiting, and gets it") {
    const int id = static_cast<int>(must(semget(IPC_PRIVATE, 1, IPC_CREAT | 0600), "semget"));
    set_value(id, 0, 0);
    const pid_t child = static_cast<pid_t>(must(fork(), "fork"));
    if (child == 0) {
        operate(id, 0, -2);
        _exit(11);
    }
    while (semctl(id, 0, GETNCNT) != 1) usleep(1000);
    run.operation([&] { must(kill(child, SIGKILL), "kill"); });
    int status = 0;
    same("it still waits", 0, waitpid(child, &status, WNOHANG));
    operate(id, 0, 2);
    must(waitpid(child, &status, 0), "waitpid");
    same("its status", 11, WEXITSTATUS(status));
    must(semctl(id, 0, IPC_RMID), "IPC_RMID");
}

CR_PROGRAM(sysv_msg, Needs::nothing, "a queue keeps its id, key, mode, and messages in order, with types and lengths") {
    const key_t key = unused_key();
    const int id = static_cast<int>(must(msgget(key, IPC_CREAT | IPC_EXCL | 0660), "msgget"));
    put(id, 5, "first of five");
    put(id, 3, "three");
    put(id, 5, "");
    run.operation([&] { put(id, 1, "another"); });
    same("id of the key", id, msgget(key, 0));
    msqid_ds status{};
    must(msgctl(id, IPC_STAT, &status), "IPC_STAT");
    same("messages", 3ul, status.msg_qnum);
    same("mode", 0660, static_cast<int>(status.msg_perm.mode & 0777));
    expect(id, 3, 3, "three");
    expect(id, 0, 5, "first of five");
    expect(id, 0, 5, "");
    must(msgctl(id, IPC_RMID, nullptr), "IPC_RMID");
}

CR_PROGRAM(sysv_msg_long, Needs::nothing, "a message that is longer than a page stays whole") {
    struct Long {
        long type;
        char text[7000];
    };
    static Long message{9, {}};
    const int id = static_cast<int>(must(msgget(IPC_PRIVATE, IPC_CREAT | 0600), "msgget"));
    fill(message.text, sizeof(message.text), 24);
    must(msgsnd(id, &message, sizeof(message.text), 0), "msgsnd");
    std::memset(&message, 0, sizeof(message));
    run.operation([&] { must(msgrcv(id, &message, sizeof(message.text), 0, 0), "msgrcv"); });
    must(msgrcv(id, &message, sizeof(message.text), 0, IPC_NOWAIT), "msgrcv");
    verify("its text", message.text, sizeof(message.text), 24);
    must(msgctl(id, IPC_RMID, nullptr), "IPC_RMID");
}

CR_PROGRAM(sysv_msg_wait, Needs::nothing, "a child that waits for a message goes on waiting, and gets it") {
    const int id = static_cast<int>(must(msgget(IPC_PRIVATE, IPC_CREAT | 0600), "msgget"));
    const pid_t child = static_cast<pid_t>(must(fork(), "fork"));
    if (child == 0) {
        Message message{};
        const long length = msgrcv(id, &message, sizeof(message.text), 4, 0);
        _exit(length == 6 && std::strcmp(message.text, "hello") == 0 ? 12 : 1);
    }
    usleep(100000);
    run.operation([&] { must(kill(child, SIGKILL), "kill"); });
    int status = 0;
    same("it still waits", 0, waitpid(child, &status, WNOHANG));
    put(id, 4, "hello");
    must(waitpid(child, &status, 0), "waitpid");
    same("its status", 12, WEXITSTATUS(status));
    must(msgctl(id, IPC_RMID, nullptr), "IPC_RMID");
}

}  // namespace krg::cr
