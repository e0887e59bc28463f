// SPDX-License-Identifier: GPL-2.0
//
// The lock table of /shared: see shared_locks.h.
#include "shared_locks.h"

#include <cerrno>

namespace krg::vcluster {

namespace {

bool same_owner(const LockRequest& a, const LockRequest& b) { return a.client == b.client && a.owner == b.owner; }
bool overlap(const LockRequest& a, const LockRequest& b) { return a.first <= b.last && b.first <= a.last; }

void deliver(std::vector<std::pair<LockTable::Answer, int>>& answers) {
    for (auto& [answer, error] : answers) answer(error);
}

}  // namespace

const LockRequest* LockTable::find_conflict(const LockRequest& wanted) const {
    if (wanted.type == LockType::none) return nullptr;
    auto found = locks_.find({wanted.file, wanted.flock});
    if (found == locks_.end()) return nullptr;
    for (const auto& lock : found->second) {
        bool exclusive = lock.type == LockType::write || wanted.type == LockType::write;
        if (exclusive && !same_owner(lock, wanted) && overlap(lock, wanted)) return &lock;
    }
    return nullptr;
}

// What the owner had in the range is replaced; what sticks out of it on either side stays.
void LockTable::change(const LockRequest& wanted) {
    Key key{wanted.file, wanted.flock};
    std::vector<LockRequest> kept;
    for (const LockRequest& lock : locks_[key]) {
        if (!same_owner(lock, wanted) || !overlap(lock, wanted)) {
            kept.push_back(lock);
            continue;
        }
        LockRequest left = lock, right = lock;
        if (lock.first < wanted.first) {
            left.last = wanted.first - 1;
            kept.push_back(left);
        }
        if (lock.last > wanted.last) {
            right.first = wanted.last + 1;
            kept.push_back(right);
        }
    }
    if (wanted.type != LockType::none) kept.push_back(wanted);
    if (kept.empty())
        locks_.erase(key);
    else
        locks_[key] = std::move(kept);
}

void LockTable::grant_waiters(Answers& answers) {
    for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
        if (find_conflict(waiter->wanted)) {
            ++waiter;
            continue;
        }
        change(waiter->wanted);
        answers.emplace_back(std::move(waiter->answer), 0);
        waiter = waiters_.erase(waiter);
    }
}

void LockTable::request(const LockRequest& wanted, bool wait, uint64_t unique, Answer answer) {
    Answers answers;
    {
        std::lock_guard hold(mutex_);
        if (!find_conflict(wanted)) {
            change(wanted);
            answers.emplace_back(std::move(answer), 0);
            grant_waiters(answers);  // something was released, or a write lock became a read lock
        } else if (wait) {
            waiters_.push_back({wanted, unique, std::move(answer)});
        } else {
            answers.emplace_back(std::move(answer), EAGAIN);
        }
    }
    deliver(answers);
}

LockRequest LockTable::conflict(const LockRequest& wanted) {
    std::lock_guard hold(mutex_);
    const LockRequest* found = find_conflict(wanted);
    return found ? *found : LockRequest{};
}

void LockTable::interrupt(uint64_t client, uint64_t unique) {
    Answers answers;
    {
        std::lock_guard hold(mutex_);
        for (auto waiter = waiters_.begin(); waiter != waiters_.end(); ++waiter) {
            if (waiter->wanted.client != client || waiter->unique != unique) continue;
            answers.emplace_back(std::move(waiter->answer), EINTR);
            waiters_.erase(waiter);
            break;
        }
    }
    deliver(answers);
}

void LockTable::close_handle(uint64_t client, FileId file, uint64_t handle) {
    Answers answers;
    {
        std::lock_guard hold(mutex_);
        const auto found = locks_.find({file, false});
        if (found == locks_.end()) return;
        std::erase_if(found->second, [&](const LockRequest& lock) { return lock.client == client && lock.handle == handle; });
        if (found->second.empty()) locks_.erase(found);
        grant_waiters(answers);
    }
    deliver(answers);
}

void LockTable::close_client(uint64_t client) {
    Answers answers;
    {
        std::lock_guard hold(mutex_);
        waiters_.remove_if([&](const Waiter& waiter) { return waiter.wanted.client == client; });
        for (auto& [key, locks] : locks_) std::erase_if(locks, [&](const LockRequest& lock) { return lock.client == client; });
        std::erase_if(locks_, [](const auto& entry) { return entry.second.empty(); });
        grant_waiters(answers);
    }
    deliver(answers);
}

}  // namespace krg::vcluster
