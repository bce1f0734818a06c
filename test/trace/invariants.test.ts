import test from 'ava';
import fc from 'fast-check';
import type {Command, InputRecord, TraceRecord} from '../../runtime/trace/format.ts';
import {StepRule} from '../../runtime/trace/invariants/steps.ts';
import {type CheckResult, checkTrace} from '../../runtime/trace/invariants.ts';
import type {Located} from '../../runtime/trace/trace.ts';
import {FakeCompute} from '../_helpers/fake-compute.ts';
import {recordRun, withFolder} from '../_helpers/recorded-run.ts';
import {rewriteTrace, withTrace} from '../_helpers/traces.ts';

type Change = (record: TraceRecord) => TraceRecord | undefined;

/** What a check finds in a tiny run whose records were changed. */
const checkChanged = (change: Change): Promise<CheckResult> =>
	withFolder(async folder => {
		await recordRun({folder});
		await rewriteTrace(folder, change);
		return withTrace(folder, checkTrace);
	});

/** Changes the commands of one kind that an actor gave. */
const changing =
	(actor: string, change: (command: Command) => Command): Change =>
	record =>
		'commands' in record && record.actor === actor && record.commands
			? {...record, commands: record.commands.map(change)}
			: record;

const isInput = (record: TraceRecord, actor: string, type: string): record is InputRecord =>
	record.kind === 'input' && record.actor === actor && record.event.type === type;

const texts = ({violations}: CheckResult) => violations.map(({invariant, text}) => `${invariant}: ${text}`);

test('any run keeps every invariant and its counts add up', async t => {
	const scenarios = fc.record({
		clients: fc.integer({min: 1, max: 4}),
		mainServer: fc.boolean(),
		training: fc.record({steps: fc.integer({min: 1, max: 5}), stepsPerRound: fc.integer({min: 1, max: 3})}),
		update: fc.constantFrom({kind: 'parallel' as const}, {kind: 'sequential' as const}),
	});
	await fc.assert(
		fc.asyncProperty(scenarios, fc.array(fc.integer({min: 0, max: 3}), {minLength: 1}), (scenario, waits) =>
			withFolder(async folder => {
				let call = 0;
				const compute = new FakeCompute(async () => {
					for (let turn = waits[call++ % waits.length]!; turn > 0; turn--) await new Promise(setImmediate);
				});
				await recordRun({folder, scenario, compute});
				const result = await withTrace(folder, checkTrace);
				t.deepEqual(texts(result), []);
				const steps = scenario.mainServer ? scenario.clients * scenario.training.steps : 0;
				t.is(result.counts['steps that arrived'], steps);
				t.is(result.counts['steps applied'], steps);
				t.is(result.counts.aggregations, Math.ceil(scenario.training.steps / scenario.training.stepsPerRound));
			}),
		),
		{numRuns: process.env.CUTLAYER_TESTS === 'long' ? 200 : 10},
	);
});

test('a step that is applied twice is found with both records', async t => {
	let once: InputRecord | undefined;
	const result = await checkChanged(record => {
		if (!isInput(record, 'main', 'activations') || !record.commands?.some(command => 'pass' in command)) return record;
		once ??= record;
		return {...record, commands: once.commands!};
	});
	const [violation] = result.violations;
	t.is(violation?.invariant, 5);
	t.regex(violation!.text, /round 0 step 0 of c\d is applied after round 0 step 0 was/);
	t.is(violation?.at.length, 2);
});

test('an acknowledgement of a step that was not applied is found', async t => {
	const result = await checkChanged(record =>
		isInput(record, 'main', 'mainStep.done') ? {...record, event: {type: 'other.done'}} : record,
	);
	t.regex(texts(result)[0]!, /^5: .* is acknowledged, but was not applied/);
});

test('aggregation weights that are no shares of 1 are found', async t => {
	const result = await checkChanged(
		changing('fed', command => {
			if (!('pass' in command) || command.pass !== 'aggregate') return command;
			const {plan} = command.input as {plan: {members: {client: string; weight: number}[]}};
			return {...command, input: {plan: {members: plan.members.map(member => ({...member, weight: 0.5}))}}};
		}),
	);
	t.regex(texts(result)[0]!, /^6: the weights of an aggregation are 0.5, 0.5, 0.5/);
});

test('an upload that counts although it never came is found', async t => {
	const result = await checkChanged(record =>
		isInput(record, 'fed', 'upload') && record.event.from === 'c1' ? undefined : record,
	);
	t.regex(texts(result).find(text => text.startsWith('6'))!, /c1 counts in an aggregation, but uploaded nothing/);
});

test('a version that goes back and a negative staleness are found', async t => {
	const result = await checkChanged(
		changing('main', command =>
			'send' in command && command.send === 'gradient'
				? {
						...command,
						body: {
							...(command.body as object),
							serverVersion: (command.body as {step: number}).step === 0 ? 9 : 1,
							serverStaleness: -1,
						},
					}
				: command,
		),
	);
	t.true(texts(result).some(text => text === '7: main measured a serverStaleness of -1, expected at least 0'));
	t.true(texts(result).some(text => text === '7: serverVersion of main goes back from 9 to 1'));
});

test('a message that comes other than it was sent is found', async t => {
	const result = await checkChanged(record =>
		isInput(record, 'c0', 'gradient')
			? {...record, tensors: {'c0/9': {gradient: 'f32[5,4]:00000000000000000000000000000000'}}}
			: record,
	);
	t.regex(texts(result)[0]!, /^9: gradient main:0:\d+ came to c0 other than record \d+ sent it/);
});

test('an actor that a message ended is found, and refused frames are counted by reason', t =>
	withFolder(async folder => {
		const bad = {subject: 'cutlayer.v1.tiny.client.c9.activations.main', headers: {}, body: Uint8Array.of(1)};
		await recordRun({folder, onStarted: (_, bus) => bus.publish(bad)});
		await rewriteTrace(folder, record =>
			record.kind === 'ended' && record.actor === 'c2' ? {...record, failure: 'boom', isThrown: true} : record,
		);
		const result = await withTrace(folder, checkTrace);
		t.deepEqual(texts(result), ['9: c2 was ended by what it consumed: boom']);
		t.is(result.counts['dropped: version-unknown'], 1);
	}));

test('who leaves while its batch is in the pass has it applied, and what it sent besides is withdrawn', t => {
	const found: string[] = [];
	const rule = new StepRule((invariant, text) => found.push(`${invariant}: ${text}`));
	const at = undefined as unknown as Located;
	const hear = (event: object, commands: readonly object[] = []) =>
		rule.input({kind: 'input', actor: 'main', event, commands} as unknown as InputRecord, at);
	const step = {round: 0, step: 0};
	hear({type: 'activations', from: 'c0', body: step}, [
		{pass: 'mainStep', input: {parts: [{...step, client: 'c0', weight: 1}]}},
	]);
	hear({type: 'activations', from: 'c0', body: {round: 0, step: 1}});
	hear({type: 'leave', from: 'c0', body: {reason: 'left'}});
	hear({type: 'mainStep.done'});
	t.deepEqual(found, []);
	const counts = rule.counts();
	t.is(counts['steps applied'], 1);
	t.is(counts['steps withdrawn'], 1);
	t.is(counts['steps waiting at the end'], 0);
});
