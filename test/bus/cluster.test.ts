import {readFile} from 'node:fs/promises';
import {join} from 'node:path';
import {serversOf, withoutSecrets} from '../../runtime/bus/addresses.ts';
import type {Broker} from '../../runtime/bus/broker.ts';
import {replicasOf} from '../../runtime/bus/kept-stream.ts';
import {connectNats, type NatsBus} from '../../runtime/bus/nats.ts';
import {openTraceStream} from '../../runtime/bus/trace-stream.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {callCutlayer} from '../_helpers/call-cutlayer.ts';
import {withCluster} from '../_helpers/cluster.ts';
import {testWith} from '../_helpers/optional.ts';
import {lossesOf, runIn, tinyBench, tinyScenario, withRunFolder} from '../_helpers/tiny-run.ts';

const found = findBroker();
const test = testWith(found?.binary);
const scenario = tinyScenario({
	training: {steps: 8, stepsPerRound: 2},
	timing: {answerTimeoutMs: 2000, heartbeatMs: 500, leaseMs: 60_000},
});

type Moves = Set<string>;

const connectTo = (url: string, name: string, moves: Moves): Promise<NatsBus> =>
	connectNats({
		...{url, name, reconnectDelayMsMax: 100},
		onNotice: text => text.startsWith('Back') && moves.add(name),
		onProblem: () => undefined,
	});

/** Each actor knows one server; of the others it learns from that one. */
const spread = (nodes: readonly Broker[], moves: Moves) => {
	let next = 0;
	return (name: string) => connectTo(nodes[next++ % nodes.length]!.url, name, moves);
};

/** Three copies need servers that have found each other. */
async function openStream(url: string): Promise<void> {
	const bus = await connectTo(url, 'stream', new Set());
	const endMs = performance.now() + 60_000;
	while (replicasOf(bus.connection) < 3) {
		if (performance.now() > endMs) throw new Error('The servers did not find each other within 60 s');
		await bus.flush();
	}
	await openTraceStream(bus, 'tiny').finally(() => bus.close());
}

test('a run over three servers goes on without one that is killed: the losses and the kept trace are those of an undisturbed run', t =>
	withCluster(found!.binary, 3, nodes =>
		withRunFolder(async folder => {
			const bench = await tinyBench(await nativeBackend(), 'tiny-gpt2');
			const undisturbed = await bench.run(scenario);
			await openStream(nodes[0]!.url);
			const moves: Moves = new Set();
			const {world, close} = bench.world(scenario, {connect: spread(nodes, moves)});
			let isKilled = false;
			const {summary, rows} = await runIn(world, {
				...{scenario, folder},
				trace: {level: 'digest', code: 'test', backend: 'test', isPublished: true},
				onRow: row => {
					if (isKilled || row.kind !== 'round') return;
					isKilled = true;
					process.kill(nodes[1]!.pid, 'SIGKILL');
				},
			}).finally(close);
			t.is(summary.status, 'done');
			t.true(isKilled);
			t.true(moves.size > 0, 'somebody was on the server that was killed');
			t.deepEqual(lossesOf(rows, scenario), lossesOf(undisturbed.rows, scenario));

			const out = join(folder, 'pulled');
			const addresses = `${nodes[1]!.url},${nodes[2]!.url}`;
			const asked = await callCutlayer(['trace', 'pull', '--nats', addresses, '--run', 'tiny', '--out', out, '--now']);
			t.is(asked.code, 0, asked.stderr + asked.stdout);
			const [recorded, pulled] = await Promise.all(
				[folder, out].map(place => readFile(join(place, 'trace', 'run.trace'))),
			);
			t.true(pulled!.equals(recorded!));
		}),
	));

test('an address names one server or several, and no text of it shows a password', t => {
	t.deepEqual(serversOf('nats://a:1'), ['nats://a:1']);
	t.deepEqual(serversOf('nats://a:1, nats://b:2'), ['nats://a:1', 'nats://b:2']);
	t.throws(() => serversOf('nats://u:p@a:1,,nats://b:2'), {message: /found nats:\/\/a:1,,nats:\/\/b:2; take out/});
	t.is(withoutSecrets('nats://a:1,tls://u:p@b:2,nats://v:q@c'), 'nats://a:1,tls://b:2,nats://c');
});
