import test from 'ava';
import fc from 'fast-check';
import {packPlain, unpackPlain} from '../../protocols/codec.ts';
import type {TraceRecord} from '../../runtime/trace/format.ts';
import {HeadScan, type RecordHead} from '../../runtime/trace/head.ts';
import {commandsOf} from '../../runtime/trace/trace.ts';
import {roundOf, verbsOf} from '../../runtime/trace/words.ts';
import {recordRun, withFolder} from '../_helpers/recorded-run.ts';
import {recordsIn, withTrace} from '../_helpers/traces.ts';

const scan = new HeadScan();

/** What a head must say, from the whole record. */
function expected(record: TraceRecord): RecordHead {
	const input = record.kind === 'input' ? record : undefined;
	return {
		kind: record.kind,
		n: record.n,
		t: record.t,
		actor: 'actor' in record ? record.actor : undefined,
		type: input?.event.type,
		from: input?.event.from,
		message: input?.message,
		by: input?.by,
		round: roundOf(record),
		verbs: verbsOf(record),
		sent: commandsOf(record).flatMap(command => ('send' in command ? [command.id] : [])),
	};
}

/** The head of a record that stands among other bytes. */
function headOf(record: TraceRecord): RecordHead {
	const packed = packPlain(record);
	const around = Buffer.alloc(packed.length + 6, 0xc1);
	around.set(packed, 3);
	return scan.read(around, 3, 3 + packed.length);
}

test('the heads of whole runs say what their records say', t =>
	withFolder(async folder => {
		for (const [name, scenario] of Object.entries({split: {}, whole: {mainServer: false}})) {
			await recordRun({folder: `${folder}/${name}`, scenario});
			const heads = await withTrace(`${folder}/${name}`, async trace => {
				const found: RecordHead[] = [];
				for await (const {head} of trace.entries()) found.push(head);
				return found;
			});
			t.deepEqual(heads, (await recordsIn(`${folder}/${name}`)).map(expected));
		}
	}));

const body = fc.oneof(
	fc.jsonValue(),
	fc.record({round: fc.oneof(fc.nat(), fc.double(), fc.string()), x: fc.jsonValue()}),
);
const id = fc
	.tuple(fc.constantFrom('c0', 'main', 'a-client-with-a-long-name-of-40-letters'), fc.nat())
	.map(([name, n]) => `${name}:0:${n}`);
const word = fc.oneof(fc.constantFrom('upload', 'gradient'), fc.string({unit: 'grapheme', maxLength: 40}));
const commands = fc.array(
	fc.oneof(
		fc.record({send: word, id, bytes: fc.nat(), body}),
		fc.record({pass: word, input: body}),
		fc.record({timer: fc.nat(), delayMs: fc.double()}),
	),
	{maxLength: 20},
);
const record = fc.record(
	{
		context: fc.jsonValue(),
		kind: fc.constantFrom('input', 'started', 'dropped'),
		t: fc.double({noNaN: true}),
		actor: word,
		event: fc.record({body, type: word, from: word, other: fc.jsonValue()}, {requiredKeys: ['type']}),
		message: id,
		by: fc.nat(),
		kinds: fc
			.anything({withBigInt: false, maxDepth: 3})
			.map(value => JSON.parse(JSON.stringify(value) ?? 'null') as unknown),
		patch: fc.array(fc.jsonValue()),
		commands,
		n: fc.nat(),
	},
	{requiredKeys: ['kind', 'n', 't', 'actor', 'event']},
);

test('the head of any record says what the record says, whatever else is in it', t => {
	fc.assert(
		fc.property(record, made => {
			const one = made as unknown as TraceRecord;
			// Only inputs have an event, a message and a cause.
			const {event: _, message: __, by: ___, ...rest} = made;
			const fits = (one.kind === 'input' ? one : rest) as TraceRecord;
			// Packing makes 0 of -0.
			t.deepEqual(headOf(fits), expected(unpackPlain(packPlain(fits)) as TraceRecord));
		}),
		{numRuns: 300},
	);
});

test('bytes that are no record are refused, cut anywhere or followed by more', t => {
	const packed = packPlain({kind: 'input', n: 1, t: 2.5, actor: 'c0', event: {type: 'x', body: {a: [1, {b: null}]}}});
	for (let length = 0; length < packed.length; length++)
		t.throws(() => scan.read(packed.subarray(0, length), 0, length));
	t.throws(() => scan.read(Buffer.concat([packed, Buffer.of(1)]), 0, packed.length + 1), {message: /after the end/});
	for (const value of [null, 1, 'text', [1], {}, {kind: 'input'}, {n: 1}]) {
		const other = packPlain(value);
		t.throws(() => scan.read(other, 0, other.length));
	}
});
