/**
Subjects: built and read back, refused when a part is no id, and matched by the rules of NATS.
*/
import test from 'ava';
import fc from 'fast-check';
import {clientMachine} from '../../actors/client.ts';
import {evaluatorMachine} from '../../actors/evaluator.ts';
import {fedServerMachine} from '../../actors/fed-server.ts';
import {mainServerMachine} from '../../actors/main-server.ts';
import {messageRoutes} from '../../protocols/messages.ts';
import {
	isId,
	parseSubject,
	patternOf,
	patternsFor,
	publishPatternFor,
	type SenderKind,
	type Subject,
	subjectMatches,
	subjectOf,
} from '../../protocols/subjects.ts';

const kinds: SenderKind[] = [
	'client',
	'main-server',
	'fed-server',
	'observer',
	'evaluator',
	'standby',
	'conductor',
	'host',
];
const id = fc.stringMatching(/^[a-z0-9-]{1,12}$/);
const subject: fc.Arbitrary<Subject> = fc.record(
	{run: id, kind: fc.constantFrom(...kinds), id, verb: id, to: id},
	{requiredKeys: ['run', 'kind', 'id', 'verb']},
);

test('a subject that was built is read back in its parts', t => {
	t.is(subjectOf({run: 'r1', kind: 'client', id: 'c0', verb: 'hello'}), 'cutlayer.v1.r1.client.c0.hello');
	t.is(subjectOf({run: 'r1', kind: 'client', id: 'c0', verb: 'upload', to: 'f'}), 'cutlayer.v1.r1.client.c0.upload.f');
	fc.assert(fc.property(subject, parts => t.deepEqual(parseSubject(subjectOf(parts)), parts)));
});

test('an id that could not be one token is refused with what was found', t => {
	for (const bad of ['', 'A', 'a.b', '*', '>', 'a b', 'ä', 'a'.repeat(65), 'a\n']) {
		t.false(isId(bad));
		const error = t.throws(() => subjectOf({run: 'r', kind: 'client', id: bad, verb: 'hello'}), {
			code: 'usage',
		} as never);
		t.regex(error!.message, /Expected the sender id to be 1 to 64 characters of a-z, 0-9 and -, found "/);
	}
});

test('a text that is no subject of ours is not parsed', t => {
	for (const text of [
		'',
		'cutlayer.v1',
		'cutlayer.v1.r.client.c',
		'cutlayer.v2.r.client.c.hello',
		'cutlayer.v1.r.king.c.hello',
		'cutlayer.v1.r.client.c.hello.x.y',
		'cutlayer.v1.r.client.*.hello',
		'cutlayer.v1.r.client.c.hello.',
	]) {
		t.is(parseSubject(text), undefined, text);
	}
	fc.assert(fc.property(fc.string(), text => t.is(parseSubject(text), undefined)));
});

/** The rules of NATS, written as a regular expression. */
function matchesByRegExp(pattern: string, text: string): boolean {
	const tokens = pattern
		.split('.')
		.map((token, index, all) =>
			token === '*' ? '[^.]+' : token === '>' && index === all.length - 1 ? '.+' : token.replace('>', '\\>'),
		);
	return new RegExp(`^${tokens.join('\\.')}$`).test(text);
}

test('patterns match as a regular expression of the same meaning does', t => {
	const token = fc.constantFrom('a', 'b', 'ab', 'c-1');
	const text = fc.array(token, {minLength: 1, maxLength: 5}).map(tokens => tokens.join('.'));
	const pattern = fc
		.tuple(fc.array(fc.oneof(token, fc.constant('*')), {maxLength: 5}), fc.boolean())
		.map(([tokens, hasRest]) => [...tokens, ...(hasRest || tokens.length === 0 ? ['>'] : [])].join('.'));
	fc.assert(
		fc.property(pattern, text, (one, other) =>
			t.is(subjectMatches(one, other), matchesByRegExp(one, other), `${one} ${other}`),
		),
		{numRuns: 5000},
	);
});

test('a client hears what is sent to it and broadcasts of the servers, and no mail of another client', t => {
	const hears = (patterns: readonly string[], parts: Subject) =>
		patterns.some(pattern => subjectMatches(pattern, subjectOf(parts)));
	const patterns = patternsFor('client', 'r', 'c1');
	t.true(hears(patterns, {run: 'r', kind: 'fed-server', id: 'f', verb: 'round-opened'}));
	t.true(hears(patterns, {run: 'r', kind: 'main-server', id: 's', verb: 'gradient', to: 'c1'}));
	t.false(hears(patterns, {run: 'r', kind: 'main-server', id: 's', verb: 'gradient', to: 'c2'}));
	t.false(hears(patterns, {run: 'r', kind: 'client', id: 'c2', verb: 'activations', to: 's'}));
	t.false(hears(patterns, {run: 'r', kind: 'client', id: 'c2', verb: 'hello'}));
	t.false(hears(patterns, {run: 'other', kind: 'fed-server', id: 'f', verb: 'round-opened'}));
	t.true(hears(patternsFor('main-server', 'r', 's'), {run: 'r', kind: 'client', id: 'c2', verb: 'hello'}));
	t.true(hears(patternsFor('observer', 'r', 'o'), {run: 'r', kind: 'client', id: 'c2', verb: 'activations', to: 's'}));
	for (const kind of kinds) {
		if (kind !== 'observer') t.false(patternsFor(kind, 'r', 'x1').some(pattern => pattern.includes('>')));
	}
});

test('an actor gets the broadcasts that its machine takes and no others', t => {
	const machines = {
		client: clientMachine,
		'main-server': mainServerMachine,
		'fed-server': fedServerMachine,
		evaluator: evaluatorMachine,
	} as const;
	for (const [kind, machine] of Object.entries(machines)) {
		const patterns = patternsFor(kind as SenderKind, 'r', 'x1');
		const taken = new Set<string>(machine.events);
		for (const [verb, {from, reach}] of Object.entries(messageRoutes)) {
			const senders = from.filter(sender =>
				patterns.some(pattern => subjectMatches(pattern, subjectOf({run: 'r', kind: sender, id: 'y1', verb}))),
			);
			t.is(senders.length > 0, reach !== 'one' && taken.has(verb), `${kind} ${verb} ${senders}`);
		}
	}
});

test('an actor may publish under its own kind and id only', t => {
	const pattern = publishPatternFor('client', 'r', 'c1');
	t.true(subjectMatches(pattern, 'cutlayer.v1.r.client.c1.upload.f'));
	t.false(subjectMatches(pattern, 'cutlayer.v1.r.client.c2.upload.f'));
	t.false(subjectMatches(pattern, 'cutlayer.v1.r.fed-server.c1.round-opened'));
	t.is(patternOf({run: 'r', kind: 'client', to: 's'}), 'cutlayer.v1.r.client.*.*.s');
});
