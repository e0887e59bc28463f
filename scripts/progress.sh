# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Saying that a long command is still at work; to be sourced. What runs stays in the foreground, so that Ctrl-C reaches it;
# a companion repeats what the caller's function prints: in place on a terminal, a line now and then elsewhere.

progress_pid=

progress_start() { # FUNCTION: prints one line, or nothing while there is nothing to say
	local describe=$1 terminal=0 every=15 tick=0 line
	progress_stop
	if [ -t 1 ]; then terminal=1 every=1; fi
	(
		trap - EXIT
		# A lock of the caller must not outlive it here, nor its pipes in a sleep.
		exec 8>&- 9>&-
		while sleep 1 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
			tick=$(((tick + 1) % every))
			[ $tick = 0 ] || continue
			line=$("$describe" 2>/dev/null) || true
			[ -n "$line" ] || continue
			if [ $terminal = 1 ]; then printf '\r\033[K%s' "${line:0:110}"; else printf '%s\n' "$line"; fi
		done
	) &
	progress_pid=$!
}

progress_stop() {
	[ -n "$progress_pid" ] || return 0
	kill "$progress_pid" 2>/dev/null || true
	wait "$progress_pid" 2>/dev/null || true
	progress_pid=
	[ ! -t 1 ] || printf '\r\033[K'
}
