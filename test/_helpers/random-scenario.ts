/**
Scenarios drawn from a seed, for tests of what must hold of any run in virtual time.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import type {Fault} from '../../protocols/faults.ts';
import {profiles} from '../../protocols/fleet.ts';
import type {Scenario, ScenarioFile} from '../../protocols/scenario.ts';
import {randomStream} from '../../runtime/random.ts';
import {simScenario} from './simulate.ts';

/** A scenario drawn from a seed: fleet, availability, faults, every policy, the cut and what crosses it, who joins. */
export function randomScenario(seed: number) {
	const random = randomStream(seed, 'determinism');
	const pick = <T>(...items: readonly T[]): T => items[random.integer(0, items.length - 1)]!;
	const clients = random.integer(1, 5);
	const client = () => `c${random.integer(0, clients - 1)}`;
	const time = () => random.integer(0, 400);
	const faults: Fault[] = [];
	for (let left = random.integer(0, 3); left > 0; left--) {
		const atMs = time();
		faults.push(
			pick<Fault>(
				{kind: 'straggle', client: client(), factor: 20, fromMs: atMs, toMs: atMs + 100},
				{kind: 'spike', client: client(), atMs, delayMs: 50},
				{kind: 'dropout', client: client(), atMs, isAnnounced: pick(true, false)},
				{kind: 'crash', client: client(), atMs, returnMs: atMs + 90},
				{kind: 'partition', clients: [client()], fromMs: atMs, toMs: atMs + 60},
				{kind: 'loss', rate: 0.1, fromMs: 0},
				{kind: 'duplication', rate: 0.2, fromMs: 0},
				{kind: 'reordering', rate: 0.3, delayMs: 40, fromMs: 0},
				{kind: 'corruption', rate: 0.05, fromMs: 0},
				{kind: 'clog', clients: [client()], fromMs: atMs, toMs: atMs + 80},
				{kind: 'flap', client: client(), fromMs: atMs, hereMs: 120, awayMs: 60, isAnnounced: pick(true, false)},
				{kind: 'flaky', rate: 0.3, awayMs: 100, isAnnounced: pick(true, false), fromMs: 0},
				{kind: 'broker-restart', atMs, awayMs: 50},
				...(clients > 1 ? [{kind: 'late-join', client: 'c0', atMs} as const] : []),
				{kind: 'empty-shard', client: client()},
				{kind: 'scale-adapter', client: client(), factor: -3, fromRound: 0},
				{kind: 'disk-full', atMs},
				{kind: 'non-finite', client: client(), atMs, tensor: pick('activations', 'adapter')},
			),
		);
	}
	const file: Partial<ScenarioFile> = {
		seed,
		clients,
		faults,
		fleet: {profile: pick(...profiles), dayMs: 2400},
		training: {
			steps: random.integer(2, 5),
			stepsPerRound: random.integer(1, 3),
			accumulation: pick(1, 1, 2),
			clientGradient: pick('own', 'weighted'),
		},
		timing: {answerTimeoutMs: 300, heartbeatMs: 200, leaseMs: 2000},
	};
	return drawnUntilValid(seed, clients, file);
}

/** What fits together is for the checks to say: what they refuse is drawn anew. */
function drawnUntilValid(seed: number, clients: number, file: Partial<ScenarioFile>): Scenario {
	for (let attempt = 0; ; attempt++) {
		const drawn = {...file, ...policiesOf(`${seed}/${attempt}`, clients), ...shapeOf(`${seed}/${attempt}`, clients)};
		try {
			return simScenario(drawn);
		} catch (error) {
			if (attempt > 200 || !(error instanceof CutlayerError)) throw error;
		}
	}
}

