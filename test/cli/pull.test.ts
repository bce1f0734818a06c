import {readFile} from 'node:fs/promises';
import {join} from 'node:path';
import {startBroker} from '../../runtime/bus/broker.ts';
import {connectNats, type NatsBus} from '../../runtime/bus/nats.ts';
import {openTraceStream} from '../../runtime/bus/trace-stream.ts';
import {TracePublisher} from '../../runtime/run/trace-publisher.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {callCutlayer} from '../_helpers/call-cutlayer.ts';
import {testWith} from '../_helpers/optional.ts';
import {runIn, tinyBench, tinyScenario, withRunFolder} from '../_helpers/tiny-run.ts';

const found = findBroker();
const test = testWith(found?.binary);

const connectTo = (url: string, name: string): Promise<NatsBus> =>
	connectNats({url, name, onNotice: () => undefined, onProblem: () => undefined});

async function withBroker<T>(use: (url: string) => Promise<T>): Promise<T> {
	const broker = await startBroker({binary: found!.binary});
	try {
		return await use(broker.url);
	} finally {
		await broker.stop();
	}
}

async function withStream<T>(url: string, run: string, use: () => Promise<T>): Promise<T> {
	const bus = await connectTo(url, 'stream');
	await openTraceStream(bus, run).finally(() => bus.close());
	return use();
}

const pulled = (folder: string) => readFile(join(folder, 'trace', 'run.trace'));

test.serial('what is pulled from a broker is the trace of the run, byte for byte, while it runs and after it', t =>
	withBroker(url =>
		withRunFolder(folder =>
			withStream(url, 'tiny', async () => {
				const scenario = tinyScenario({training: {steps: 6, stepsPerRound: 2}});
				const bench = await tinyBench(await nativeBackend(), 'tiny-gpt2');
				const {world, close} = bench.world(scenario, {connect: name => connectTo(url, name)});
				const live = join(folder, 'live');
				const following = callCutlayer(['trace', 'pull', '--nats', url, '--run', 'tiny', '--out', live]);
				const trace = {level: 'digest', code: 'test', backend: 'test', isPublished: true} as const;
				const {summary} = await runIn(world, {scenario, folder, trace}).finally(close);
				t.is(summary.status, 'done');
				t.is((await following).code, 0);
				const recorded = await pulled(folder);
				t.true(recorded.byteLength > 10_000);
				t.true((await pulled(live)).equals(recorded));
				const later = join(folder, 'later');
				const again = await callCutlayer(['trace', 'pull', '--nats', url, '--run', 'tiny', '--out', later, '--json']);
				t.is(again.code, 0);
				t.true((await pulled(later)).equals(recorded));
				const replayed = await callCutlayer(['replay', later]);
				t.regex(replayed.stdout, /no divergence/);
				const twice = await callCutlayer(['trace', 'pull', '--nats', url, '--run', 'tiny', '--out', later]);
				t.is(twice.code, 2);
				t.regex(twice.stderr, /already holds run\.trace/);
			}),
		),
	),
);

test.serial('a broker that is slower than the run costs pieces: that is said there, and the gap is named here', t =>
	withBroker(url =>
		withRunFolder(folder =>
			withStream(url, 'slow', async () => {
				const bus = await connectTo(url, 'trace');
				const notices: string[] = [];
				const subject = 'cutlayer.v1.slow.host.run.trace';
				const onNotice = (text: string) => void notices.push(text);
				let release: () => void = () => undefined;
				const held = new Promise<void>(resolve => (release = resolve));
				const slow = {
					keep: (...part: Parameters<typeof bus.keep>) => held.then(() => bus.keep(...part)),
					close: () => bus.close(),
				};
				const publisher = new TracePublisher({bus: slow, subject, onNotice, queueBytesMax: 3000});
				const written: number[] = [];
				const file = publisher.watched(
					{
						write: (_, position) => Promise.resolve(void written.push(position)),
						truncate: () => Promise.resolve(),
						close: () => Promise.resolve(),
					},
					'run.trace',
				);
				for (let at = 0; at < 10_000; at += 1000) await file.write(new Uint8Array(1000).fill(at / 1000), at);
				t.is(written.length, 10);
				release();
				await file.close();
				await publisher.close();
				t.deepEqual(notices, [
					'The broker takes the trace more slowly than the run makes it: what is pulled has a gap',
				]);
				const gap = await callCutlayer(['trace', 'pull', '--nats', url, '--run', 'slow', '--out', folder]);
				t.is(gap.code, 1);
				t.regex(gap.stdout, /3000 bytes, then bytes 3000 to 9999 were not published/);
				t.is((await pulled(folder)).byteLength, 3000);
			}),
		),
	),
);

test.serial('a run that is not there, and a broker that keeps nothing, are named with the fix', t =>
	withBroker(url =>
		withRunFolder(async folder => {
			const none = await callCutlayer(['trace', 'pull', '--nats', url, '--run', 'none', '--out', folder]);
			t.is(none.code, 2);
			t.regex(none.stderr, /keeps no trace of a run none: expected one that was started with --trace-stream/);
			await withStream(url, 'empty', async () => {
				const args = ['trace', 'pull', '--nats', url, '--run', 'empty', '--out', folder, '--now'];
				t.is((await callCutlayer(args)).stdout, 'nothing was published yet\n');
			});
			const flags = ['run', 'quickstart', '--trace-stream', '--bus', 'memory'];
			t.regex((await callCutlayer(flags)).stderr, /--trace-stream, found --bus memory/);
		}),
	),
);
