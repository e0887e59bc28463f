// SPDX-License-Identifier: GPL-2.0
// The two ends of what a home hears of its process: the shadow there, and who
// ran the process when it ended.
#include "proc/core/handover.hh"

namespace {

using namespace krg::handover;

constexpr u32 killed = 9;

krg_away_do end(krg_away* h, u32 code) {
    if (!h->ended) h->code = code;
    h->ended = 1;
    return KRG_AWAY_END;
}

krg_away_do go_on(const krg_away* h) { return h->looking ? KRG_AWAY_LOOK : KRG_AWAY_WAIT; }

void follow(krg_away* h, u64 generation, u16 runner) {
    if (generation <= h->generation && !KRG_HANDOVER_MUTANT(HomeOldNews)) return;
    h->generation = generation;
    h->runner = runner;
}

/** Where the process is that the lost node ran, or had run, only the record says. Nobody else's loss matters: whoever it moved
 * to since, that was said, or is about to be by a runner that lives. */
krg_away_do lost(krg_away* h, bool member) {
    if (KRG_HANDOVER_MUTANT(HomeIgnoresView)) return KRG_AWAY_WAIT;
    if (KRG_HANDOVER_MUTANT(HomeTrustsView) && !member) return end(h, killed);
    if (member && !h->looking) return KRG_AWAY_WAIT;
    h->looking = h->looking ? 2 : 1;
    return KRG_AWAY_LOOK;
}

krg_away_do was_read(krg_away* h, u64 generation, u16 runner, u32 code, s32 error) {
    if (error && !is_final(error)) return KRG_AWAY_LOOK;
    if (!error && !runner) return end(h, code);
    if (!code) return end(h, killed);
    if (!error) follow(h, generation, runner);
    h->looking = h->looking ? h->looking - 1 : 0;
    return go_on(h);
}

enum GuestState : u32 { resting, writing, telling, pausing_to_write, pausing_to_tell, ended };

krg_guest_do enter(krg_guest_news* g, GuestState state, krg_guest_do what) {
    g->state = state;
    return what;
}

krg_guest_do live(krg_guest_news* g, bool has_ended) {
    if (!has_ended) return enter(g, resting, KRG_GUEST_REST);
    if (KRG_HANDOVER_MUTANT(EndUnwritten)) return enter(g, telling, KRG_GUEST_TELL);
    return enter(g, writing, KRG_GUEST_WRITE);
}

}  // namespace

void krg_away_init(krg_away* h, u64 generation, u16 runner) {
    *h = {};
    h->generation = generation;
    h->runner = runner;
}

krg_away_do krg_away_step(krg_away* h, krg_away_event event, u64 generation, u16 runner, u32 code, s32 error) {
    if (h->ended) return KRG_AWAY_END;
    switch (event) {
    case KRG_AWAY_MOVED: follow(h, generation, runner); return code || generation != h->generation ? go_on(h) : lost(h, false);
    case KRG_AWAY_ENDED: return generation >= h->generation ? end(h, code) : go_on(h);
    case KRG_AWAY_LOST: return lost(h, code != 0);
    case KRG_AWAY_OUT: return end(h, killed);
    case KRG_AWAY_READ: return was_read(h, generation, runner, code, error);
    default: return go_on(h);
    }
}

void krg_guest_begin(krg_guest_news* g) { g->state = resting; }

krg_guest_do krg_guest_step(krg_guest_news* g, int wanted, int has_ended, s32 error) {
    if (!wanted) return enter(g, ended, KRG_GUEST_END);
    switch (g->state) {
    case resting: return live(g, has_ended);
    case writing:
        // A directory that is lost says nothing, but the home can be told.
        if (!error || is_final(error)) return enter(g, telling, KRG_GUEST_TELL);
        return enter(g, pausing_to_write, KRG_GUEST_PAUSE);
    case telling:
        // A home that knows of no shadow needs no word.
        if (!error || error == error::no_process || KRG_HANDOVER_MUTANT(EndTellsOnce)) return enter(g, ended, KRG_GUEST_END);
        return enter(g, pausing_to_tell, KRG_GUEST_PAUSE);
    case pausing_to_write: return enter(g, writing, KRG_GUEST_WRITE);
    case pausing_to_tell: return enter(g, telling, KRG_GUEST_TELL);
    default: return enter(g, ended, KRG_GUEST_END);
    }
}
