# SPDX-License-Identifier: GPL-2.0
#
# Every command a person types. Nothing is built here: modules are built by scripts/build-modules (Kbuild), userspace by
# CMake, tests are run by tests/run. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := all
MAKEFLAGS += --no-print-directory

KVER ?= 6.1
JOBS ?= $(shell nproc)

host-build := build/host
asan-build := build/asan
fuzz-build := build/fuzz
# What the headers of a kernel that was asked for need beyond those of 6.1.
deps-kver := $(if $(filter 6.12%,$(KVER)),build612)

.PHONY: all help modules host asan fuzz-build sparse check check-fast check-full check-debug debug-kernel lint format \
	bench sim sim-soak sim-mutants fuzz demo install uninstall clean

## all: modules for KVER (default 6.1) and userspace
all: modules host

## modules: every kernel module into build/KVER/ (KVER=6.1 | 6.12 | debug | full version)
modules:
	@tests/deps.sh build $(deps-kver)
	@scripts/build-modules $(KVER) -j$(JOBS)

## sparse: the modules under sparse with endianness checks, any warning fails
sparse:
	@tests/deps.sh build $(deps-kver) lint
	@scripts/build-modules $(KVER) --sparse -j$(JOBS)

## host: engines, tools, simulator, tests in userspace into build/host/
host:
	@tests/deps.sh host
	@scripts/build-host $(host-build)

## asan: the same with address and undefined-behaviour sanitizers into build/asan/
asan:
	@tests/deps.sh host
	@scripts/build-host $(asan-build) -DKRG_SANITIZE=ON

fuzz-build:
	@tests/deps.sh host fuzz
	@scripts/build-host $(fuzz-build) -DKRG_FUZZ=ON -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++

## check-fast: what needs no virtual machine, in about a minute
check-fast:
	@tests/deps.sh build build612 host lint
	@tests/run fast

## check: everything, virtual clusters on 6.1 and 6.12 included (under 45 minutes on 2 cores)
check:
	@tests/deps.sh build build612 host fuzz cluster lint dkms
	@tests/run check

## check-full: check, with long simulations, fuzzing and soak runs
check-full:
	@tests/deps.sh build build612 host fuzz cluster lint dkms
	@tests/run full

## check-debug: builds the debug kernel if it is not cached (about 15 minutes) and runs the suites that need it
check-debug: debug-kernel
	@tests/deps.sh build host cluster
	@tests/run debug

## debug-kernel: 6.1 with KASAN, lockdep, KUnit and fault injection, cached under ~/.cache/kerrighed
debug-kernel:
	@tests/deps.sh build debug
	@tests/kernel/build-debug-kernel

## lint: formatting, clang-tidy, W=1, sparse, shellcheck, manual pages, SPDX, generated files
lint:
	@tests/deps.sh build build612 host lint
	@tests/lint/run

## format: rewrite the C++ sources as `make lint` wants them
format:
	@tests/deps.sh lint
	@tests/lint/format --write

## bench: measure on a virtual cluster, write build/bench.json (ONLY=glob picks some)
bench:
	@tests/deps.sh build host cluster
	@bench/run $(if $(ONLY),--only '$(ONLY)')

## sim: deterministic simulation (SEEDS=n runs, or SEED=n to replay one)
sim: host
	@$(host-build)/bin/krg-sim $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),10000))

## sim-soak: fresh seeds of every simulation for hours (KRG_SOAK=minutes, default 120)
sim-soak: host
	@tests/sim/soak $(host-build)

## sim-mutants: the simulator must catch every seeded bug of both engines
sim-mutants: host
	@$(host-build)/bin/krg-sim-mutants
	@$(host-build)/bin/krg-sim-mutants dsm

## fuzz: libFuzzer on every target (TIME=seconds each, default 60)
fuzz: fuzz-build
	@tests/fuzz/run --time $(or $(TIME),60) $(fuzz-build)

## demo: three nodes become one cluster, lose one, and go on
demo:
	@tests/deps.sh build host cluster
	@tests/cluster/demo

## install: tools, manual pages and unit into PREFIX (/usr/local), modules through DKMS for every installed 6.1 and 6.12
install:
	@tests/deps.sh build host dkms
	@scripts/install $(if $(PREFIX),--prefix '$(PREFIX)') $(if $(filter command%,$(origin KVER)),--kernel '$(KVER)')

## uninstall: takes back everything `make install` put in place
uninstall:
	@scripts/uninstall

## clean: remove build/ (the cache of kernels outside the tree stays)
clean:
	rm -rf build

help:
	@sed -n 's/^## \([a-z-]*\): \(.*\)/  make \1\t\2/p' Makefile | expand -t 24
