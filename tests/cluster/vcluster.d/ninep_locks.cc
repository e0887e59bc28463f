// SPDX-License-Identifier: GPL-2.0
//
// The lock table of /shared: see ninep_locks.h for its rules.
#include "ninep_locks.h"

#include "util.h"

#include <algorithm>
#include <chrono>

namespace krg::vcluster {

namespace {

// Long enough that most waits end with the lock, short enough for a program that times its wait with a signal.
constexpr double hold_s = 2.0;

bool overlap(const LockRequest& a, const LockRequest& b) { return a.begin < b.end && b.begin < a.end; }

}  // namespace

LockTable::LockTable() : thread_([this] { expire_loop(); }) {}

LockTable::~LockTable() {
    {
        std::lock_guard hold(mutex_);
        stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

const LockRequest* LockTable::find_conflict(const LockRequest& wanted) const {
    auto found = locks_.find(wanted.file);
    if (found == locks_.end()) return nullptr;
    for (const auto& lock : found->second) {
        bool exclusive = lock.type == LockType::write || wanted.type == LockType::write;
        if (lock.client != wanted.client && exclusive && overlap(lock, wanted)) return &lock;
    }
    return nullptr;
}

// Takes [begin, end) out of a lock; what is left of it on both sides stays.
void LockTable::cut(Locks& locks, size_t index, uint64_t begin, uint64_t end) {
    LockRequest old = locks[index];
    locks.erase(locks.begin() + static_cast<ptrdiff_t>(index));
    if (old.begin < begin) {
        LockRequest left = old;
        left.end = begin;
        locks.push_back(left);
    }
    if (old.end > end) {
        LockRequest right = old;
        right.begin = end;
        locks.push_back(right);
    }
}

void LockTable::take(const LockRequest& wanted) {
    Locks& locks = locks_[wanted.file];
    for (size_t i = locks.size(); i-- > 0;) {
        const LockRequest& lock = locks[i];
        if (lock.client != wanted.client || !overlap(lock, wanted)) continue;
        bool same_process = lock.process == wanted.process;
        // Their own kernel let two exclude-each-other locks through: one flock, changed by another process that shares it.
        bool same_flock = lock.fid == wanted.fid && lock.whole_file() && wanted.whole_file() &&
                          (lock.type == LockType::write || wanted.type == LockType::write);
        if (same_process || same_flock) cut(locks, i, wanted.begin, wanted.end);
    }
    locks.push_back(wanted);
}

void LockTable::release(const LockRequest& unlock) {
    auto found = locks_.find(unlock.file);
    if (found == locks_.end()) return;
    Locks& locks = found->second;
    for (size_t i = locks.size(); i-- > 0;) {
        const LockRequest& lock = locks[i];
        if (lock.client != unlock.client || !overlap(lock, unlock)) continue;
        bool shared_flock = unlock.wait && unlock.whole_file() && lock.whole_file() && lock.fid == unlock.fid;
        if (lock.process == unlock.process || shared_flock) cut(locks, i, unlock.begin, unlock.end);
    }
    if (locks.empty()) locks_.erase(found);
}

void LockTable::grant_waiters(Answers& answers) {
    for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
        if (find_conflict(waiter->wanted)) {
            ++waiter;
            continue;
        }
        take(waiter->wanted);
        answers.emplace_back(std::move(waiter->answer), LockStatus::success);
        waiter = waiters_.erase(waiter);
    }
}

void LockTable::deliver(Answers& answers) {
    for (auto& [answer, status] : answers) answer(status);
}

void LockTable::request(const LockRequest& wanted, uint16_t tag, Answer answer) {
    Answers answers;
    {
        std::lock_guard hold(mutex_);
        if (wanted.type == LockType::none) {
            release(wanted);
            answers.emplace_back(std::move(answer), LockStatus::success);
            grant_waiters(answers);
        } else if (!find_conflict(wanted)) {
            take(wanted);
            answers.emplace_back(std::move(answer), LockStatus::success);
            grant_waiters(answers);  // a write lock may have become a read lock
        } else if (!wanted.wait) {
            answers.emplace_back(std::move(answer), LockStatus::blocked);
        } else {
            waiters_.push_back({wanted, tag, now_s() + hold_s, std::move(answer)});
            changed_.notify_all();
        }
    }
    deliver(answers);
}

LockRequest LockTable::conflict(const LockRequest& wanted) {
    std::lock_guard hold(mutex_);
    const LockRequest* found = find_conflict(wanted);
    return found ? *found : LockRequest{};
}

bool LockTable::cancel(uint64_t client, uint16_t tag) {
    std::lock_guard hold(mutex_);
    return std::erase_if(waiters_, [&](const Waiter& w) { return w.wanted.client == client && w.tag == tag; }) > 0;
}

void LockTable::close_fid(uint64_t client, uint32_t fid) {
    Answers answers;
    {
        std::lock_guard hold(mutex_);
        for (auto& [file, locks] : locks_)
            std::erase_if(locks, [&](const LockRequest& lock) { return lock.client == client && lock.fid == fid; });
        std::erase_if(locks_, [](const auto& entry) { return entry.second.empty(); });
        grant_waiters(answers);
    }
    deliver(answers);
}

void LockTable::close_client(uint64_t client) {
    Answers answers;
    {
        std::lock_guard hold(mutex_);
        waiters_.remove_if([&](const Waiter& w) { return w.wanted.client == client; });
        for (auto& [file, locks] : locks_)
            std::erase_if(locks, [&](const LockRequest& lock) { return lock.client == client; });
        std::erase_if(locks_, [](const auto& entry) { return entry.second.empty(); });
        grant_waiters(answers);
    }
    deliver(answers);
}

void LockTable::expire_loop() {
    std::unique_lock hold(mutex_);
    while (!stop_) {
        if (waiters_.empty()) {
            changed_.wait(hold);
            continue;
        }
        // All wait equally long, so the oldest is the first to expire.
        double left = waiters_.front().until_s - now_s();
        if (left > 0) {
            changed_.wait_for(hold, std::chrono::duration<double>(left));
            continue;
        }
        Answers answers;
        answers.emplace_back(std::move(waiters_.front().answer), LockStatus::blocked);
        waiters_.pop_front();
        hold.unlock();
        deliver(answers);
        hold.lock();
    }
}

}  // namespace krg::vcluster
