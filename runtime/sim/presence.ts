/**
When a client of a simulated run is away, as its faults, its profile and its timeline say. Pure; who leaves and comes back
is the run's business. Times are virtual milliseconds.
*/
import type {Fault} from '../../protocols/faults.ts';
import type {Timeline} from '../../protocols/fleet.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import {randomStream} from '../random.ts';

/** Away in `[fromMs, toMs)`; for good when `toMs` is infinite. From 0 on means that it has not come yet. */
export type Absence = {readonly fromMs: number; readonly toMs: number; readonly isAnnounced: boolean};

/** Absences in order of time that do not overlap; they may go on for ever, so they are asked for one by one. */
export type Absences = Iterable<Absence>;

const hoursADay = 24;

/** The absences of a client by its fleet: one source each. */
export function fleetAbsences({fleet, seed}: Scenario, client: string): Absences[] {
	const timeline = fleet.timelines[client];
	return [
		...(timeline ? [timelineAbsences(timeline)] : []),
		...(fleet.profile === 'diurnal' ? [dailyAbsences(seed, client, fleet.dayMs)] : []),
	];
}

/** The absences of a client that a fault of its brings; nothing for other kinds. */
export function faultAbsences(fault: Fault): Absences | undefined {
	switch (fault.kind) {
		case 'crash':
			return [{fromMs: fault.atMs, toMs: fault.returnMs, isAnnounced: false}];
		case 'dropout':
			return [{fromMs: fault.atMs, toMs: Number.POSITIVE_INFINITY, isAnnounced: fault.isAnnounced}];
		case 'late-join':
			return [{fromMs: 0, toMs: fault.atMs, isAnnounced: false}];
		case 'flap':
			return flaps(fault);
		default:
			return undefined;
	}
}

/** Whether the client is not there when the run begins. */
export function isAwayAtStart(scenario: Scenario, client: string): boolean {
	const own = scenario.faults.filter(fault => 'client' in fault && fault.client === client);
	const ofFaults = own.map(faultAbsences).filter(absences => absences !== undefined);
	const sources = [...fleetAbsences(scenario, client), ...ofFaults];
	return sources.flatMap(first).some(({fromMs}) => fromMs === 0);
}

const first = (absences: Absences): readonly Absence[] => {
	const {value, done} = absences[Symbol.iterator]().next();
	return done ? [] : [value as Absence];
};

/** A round from which the client drops out, and when: within a second of the opening. */
export function flakyAbsence(
	{fleet, faults, seed}: Scenario,
	{client, round, atMs}: {readonly client: string; readonly round: number; readonly atMs: number},
): Absence | undefined {
	const flaky = [...faults, ...(fleet.profile === 'flaky' ? [flakyProfile] : [])].filter(isFlaky);
	for (const [index, fault] of flaky.entries()) {
		if (fault.client !== undefined && fault.client !== client) continue;
		if (atMs < fault.fromMs || atMs >= (fault.toMs ?? Number.POSITIVE_INFINITY)) continue;
		const stream = randomStream(seed, client, round, index, 'flaky');
		if (stream.float() >= fault.rate) continue;
		const fromMs = atMs + 1000 * stream.float();
		return {fromMs, toMs: fromMs + fault.awayMs, isAnnounced: fault.isAnnounced};
	}
	return undefined;
}

type Flaky = Extract<Fault, {kind: 'flaky'}>;
const isFlaky = (fault: Fault): fault is Flaky => fault.kind === 'flaky';
const flakyProfile: Flaky = {kind: 'flaky', rate: 0.05, awayMs: 10_000, isAnnounced: false, fromMs: 0};

function* flaps({fromMs, toMs, hereMs, awayMs, isAnnounced}: Extract<Fault, {kind: 'flap'}>): Generator<Absence> {
	const endMs = toMs ?? Number.POSITIVE_INFINITY;
	for (let at = fromMs + hereMs; at < endMs; at += hereMs + awayMs) {
		yield {fromMs: at, toMs: Math.min(at + awayMs, endMs), isAnnounced};
	}
}

function* timelineAbsences(timeline: Timeline): Generator<Absence> {
	for (const [index, {atMs, speed}] of timeline.entries()) {
		if (speed > 0 || timeline[index - 1]?.speed === 0) continue;
		const back = timeline.slice(index).find(entry => entry.speed > 0);
		yield {fromMs: atMs, toMs: back?.atMs ?? Number.POSITIVE_INFINITY, isAnnounced: true};
	}
}

/** One draw an hour: here with a chance of 0.8 at midnight, 0.2 at noon. */
function* dailyAbsences(seed: number, client: string, dayMs: number): Generator<Absence> {
	const hourMs = dayMs / hoursADay;
	const isHere = (hour: number) =>
		randomStream(seed, client, hour, 'availability').float() < 0.5 + 0.3 * Math.cos((2 * Math.PI * hour) / hoursADay);
	for (let hour = 0; ; hour++) {
		if (isHere(hour)) continue;
		const from = hour;
		while (!isHere(hour + 1)) hour++;
		yield {fromMs: from * hourMs, toMs: (hour + 1) * hourMs, isAnnounced: true};
	}
}
