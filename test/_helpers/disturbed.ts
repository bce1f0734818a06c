/**
Runs over buses that lose, double and delay frames, each by a fate drawn from a seed.
*/

import type {Bus, Frame} from '../../protocols/ports.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import {wrapBus} from '../../runtime/bus/wrap.ts';
import {randomStream} from '../../runtime/random.ts';
import {checkTrace} from '../../runtime/trace/invariants.ts';
import {runIn, type TinyBench, withRunFolder} from './tiny-run.ts';
import {withTrace} from './traces.ts';

/** Shares of frames: lost, delivered twice, and held back for some turns so that later frames come before them. */
export type Disturbance = {readonly seed: number; readonly loss: number; readonly twice: number; readonly late: number};

/** Verbs that are said once: what observers hear of a run, and its last word. */
const saidOnce = /\.(report|run-finished|server-adapter)(\.|$)/;

/** Each receiver's copy of a frame has a fate of its own, drawn from its message id. */
function disturbed(bus: Bus, name: string, {seed, loss, twice, late}: Disturbance): Bus {
	const copyAfter = async (turns: number, deliver: () => void) => {
		for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
		deliver();
	};
	return wrapBus(bus, {
		subscribe(pattern, deliver) {
			return bus.subscribe(pattern, (frame: Frame) => {
				const fate = randomStream(seed, name, frame.headers['Nats-Msg-Id'] ?? '', frame.subject);
				const isKept = saidOnce.test(frame.subject);
				const [isLost, isTwice, isLate] = [fate.float() < loss, fate.float() < twice, fate.float() < late];
				if (!isLost || isKept) void copyAfter(isLate ? fate.integer(1, 30) : 0, () => deliver(frame));
				if (isTwice) void copyAfter(fate.integer(1, 60), () => deliver(frame));
			});
		},
	});
}

/** The run under a disturbance: its rows, adapters and what a check of its trace finds. */
export async function runDisturbed(
	bench: TinyBench,
	scenario: Scenario,
	disturbance: Disturbance,
	open: (name: string) => Promise<Bus>,
) {
	const connect = async (name: string) => disturbed(await open(name), name, disturbance);
	return withRunFolder(async folder => {
		const {world, close} = bench.world(scenario, {connect});
		try {
			const result = await runIn(world, {scenario, folder, trace: {level: 'digest', code: 'test', backend: 'test'}});
			return {result, check: await withTrace(folder, checkTrace)};
		} finally {
			await close();
		}
	});
}
