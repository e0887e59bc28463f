// SPDX-License-Identifier: GPL-2.0
// The target's side of a handover: nobody runs on a message alone. What it is
// told makes it look; the record decides.
#include "proc/core/handover.hh"

namespace {

using namespace krg::handover;

enum State : u32 { building, waiting, reading, asking, adopting, ended };

constexpr u32 waits_before_asking = 5;

krg_target_do enter(krg_target* t, State state, krg_target_do what) {
    t->state = state;
    return what;
}

/** They do not run here. */
krg_target_do kill(krg_target* t) { return enter(t, ended, t->died ? KRG_TARGET_END : KRG_TARGET_KILL); }

krg_target_do look(krg_target* t) {
    // Who is out, or does not know the move any more, cannot write after that: what is read now is the last word.
    t->alone = (t->news & KRG_TARGET_ALONE) != 0;
    return enter(t, reading, KRG_TARGET_READ);
}

krg_target_do adopt(krg_target* t) { return enter(t, adopting, KRG_TARGET_ADOPT); }

krg_target_do got_news(krg_target* t) {
    if (t->news & (KRG_TARGET_OUT | KRG_TARGET_ABORTED)) return kill(t);
    if (t->news & KRG_TARGET_ALONE && KRG_HANDOVER_MUTANT(GoWhenAlone)) return adopt(t);
    if (t->news & KRG_TARGET_ALONE && KRG_HANDOVER_MUTANT(StayWhenAlone)) return kill(t);
    if (KRG_HANDOVER_MUTANT(GoOnGo)) return adopt(t);
    if (t->died && KRG_HANDOVER_MUTANT(DeathUntold)) return kill(t);
    if (t->died && KRG_HANDOVER_MUTANT(DeathUnread)) return adopt(t);
    return look(t);
}

bool is_ours(const krg_target* t, const krg_record* record) {
    if (record->runner != t->self) return false;
    return record->move == t->move || KRG_HANDOVER_MUTANT(GoOnAnyGeneration);
}

krg_target_do was_read(krg_target* t, s32 error, const krg_record* record) {
    // What is not known must not run.
    if (is_final(error)) return kill(t);
    if (error) return enter(t, waiting, KRG_TARGET_WAIT);
    if (is_ours(t, record)) return adopt(t);
    if (KRG_HANDOVER_MUTANT(AloneAfterRead) && t->news & KRG_TARGET_ALONE) t->alone = 1;
    if (t->alone || t->disowned || record->generation > t->generation) return kill(t);
    if (++t->waits < waits_before_asking || KRG_HANDOVER_MUTANT(NeverAsk)) return enter(t, waiting, KRG_TARGET_WAIT);
    t->waits = 0;
    return enter(t, asking, KRG_TARGET_ASK);
}

krg_target_do was_asked(krg_target* t, s32 error) {
    if (error != error::no_entry) return enter(t, waiting, KRG_TARGET_WAIT);
    if (KRG_HANDOVER_MUTANT(AskIsEnough)) return kill(t);
    t->disowned = 1;
    return look(t);
}

krg_target_do was_adopted(krg_target* t, s32 error) {
    // Its end would be told to nobody: when there is memory.
    if (error) return enter(t, waiting, KRG_TARGET_WAIT);
    return enter(t, ended, t->died ? KRG_TARGET_TELL_LOST : KRG_TARGET_RUN);
}

}  // namespace

void krg_target_init(krg_target* t, u64 move, u64 generation, u16 self) {
    *t = {};
    t->move = move;
    t->generation = generation;
    t->self = self;
}

krg_target_do krg_target_step(krg_target* t, krg_target_event event, u32 news, s32 error, const krg_record* record) {
    t->news |= static_cast<u8>(news);
    if (event == KRG_TARGET_DIED) {
        t->died = 1;
        return t->state == ended ? KRG_TARGET_END : enter(t, waiting, KRG_TARGET_WAIT);
    }
    switch (t->state) {
    case building: return enter(t, waiting, KRG_TARGET_WAIT);
    case waiting: return got_news(t);
    case reading: return was_read(t, error, record);
    case asking: return was_asked(t, error);
    case adopting: return was_adopted(t, error);
    default: return KRG_TARGET_END;
    }
}
