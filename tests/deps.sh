#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# What the project needs from Debian, and the one place that installs it. Groups of packages are listed here and nowhere
# else; every entry point (make, make check, vcluster, .ci/run) calls this script with the groups it needs. It is quick and
# quiet when nothing is missing, asks dpkg rather than guessing, and never removes or upgrades anything.
#
#   tests/deps.sh build                 one group
#   tests/deps.sh build host cluster    several
#   tests/deps.sh --list [GROUP...]     print the packages, install nothing
set -euo pipefail
# shellcheck source=scripts/progress.sh
. "$(dirname "$0")/../scripts/progress.sh"

# The groups are read by name, below.
# shellcheck disable=SC2034
{
# kernel modules for 6.1: the compiler of Debian's kernels, the headers, perl for their kernel-doc
build=(gcc-12 g++-12 make binutils kmod perl util-linux linux-headers-amd64)
# and for 6.12, with pahole for BTF. By itself: these headers depend on their kernel, which a machine then starts with
build612=(linux-headers-6.12-amd64 dwarves)
# userspace: engines, tools, tests
host=(g++ cmake ninja-build pkg-config libgcrypt20-dev liblz4-dev libzstd-dev libnl-3-dev libnl-genl-3-dev libcli11-dev nlohmann-json3-dev libfmt-dev
	libgtest-dev libgmock-dev libbenchmark-dev libcap2-bin python3 python3-yaml)
# libFuzzer comes with clang only
fuzz=(clang libclang-rt-14-dev)
# virtual clusters
cluster=(qemu-system-x86 busybox-static e2fsprogs iproute2 procps kmod util-linux cpio curl xz-utils zstd)
# programs that tests run on the hadsm file system
programs=(sqlite3 git tar diffutils python3-minimal)
# programs that are moved in the middle of their work. By itself: Debian starts a server of redis on the machine
real=(bash curl gcc libc6-dev nodejs procps python3-minimal redis-server sqlite3 tmux)
# guests that run systemd (vcluster up --systemd). By itself: it would become process 1 of a machine that has another
systemd=(systemd systemd-sysv)
# what make bench compares with. By itself: Debian starts a server of it, without exports, on the machine
nfs=(nfs-kernel-server nfs-common)
# the debug kernel, built from Debian's own source
debug=(linux-source-6.1 gcc-12 make flex bison libelf-dev libssl-dev bc rsync cpio xz-utils kmod)
# static checks
lint=(clang-format clang-tidy sparse shellcheck mandoc git)
# make install
dkms=(dkms)
}

groups="build build612 host fuzz cluster programs real systemd nfs debug lint dkms"
default_groups=(build host)

usage() { echo "usage: tests/deps.sh [--list] [GROUP...]   groups: $groups" >&2; exit 2; }

list=0
wanted=()
for arg in "$@"; do
	case "$arg" in
	--list) list=1 ;;
	-*) usage ;;
	*)
		case " $groups " in
		*" $arg "*) wanted+=("$arg") ;;
		*) echo "deps: no such group: $arg" >&2; usage ;;
		esac ;;
	esac
done
[ ${#wanted[@]} -gt 0 ] || wanted=("${default_groups[@]}")

packages=()
for group in "${wanted[@]}"; do
	declare -n members="$group"
	packages+=("${members[@]}")
done
mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)

if [ "$list" = 1 ]; then
	printf '%s\n' "${packages[@]}"
	exit 0
fi

if ! command -v dpkg-query >/dev/null; then
	echo "deps: this is not Debian (no dpkg); install what 'tests/deps.sh --list' names and set KRG_NO_DEPS=1" >&2
	[ -n "${KRG_NO_DEPS:-}" ] && exit 0
	exit 1
fi

find_missing() {
	local installed
	installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null |
		awk '$2 == "installed" { print $1 }') || true
	mapfile -t missing < <(comm -23 <(printf '%s\n' "${packages[@]}" | LC_ALL=C sort -u) \
		<(printf '%s\n' "$installed" | LC_ALL=C sort -u))
}

find_missing
[ ${#missing[@]} -gt 0 ] || exit 0

if [ -n "${KRG_NO_DEPS:-}" ]; then
	echo "deps: KRG_NO_DEPS is set, going on without: ${missing[*]}" >&2
	exit 0
fi

if [ "$(id -u)" = 0 ]; then
	as_root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
	as_root=(sudo -n)
else
	echo "deps: missing packages and no root to install them. Run:" >&2
	echo "  sudo apt-get install --no-install-recommends ${missing[*]}" >&2
	exit 1
fi

log=$(mktemp "${TMPDIR:-/tmp}/krg-deps.XXXXXX")
trap 'progress_stop; rm -f "$log"' EXIT

apt() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=900 \
		-o Acquire::Retries=3 "$@" </dev/null >>"$log" 2>&1
}

# apt-get's own log, counted.
how_far() {
	awk -v seconds=$((SECONDS - started)) '
		/ newly installed, / { for (i = 1; i < NF; i++) if ($(i + 1) == "newly") total = $i }
		/^Need to get / { size = $4 " " $5 }
		/^Get:/ { got++ } /^Unpacking / { unpacked++ } /^Setting up / { done++ }
		END {
			if (!total) step = "reading the package lists"
			else if (!unpacked) step = "fetching " total " packages, " size ": " got + 0
			else step = "installing " total " packages: " unpacked + 0 " unpacked, " done + 0 " set up"
			print "deps: " seconds " s, " step
		}' "$log"
}

lists_present() { compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; }

echo "deps: installing ${missing[*]}"
case " ${missing[*]} " in
*" linux-headers-6.12-amd64 "*)
	[ ! -d /boot/grub ] ||
		echo "deps: Debian's 6.12 headers bring the 6.12 kernel with them: it will be what this machine starts next time" ;;
esac
started=$SECONDS
progress_start how_far
lists_present || apt update || true
# A package list that is out of date names files the mirror no longer has: refresh it once and try again.
add=(install -y --no-install-recommends --no-remove)
if ! apt "${add[@]}" "${missing[@]}" && ! { apt update && apt "${add[@]}" "${missing[@]}"; }; then
	progress_stop
	tail -n 25 "$log" >&2
	if grep -q 'Unable to locate package linux-headers-6.12' "$log"; then
		echo "deps: Debian 12 has its 6.12 kernel in the security suite, which is not among this machine's sources. Add to /etc/apt/sources.list:" >&2
		echo "  deb http://deb.debian.org/debian-security bookworm-security main" >&2
	else
		echo "deps: apt-get could not install what is missing; the project needs Debian 12 (bookworm) with bookworm-security" >&2
	fi
	exit 1
fi

progress_stop
find_missing
if [ ${#missing[@]} -gt 0 ]; then
	echo "deps: apt-get reported success, but these are still missing: ${missing[*]}" >&2
	exit 1
fi
echo "deps: done in $((SECONDS - started)) s"
