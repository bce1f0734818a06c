/**
How slow a client is at an instant of a simulated run, as its faults and its timeline say. Pure. Times are virtual
milliseconds.
*/
import type {Fault} from '../../protocols/faults.ts';
import type {Timeline} from '../../protocols/fleet.ts';

/** A window in which a client computes `factor` times slower. */
type Window = {readonly fromMs: number; readonly toMs: number; readonly factor: number};

const isOf = (fault: {readonly client?: string | undefined}, client: string) =>
	fault.client === undefined || fault.client === client;

/**
When work that takes `workMs` at full speed and begins at `startMs` is done: the slowdown at each instant is the product of the
`straggle` windows open then and of the timeline's entry, and a spike adds its delay to the first pass at or after its time.
*/
export function slowedEnd(
	faults: readonly Fault[],
	client: string,
	startMs: number,
	workMs: number,
	timeline: Timeline = [],
): number {
	if (faults.length === 0 && timeline.length === 0) return startMs + workMs;
	const straggling = faults.flatMap(fault =>
		fault.kind === 'straggle' && isOf(fault, client) ? [windowOf(fault)] : [],
	);
	const windows = [...straggling, ...speedsOf(timeline)];
	let [at, left] = [startMs, workMs];
	for (;;) {
		const factor = windows.reduce((all, window) => (isOpen(window, at) ? all * window.factor : all), 1);
		const edge = Math.min(...windows.flatMap(({fromMs, toMs}) => [fromMs, toMs]).filter(time => time > at), Infinity);
		if (left * factor <= edge - at) return at + left * factor;
		left -= (edge - at) / factor;
		at = edge;
	}
}

const windowOf = ({fromMs, toMs, factor}: Extract<Fault, {kind: 'straggle'}>): Window => ({
	fromMs,
	toMs: toMs ?? Number.POSITIVE_INFINITY,
	factor,
});

/** While it is away nothing computes, so that its speed then does not matter. */
const speedsOf = (timeline: Timeline): Window[] =>
	timeline.flatMap(({atMs, speed}, index) => {
		const toMs = timeline[index + 1]?.atMs ?? Number.POSITIVE_INFINITY;
		return speed > 0 && speed !== 1 ? [{fromMs: atMs, toMs, factor: 1 / speed}] : [];
	});

const isOpen = ({fromMs, toMs}: Window, at: number) => fromMs <= at && at < toMs;

/** The delays of spikes between two instants, in which a pass began. */
export const spikeMs = (faults: readonly Fault[], client: string, afterMs: number, untilMs: number): number =>
	faults.reduce(
		(sum, fault) =>
			fault.kind === 'spike' && fault.client === client && afterMs < fault.atMs && fault.atMs <= untilMs
				? sum + fault.delayMs
				: sum,
		0,
	);
