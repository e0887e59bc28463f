// SPDX-License-Identifier: GPL-2.0
//
// Real programs that wait for others: a server of keys and values, one of web pages, a terminal multiplexer. Their ports and
// sockets differ between the two runs: they may meet on one node.
#include "real.hh"

namespace krg::cluster_test {

// All that it knows is in its memory. A client that is moved with it goes on counting; others find it at its port.
const Work
    redis_work{"redis", R"sh(
case $PWD in *-alone) port=6398 ;; *) port=6399 ;; esac
redis-server --port $port --bind 127.0.0.1 --save '' --appendonly no --daemonize no --logfile redis.log --enable-debug-command local &
server=$!
i=0; until [ "$(redis-cli -p $port ping 2>&1)" = PONG ]; do i=$((i + 1)); [ $i -lt 300 ] || exit 9; sleep 0.1; done
awk 'BEGIN { for (i = 1; i <= 3000; i++) { print "SET key:" i " " i * 7; print "HSET hash f" i " " i * i; print "ZADD scores " i % 97 " m" i } }' |
	redis-cli -p $port >/dev/null
redis-cli -p $port info server | grep run_id >run_id
i=0; while [ $i -lt 300 ]; do i=$((i + 1)); echo INCR counter; echo LPUSH list $i; sleep 0.03; done | redis-cli -p $port >replies
redis-cli -p $port debug digest >digest
redis-cli -p $port shutdown nosave
wait $server)sh",
               "[ -s run_id ] && [ $(redis-cli -p 6399 get counter) -ge 20 ] && sleep 0.1",
               "cat digest; wc -l <replies; sort -n replies | tail -n 1",
               "redis-cli -p 6399 info server | grep run_id | cmp - run_id && [ $(redis-cli -p 6399 get key:2000) = 14000 ] && "
               "[ $(redis-cli -p 6399 zcard scores) = 3000 ] && [ $(redis-cli -p 6399 set from outside) = OK ] && "
               "[ $(redis-cli -p 6399 del from) = 1 ]"};

// A server, who asks it, timers, and a thread that computes.
const Work node_work{"node", R"sh(
cat >work.js <<'END'
const { Worker, isMainThread, parentPort } = require('worker_threads');
const crypto = require('crypto'), fs = require('fs'), http = require('http');
if (!isMainThread) {
	let hash = Buffer.alloc(32), rounds = 0;
	const step = () => {
		for (let i = 0; i < 500; i++) hash = crypto.createHash('sha256').update(hash).digest();
		if (++rounds < 120) setTimeout(step, 20); else parentPort.postMessage(hash.toString('hex'));
	};
	step();
} else {
	const port = process.cwd().endsWith('-alone') ? 6388 : 6389, seen = new Map();
	let sum = 0, asked = 0, computed = null;
	const server = http.createServer((request, response) => {
		const n = Number(request.url.slice(1));
		seen.set(n, n * n);
		response.end(String(seen.get(n)));
	});
	// Time that passes while nobody runs counts: no connection is to be given up for it.
	server.keepAliveTimeout = server.requestTimeout = server.headersTimeout = 0;
	const finish = () => {
		if (asked < 200 || computed === null) return;
		fs.writeFileSync('result', `${sum} ${computed}\n`);
		process.exit(0);
	};
	new Worker(__filename).on('message', (hash) => { computed = hash; finish(); });
	const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
	const ask = () => http.get({ port, agent, host: '127.0.0.1', path: '/' + asked }, (response) => {
		let text = '';
		response.on('data', (bytes) => { text += bytes; });
		response.on('end', () => {
			sum += Number(text);
			fs.appendFileSync('progress', text + '\n');
			if (++asked < 200) setTimeout(ask, 20); else finish();
		});
	});
	server.listen(port, '127.0.0.1', ask);
}
END
UV_USE_IO_URING=0 node work.js)sh",
                     "[ $(wc -l <progress) -ge 20 ]", "cat result; wc -l <progress",
                     "[ $(curl -s http://127.0.0.1:6389/12) = 144 ]"};

// Two windows: a shell that works and one that waits for what is typed. Who types is outside.
const Work tmux_work{"tmux", R"sh(
socket=/tmp/real-${PWD##*/}
rm -f $socket
tmux -f /dev/null -S $socket -D &
server=$!
i=0; until [ -S $socket ]; do i=$((i + 1)); [ $i -lt 300 ] || exit 9; sleep 0.1; done
tmux -S $socket new-session -d -s work -x 90 -y 20 'bash --norc --noprofile -i'
tmux -S $socket new-window -d -n idle 'bash --norc --noprofile -i'
tmux -S $socket send-keys -t work:idle 'known=before' Enter
tmux -S $socket send-keys 'for i in {1..150}; do echo "line $i"; sleep 0.05; done | tee lines | tail -n 3; tty >ended' Enter
until [ -s ended ]; do sleep 0.2; done
sleep 1
tmux -S $socket capture-pane -p >screen
tmux -S $socket kill-server
wait $server)sh",
                     "[ $(wc -l <lines) -ge 20 ]", "cat lines | sha256sum; grep -c '^line 1[45]' screen; wc -l <screen",
                     R"sh(tmux="tmux -S /tmp/real-${PWD##*/}"; $tmux list-windows &&
$tmux resize-window -t work:idle -x 101 -y 31 && sleep 0.5 &&
$tmux send-keys -t work:idle 'echo $known $(tty) $(stty size) $(ps -o stat= -p $$) >asked' Enter &&
for i in $(seq 100); do [ -s asked ] && break; sleep 0.1; done; $tmux capture-pane -t work:idle -p; cat asked;
grep -q '^before /dev/pts/[0-9]* 3[01] 101 Ss+*$' asked)sh"};

}  // namespace krg::cluster_test
