// SPDX-License-Identifier: GPL-2.0
// Memory of the engine and the three containers it needs: a hash table and a
// list whose links lie in the elements, and a small set of node ids. All memory
// comes from the caller's two functions and every request for it may fail; what
// must not fail reserves beforehand.
#pragma once

#include "hadsm/core/types.hh"

#include <initializer_list>
#include <new>

namespace krg::dsm {

class Heap {
public:
    explicit Heap(const krg_dsm_memory& memory) : memory_(memory) {}

    [[nodiscard]] void* take(u64 bytes) {
        void* p = memory_.alloc(memory_.context, bytes);
        if (p)
            used_ += bytes;
        else
            failed_++;
        return p;
    }
    void give(void* p, u64 bytes) {
        if (!p) return;
        used_ -= bytes;
        memory_.free(memory_.context, p, bytes);
    }
    template<typename T, typename... A>
    [[nodiscard]] T* make(A&&... a) {
        void* p = take(sizeof(T));
        return p ? new (p) T(static_cast<A&&>(a)...) : nullptr;
    }
    template<typename T>
    void drop(T* p) {
        if (!p) return;
        p->~T();
        give(p, sizeof(T));
    }
    [[nodiscard]] u64 used() const { return used_; }
    [[nodiscard]] u64 failed() const { return failed_; }

private:
    krg_dsm_memory memory_;
    u64 used_ = 0, failed_ = 0;
};

/// A place in a List. An element may be in as many lists as it has links.
template<typename T>
struct Link {
    Link* prev = nullptr;
    Link* next = nullptr;
    T* owner = nullptr;
    [[nodiscard]] bool linked() const { return prev != nullptr; }
};

/// Doubly linked, circular, first in first out.
template<typename T>
class List {
public:
    List() { head_.prev = head_.next = &head_; }
    List(const List&) = delete;
    List& operator=(const List&) = delete;

