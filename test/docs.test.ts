/**
The documents say what the code does: every message and field, every state of every machine, every limit.
*/
import {readFileSync} from 'node:fs';
import path from 'node:path';
import test from 'ava';
import type {AnyStateMachine, AnyStateNode} from 'xstate';
import {clientMachine} from '../actors/client.ts';
import {evaluatorMachine} from '../actors/evaluator.ts';
import {fedServerMachine} from '../actors/fed-server.ts';
import {mainServerMachine} from '../actors/main-server.ts';
import {defaultReassemblyLimits} from '../protocols/chunks.ts';
import {headerNames} from '../protocols/envelope.ts';
import {defaultFrameLimits} from '../protocols/frame-scan.ts';
import {messageRoutes, messageSchemas, type Verb} from '../protocols/messages.ts';

const read = (file: string) => readFileSync(path.resolve(import.meta.dirname, '../docs', file), 'utf8');
const protocol = read('protocol.md');
const architecture = read('architecture.md');

/** The text below a heading, up to the next one of its level. */
function sectionOf(text: string, heading: string): string {
	const level = /^#+/.exec(heading)![0];
	const from = text.indexOf(`\n${heading}\n`) + 1;
	if (from === 0) return '';
	const rest = text.slice(from + heading.length);
	const end = rest.search(new RegExp(`\n#{1,${level.length}} `));
	return end === -1 ? rest : rest.slice(0, end);
}

/** The code spans that open the rows of the first table whose head begins with `head`. */
function firstColumn(text: string, head: string): string[] {
	const [, table = ''] = text.split(`\n| ${head} |`);
	const rows = table.split('\n').slice(1);
	const end = rows.findIndex(row => !row.startsWith('|'));
	return rows.slice(1, end === -1 ? undefined : end).map(row => /^\| `([^`]+)`/.exec(row)?.[1] ?? row);
}

type Schema = {properties?: Record<string, Schema>; items?: Schema; type?: string; anyOf?: {const?: string}[]};

/** Every leaf of a schema by its path, `[]` for the items of a list. */
function fieldsOf({properties}: Schema, prefix = ''): string[] {
	return Object.entries(properties ?? {}).flatMap(([name, schema]) => {
		if (schema.properties && Object.keys(schema.properties).length > 0) return fieldsOf(schema, `${prefix}${name}.`);
		return schema.items?.properties ? fieldsOf(schema.items, `${prefix}${name}[].`) : [`${prefix}${name}`];
	});
}

const schemas = messageSchemas as unknown as Record<Verb, Schema>;

test('protocol.md has a section for each verb and for no other', t => {
	const sections = [...sectionOf(protocol, '## Messages').matchAll(/^### `([^`]+)`$/gm)].map(match => match[1]!);
	t.deepEqual(sections, Object.keys(messageSchemas));
});

for (const verb of Object.keys(messageSchemas) as Verb[]) {
	test(`protocol.md names each field of ${verb} and no other, and who sends it`, t => {
		const section = sectionOf(protocol, `### \`${verb}\``);
		t.deepEqual(firstColumn(section, 'field'), fieldsOf(schemas[verb]));
		const [, from, to] = /^From: (.+)[.] To: (.+)[.]$/m.exec(section)!;
		const {reach} = messageRoutes[verb];
		t.deepEqual(from!.split(', '), messageRoutes[verb].from);
		t.regex(to!, {one: /^one$/, all: /^all$/, either: /^all, or one/}[reach]);
	});
}

test('protocol.md names each refusal code', t => {
	const codes = schemas.refused.properties!.code!.anyOf!.map(literal => literal.const!);
	t.true(codes.length > 3);
	t.deepEqual(firstColumn(sectionOf(protocol, '### `refused`'), 'refusal code'), codes);
});

test('protocol.md names each header and limit', t => {
	for (const header of Object.values(headerNames)) t.true(protocol.includes(`| \`${header}\` |`), header);
	const limits = sectionOf(protocol, '### Limits');
	const {bodyBytesMax, depthMax, valuesMax} = defaultFrameLimits;
	const {frameBytesMax, senderBytesMax, bytesMax, timeoutMs} = defaultReassemblyLimits;
	for (const limit of [bodyBytesMax, depthMax, valuesMax, frameBytesMax, senderBytesMax, bytesMax, timeoutMs])
		t.true(limits.includes(`| ${limit.toLocaleString('en')} `), String(limit));
});

const namesBelow = (node: AnyStateNode): string[] =>
	Object.values(node.states).flatMap(child => [child.key, ...namesBelow(child)]);

/** The states that a `stateDiagram-v2` names, as ends of arrows or as composites. */
function statesDrawn(diagram: string): Set<string> {
	const names = [...diagram.matchAll(/^\s*(\S+) --> (\S+?)(?: ?:.*)?$/gm)].flatMap(match => [match[1]!, match[2]!]);
	const composites = [...diagram.matchAll(/^\s*state (\S+) \{$/gm)].map(match => match[1]!);
	// Equal names in two parts of a machine have the part in front: `leases_deciding`.
	return new Set([...names, ...composites].filter(name => name !== '[*]').map(name => name.split('_').at(-1)!));
}

const machines: Record<string, AnyStateMachine> = {
	Client: clientMachine,
	'Main server': mainServerMachine,
	'Fed server': fedServerMachine,
	Evaluator: evaluatorMachine,
};

for (const [title, machine] of Object.entries(machines)) {
	test(`the state chart of architecture.md for the ${title.toLowerCase()} has the states of its machine`, t => {
		const [, diagram = ''] = sectionOf(architecture, `### ${title}`).split(/```mermaid\nstateDiagram-v2|```/);
		t.deepEqual([...statesDrawn(diagram)].sort(), [...new Set(namesBelow(machine.root))].sort());
	});
}
