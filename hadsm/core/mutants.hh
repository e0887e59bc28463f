// SPDX-License-Identifier: GPL-2.0
// Deliberate bugs of the coherence engine, one at a time, for the simulator to
// prove that its checkers notice. Without KRG_MUTANTS they do not exist.
#pragma once

#define KRG_DSM_MUTANT_LIST(X)                                                                                                 \
    X(SkipInvalidation, "a write grant leaves one sharer's copy in place")                                                     \
    X(GrantBeforeAcks, "a write is granted before the sharers have answered")                                                  \
    X(WrittenBeforeAnswers, "a requester writes before all holders that are to answer it have")                                \
    X(PinnedCounts, "a holder that cannot let go of its page counts as one that has")                                          \
    X(DropRetained, "an invalidated sharer that should keep the committed version drops it")                                   \
    X(ForgetBackups, "a batch is sent to its first backup only")                                                               \
    X(IgnoreEpoch, "messages of earlier epochs are taken for new ones")                                                        \
    X(UseBeforeStaged, "dirty data is handed over before its batch is on all backups")                                         \
    X(CommitOneObject, "only the wanted object is committed, not the whole dirty set")                                         \
    X(StagedIsCommitted, "a backup replaces the committed version as soon as it has the new one")                              \
    X(DropUndecided, "a batch in doubt is always dropped")                                                                     \
    X(ApplyUndecided, "a batch in doubt is always applied")                                                                    \
    X(FrozenForgotten, "who hands over ownership keeps no frozen copy")                                                        \
    X(FrozenTrusted, "a frozen copy counts though its transfer was complete")                                                  \
    X(LostReadsZero, "an object whose copies are all lost reads as zeros")                                                     \
    X(BitsNotReplicated, "what was written is remembered by the home alone")                                                   \
    X(ReportsTooEarly, "a home answers before everybody has reported")                                                         \
    X(LowestVersionWins, "recovery takes the oldest surviving copy")                                                           \
    X(EvictLastCopy, "an evicted copy is dropped without looking for others")                                                  \
    X(RetainedReadable, "a retained copy is read while another node writes")                                                   \
    X(GrantDuringSnapshot, "writes are granted while a snapshot is taken")                                                     \
    X(DuplicateAccepted, "a message that arrives twice is processed twice")                                                    \
    X(RequestForgotten, "a request that a view change interrupted is not sent again")                                          \
    X(CloseNotAwaited, "the next transaction of an object starts before the last is closed")                                   \
    X(HoleKeepsBits, "a hole leaves the objects marked as written")                                                            \
    X(HoleKeepsRetained, "a hole leaves retained copies in place")                                                             \
    X(AheadFromRetained, "what is read ahead comes from a retained copy while another node writes")                            \
    X(DeclinedStaysBusy, "an object whose holder declined stays in its transaction")                                           \
    X(SkipForgetsWaiter, "a program that waits for what was skipped is not asked for again")                                   \
    X(OfferNotCounted, "what an edge took of an offer is believed to be still in the engine")                                  \
    X(RunOverWritten, "a run of first writes is granted over what others wrote, as zeros")                                     \
    X(RunIsAnnounced, "what came ahead to be written counts as announced to those who keep its bit")                           \
    X(LastComeFirstServed, "the newest request in a home's queue is served first")                                             \
    X(InjectionWithoutRoom, "a full node takes in what another one evicts")                                                    \
    X(RefusedInjectionDropped, "an evicted copy is dropped though the node that should take it has refused")                   \
    X(DeviceForgotten, "what a device writes during a batch is taken for committed")                                           \
    X(LostNodesEntryKept, "a home keeps an entry that names a lost node over a view change")                                   \
    X(OpenEntryKept, "a home keeps an entry in the middle of a transaction over a view change")                                \
    X(NotAskedAgain, "a home that did not serve the last epoch does not ask for what holders left out")                        \
    X(AnswersNotAwaited, "a home serves before what it asked for has come")                                                    \
    X(UnknownIsZeros, "where nobody is left who knew what was written, what nobody reports reads as zeros")                    \
    X(PointCutEarly, "a recovery point is cut before every node has stopped writing")                                          \
    X(PointCommitEarly, "a recovery point is committed before every home has its copies")                                      \
    X(PointDropsOld, "the last recovery point goes when the next is prepared")                                                 \
    X(PointOneNodeRolls, "only the first member goes back to the recovery point")                                              \
    X(PointOneCopy, "a recovery point has one copy of each object, whatever k is")                                             \
    X(PointNotMended, "copies of a recovery point that died are not made again")                                               \
    X(PointVersionStays, "what is written after a recovery point keeps the version that the point has")                        \
    X(PointNotCounted, "a home answers after going back though objects of the recovery point are missing")

namespace krg::dsm {

enum class Mutant : int {
    None,
#define KRG_DSM_MUTANT_ENUM(name, text) name,
    KRG_DSM_MUTANT_LIST(KRG_DSM_MUTANT_ENUM)
#undef KRG_DSM_MUTANT_ENUM
};

#ifdef KRG_MUTANTS
extern Mutant active_mutant;  // set by the simulator before a run
#define KRG_DSM_MUTANT(name) (::krg::dsm::active_mutant == ::krg::dsm::Mutant::name)
#else
#define KRG_DSM_MUTANT(name) false
#endif

}  // namespace krg::dsm
