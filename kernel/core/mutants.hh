// SPDX-License-Identifier: GPL-2.0
// Deliberate faults of the engine, one at a time, for `krg-sim mutants`: a
// simulator that does not notice them proves nothing. Compiled to constant
// false unless KRG_MUTANTS is defined (the library krg_core_mutants).
#pragma once

// name, what it breaks
#define KRG_MUTANT_LIST(X)                                                                                                     \
    X(DropEpochCheck, "renewals of any epoch renew the lease")                                                                 \
    X(DropMajority, "one vote fewer than a majority decides a view")                                                           \
    X(LeaseMinority, "one acknowledgement fewer than a majority renews the lease")                                             \
    X(IgnoreLease, "a node goes on serving when its lease is out")                                                             \
    X(AckAfterAccept, "an acceptor goes on acknowledging renewals after it accepted a view")                                   \
    X(NoHold, "a view commits without waiting for the leases of removed members")                                              \
    X(HoldForgotten, "a node that hears of a decision late does not wait")                                                     \
    X(HoldNotCarried, "leases of earlier epochs are not carried into the next view's hold")                                    \
    X(CommitBeforePrepared, "a view commits before the subscribers are prepared")                                              \
    X(AcceptLowerBallot, "an acceptor accepts a ballot below its promise")                                                     \
    X(IgnoreAccepted, "a proposer ignores the value that promises report as accepted")                                         \
    X(ReuseFastBallot, "round 0 is used for more than one value")                                                              \
    X(WitnessForgets, "the witness does not store what it accepts")                                                            \
    X(AdoptOldIncarnation, "a returning node is treated as the member it was")                                                 \
    X(ResetIgnored, "a reset between two members makes no new epoch")                                                          \
    X(OneWayIsReachable, "a peer that does not hear us counts as reachable")                                                   \
    X(CliqueIgnored, "a view takes everybody reachable, not a clique")                                                         \
    X(TiesKeepHighest, "equal cliques: the highest ids stay")                                                                  \
    X(LeaseFromReceipt, "the lease counts from the acknowledgement's arrival, not from the send time")                         \
    X(IdTakenAdmitted, "a second machine with a live member's id is not refused")                                              \
    X(EvictIgnored, "an eviction request is forgotten")                                                                        \
    X(LeaveWithoutDrain, "a planned leave is final before the node is drained")                                                \
    X(ServeAfterDrained, "a drained node serves again")                                                                        \
    X(ExpelledStays, "a node that learns it was removed goes on")                                                              \
    X(LostDecideNotRepaired, "members that missed a decision are not told")                                                    \
    X(DriftIgnored, "holds leave out the clock drift")                                                                         \
    X(ImpatientHeal, "a majority that finds each other again does not wait for the others' links")

namespace krg {

enum class Mutant : int {
    None,
#define KRG_MUTANT_ENUM(name, text) name,
    KRG_MUTANT_LIST(KRG_MUTANT_ENUM)
#undef KRG_MUTANT_ENUM
};

#ifdef KRG_MUTANTS
extern Mutant active_mutant;  // set by the simulator before a run
#define KRG_MUTANT(name) (::krg::active_mutant == ::krg::Mutant::name)
#else
#define KRG_MUTANT(name) false
#endif

}  // namespace krg
