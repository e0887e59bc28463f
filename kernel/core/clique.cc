// SPDX-License-Identifier: GPL-2.0
// Maximum clique as maximum independent set of the conflict graph: depth first,
// the lowest id first and included first, so that the first set of a given size
// is also the one with the lowest ids; a branch is cut when it cannot get larger.
#include "kernel/core/clique.hh"

#include "kernel/core/mutants.hh"

namespace krg {

void Clique::place(Arena& arena, u16 max_nodes) {
    max_nodes_ = max_nodes;
    u32 words = NodeSet::words_for(max_nodes);
    words_ = arena.take<u64>(u64(words) * (max_nodes + 1u));
    row_ = arena.take<NodeSet>(max_nodes + 1u);
    if (row_ && words_)
        for (u32 i = 0; i <= max_nodes; i++) row_[i] = NodeSet(words_ + u64(i) * words, words);
    touched_ = NodeSet(arena.take<u64>(words), words);
    id_ = arena.take<NodeId>(exact_max);
    against_ = arena.take<u64>(exact_max);
    stack_ = arena.take<Frame>(exact_max + 1);
}

void Clique::reset() {
    touched_.each([this](NodeId n) { row_[n].clear(); });
    touched_.clear();
}

void Clique::conflict(NodeId a, NodeId b) {
    if (a == b || !a || !b || a > max_nodes_ || b > max_nodes_) return;
    row_[a].add(b);
    row_[b].add(a);
    touched_.add(a);
    touched_.add(b);
}

u64 Clique::search(u32 count) {
    u64 best = 0;
    u32 best_size = 0, depth = 0;
    stack_[depth++] = {count == 64 ? ~0ull : (1ull << count) - 1, 0};
    for (u32 step = 0; depth && step < steps_max; step++) {
        Frame f = stack_[--depth];
        while (f.available) {
            u32 size = popcount(f.chosen);
            if (size + popcount(f.available) <= best_size) break;
            u32 v = static_cast<u32>(std::countr_zero(f.available));
            f.available &= f.available - 1;
            u64 lost = f.available & against_[v];
            if (lost) stack_[depth++] = {f.available, f.chosen};  // without v, later
            f.chosen |= 1ull << v;
            f.available &= ~lost;
        }
        u32 size = popcount(f.chosen);
        if (!f.available && (size > best_size || (KRG_MUTANT(TiesKeepHighest) && size == best_size))) {
            best = f.chosen;
            best_size = size;
        }
    }
    return best;
}

void Clique::solve(const NodeSet& candidates, NodeSet& out) {
    out.assign(candidates);
    if (KRG_MUTANT(CliqueIgnored)) return;
    for (;;) {
        u32 count = 0, most = 0;
        NodeId worst = 0;
        bool any = false;
        // How many still conflict within `out`, and who conflicts most?
        touched_.each([&](NodeId n) {
            if (!out.has(n)) return;
            u32 degree = 0;
            for (u32 w = 0; w < out.word_count(); w++) degree += popcount(row_[n].words()[w] & out.words()[w]);
            if (!degree) return;
            any = true;
            if (count < exact_max) id_[count] = n;
            count++;
            if (degree >= most) {
                most = degree;
                worst = n;
            }
        });
        if (!any) return;
        if (count > exact_max) {
            out.remove(worst);
            continue;
        }
        for (u32 i = 0; i < count; i++) {
            against_[i] = 0;
            for (u32 k = 0; k < count; k++)
                if (row_[id_[i]].has(id_[k])) against_[i] |= 1ull << k;
        }
        u64 keep = search(count);
        for (u32 i = 0; i < count; i++)
            if (!((keep >> i) & 1)) out.remove(id_[i]);
        return;
    }
}

}  // namespace krg
