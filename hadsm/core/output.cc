// SPDX-License-Identifier: GPL-2.0
// Actions and messages on their way out. A message that cannot be built is not
// lost in silence: the connection it was for is given up, which makes a new epoch,
// in which everything is reported and asked again.
#include "hadsm/core/engine.hh"

namespace krg::dsm {
namespace {
constexpr u32 spares_wanted = 32;  // so many actions need no memory when there is none
constexpr u32 spares_parked_wanted = 16;
constexpr u32 spares_for_own = 8;       // of these only for messages to this node itself: they are in the middle of something
constexpr u32 spares_free_wanted = 64;  // so many pages may come
}  // namespace

/// Fills what act(), make_parked() and own_page() fall back on: without them a connection would have to be given up, and its
/// new epoch costs everybody more memory than what was missing.
void Engine::fill_spares() {
    while (spares_ < spares_wanted) {
        OutAction* a = heap_.make<OutAction>();
        if (!a) break;
        a->next = spare_;
        spare_ = a;
        spares_++;
    }
    while (spares_parked_ < spares_parked_wanted) {
        Parked* p = heap_.make<Parked>();
        if (!p) break;
        p->next = spare_parked_;
        spare_parked_ = p;
        spares_parked_++;
    }
    while (spares_free_ < spares_free_wanted) {
        FreeNode* n = heap_.make<FreeNode>();
        if (!n) break;
        recycle(n);
    }
}

OutAction* Engine::act(u32 type) {
    OutAction* a = heap_.make<OutAction>();
    if (!a && spare_) {
        a = spare_;
        spare_ = a->next;
        spares_--;
        a->next = nullptr;
        a->action = {};
    }
    if (a) a->action.type = type;
    return a;
}

void Engine::push(OutAction* a) {
    a->next = nullptr;
    (out_last_ ? out_last_->next : out_) = a;
    out_last_ = a;
}

void Engine::recycle(OutAction* a) {
    if (spares_ < spares_wanted) {
        a->next = spare_;
        spare_ = a;
        spares_++;
    } else {
        heap_.drop(a);
    }
}

void Engine::recycle(FreeNode* n) {
    if (spares_free_ < spares_free_wanted) {
        n->handle = 0;
        n->next = spare_free_;
        spare_free_ = n;
        spares_free_++;
    } else {
        heap_.drop(n);
    }
}

bool Engine::next_action(krg_dsm_action& out) {
    if (taken_) {
        recycle(taken_);
        taken_ = nullptr;
    }
    while (!out_) {
        if (frees_) {
            FreeNode* n = frees_;
            frees_ = n->next;
            out = {};
            out.type = KRG_DSM_ACT_FREE;
            out.handle = n->handle;
            recycle(n);
            return true;
        }
        if (refused_handle_) {
            out = {};
            out.type = KRG_DSM_ACT_FREE;
            out.handle = refused_handle_;
            refused_handle_ = 0;
            return true;
        }
        if (last_resort_.type) {
            out = last_resort_;
            last_resort_ = {};
            return true;
        }
        if (stopped_) return false;
        if (sync_owed_) {
            sync_owed_ = false;
            sync_check();
        } else if (!pump()) {
            return false;
        }
    }
    OutAction* a = out_;
    out_ = a->next;
    if (!out_) out_last_ = nullptr;
    taken_ = a;
    out = a->action;
    if (out.type == KRG_DSM_ACT_SEND) {
        out.data = a->data;
        stats_.messages_out++;
        stats_.bytes_out += out.len;
        stats_.pages_out += out.handle != 0 || out.cached;
    }
    return true;
}

/// Sends @m in this epoch; @handle or the page-cache page of @cached goes with it, lent.
/// False: it could not, and the connection is to be reset.
bool Engine::send(NodeId to, Message& m, u64 handle, const Obj* cached) {
    m.epoch = epoch_;
    if (!m.op) m.op = op_;
    if (to == cfg_.self) {
        if (handle || cached) {
            impossible(0);
            return false;
        }
        trace_message(KRG_DSM_T_SEND, to, m);
        park(to, m, true);
        return true;
    }
    Peer* p = peer(to);
    if (!p || p->broken) {
        if (!p) reset(to, KRG_DSM_R_MEMORY);
        return false;
    }
    OutAction* a = act(KRG_DSM_ACT_SEND);
    if (!a) {
        p->broken = true;
        reset(to, KRG_DSM_R_MEMORY);
        return false;
    }
    m.seq = ++p->out;
    a->action.node = to;
    a->action.len = encode(m, a->data, sizeof(a->data));
    a->action.handle = handle;
    a->action.cached = cached != nullptr;
    a->action.lazy = m.lazy;
    a->action.behind = m.behind;
    a->action.object.container = m.key.container;
    a->action.object.index = m.key.index;
    a->action.object.policy = m.policy;
    if (!a->action.len) {
        recycle(a);
        impossible(0);
        return false;
    }
    trace_message(KRG_DSM_T_SEND, to, m);
    push(a);
    return true;
}

/// Takes on the duty to give a handle back: false without memory for that.
bool Engine::own_page() {
    FreeNode* n = heap_.make<FreeNode>();
    if (!n && spare_free_) {
        n = spare_free_;
        spare_free_ = n->next;
        spares_free_--;
    }
    if (!n) return false;
    n->next = free_pool_;
    free_pool_ = n;
    handles_++;
    return true;
}

/// A handle has left with a GRANT, or never came.
void Engine::disown_page() {
    FreeNode* n = free_pool_;
    if (!n) {
        stats_.checks++;
        return;
    }
    free_pool_ = n->next;
    handles_--;
    recycle(n);
}

/// Gives @handle back, after every SEND that still names it.
void Engine::free_handle(u64 handle) {
    if (!handle) return;
    FreeNode* n = free_pool_;
    if (!n) {
        stats_.checks++;
        return;
    }
    free_pool_ = n->next;
    handles_--;
    n->handle = handle;
    n->next = frees_;
    frees_ = n;
}

void Engine::reset(NodeId node, u16 reason) {
    if (node == cfg_.self || !node) node = other_member();
    stats_.resets++;
    OutAction* a = node ? act(KRG_DSM_ACT_RESET) : nullptr;
    if (!a) {
        reset_at_ = now_ + cfg_.params.retry_us;  // tick() tries again, or starts over when this node is alone
        return;
    }
    a->action.node = node;
    a->action.reason = reason;
    push(a);
}

/// The epoch is over: what was not yet taken is of no use to anybody.
void Engine::purge_sends() {
    OutAction* a = out_;
    out_ = out_last_ = nullptr;
    while (a) {
        OutAction* next = a->next;
        if (a->action.type == KRG_DSM_ACT_SEND)
            recycle(a);
        else
            push(a);
        a = next;
    }
    for (Parked* p = own_; p;) {
        Parked* next = p->next;
        free_handle(p->message.handle);
        heap_.drop(p);
        p = next;
    }
    own_ = own_last_ = nullptr;
}

Peer* Engine::peer(NodeId node) {
    const Key key{0, node};
    Peer* p = peers_.find(key);
    return p ? p : peers_.add(heap_, key);
}

/// Room for a message: one to this node itself (@own) has more in reserve.
Parked* Engine::make_parked(bool own) {
    Parked* p = heap_.make<Parked>();
    if (p || spares_parked_ <= (own ? 0 : spares_for_own)) return p;
    p = spare_parked_;
    spare_parked_ = p->next;
    spares_parked_--;
    p->next = nullptr;
    return p;
}

/// Keeps a message: one to this node itself (@own), or one that comes before its time.
void Engine::park(NodeId from, const Message& m, bool own) {
    Parked* p = make_parked(own);
    if (!p) {
        reset(from, KRG_DSM_R_MEMORY);
        free_handle(m.handle);
        return;
    }
    p->from = from;
    p->own = own;
    p->message = m;
    Parked*& first = own ? own_ : parked_;
    Parked*& last = own ? own_last_ : parked_last_;
    (last ? last->next : first) = p;
    last = p;
    if (!own) {
        parked_count_++;
        stats_.parked++;
    }
}

}  // namespace krg::dsm
