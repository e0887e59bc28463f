# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Counting for tests written in bash; to be sourced. A test says `check "a sentence" command...` for each fact and ends with
# `finish`, which prints the line tests/run reads and sets the exit status. Knows nothing of kernels or clusters.

krg_passed=0 krg_failed=0 krg_skipped=0

pass() {
	krg_passed=$((krg_passed + 1))
	echo "ok      $1"
}

fail() { # sentence, evidence
	krg_failed=$((krg_failed + 1))
	echo "FAILED  $1"
	[ -z "${2:-}" ] || printf '%s\n' "$2" | sed 's/^/        /'
}

skip() { # sentence, reason
	krg_skipped=$((krg_skipped + 1))
	echo "skipped $1: $2"
}

# The command must succeed; its output is shown only if it does not.
check() {
	local sentence=$1 output
	shift
	if output=$("$@" 2>&1); then pass "$sentence"; else fail "$sentence" "status $? of: $*
$output"; fi
}

# The command must fail, and say why in words that match the pattern.
check_refused() { # sentence, pattern, command...
	local sentence=$1 pattern=$2 output
	shift 2
	if output=$("$@" 2>&1); then
		fail "$sentence" "succeeded, but had to fail: $*
$output"
	elif ! grep -Eq -- "$pattern" <<<"$output"; then
		fail "$sentence" "failed without saying '$pattern': $*
$output"
	else
		pass "$sentence"
	fi
}

finish() {
	local skipped=
	[ "$krg_skipped" = 0 ] || skipped=", $krg_skipped skipped"
	echo "$krg_passed passed, $krg_failed failed$skipped"
	[ "$krg_failed" = 0 ] && [ $((krg_passed + krg_skipped)) -gt 0 ]
	exit
}