    /// Appends unless @l is in a list already.
    void push(Link<T>& l, T* owner) {
        if (l.linked()) return;
        l.owner = owner;
        l.prev = head_.prev;
        l.next = &head_;
        head_.prev->next = &l;
        head_.prev = &l;
        count_++;
    }
    void remove(Link<T>& l) {
        if (!l.linked()) return;
        l.prev->next = l.next;
        l.next->prev = l.prev;
        l.prev = l.next = nullptr;
        count_--;
    }
    [[nodiscard]] T* first() const { return head_.next == &head_ ? nullptr : head_.next->owner; }
    [[nodiscard]] T* after(const Link<T>& l) const { return l.next == &head_ ? nullptr : l.next->owner; }
    [[nodiscard]] bool empty() const { return head_.next == &head_; }
    [[nodiscard]] u64 count() const { return count_; }

private:
    Link<T> head_;
    u64 count_ = 0;
};

/// Chained hash table of elements that have `Key key`, `T* chain` and `Link<T> all`.
template<typename T>
class Table {
public:
    [[nodiscard]] T* find(const Key& key) const {
        for (T* p = buckets_ ? bucket_[hash_of(key) & (buckets_ - 1)] : nullptr; p; p = p->chain)
            if (p->key == key) return p;
        return nullptr;
    }
    /// A new element for @key, which must not be in the table; nullptr without memory.
    [[nodiscard]] T* add(Heap& heap, const Key& key) {
        if (all_.count() >= buckets_ && !grow(heap) && !buckets_) return nullptr;
        T* p = heap.make<T>();
        if (!p) return nullptr;
        p->key = key;
        T*& head = bucket_[hash_of(key) & (buckets_ - 1)];
        p->chain = head;
        head = p;
        all_.push(p->all, p);
        return p;
    }
    void erase(Heap& heap, T* p) {
        T** at = &bucket_[hash_of(p->key) & (buckets_ - 1)];
        while (*at != p) at = &(*at)->chain;
        *at = p->chain;
        all_.remove(p->all);
        heap.drop(p);
    }
    /// The elements must have been erased.
    void release(Heap& heap) {
        heap.give(bucket_, buckets_ * sizeof(T*));
        bucket_ = nullptr;
        buckets_ = 0;
    }
    [[nodiscard]] T* first() const { return all_.first(); }
    [[nodiscard]] T* after(const T* p) const { return all_.after(p->all); }
    /// @p becomes the last.
    void to_back(T* p) {
        all_.remove(p->all);
        all_.push(p->all, p);
    }
    [[nodiscard]] u64 count() const { return all_.count(); }

private:
    bool grow(Heap& heap) {
        const u64 wanted = buckets_ ? buckets_ * 2 : 16;
        T** fresh = static_cast<T**>(heap.take(wanted * sizeof(T*)));
        if (!fresh) return false;
        for (u64 i = 0; i < wanted; i++) fresh[i] = nullptr;
        heap.give(bucket_, buckets_ * sizeof(T*));
        bucket_ = fresh;
        buckets_ = wanted;
        for (T* p = all_.first(); p; p = all_.after(p->all)) {
            T*& head = bucket_[hash_of(p->key) & (wanted - 1)];
            p->chain = head;
            head = p;
        }
        return true;
    }
    T** bucket_ = nullptr;
    u64 buckets_ = 0;
    List<T> all_;
};

/// Node ids, ascending; the first few without memory of their own.
class IdSet {
public:
    [[nodiscard]] u32 count() const { return count_; }
    [[nodiscard]] bool empty() const { return count_ == 0; }
    [[nodiscard]] NodeId at(u32 i) const { return data()[i]; }
    [[nodiscard]] bool has(NodeId n) const {
        const u32 i = lower(n);
        return i < count_ && data()[i] == n;
    }
    /// Room for @more further ids, so that add() cannot fail.
    [[nodiscard]] bool reserve(Heap& heap, u32 more) {
        const u32 wanted = count_ + more;
        if (wanted <= room_) return true;
        u32 room = room_ * 2;
        while (room < wanted) room *= 2;
        NodeId* fresh = static_cast<NodeId*>(heap.take(room * sizeof(NodeId)));
        if (!fresh) return false;
        for (u32 i = 0; i < count_; i++) fresh[i] = data()[i];
        heap.give(far_, far_ ? room_ * sizeof(NodeId) : 0);
        far_ = fresh;
        room_ = room;
        return true;
    }
    /// False without room; see reserve().
    bool add(NodeId n) {
        const u32 at = lower(n);
        if (at < count_ && data()[at] == n) return true;
        if (count_ == room_) return false;
        NodeId* d = data();
        for (u32 i = count_; i > at; i--) d[i] = d[i - 1];
        d[at] = n;
        count_++;
        return true;
    }
    bool remove(NodeId n) {
        const u32 at = lower(n);
        if (at == count_ || data()[at] != n) return false;
        NodeId* d = data();
        for (u32 i = at + 1; i < count_; i++) d[i - 1] = d[i];
        count_--;
        return true;
    }
    void clear() { count_ = 0; }
    void release(Heap& heap) {
        heap.give(far_, far_ ? room_ * sizeof(NodeId) : 0);
        far_ = nullptr;
        room_ = near_room;
        count_ = 0;
    }

private:
    static constexpr u32 near_room = 4;
    [[nodiscard]] NodeId* data() { return far_ ? far_ : near_; }
    [[nodiscard]] const NodeId* data() const { return far_ ? far_ : near_; }
    [[nodiscard]] u32 lower(NodeId n) const {
        u32 low = 0, high = count_;
        while (low < high) {
            const u32 mid = (low + high) / 2;
            if (data()[mid] < n)
                low = mid + 1;
            else
                high = mid;
        }
        return low;
    }
    NodeId near_[near_room] = {};
    NodeId* far_ = nullptr;
    u32 count_ = 0, room_ = near_room;
};

}  // namespace krg::dsm
