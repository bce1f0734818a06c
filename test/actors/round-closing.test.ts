import test from 'ava';
import fc from 'fast-check';
import {deadlineOf, invitedOf, medianOf, planClosing, quorumOf} from '../../actors/policies/round-closing.ts';
import {carriedWeight, stalenessWeight} from '../../actors/policies/staleness.ts';
import type {RoundClosing} from '../../protocols/policies.ts';

const all: RoundClosing = {kind: 'all'};
const quorum: RoundClosing = {kind: 'quorum', count: 3, deadlineMs: 100, late: 'drop'};
const overselect: RoundClosing = {kind: 'overselect', count: 3, factor: 1.3, late: 'drop'};
const adaptive: RoundClosing = {kind: 'adaptive', k: 3, fraction: 0.5, rounds: 5, firstDeadlineMs: 700, late: 'drop'};

const cases: [
	what: string,
	closing: RoundClosing,
	arrivals: [cohort: number, arrived: number, gone: number],
	early: string,
	due: string,
][] = [
	['all wait for the last', all, [5, 4, 0], 'wait', 'wait'],
	['all close without who left', all, [5, 4, 1], 'close', 'close'],
	['all are void when everybody left', all, [5, 0, 5], 'void', 'void'],
	['a quorum waits for its deadline', quorum, [5, 4, 0], 'wait', 'close'],
	['a quorum that is not met waits on', quorum, [5, 2, 0], 'wait', 'wait'],
	['a quorum closes early when all have come', quorum, [5, 5, 0], 'close', 'close'],
	['a quorum closes early when all that can have come', quorum, [5, 3, 2], 'close', 'close'],
	['a quorum that cannot be met is void', quorum, [5, 2, 3], 'void', 'void'],
	['a quorum over the cohort is the cohort', quorum, [2, 2, 0], 'close', 'close'],
	['an overselected round closes with enough', overselect, [4, 3, 0], 'close', 'close'],
	['an overselected round waits for enough', overselect, [4, 2, 0], 'wait', 'wait'],
	['an overselected round without enough is void', overselect, [4, 2, 2], 'void', 'void'],
	['an adaptive round waits for its deadline', adaptive, [5, 4, 0], 'wait', 'close'],
	['an adaptive round waits for half', adaptive, [5, 2, 0], 'wait', 'wait'],
	['an adaptive round without half is void', adaptive, [5, 1, 3], 'void', 'void'],
];
for (const [what, closing, [cohort, arrived, gone], early, due] of cases) {
	test(`${what}`, t => {
		t.is(planClosing(closing, {cohort, arrived, gone, isDeadlinePast: false}), early as 'wait');
		t.is(planClosing(closing, {cohort, arrived, gone, isDeadlinePast: true}), due as 'wait');
	});
}

test('a fraction of a cohort is rounded up, and no rounding of a product adds one', t => {
	const of = (fraction: number, cohort: number) => quorumOf({kind: 'quorum', fraction}, cohort);
	t.deepEqual([of(0.5, 5), of(0.01, 5), of(1, 5)], [3, 1, 5]);
	t.is(of(0.55, 100), 55);
	t.is(of(0.07, 100), 7);
	t.is(invitedOf({...overselect, count: 10, factor: 1.1}), 11);
	t.is(invitedOf({...overselect, count: 10}), 13);
	t.is(invitedOf(quorum), undefined);
});

test('an adaptive deadline is the median of the durations and k median deviations from it', t => {
	// Deviations from 30: 20, 10, 0, 10, 70; their median is 10.
	t.is(deadlineOf(adaptive, [40, 10, 30, 20, 100]), 60);
	t.is(deadlineOf({...adaptive, k: 0}, [10, 20]), 15);
	t.is(deadlineOf(adaptive, []), 700);
	t.deepEqual([deadlineOf(quorum, []), deadlineOf(all, []), deadlineOf(overselect, [5])], [100, undefined, undefined]);
	t.deepEqual([medianOf([3, 1, 2]), medianOf([4, 1, 3, 2])], [2, 2.5]);
});

test('a round never closes below its quorum, is void only when that is out of reach, and never waits for nobody', t => {
	const rules = fc.constantFrom(all, quorum, overselect, adaptive);
	const numbers = fc.tuple(fc.integer({min: 1, max: 9}), fc.nat(9), fc.nat(9), fc.boolean());
	fc.assert(
		fc.property(rules, numbers, (closing, [cohort, someArrived, someGone, isDeadlinePast]) => {
			const gone = Math.min(someGone, cohort);
			const arrived = Math.min(someArrived, cohort - gone);
			const plan = planClosing(closing, {cohort, arrived, gone, isDeadlinePast});
			const needed = closing.kind === 'all' ? Math.max(cohort - gone, 1) : quorumOf(closing, cohort);
			t.is(plan === 'void', cohort - gone < needed);
			if (plan === 'close') t.true(arrived >= needed && arrived > 0);
			if (plan === 'wait') t.true(arrived < cohort - gone);
		}),
	);
});

test('the three functions of staleness are 1 for a fresh upload and fall as their papers say', t => {
	t.deepEqual(
		[0, 1, 9].map(tau => stalenessWeight({kind: 'constant'}, tau)),
		[1, 1, 1],
	);
	t.deepEqual(
		[0, 3, 8].map(tau => stalenessWeight({kind: 'polynomial', a: 0.5}, tau)),
		[1, 1 / 2, 1 / 3],
	);
	t.deepEqual(
		[0, 4, 5, 6].map(tau => stalenessWeight({kind: 'hinge', a: 10, b: 4}, tau)),
		[1, 1, 1 / 11, 1 / 21],
	);
	t.deepEqual([0, 3, 8].map(carriedWeight), [1, 1 / 2, 1 / 3]);
});
