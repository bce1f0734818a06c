import test from 'ava';
import fc from 'fast-check';
import type {Frame} from '../../protocols/ports.ts';
import {settled} from '../../runtime/live/settled.ts';
import {passFlops, totalOf} from '../../runtime/model/flops.ts';
import {VirtualTime} from '../../runtime/sim/clock.ts';
import {clientDevice, type Device, idealDevice} from '../../runtime/sim/devices.ts';
import {EventQueue} from '../../runtime/sim/event-queue.ts';
import {slowedEnd} from '../../runtime/sim/faults.ts';
import {FrameFate} from '../../runtime/sim/frame-fate.ts';
import {SimNetwork} from '../../runtime/sim/network.ts';
import {simConfig, simScenario, simulate} from '../_helpers/simulate.ts';

test('events come earliest first, then by actor, then in the order they were asked for', t => {
	fc.assert(
		fc.property(
			fc.array(fc.record({atMs: fc.integer({min: 0, max: 5}), actor: fc.constantFrom('a', 'b', 'c')})),
			all => {
				const queue = new EventQueue();
				const events = all.map((event, place) => ({...event, place, fire: () => void place}));
				for (const event of events) queue.push(event);
				const expected = events.toSorted(
					(x, y) => x.atMs - y.atMs || (x.actor < y.actor ? -1 : x.actor > y.actor ? 1 : x.place - y.place),
				);
				for (const {atMs, actor, fire} of expected) {
					const next = queue.pop();
					if (next?.atMs !== atMs || next.actor !== actor || next.fire !== fire) return false;
				}
				return queue.pop() === undefined;
			},
		),
	);
	t.pass();
});

test('a cleared timer does not fire, and the clock stands at the time of what fires', async t => {
	const time = new VirtualTime(settled);
	const clock = time.clockOf('a');
	const fired: number[] = [];
	clock.setTimeout(() => fired.push(clock.now()), 30);
	const id = clock.setTimeout(() => fired.push(-1), 20);
	clock.setTimeout(() => clock.clearTimeout(id), 10);
	t.regex((await time.run())!, /nothing is left/);
	t.deepEqual(fired, [30]);
});

/** Delivery times of frames of some sizes, published at once, from `a` to `b` and to `c`. */
async function deliveries(sizes: readonly number[], devices: Record<string, Partial<Device>>) {
	const time = new VirtualTime(settled);
	const deviceOf = (id: string) => (devices[id] ? {...idealDevice, ...devices[id]} : undefined);
	const network = new SimNetwork({time, deviceOf, fate: new FrameFate([], 1)});
	const got: [string, number, number][] = [];
	const a = network.connect('a');
	for (const id of ['b', 'c']) {
		network.connect(id).subscribe('cutlayer.>', ({body}: Frame) => got.push([id, body.byteLength, time.nowMs]));
	}
	for (const size of sizes) {
		a.publish({subject: 'cutlayer.v1.r.client.a.leave', headers: {}, body: new Uint8Array(size)});
	}
	await time.run();
	return got;
}

test('a frame takes bytes over bandwidth on each link and both latencies; frames on one link queue', async t => {
	const devices = {
		a: {upMbps: 8, latencyMs: 3}, // 1,000 bytes a ms
		b: {downMbps: 80, latencyMs: 2},
		c: {downMbps: 4, latencyMs: 0},
	};
	t.deepEqual(await deliveries([10_000, 20_000], devices), [
		['b', 10_000, 10 + 3 + 1 + 2],
		['c', 10_000, 10 + 3 + 20],
		['b', 20_000, 30 + 3 + 2 + 2],
		['c', 20_000, 33 + 40], // its link is still busy with the first until 33
	]);
});

test('a slowdown stretches only the work inside its window', t => {
	const window = {kind: 'straggle', client: 'c0', factor: 4, fromMs: 100, toMs: 200} as const;
	t.is(slowedEnd([window], 'c0', 0, 50), 50);
	t.is(slowedEnd([window], 'c0', 90, 20), 140); // 10 before, 10 x 4 inside
	t.is(slowedEnd([window], 'c0', 180, 20), 215); // 5 of the work inside, 15 after
	t.is(slowedEnd([window], 'c1', 90, 20), 110);
	t.is(slowedEnd([window, {...window, factor: 2, fromMs: 150}], 'c0', 100, 20), 201.25); // 12.5 and 6.25 inside, 1.25 after
});

test('a client that trains alone takes FLOPs over speed and the overhead, no more', async t => {
	const device = {flopsPerSecond: 1e6, overheadMs: 7, upMbps: 1e9, downMbps: 1e9, latencyMs: 0};
	const scenario = simScenario({
		clients: 1,
		mainServer: false,
		training: {steps: 3, stepsPerRound: 3},
		fleet: {profile: 'ideal', clients: {c0: device}},
		timing: {heartbeatMs: 0, leaseMs: 0},
	});
	const shapes: {lengths: number[]; targets: number}[] = [];
	const result = await simulate(scenario, {
		wrap: compute => ({
			run: request => {
				const {lengths} = request.input as {lengths: number[]};
				if (request.pass === 'localStep') shapes.push({lengths, targets: request.tensors['batch.labels']!.shape[0]!});
				return compute.run(request);
			},
			close: () => compute.close(),
		}),
	});
	const part = {from: 0, to: 4, hasEmbedding: true, hasHead: true};
	const expected = shapes.reduce((sum, shape) => {
		const {forward, backward} = passFlops(simConfig, part, shape, scenario.lora);
		return sum + ((totalOf(forward) + totalOf(backward)) / 1e6) * 1000 + 7;
	}, 0);
	t.is(shapes.length, 3);
	t.true(Math.abs(result.figures.busyMs.c0! - expected) < 1e-6 * expected);
	const last = result.rows.findLast(({kind}) => kind === 'step')!;
	t.true(Math.abs(last.timeMs - expected) <= 1, `${last.timeMs} ms, expected ${expected}`);
});

test('the devices of a profile depend on seed and place alone, and spread as named', t => {
	const speeds = Array.from({length: 4000}, (_, index) =>
		Math.log(clientDevice('lognormal-0.6', 3, index).flopsPerSecond / (1.28e12 / 3)),
	);
	const mean = speeds.reduce((sum, value) => sum + value, 0) / speeds.length;
	const deviation = Math.sqrt(speeds.reduce((sum, value) => sum + (value - mean) ** 2, 0) / speeds.length);
	t.true(Math.abs(mean) < 0.04 && Math.abs(deviation - 0.6) < 0.03, `${mean} ${deviation}`);
	t.deepEqual(clientDevice('lognormal-0.6', 3, 7), clientDevice('lognormal-0.6', 3, 7));
	const slow = Array.from({length: 100}, (_, index) => clientDevice('two-speed', 1, index).flopsPerSecond < 1e11);
	t.is(slow.filter(Boolean).length, 20);
});