/** The cut and what crosses it: labels, ranks, batches on their way, wire formats; and who joins. */
function shapeOf(seed: string, clients: number): Partial<ScenarioFile> {
	const random = randomStream(seed, 'shape');
	const pick = <T>(...items: readonly T[]): T => items[random.integer(0, items.length - 1)]!;
	const some = <T>(items: () => T): readonly T[] => Array.from({length: random.integer(1, clients)}, items);
	const format = () => pick<'f32' | 'bf16' | 'f16' | 'i8'>('f32', 'f32', 'bf16', 'f16', 'i8');
	const isNever = () => random.integer(0, 2) > 0;
	return {
		...pick<Partial<ScenarioFile>>(
			{cut: random.integer(0, 4)},
			{cut: [...some(() => random.integer(0, 3))]},
			{labels: 'client', cut: random.integer(0, 2), tailBlocks: random.integer(0, 1)},
			{mainServer: false},
		),
		...(isNever() ? {} : {pipelineDepth: random.integer(2, 4)}),
		...(isNever() ? {} : {lora: {rank: 2, ranks: [...some(() => random.integer(1, 3))]}}),
		...(isNever() && isNever() ? {} : {stepClosing: stepClosingOf(seed, clients)}),
		...(isNever() ? {} : {wire: {activations: format(), gradients: format(), adapters: format()}}),
		...(isNever()
			? {}
			: {
					attach: [
						{kind: 'client', id: 'guest', atMs: random.integer(1, 400), shard: random.integer(0, clients - 1)},
						{kind: 'evaluator', id: 'watcher', atMs: random.integer(1, 400), everyRounds: random.integer(1, 2)},
					],
				}),
	};
}

function stepClosingOf(seed: string, clients: number): NonNullable<ScenarioFile['stepClosing']> {
	const random = randomStream(seed, 'step');
	return {
		kind: 'quorum',
		count: random.integer(1, clients),
		deadlineMs: random.integer(5, 60),
		missing: random.integer(0, 1) === 0 ? 'drop' : 'reuse',
	};
}

/** Policies for so many clients: rounds of all, or asynchronous ones. */
function policiesOf(seed: string, clients: number): Partial<ScenarioFile> {
	const random = randomStream(seed, 'policies');
	const pick = <T>(...items: readonly T[]): T => items[random.integer(0, items.length - 1)]!;
	const upTo = (most: number) => random.integer(1, most);
	const late = pick('drop', 'carry');
	const update = pick<NonNullable<ScenarioFile['update']>>(
		{kind: 'parallel'},
		{kind: 'parallel'},
		{kind: 'sequential'},
		{kind: 'replicas'},
		{kind: 'buffered', count: upTo(clients)},
	);
	if (random.integer(0, 3) === 0) {
		const staleness = {kind: pick('constant', 'polynomial', 'hinge')} as const;
		return {update, aggregation: pick({kind: 'fedasync', staleness}, {kind: 'fedbuff', count: upTo(clients)})};
	}
	const count = random.integer(0, 1) === 0 ? {} : {count: upTo(clients)};
	return {
		update,
		selection: pick<NonNullable<ScenarioFile['selection']>>(
			{kind: 'all'},
			{kind: 'available'},
			{kind: 'in-turn'},
			{kind: 'random', ...count},
			{kind: 'random', fraction: 0.6},
			{kind: 'oort', ...count},
			{kind: 'power-of-choice', ...count, candidates: clients},
		),
		closing: pick<NonNullable<ScenarioFile['closing']>>(
			{kind: 'all'},
			{kind: 'quorum', fraction: 0.5, deadlineMs: 2000, late},
			{kind: 'quorum', count: upTo(clients), deadlineMs: random.integer(20, 300), late},
			{kind: 'adaptive', k: 1, firstDeadlineMs: 500, late},
			{kind: 'overselect', count: upTo(clients), factor: 1.3, late},
		),
		aggregation: pick<NonNullable<ScenarioFile['aggregation']>>(
			{kind: 'fedavg'},
			{kind: 'uniform'},
			{kind: 'fedprox'},
			{kind: 'fedavgm'},
			{kind: 'fedadam'},
			{kind: 'fedyogi'},
			{kind: 'median'},
			{kind: 'trimmed-mean'},
			{kind: 'krum', byzantine: 0},
			{kind: 'multi-krum', byzantine: 0, count: upTo(clients)},
			{kind: 'clipped'},
			{kind: 'ffa-lora'},
			{kind: 'zero-padding'},
			{kind: 'flexlora'},
			{kind: 'flora'},
			{kind: 'fedex-lora'},
		),
	};
}
