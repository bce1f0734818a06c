import {readFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import type {Scenario} from '../../protocols/scenario.ts';
import {type Change, changedScenario} from '../../protocols/what-if.ts';
import {replayTrace} from '../../runtime/replay/replay.ts';
import {ChangePoint} from '../../runtime/sim/change-point.ts';
import {firstParting, type Parting} from '../../runtime/trace/diff.ts';
import type {InputRecord, TraceRecord} from '../../runtime/trace/format.ts';
import {checkTrace} from '../../runtime/trace/invariants.ts';
import {randomScenario} from '../_helpers/random-scenario.ts';
import {type SimulateOptions, simScenario, simulate} from '../_helpers/simulate.ts';
import {recordsIn, withTrace} from '../_helpers/traces.ts';

type Recorded = {
	readonly bytes: Buffer;
	readonly records: readonly TraceRecord[];
	readonly metrics: string;
	readonly rows: Awaited<ReturnType<typeof simulate>>['rows'];
	readonly summary: Awaited<ReturnType<typeof simulate>>['summary'];
	/** Of a replay, and of the invariants. */
	readonly problems: readonly unknown[];
};

async function record(scenario: Scenario, options: SimulateOptions = {}): Promise<Recorded> {
	let found: Pick<Recorded, 'bytes' | 'records' | 'problems'> | undefined;
	const {metrics, rows, summary} = await simulate(scenario, {
		trace: {level: 'digest', code: 'test', backend: 'shapes'},
		read: async folder => {
			const bytes = await readFile(join(folder, 'trace', 'run.trace'));
			const problems = await withTrace(folder, async trace => {
				const {divergence} = await replayTrace(trace);
				return [...(divergence ? [divergence.what] : []), ...(await checkTrace(trace)).violations];
			});
			found = {bytes, records: await recordsIn(folder), problems};
		},
		...options,
	});
	return {...found!, metrics, rows, summary};
}

const changed = (scenario: Scenario, at: number, changes: readonly Change[]) => ({
	whatIf: {at, changes: [...changes]},
	scenario: changedScenario(scenario, changes, 'the test'),
});

const numberOf = (records: readonly TraceRecord[], isWanted: (record: InputRecord) => boolean): number =>
	records.find(found => found.kind === 'input' && isWanted(found))!.n;

test('a what-if without a change is its parent byte for byte, whatever the scenario and the point', async t => {
	await fc.assert(
		fc.asyncProperty(fc.integer({min: 1, max: 1e6}), fc.double({min: 0, max: 1, noNaN: true}), async (seed, share) => {
			const scenario = randomScenario(seed);
			const parent = await record(scenario);
			const at = 2 + Math.floor(share * (parent.records.length - 2));
			const again = await record(scenario, {whatIf: changed(scenario, at, [])});
			t.true(again.bytes.equals(parent.bytes), `seed ${seed} at ${at}`);
			t.is(again.metrics, parent.metrics);
			t.deepEqual(again.problems, []);
		}),
		{numRuns: process.env.CUTLAYER_TESTS === 'long' ? 100 : 8},
	);
});

const anyChange = fc.oneof(
	fc.constantFrom<Change>(
		{kind: 'drop', message: 'activations', times: 2},
		{kind: 'drop', message: 'upload/c0', times: 1},
		{kind: 'delay', message: 'gradient', ms: 400, times: 1},
		{kind: 'delay', message: 'upload', ms: 50, times: 3},
		{kind: 'without', client: 'c0'},
		{kind: 'set', path: 'aggregation', value: {kind: 'uniform'}},
		{kind: 'set', path: 'wire.activations', value: 'bf16'},
		{kind: 'set', path: 'training.steps', value: 7},
		{kind: 'set', path: 'closing', value: {kind: 'quorum', count: 1, deadlineMs: 500}},
		{kind: 'set', path: 'faults', value: [{kind: 'crash', client: 'c0', atMs: 100, returnMs: 300}]},
		{kind: 'set', path: 'fleet.profile', value: 'lognormal-0.6'},
	),
);

test('whatever changes, the records before the point are the same, and the run replays and keeps every invariant', async t => {
	await fc.assert(
		fc.asyncProperty(
			fc.integer({min: 1, max: 1e6}),
			fc.double({min: 0, max: 1, noNaN: true}),
			fc.array(anyChange, {minLength: 1, maxLength: 2}),
			async (seed, share, changes) => {
				const scenario = randomScenario(seed);
				const parent = await record(scenario);
				const at = 2 + Math.floor(share * (parent.records.length - 2));
				const other = await record(scenario, {whatIf: changed(scenario, at, changes)});
				t.deepEqual(other.records.slice(0, at - 1), parent.records.slice(0, at - 1), `seed ${seed} at ${at}`);
				t.deepEqual(other.problems, [], `seed ${seed} at ${at}: ${JSON.stringify(changes)}`);
			},
		),
		{numRuns: process.env.CUTLAYER_TESTS === 'long' ? 200 : 10},
	);
});

test('a client that crashed and came back is recorded with the tensors of its new life', async t => {
	const scenario = simScenario({
		training: {steps: 8, stepsPerRound: 2},
		timing: {answerTimeoutMs: 300, heartbeatMs: 200, leaseMs: 2000},
		faults: [{kind: 'crash', client: 'c0', atMs: 60, returnMs: 200}],
	});
	const {records, problems} = await record(scenario);
	t.true(records.some(found => found.kind === 'started' && found.incarnation === 1));
	t.deepEqual(problems, []);
});

const plain = simScenario({training: {steps: 8, stepsPerRound: 2}, timing: {answerTimeoutMs: 700}});

test('a dropped message does not arrive where it arrived, and its sender sends it again after its time-out', async t => {
	const parent = await record(plain);
	const at = numberOf(parent.records, ({event, actor}) => actor === 'fed' && event.type === 'upload');
	const upload = parent.records[at - 1] as InputRecord;
	const other = await record(plain, {
		whatIf: changed(plain, at, [{kind: 'drop', message: upload.message!, times: 1}]),
	});
	t.deepEqual(other.records.slice(0, at - 1), parent.records.slice(0, at - 1));
	t.notDeepEqual(other.records[at - 1], upload);
	t.false(other.records.some(found => found.kind === 'input' && found.message === upload.message));
	const again = other.records.find(
		found => found.kind === 'input' && found.event.type === 'upload' && found.event.from === upload.event.from,
	);
	t.true(again!.t > upload.t + 600);
	t.is(other.summary.status, 'done');
});

test('a change that no message meets is known as such', t => {
	const [drop, delay] = [
		{kind: 'drop', message: 'upload/c9', times: 1},
		{kind: 'delay', message: 'fed:0:7', ms: 5, times: 1},
	] as const;
	const point = new ChangePoint({at: 2, changes: [drop, delay]});
	const frame = {
		subject: 'cutlayer.v1.r.fed-server.fed.round-opened',
		headers: {'Nats-Msg-Id': 'fed:0:7'},
		body: new Uint8Array(),
	};
	t.is(point.fateOf(frame, 'c0'), 0);
	point.recorded(1);
	t.is(point.fateOf(frame, 'c0'), 5);
	t.is(point.fateOf(frame, 'c1'), 0);
	t.deepEqual(point.unmet, [drop]);
});

test('a delayed message arrives so much later', async t => {
	const parent = await record(plain);
	const at = numberOf(parent.records, ({event, actor}) => actor === 'c1' && event.type === 'gradient');
	const gradient = parent.records[at - 1] as InputRecord;
	const other = await record(plain, {
		whatIf: changed(plain, at, [{kind: 'delay', message: 'gradient/main/c1', ms: 300, times: 1}]),
	});
	const late = other.records.find(found => found.kind === 'input' && found.message === gradient.message);
	t.is(late!.t, Math.round((gradient.t + 300) * 1000) / 1000);
});

test('a client taken out says so, and the rounds after it have no upload of it', async t => {
	const parent = await record(plain);
	const at = numberOf(parent.records, ({event}) => event.type === 'aggregate.done');
	const other = await record(plain, {whatIf: changed(plain, at, [{kind: 'without', client: 'c2'}])});
	const after = other.records.slice(at - 1).filter(found => found.kind === 'input');
	t.true(after.some(({event}) => event.type === 'leave' && event.from === 'c2'));
	const uploads = after.filter(({event}) => event.type === 'upload').map(({event}) => event.from);
	t.true(uploads.includes('c1'));
	t.false(uploads.includes('c2'));
	t.is(other.summary.status, 'done');
});

test('two runs part where something other happened, not where a record has another number', async t => {
	const parent = await record(plain);
	const at = numberOf(parent.records, ({event}) => event.type === 'aggregate.done');
	let found: Parting | undefined;
	await record(plain, {
		read: folder =>
			record(plain, {
				whatIf: changed(plain, at, [{kind: 'without', client: 'c2'}]),
				read: async other => {
					found = await withTrace(folder, a => withTrace(other, b => firstParting(a, b)));
				},
			}).then(() => undefined),
	});
	t.not(found, undefined);
	const {actor, a, b} = found!;
	// The earliest is that the client which is gone hears nothing any more.
	t.is(actor, 'c2');
	t.is((a!.record as InputRecord).event.type, 'upload-accepted');
	t.is(b, undefined);
});

test('a changed policy enters the fed server as an event of the trace and decides the next aggregation', async t => {
	const parent = await record(plain);
	const at = numberOf(parent.records, ({event}) => event.type === 'aggregate.done');
	const value = {kind: 'trimmed-mean', fraction: 0.34};
	const other = await record(plain, {whatIf: changed(plain, at, [{kind: 'set', path: 'aggregation', value}])});
	const told = other.records.filter(found => found.kind === 'input' && found.event.type === 'host.changed');
	t.deepEqual(
		told.map(found => [(found as InputRecord).actor, (found as InputRecord).event]),
		[['fed', {type: 'host.changed', input: {aggregation: value}} as unknown as InputRecord['event']]],
	);
	const kernels = other.records.flatMap(found =>
		'commands' in found
			? (found.commands ?? []).flatMap(command =>
					'pass' in command && command.pass === 'aggregate'
						? [(command.input as {plan: {kernel: {kind: string}}}).plan.kernel.kind]
						: [],
				)
			: [],
	);
	t.deepEqual(kernels, ['mean', 'trimmed-mean', 'trimmed-mean', 'trimmed-mean']);
});

test('with real arithmetic a changed learning rate trains on from the same adapters: losses part one round later', async t => {
	const scenario = simScenario({
		training: {steps: 6, stepsPerRound: 2, schedule: {kind: 'constant'}},
		lora: {dropout: 0},
	});
	const parent = await record(scenario, {arithmetic: 'real'});
	const at = numberOf(parent.records, ({event}) => event.type === 'aggregate.done');
	const set = (path: string, value: unknown) =>
		record(scenario, {arithmetic: 'real', whatIf: changed(scenario, at, [{kind: 'set', path, value}])});
	const losses = ({rows}: Recorded) => rows.filter(({kind}) => kind === 'eval').map(({loss}) => Number(loss));
	// A change that says what was so already makes the arithmetic anew from what it had, and changes no number.
	const same = await set('training.serverLearningRate', scenario.training.learningRate);
	t.deepEqual(losses(same), losses(parent));
	const slow = await set('training.learningRate', 1e-9);
	t.deepEqual(losses(slow).slice(0, 2), losses(parent).slice(0, 2));
	t.not(losses(slow).at(-1), losses(parent).at(-1));
	const half = await set('wire.activations', 'i8');
	t.deepEqual(losses(half).slice(0, 2), losses(parent).slice(0, 2));
	t.not(losses(half).at(-1), losses(parent).at(-1));
	t.true(Math.abs(losses(half).at(-1)! - losses(parent).at(-1)!) < 0.05);
});
