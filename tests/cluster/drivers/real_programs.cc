// SPDX-License-Identifier: GPL-2.0
//
// Real programs that come to an end by themselves: interpreters, a compiler, a data base, numeric programs, a shell.
#include "real.hh"

namespace krg::cluster_test {

// A spigot for the digits of pi: each digit depends on all that was computed before.
const Work python3_work{"python3", R"sh(
/usr/bin/python3 - <<'END'
import sys
q, r, t, k, m, x, n, line = 1, 0, 1, 1, 3, 3, 5000, ''
out = open('digits', 'w')
while n:
    if 4 * q + r - t < m * t:
        line += str(m)
        n -= 1
        q, r, m = 10 * q, 10 * (r - m * t), 10 * (3 * q + r) // t - 10 * m
        if len(line) == 100:
            print(line, file=out, flush=True)
            line = ''
    else:
        q, r, t, k, m, x = q * k, (2 * q + r) * x, t * x, k + 1, (q * (7 * k) + 2 + r * x) // (t * x), x + 2
END)sh",
                        "[ $(wc -l <digits) -ge 10 ]", "wc -c <digits; head -c 20 digits; sha256sum <digits"};

const Work openmp_work{"openmp", "OMP_NUM_THREADS=4 $T/build/host/bin/krg-numeric openmp 1200 progress >out",
                       "[ $(wc -l <progress) -ge 3 ]", "cat out; wc -l <progress"};

const Work pthreads_work{"pthreads", "$T/build/host/bin/krg-numeric pthreads 2400 progress >out",
                         "[ $(wc -l <progress) -ge 3 ]", "cat out; wc -l <progress"};

constexpr const char* sqlite3_script = R"sh(
{ echo "PRAGMA cache_size = 50;" "CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b TEXT);" "CREATE INDEX by_a ON t(a);"
  echo "INSERT INTO t SELECT 0, 1, 'before';" "BEGIN IMMEDIATE;"
  i=1; while [ $i -le 40 ]; do
	echo "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 500)"
	echo "INSERT INTO t SELECT $i * 1000 + x, (x * 7919 + $i * 104729) % 10007, hex(x * $i) FROM n;"
	echo ".shell echo $i >>progress; sleep 0.2"
	i=$((i + 1))
  done
  echo "COMMIT;"
} >sql
case $PWD in */sqlite3-dotfile-*) set -- -vfs unix-dotfile ;; esac
sqlite3 -bail "$@" db <sql)sh";

constexpr const char* sqlite3_result =
    "sqlite3 db 'PRAGMA integrity_check; SELECT count(*), sum(a), max(id) FROM t;' && sqlite3 db .dump | sha256sum";

const Work sqlite3_work{"sqlite3", sqlite3_script, "[ $(wc -l <progress) -ge 4 ] && [ -e db-journal ]", sqlite3_result};
// Its lock is a folder: those of the kernel do not move.
const Work sqlite3_dotfile_work{"sqlite3-dotfile", sqlite3_script,
                                "[ $(wc -l <progress) -ge 4 ] && [ -e db-journal ] && [ -d db.lock ]", sqlite3_result};

const Work gcc_work{"gcc", R"sh(
awk 'BEGIN { for (i = 0; i < 900; i++) {
	print "static int f" i "(int a, const int *p) { int s = " i "; for (int j = 0; j < a; j++) { switch (p[j] % 7) {"
	for (k = 0; k < 7; k++) print "case " k ": s = s * " (i * 7 + k * 13 + 3) " + (p[j] >> " k ") - " (k + i) "; break;"
	print "} if (s & " i ") s ^= " (i > 0 ? "f" (i - 1) "(j & 3, p)" : "1") "; } return s; }" }
	print "int main(void) { int d[64]; unsigned s = 0; for (int j = 0; j < 64; j++) d[j] = j * 31;"
	print "for (int n = 1; n < 9; n++) s = s * 31 + (unsigned)(f7(n, d) ^ f5(n + 3, d)) + (unsigned)f899(1, d);"
	print "__builtin_printf(\"%u\\n\", s); }" }' >big.c
touch began
gcc -O2 -o big big.c && ./big >said)sh",
                    "[ -e began ] && pgrep -s $P cc1 && sleep 1 && pgrep -s $P cc1", "sha256sum <big; cat said"};

// Subshells, a pipeline of five, a process substitution, a coprocess.
const Work bash_work{"bash", R"sh(
cat >work.bash <<'END'
set -e -o pipefail
coproc doubler { while read -r n; do echo $((n * 2)); done; }
numbers() { for ((i = 0; i < 300; i++)); do echo "$((i * i % 997)) line $i"; sleep 0.03; done; }
exec 8>&${doubler[1]} 9<&${doubler[0]}
numbers | tee all >(cksum >sum) | while read -r value word i; do
	[ $((value % 3)) = 0 ] || continue
	echo "$value" >&8
	read -r twice <&9
	echo "$twice $word $i"
done | tee seen | sort -n >sorted
until [ -s sum ]; do sleep 0.1; done
END
bash work.bash)sh",
                     "[ $(wc -l <seen) -ge 5 ]", "cat sum; sha256sum <all; sha256sum <sorted; wc -l <sorted"};

}  // namespace krg::cluster_test
