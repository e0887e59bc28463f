# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What test_increment says in its guest, in a folder of its own: one program at a time, whose id is in the file pid.

# A new one with so many MiB.
program() {
	rm -f pid out out.done commands
	setsid krg-track pid out commands "$1" </dev/null >/dev/null 2>&1 &
	disown
	for ((n = 0; n < 200; n++)); do [ -e pid ] && return; sleep 0.1; done
	echo "the program does not begin"
	return 1
}

# It does what it is told, and has done so.
obey() {
	rm -f out.done
	echo "$1" >commands
	kill -USR1 "$(cat pid)" || return
	for ((n = 0; n < 200; n++)); do [ -e out.done ] && return; sleep 0.1; done
	echo "the program does not $1"
	return 1
}

version() { checkpoint --incremental --keep 20 "$(cat pid)" app; }

gone() {
	for ((n = 0; n < 100; n++)); do [ -e "/proc/$(cat pid)" ] || return 0; sleep 0.1; done
	echo "the program does not end"
	return 1
}

# Killed, and restarted from the newest version.
again() { kill -9 "$(cat pid)" && gone && restart app >/dev/null; }

ends_well() {
	if kill "$(cat pid)" && gone && [ "$(tail -n 1 out)" = PASS ]; then return 0; fi
	cat out
	return 1
}
