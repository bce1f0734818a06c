import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {join} from 'node:path';
import {PassThrough} from 'node:stream';
import {text} from 'node:stream/consumers';
import test from 'ava';
import {stepThrough} from '../../runtime/cli/step-session.ts';
import {recordRun, withFolder} from '../_helpers/recorded-run.ts';
import {rewriteTrace, withTrace} from '../_helpers/traces.ts';

const command = new URL('../../runtime/cli/cutlayer.mjs', import.meta.url).pathname;
const kept = join(import.meta.dirname, '../traces/split-lora.trace');

/** A session over a trace with the given lines on standard input. */
async function session(run: string, lines: readonly string[], ...flags: string[]) {
	const child = spawn(process.execPath, [command, 'replay', run, '--step', ...flags]);
	child.stdin.end(`${lines.join('\n')}\n`);
	const [said, complaint] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
	return {said: said.split('\n').slice(2), complaint, code: child.exitCode};
}

const numbers = (lines: readonly string[]) =>
	lines.flatMap(line => (/^ +(\d+) +\d+\.\d{3} /.exec(line) ?? []).slice(1).map(Number));

test('a session goes on, back and to a record, a message, a state and a step', async t => {
	const lines = [
		'next 3',
		'previous',
		'to 41',
		'to c2:0:3',
		'to step c1 0 1',
		'to state collecting',
		'n',
		'p',
		'where',
	];
	const {said, code} = await session(kept, lines);
	const seen = numbers(said);
	t.deepEqual(seen.slice(0, 5), [1, 2, 3, 2, 41]);
	t.regex(said[5]!, / c2 .* -> activations to main/);
	t.regex(said[6]!, / c1 .* -> activations to main/);
	t.regex(said[7]!, / main .*\[collecting\]/);
	t.deepEqual(seen.slice(-3), [seen[7]! + 1, seen[7]!, seen[7]!]);
	t.is(code, 0);
});

test('a session stops at verbs, clients, states and losses, and goes back to them', async t => {
	const lines = ['continue', 'break verb gradient', 'c', 'c', 'b', 'clear', 'break loss 2.9', 'c', 'break loss high'];
	const {said} = await session(kept, lines);
	t.regex(said[0]!, /There are no breaks to stop at; add one with break loss 4/);
	const [first, second, again] = numbers(said);
	t.true(second! > first!);
	t.is(again, first);
	t.regex(said.find(line => /gradient from main/.test(line)) ?? '', /loss 3/);
	t.regex(said.at(-2)!, /Expected break state NAME, verb NAME, client ID or loss ABOVE/);
});

test('a session shows state, context, inbox, causes, effects and what is known of tensors', async t => {
	const lines = [
		'to step c1 0 1',
		'state',
		'context c1 round',
		'inbox main',
		'causes',
		'effects',
		'tensors',
		'inbox c9',
	];
	const {said} = await session(kept, lines);
	t.is(said[1], 'c1: active.training.awaitingGradient+liveness.silent');
	t.is(said[2], '0');
	t.regex(said.join('\n'), /c1:0:3 +activations from c1, sent in record \d+/);
	t.regex(said.join('\n'), / c2 +started as client/);
	t.regex(said.join('\n'), /main +activations from c1/);
	t.regex(said.join('\n'), /activations: f32\[\d+,4\]:[0-9a-f]{32}\n/);
	t.regex(said.at(-2)!, /c9 has not started here; started are: fed, main, evaluator, c0, c1, c2/);
});

test('at level digest a session shows the norm of an adapter, sent or got, and says why there is no more', async t => {
	const why = 'their values are not in a trace of level digest, record one with --trace full';
	const {said} = await session(kept, [
		'break verb upload',
		'c',
		'tensors',
		'c',
		'tensors',
		'to step c1 0 1',
		'tensors',
	]);
	const told = said.filter(line => line.startsWith(why));
	t.is(told.length, 3);
	for (const line of told.slice(0, 2))
		t.regex(line.slice(why.length), /^; the norm of all together is [\d.e-]+, which was recorded$/);
	t.is(told[0], told[1]);
	t.is(told[2]!.slice(why.length), '; no norm either: only messages that carry an adapter have one');
});

test('on a terminal the arrow keys bring lines back, words are completed and Ctrl-C ends the session', t =>
	withTrace(kept, async trace => {
		const [input, terminal] = [new PassThrough(), new PassThrough()];
		let printed = '';
		const heard = (text: string) =>
			new Promise<void>(resolve => {
				const hear = () => (printed.includes(text) ? resolve() : setImmediate(hear));
				hear();
			});
		terminal.resume();
		const print = (text: string) => {
			printed += text;
		};
		const ended = stepThrough({trace, input, terminal, print});
		const press = (...keys: string[]) => {
			for (const key of keys) input.write(key);
		};
		press(...'next 2\r');
		await heard('       2 ');
		press('\x1b[A', '\r');
		await heard('       4 ');
		press(...'whe\t\r');
		press(...'to 41\r');
		await heard('      41 ');
		t.deepEqual(numbers(printed.split('\n')), [1, 2, 3, 4, 4, 41]);
		press('\x03');
		t.is(await ended, 0);
	}));

test('a session shows mean, norm and histogram of tensors where their values were kept', t =>
	withFolder(async folder => {
		await recordRun({folder, level: 'full'});
		const {said} = await session(folder, ['to step c1 0 1', 'tensors']);
		t.regex(
			said.join('\n'),
			/mean -?[\d.e-]+, deviation [\d.e-]+, norm [\d.e-]+, least \S+, largest \S+ {2}[▁▂▃▄▅▆▇█]+/,
		);
	}));

test('a session says where a replay parts and goes on; it then exits 1', t =>
	withFolder(async folder => {
		await recordRun({folder});
		await rewriteTrace(folder, record =>
			record.kind === 'input' && record.event.type === 'upload-accepted'
				? {...record, event: {type: 'host.pause'}}
				: record,
		);
		const {said, code} = await session(folder, ['break verb host.pause', 'c', 'n'], '--actor', 'c1');
		t.regex(said.join('\n'), /DIVERGES in .*\n {2}recorded: .*\n {2}replayed: /);
		t.is(code, 1);
	}));

test('a word that a session does not know is answered with the nearest one', async t => {
	const {said, code} = await session(kept, ['nxt', 'to nowhere', 'next x', 'to 9999', 'help', 'quit', 'next']);
	t.is(said[0], 'There is no nxt; did you mean next? help lists what there is');
	t.regex(said[1]!, /Expected to RECORD, to MESSAGE-ID, to state NAME or to step CLIENT ROUND STEP/);
	t.regex(said[2]!, /Expected a number of records after next, got x/);
	t.is(said[3], 'There is no record 9999 in this trace');
	t.deepEqual(numbers(said), []);
	t.is(code, 0);
});

test('a session and one JSON object do not go together', async t => {
	const {complaint, code} = await session(kept, [], '--json');
	t.regex(complaint, /--step and --json do not go together; leave out --json/);
	t.is(code, 2);
});
