// SPDX-License-Identifier: GPL-2.0
// Who does what in the current view: home and successors of a chunk by highest
// rendezvous weight (Thaler and Ravishankar, 1998), and the nodes that take
// committed versions for a writer. Also the bits of what was ever written, which
// live with the chunk's place.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

const krg_dsm_member* Engine::member(NodeId node) const {
    u32 low = 0, high = members_;
    while (low < high) {
        const u32 mid = (low + high) / 2;
        if (member_[mid].node < node)
            low = mid + 1;
        else
            high = mid;
    }
    return low < members_ && member_[low].node == node ? &member_[low] : nullptr;
}

/// @node is a member, and has been one without a break since @epoch.
bool Engine::stayed(NodeId node, u64 epoch) const {
    const krg_dsm_member* m = member(node);
    return m && m->since <= epoch;
}

/// When all of @list leave, the first of them takes what the others have, and stays until it is alone. 0: not all leave.
NodeId Engine::stays_last(const krg_dsm_member* list, u32 count) {
    for (u32 i = 0; i < count; i++)
        if (!list[i].draining) return 0;
    return count ? list[0].node : static_cast<NodeId>(0);
}

/// @m is given nothing new.
bool Engine::leaves(const krg_dsm_member& m) const { return m.draining && m.node != stays_last_; }

NodeId Engine::other_member() const {
    for (u32 i = 0; i < members_; i++)
        if (member_[i].node != cfg_.self) return member_[i].node;
    return 0;
}

u32 Engine::usable_members() const {
    u32 n = 0;
    for (u32 i = 0; i < members_; i++) n += !leaves(member_[i]);
    return n ? n : 1;
}

u32 Engine::copies_needed(const krg_dsm_policy& policy) const {
    const u32 k = replicas(policy), n = usable_members();
    return k < n ? k : n;
}

/// The home and its successors know what was written: two nodes at least, or k.
u32 Engine::holders_of_bits(const krg_dsm_policy& policy) const {
    u32 n = replicas(policy) < 2 ? 2 : replicas(policy);
    if (KRG_DSM_MUTANT(BitsNotReplicated)) n = 1;
    return n < members_ ? n : members_;
}

void Engine::compute_place(const Key& chunk, const krg_dsm_policy& policy, NodeId out[KRG_DSM_REPLICAS_MAX]) const {
    place_among(member_, members_, chunk, policy, out);
}

void Engine::place_among(const krg_dsm_member* list, u32 count, const Key& chunk, const krg_dsm_policy& policy,
                         NodeId out[KRG_DSM_REPLICAS_MAX]) const {
    u64 weight[KRG_DSM_REPLICAS_MAX] = {};
    for (u32 i = 0; i < KRG_DSM_REPLICAS_MAX; i++) out[i] = 0;
    const u64 name = mix(hash_of(chunk), cfg_.domain);
    const NodeId last = stays_last(list, count);
    for (u32 i = 0; i < count; i++) {
        NodeId node = list[i].node;
        // Nodes that leave come after all others: what they know moves while they still answer.
        u64 w = mix(name, node) >> 1 | 1;
        if (!list[i].draining || node == last) w = node == policy.affinity ? ~0ull : w | 1ull << 63;
        for (u32 k = 0; k < KRG_DSM_REPLICAS_MAX; k++) {
            if (w <= weight[k]) continue;
            const u64 w2 = weight[k];
            const NodeId n2 = out[k];
            weight[k] = w;
            out[k] = node;
            w = w2;
            node = n2;
        }
    }
}

void Engine::place(const Key& key, const krg_dsm_policy& policy, NodeId out[KRG_DSM_REPLICAS_MAX]) {
    Chunk* c = chunk(key, policy);
    if (!c) {
        compute_place(key.chunk(), policy, out);
        return;
    }
    if (c->place_epoch != epoch_ || c->place_affinity != policy.affinity) {
        compute_place(c->key, policy, c->place);
        c->place_epoch = epoch_;
        c->place_affinity = policy.affinity;
    }
    for (u32 i = 0; i < KRG_DSM_REPLICAS_MAX; i++) out[i] = c->place[i];
}

NodeId Engine::home(const Key& key, const krg_dsm_policy& policy) {
    NodeId p[KRG_DSM_REPLICAS_MAX];
    place(key, policy, p);
    return p[0];
}

NodeId Engine::home_of(const Key& key, const krg_dsm_policy& policy) { return members_ ? home(key, policy) : 0; }

/// Who else should hold a committed version of what @near writes: the same few nodes for
/// all its objects as long as they have room, so that a batch has few backups. Nobody who is in @e or @not_these, or has
/// less room than @most says; 0: nobody is left.
NodeId Engine::pick_backup(NodeId near, const Entry* e, const Rset& not_these, Room most) const {
    NodeId best = 0;
    Room best_room = most;
    u64 best_weight = 0;
    for (u32 i = 0; i < members_; i++) {
        const NodeId n = member_[i].node;
        if (n == near || leaves(member_[i]) || not_these.has(n)) continue;
        if (e && (e->sharers.has(n) || e->retained.has(n) || (e->exclusive && e->writer == n))) continue;
        const Room room = room_of(n);
        const u64 w = mix(mix(cfg_.domain, near), n) | 1;
        if (room > best_room || (room == best_room && w <= best_weight)) continue;
        best = n;
        best_room = room;
        best_weight = w;
    }
    return best;
}

Chunk* Engine::chunk(const Key& key, const krg_dsm_policy& policy) {
    const Key name = key.chunk();
    Chunk* c = chunks_.find(name);
    if (!c && (c = chunks_.add(heap_, name))) c->policy = policy;
    return c;
}

bool Engine::initialised(const Key& key) const {
    const Chunk* c = chunks_.find(key.chunk());
    const u64 bit = key.index & ((1u << KRG_DSM_CHUNK_SHIFT) - 1);
    return c && (c->bits[bit / 64] >> (bit % 64) & 1);
}

/// Something of the chunk of @key is about to be written.
Chunk* Engine::set_written(const Key& key, const krg_dsm_policy& policy) {
    Chunk* c = chunk(key, policy);
    if (!c) return nullptr;
    // Nothing of the chunk had been written, or this node would know: what came before is complete, and who keeps the bits
    // hears of all that follows.
    if (!c->written && knows_chunks()) c->complete = keeps_bits(key, policy, cfg_.self) ? epoch_ + 1 : epoch_;
    c->written = true;
    return c;
}

bool Engine::set_initialised(const Key& key, const krg_dsm_policy& policy) {
    Chunk* c = set_written(key, policy);
    if (!c) return false;
    const u64 bit = key.index & ((1u << KRG_DSM_CHUNK_SHIFT) - 1);
    c->bits[bit / 64] |= 1ull << (bit % 64);
    return true;
}

/// All members know that something of the chunk was written.
bool Engine::registered(const Key& key) const {
    const Chunk* c = chunks_.find(key.chunk());
    return c && c->written && c->everywhere;
}

/// Every member has answered a first write of the chunk.
void Engine::now_registered(const Key& key) {
    if (Chunk* c = chunks_.find(key.chunk())) c->everywhere = c->written;
}

/// @node has to hear of every first write: it is home or a successor, or the chunk is new to all.
bool Engine::keeps_bits(const Key& key, const krg_dsm_policy& policy, NodeId node) {
    NodeId p[KRG_DSM_REPLICAS_MAX];
    place(key, policy, p);
    const u32 n = holders_of_bits(policy);
    for (u32 i = 0; i < n; i++)
        if (p[i] == node) return true;
    return false;
}

}  // namespace krg::dsm
