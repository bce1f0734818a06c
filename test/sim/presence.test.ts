import test from 'ava';
import {type Absence, faultAbsences, flakyAbsence, fleetAbsences, isAwayAtStart} from '../../runtime/sim/presence.ts';
import {simScenario} from '../_helpers/simulate.ts';

const times = (absences: Iterable<Absence>, count: number): [number, number][] => {
	const found: [number, number][] = [];
	for (const {fromMs, toMs} of absences) {
		found.push([fromMs, toMs]);
		if (found.length === count) break;
	}
	return found;
};

const diurnal = (clients: number) => simScenario({clients, fleet: {profile: 'diurnal', dayMs: 24_000}});

test('a flapping client is here and away in turn, and here when the window ends', t => {
	const flap = {
		kind: 'flap',
		client: 'c0',
		fromMs: 100,
		toMs: 170,
		hereMs: 20,
		awayMs: 10,
		isAnnounced: false,
	} as const;
	t.deepEqual(times(faultAbsences(flap)!, 9), [
		[120, 130],
		[150, 160],
	]);
	const {toMs: _, ...endless} = flap;
	t.is(times(faultAbsences(endless)!, 5).length, 5);
	t.deepEqual(times(faultAbsences({...flap, toMs: 125})!, 9), [[120, 125]]);
});

test('of many clients four times as many are here at midnight as at noon', t => {
	const scenario = diurnal(2000);
	const here = (hour: number) => {
		const at = 1000 * hour + 1;
		const away = Array.from({length: 2000}, (_, index) =>
			times(fleetAbsences(scenario, `c${index}`)[0]!, 40).some(([from, to]) => from <= at && at < to),
		);
		return away.filter(isAway => !isAway).length / 2000;
	};
	// Four standard deviations of a share of 2,000 draws are 0.036.
	t.true(Math.abs(here(0) - 0.8) < 0.036, `${here(0)}`);
	t.true(Math.abs(here(6) - 0.5) < 0.045, `${here(6)}`);
	t.true(Math.abs(here(12) - 0.2) < 0.036, `${here(12)}`);
	t.true(Math.abs(here(24) - 0.8) < 0.036, `${here(24)}`);
});

test('the absences of a client depend on seed and client alone, and do not overlap', t => {
	const absences = (clients: number) => times(fleetAbsences(diurnal(clients), 'c1')[0]!, 50);
	t.deepEqual(absences(3), absences(30));
	t.notDeepEqual(absences(3), times(fleetAbsences(diurnal(3), 'c2')[0]!, 50));
	for (const [index, [from, to]] of absences(3).entries()) {
		t.true(from < to && from % 1000 === 0 && (index === 0 || from > absences(3)[index - 1]![1]));
	}
});

test('a timeline is away where its speed is 0, for good when no more comes', t => {
	const timelines = {
		c0: [
			{atMs: 0, speed: 0},
			{atMs: 10, speed: 1},
			{atMs: 20, speed: 0},
			{atMs: 30, speed: 0},
			{atMs: 40, speed: 0.5},
			{atMs: 50, speed: 0},
		],
	};
	const scenario = simScenario({fleet: {timelines}});
	t.deepEqual(times(fleetAbsences(scenario, 'c0')[0]!, 9), [
		[0, 10],
		[20, 40],
		[50, Number.POSITIVE_INFINITY],
	]);
	t.true(isAwayAtStart(scenario, 'c0'));
	t.false(isAwayAtStart(scenario, 'c1'));
	t.true(isAwayAtStart(simScenario({faults: [{kind: 'late-join', client: 'c2', atMs: 5}]}), 'c2'));
});

test('a flaky client drops out of one round in twenty, within a second of its opening', t => {
	const scenario = simScenario({fleet: {profile: 'flaky'}});
	const drops = Array.from({length: 4000}, (_, round) => flakyAbsence(scenario, {client: 'c0', round, atMs: 500}));
	const count = drops.filter(Boolean).length;
	t.true(Math.abs(count / 4000 - 0.05) < 0.014, `${count} of 4,000`);
	for (const drop of drops) {
		if (!drop) continue;
		t.true(drop.fromMs >= 500 && drop.fromMs < 1500);
		t.true(Math.abs(drop.toMs - drop.fromMs - 10_000) < 1e-6);
	}
	t.is(flakyAbsence(simScenario(), {client: 'c0', round: 0, atMs: 0}), undefined);
});
