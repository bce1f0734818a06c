/**
What must hold of every plan of every policy: weights that sum to 1, none below 0, nobody who is not there.
*/
import test from 'ava';
import fc from 'fast-check';
import {planAggregation} from '../../actors/policies/aggregation.ts';
import {selectCohort} from '../../actors/policies/selection.ts';
import {planStep} from '../../actors/policies/server-update.ts';
import {checkScenario} from '../../protocols/check-scenario.ts';
import type {Aggregation, Selection} from '../../protocols/policies.ts';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import type {ServerUpdate, StepClosing} from '../../protocols/step-policies.ts';

/** A policy with its defaults, in a run of so many clients that all are allowed. */
const filled = (part: Partial<ScenarioFile>) =>
	checkScenario({name: 'x', clients: 20, data: {kind: 'restaurants'}, ...part});
const sequential = {kind: 'sequential'} as const;
const mixed = {rank: 2, ranks: [1, 2]};

const aggregations: Aggregation[] = [
	...(
		[
			'fedavg',
			'uniform',
			'fedprox',
			'fedavgm',
			'fedadam',
			'fedyogi',
			'median',
			'trimmed-mean',
			'krum',
			'multi-krum',
			'clipped',
			'ffa-lora',
			'fedex-lora',
		] as const
	).map(kind => filled({aggregation: {kind}}).aggregation),
	...(['zero-padding', 'flexlora', 'flora'] as const).map(
		kind => filled({aggregation: {kind}, lora: mixed}).aggregation,
	),
	...(['fedasync', 'fedbuff'] as const).map(kind => filled({aggregation: {kind}, update: sequential}).aggregation),
];

const selections: Selection[] = [
	{kind: 'all'} as const,
	{kind: 'available'} as const,
	{kind: 'in-turn'} as const,
	{kind: 'random', count: 3} as const,
	{kind: 'random', fraction: 0.4} as const,
	{kind: 'power-of-choice', count: 2, candidates: 5} as const,
	{kind: 'oort', count: 3} as const,
].map(selection => filled({selection}).selection);

const updates: ServerUpdate[] = [
	{kind: 'parallel'},
	{kind: 'sequential'},
	{kind: 'replicas'},
	{kind: 'buffered', count: 3},
];
const closings: StepClosing[] = [{kind: 'all'}, {kind: 'quorum', count: 2, deadlineMs: 10, missing: 'drop'}];

const ids = fc
	.uniqueArray(fc.integer({min: 0, max: 12}), {minLength: 1, maxLength: 8})
	.map(all => all.map(id => `c${id}`));

type Weighted = readonly {readonly client: string; readonly weight: number}[];

/** Nothing, or why the plan is none. */
function faultOf(plan: Weighted, here: ReadonlySet<string>): string | undefined {
	const sum = plan.reduce((total, {weight}) => total + weight, 0);
	if (plan.length > 0 && Math.abs(sum - 1) > 1e-9) return `weights sum to ${sum}`;
	const bad = plan.find(({weight}) => !(weight >= 0));
	if (bad) return `${bad.client} has weight ${bad.weight}`;
	const absent = plan.find(({client}) => !here.has(client));
	if (absent) return `${absent.client} is not here`;
	return new Set(plan.map(({client}) => client)).size < plan.length ? 'a client counts twice' : undefined;
}

const holds = (t: {log: (text: string) => void}, plan: Weighted, here: ReadonlySet<string>, what: unknown) => {
	const fault = faultOf(plan, here);
	if (fault) t.log(`${JSON.stringify(what)}: ${fault}`);
	return fault === undefined;
};

test('a cohort has weights that sum to 1, of clients that are candidates and have rows', t => {
	const statistics = fc.option(
		fc.record({
			lossMean: fc.double({min: 0, max: 10, noNaN: true}),
			lossSquareMean: fc.double({min: 0, max: 100, noNaN: true}),
			durationMs: fc.option(fc.integer({min: 0, max: 10_000})),
			round: fc.nat(5),
		}),
		{nil: undefined},
	);
	const candidate = fc.record({
		samples: fc.nat(50),
		draw: fc.double({min: 0, max: 0.999, noNaN: true}),
		isAvailable: fc.boolean(),
		statistics,
	});
	fc.assert(
		fc.property(
			ids,
			fc.array(candidate, {minLength: 8, maxLength: 8}),
			fc.nat(9),
			fc.option(fc.integer({min: 1, max: 9})),
			(clients, parts, round, invited) => {
				const candidates = clients.map((client, index) => ({client, ...parts[index]!}));
				const able = new Set(candidates.filter(({samples}) => samples > 0).map(({client}) => client));
				return selections.every(selection =>
					holds(t, selectCohort(selection, candidates, {round, ...(invited !== null && {invited})}), able, selection),
				);
			},
		),
	);
	t.pass();
});

test('an aggregation has weights that sum to 1, over uploads of clients that trained', t => {
	const upload = fc.record({round: fc.nat(5), samples: fc.nat(50), stepsDone: fc.nat(3), staleness: fc.nat(6)});
	fc.assert(
		fc.property(ids, fc.array(upload, {minLength: 8, maxLength: 8}), (clients, parts) => {
			const uploads = clients.map((client, index) => ({client, ...parts[index]!}));
			const trained = new Set(uploads.filter(({stepsDone}) => stepsDone > 0).map(({client}) => client));
			return aggregations.every(aggregation => {
				const {members, kernel} = planAggregation(aggregation, uploads);
				if (members.length > 0 && kernel.kind === 'mix' && !(kernel.mixing >= 0 && kernel.mixing <= 1)) return false;
				return holds(t, members, trained, aggregation);
			});
		}),
	);
	t.pass();
});

test('a step has weights that sum to 1, over batches that wait, of members of the round that is open', t => {
	const batch = fc.record({
		round: fc.nat(2),
		step: fc.nat(3),
		staleness: fc.nat(6),
		isMember: fc.boolean(),
		share: fc.nat(9),
		isWaiting: fc.boolean(),
	});
	fc.assert(
		fc.property(
			ids,
			fc.array(batch, {minLength: 8, maxLength: 8}),
			fc.boolean(),
			fc.nat(4),
			(clients, parts, isDeadlinePast, finished) => {
				const all = clients.map((client, index) => ({client, ...parts[index]!}));
				const members = all.filter(({isMember}) => isMember);
				const total = members.reduce((sum, {share}) => sum + share, 0);
				const cohort = members.map(({client, share}) => ({
					client,
					weight: total > 0 ? share / total : 1 / members.length,
				}));
				const waiting = all.filter(({isWaiting}) => isWaiting);
				const here = new Set(waiting.filter(({isMember, round}) => isMember && round === 1).map(({client}) => client));
				return updates.every(update =>
					closings.every(closing => {
						const plan = planStep(update, {round: 1, cohort, waiting, finished, closing, isDeadlinePast});
						return plan === undefined || (plan.length > 0 && holds(t, plan, here, [update, closing]));
					}),
				);
			},
		),
	);
	t.pass();
});
