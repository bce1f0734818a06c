/**
Asks a broker for its runs, and a run for a change; waits a stated time for answers.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import type {Body} from '../../protocols/messages.ts';
import type {Bus} from '../../protocols/ports.ts';
import {anyRun, type ControlCommand, conductorId} from '../../protocols/run-messages.ts';
import {patternOf} from '../../protocols/subjects.ts';
import {heard, type Speaker, Voice} from './voice.ts';

export type FoundRun = Body<'run-announced'> & {readonly run: string};

/** How long an actor elsewhere waits for a broker that is away. */
export const brokerLeaseMsDefault = 60_000;

type Asking = {
	readonly bus: Bus;
	readonly speaker: Speaker;
	/** One run; default all of the broker. */
	readonly run?: string | undefined;
	/** How long answers are waited for; default 1,000. One run's answer ends the wait. */
	readonly waitMs?: number;
	/** How long a broker that is away is waited for; default 60,000. */
	readonly brokerLeaseMs?: number | undefined;
};

/** The runs that answer, those that are over left out. Throws `broker-unreachable` when the broker stays away. */
export async function askRuns({bus, speaker, run, waitMs = 1000, brokerLeaseMs}: Asking): Promise<FoundRun[]> {
	const found = new Map<string, FoundRun>();
	const voice = new Voice(bus, speaker, askSequence());
	let stop: (() => void) | undefined;
	const pattern = patternOf({
		...(run !== undefined && {run}),
		kind: 'conductor',
		verb: 'run-announced',
		to: speaker.id,
	});
	const unsubscribe = bus.subscribe(pattern, frame => {
		const answer = heard(frame, 'run-announced');
		if (!answer) return;
		found.set(answer.subject.run, {...answer.body, run: answer.subject.run});
		if (run !== undefined) stop?.();
	});
	try {
		await reached(bus, brokerLeaseMs);
		voice.say(run ?? anyRun, 'ask-runs', {});
		await waitOr(waitMs, resolve => {
			stop = resolve;
			if (run !== undefined && found.size > 0) resolve();
		});
	} finally {
		unsubscribe();
	}
	return [...found.values()].filter(({isOver}) => !isOver).toSorted((a, b) => a.run.localeCompare(b.run));
}

export type ControlAsked = {readonly command: ControlCommand; readonly actor?: string; readonly value?: string};

/** What the run's conductor says it did. Throws `usage` with its refusal, `run-failed` when it does not answer, `broker-unreachable`. */
export async function askControl(
	{bus, speaker, run, waitMs = 5000, brokerLeaseMs}: Asking & {readonly run: string},
	{command, actor = '', value = ''}: ControlAsked,
): Promise<string> {
	let answer: Body<'controlled'> | undefined;
	let stop: (() => void) | undefined;
	const pattern = patternOf({run, kind: 'conductor', id: conductorId, verb: 'controlled', to: speaker.id});
	const unsubscribe = bus.subscribe(pattern, frame => {
		answer ??= heard(frame, 'controlled')?.body;
		stop?.();
	});
	try {
		await reached(bus, brokerLeaseMs);
		new Voice(bus, speaker, askSequence()).say(run, 'control', {command, actor, value}, conductorId);
		await waitOr(waitMs, resolve => {
			stop = resolve;
		});
	} finally {
		unsubscribe();
	}
	if (!answer)
		throw new CutlayerError(
			'run-failed',
			`Run ${run} did not answer within ${waitMs} ms; see with cutlayer runs whether it is there`,
		);
	if (!answer.isDone) throw new CutlayerError('usage', answer.text);
	return answer.text;
}

/** Numbers of asking apart from those of an actor with the same id, and from each other's. */
let asked = 0;
const askSequence = () => 2 ** 48 + asked++;

/** Resolves when the broker has all that was said. */
async function reached(bus: Bus, leaseMs = brokerLeaseMsDefault): Promise<void> {
	let timer: NodeJS.Timeout | undefined;
	const isAway = new Promise<true>(resolve => {
		timer = setTimeout(() => resolve(true), leaseMs);
	});
	const flushed = bus.flush();
	// Who has given up closes the bus, which ends the flush.
	flushed.catch(() => undefined);
	const isGone = await Promise.race([flushed, isAway]).finally(() => clearTimeout(timer));
	if (isGone)
		throw new CutlayerError(
			'broker-unreachable',
			`The broker has been away for ${leaseMs} ms: start it again, then attach again`,
		);
}

function waitOr(waitMs: number, start: (resolve: () => void) => void): Promise<void> {
	return new Promise(resolve => {
		const timer = setTimeout(resolve, waitMs);
		start(() => {
			clearTimeout(timer);
			resolve();
		});
	});
}
