import test from 'ava';
import {decodeFrame, encodeFrame} from '../../protocols/codec.ts';
import type {Frame} from '../../protocols/ports.ts';
import {parseSubject} from '../../protocols/subjects.ts';
import {f32View, i32View, type NamedTensors, type Tensor, tensorOf} from '../../protocols/tensor.ts';
import {createMemoryBroker} from '../../runtime/bus/memory.ts';
import {wrapBus} from '../../runtime/bus/wrap.ts';
import {randomStream} from '../../runtime/random.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {lossesOf, plainAdapter, tinyBench, tinyScenario} from '../_helpers/tiny-run.ts';

const bench = await tinyBench(await nativeBackend(), 'tiny-gpt2');
const {hidden, vocabulary} = bench.model.config;
const scenario = tinyScenario({evaluation: {everyRounds: 0}});
const expected = await bench.run(scenario);

type Change = (tensors: Record<string, Tensor>) => NamedTensors;

/** A frame with other tensors, correct in every other way. */
function changed(frame: Frame, change: Change): Frame {
	const decoded = decodeFrame(frame);
	if (!decoded.ok) throw new Error(decoded.problem.field);
	const {messageId, causationId, sequence} = decoded.envelope;
	const body = decoded.body as {tensors: Record<string, Tensor>};
	return encodeFrame({
		subject: frame.subject,
		messageId,
		sequence,
		...(causationId !== undefined && {causationId}),
		body: {...body, tensors: change({...body.tensors})},
	});
}

/** A run in which client c1's messages of one verb are changed from the second on. */
async function runWith(verb: string, change: Change) {
	const broker = createMemoryBroker();
	let seen = 0;
	const connect = async (name: string) => {
		const bus = broker.connect();
		if (name !== 'c1') return bus;
		const publish = (frame: Frame) => {
			const isChanged = parseSubject(frame.subject)?.verb === verb && ++seen > 1;
			bus.publish(isChanged ? changed(frame, change) : frame);
		};
		return wrapBus(bus, {publish});
	};
	return bench.run(scenario, {connect});
}

const floats = (tensor: Tensor, change: (values: Float32Array) => void): Tensor => {
	const values = f32View(tensor).slice();
	change(values);
	return tensorOf(values, tensor.shape);
};
const ints = (tensor: Tensor, value: number): Tensor =>
	tensorOf(
		i32View(tensor).map(() => value),
		tensor.shape,
	);

const badActivations: Record<string, [field: RegExp, change: Change]> = {
	'NaN among the activations': [
		/NaN|finite/i,
		tensors => ({...tensors, activations: floats(tensors.activations!, values => values.fill(Number.NaN, 3, 4))}),
	],
	'a label outside the vocabulary': [
		/labels is \d+/,
		tensors => ({...tensors, labels: ints(tensors.labels!, vocabulary)}),
	],
	'a negative label': [/labels is -1/, tensors => ({...tensors, labels: ints(tensors.labels!, -1)})],
	'a position outside the batch': [
		/targetPositions is 99999/,
		tensors => ({...tensors, targetPositions: ints(tensors.targetPositions!, 99_999)}),
	],
	'activations of another hidden size': [
		/activations is \[/,
		tensors => {
			const tokens = tensors.activations!.shape[0]!;
			return {...tensors, activations: tensorOf(new Float32Array(tokens * (hidden + 1)), [tokens, hidden + 1])};
		},
	],
};

for (const [what, [reason, change]] of Object.entries(badActivations)) {
	test(`a client that sends ${what} leaves with the reason, and the others' round goes on`, async t => {
		const {summary, rows} = await runWith('activations', change);
		t.is(summary.status, 'done', summary.reason);
		t.regex(summary.reason, /c1: main refused activations/);
		t.regex(summary.reason, reason);
		t.true(Object.values(summary.dropped).reduce((sum, count) => sum + count, 0) >= 1);
		const steps = (client: string) => rows.filter(row => row.kind === 'step' && row.actor === client).length;
		t.deepEqual(['c0', 'c1', 'c2'].map(steps), [4, 1, 4]);
		const rounds = rows.filter(row => row.kind === 'round');
		t.deepEqual(
			rounds.map(row => [row.uploads, row.gone]),
			[
				[2, 'c1'],
				[2, ''],
			],
		);
		// Before the refusal nothing differs: the first step is that of a run without it.
		t.deepEqual(lossesOf(rows, scenario)[0], lossesOf(expected.rows, scenario)[0]);
	});
}

const badUploads: Record<string, Change> = {
	'a matrix less': tensors => Object.fromEntries(Object.entries(tensors).slice(1)),
	'a matrix more': tensors => ({...tensors, 'block.9.q.A': Object.values(tensors)[0]!}),
	'another shape': tensors =>
		Object.fromEntries(
			Object.entries(tensors).map(([name, tensor]) => [name, {...tensor, shape: tensor.shape.toReversed()}]),
		),
};

for (const [what, change] of Object.entries(badUploads)) {
	test(`an upload with ${what} is refused before it is aggregated`, async t => {
		const {summary, rows, adapters} = await runWith('upload', change);
		t.is(summary.status, 'done', summary.reason);
		t.regex(summary.reason, /c1: fed refused upload: tensors/);
		const rounds = rows.filter(row => row.kind === 'round');
		t.deepEqual(
			rounds.map(row => row.uploads),
			[3, 2],
		);
		t.true(Object.values(plainAdapter(adapters!.client)).every(({values}) => values.every(Number.isFinite)));
	});
}

test('two thousand mutated frames during a run change none of its losses', async t => {
	const broker = createMemoryBroker({onProblem: problem => t.fail(problem.message)});
	const stranger = broker.connect();
	const stream = randomStream(17, 'mutated frames');
	let sent = 0;
	const mutate = (frame: Frame) => {
		if (sent >= 2000) return;
		for (let copy = 0; copy < 160; copy++, sent++) {
			const body = frame.body.slice();
			const kind = stream.integer(0, 2);
			// What is changed is never only a number inside a tensor, which would be another valid message.
			const head = Math.min(body.byteLength - 1, 24);
			if (kind === 0) for (let flips = 0; flips < 8; flips++) body[stream.integer(0, head)]! ^= stream.integer(1, 255);
			const cut = kind === 1 ? body.subarray(0, stream.integer(0, body.byteLength - 1)) : body;
			const headers = kind === 2 ? {...frame.headers, ...garbledHeader(frame, stream.integer(0, 1000))} : frame.headers;
			stranger.publish({subject: frame.subject, headers, body: cut});
		}
	};
	const connect = async () => {
		const bus = broker.connect();
		const publish = (frame: Frame) => {
			const verb = parseSubject(frame.subject)?.verb;
			if (verb === 'round-opened' || verb === 'gradient') mutate(frame);
			bus.publish(frame);
		};
		return wrapBus(bus, {publish});
	};
	const {summary, rows} = await bench.run(scenario, {connect});
	t.is(sent >= 2000 ? summary.status : 'too few', 'done', summary.reason);
	t.deepEqual(lossesOf(rows, scenario), lossesOf(expected.rows, scenario));
	t.log({sent, dropped: summary.dropped});
});

/** One of the headers, made wrong. */
function garbledHeader({headers}: Frame, draw: number): Record<string, string> {
	const names = Object.keys(headers);
	return {[names[draw % names.length]!]: `?${draw}`};
}
