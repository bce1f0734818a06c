import {readFileSync} from 'node:fs';
import path from 'node:path';
import test from 'ava';
import {checkScenario, setPath} from '../../protocols/check-scenario.ts';
import {policyRows} from '../../protocols/policy-list.ts';
import {callCutlayer} from '../_helpers/call-cutlayer.ts';

const rows = policyRows();
const namesOf = (kind: string) => rows.filter(row => row.kind === kind).map(({name}) => name);

/** A scenario in which a policy may be named: what other policies it needs, and clients enough. */
function scenarioWith(kind: string, name: string) {
	const file = {name: 'a', clients: 12, data: {kind: 'restaurants'} as const};
	const needs: Record<string, string[]> = {
		'stepClosing.missing': ['stepClosing={"kind":"quorum","count":2}'],
		'closing.late': ['closing={"kind":"quorum","count":2}'],
		'aggregation.staleness': ['aggregation.kind=fedasync', 'update.kind=sequential'],
		'aggregation fedasync': ['update.kind=sequential'],
		'aggregation fedbuff': ['update.kind=sequential'],
		'stepClosing quorum': ['stepClosing.count=2'],
		'closing quorum': ['closing.fraction=0.5'],
		'closing overselect': ['closing.count=9', 'selection.kind=random'],
		'selection random': ['selection.fraction=0.5'],
		'selection power-of-choice': ['selection.count=3'],
		'selection oort': ['selection.count=3'],
	};
	const isWord = kind === 'stepClosing.missing' || kind === 'closing.late';
	const own = `${kind}${isWord ? '' : '.kind'}=${name}`;
	for (const text of [...(needs[kind] ?? []), ...(needs[`${kind} ${name}`] ?? []), own]) setPath(file, text);
	return file;
}

test('every policy has a line and a source, and can be named where the list says', t => {
	t.true(rows.length >= 40);
	for (const {kind, name, description, source} of rows) {
		t.regex(description, /^\S.{4,100}$/, `${kind} ${name}`);
		t.regex(source, /^\S.{8,}$/, `${kind} ${name}`);
		t.notThrows(() => checkScenario(scenarioWith(kind, name)), `${kind} ${name}`);
	}
});

test('the list holds what a wrong name is told, kind by kind', t => {
	for (const kind of ['update', 'stepClosing', 'selection', 'closing', 'aggregation']) {
		const error = t.throws(() => checkScenario({name: 'a', data: {kind: 'restaurants'}, [kind]: {kind: 'zzz'}}));
		t.true(error!.message.includes(`one of ${namesOf(kind).join(', ')}, got`), error!.message);
	}
});

test('one policy of each kind is what a scenario gets that names none', t => {
	for (const kind of new Set(rows.map(row => row.kind)))
		t.is(rows.filter(row => row.kind === kind && row.isDefault).length, 1, kind);
	const {aggregation, update} = checkScenario({name: 'a', data: {kind: 'restaurants'}});
	t.deepEqual(
		rows.filter(row => row.isDefault).map(row => row.name),
		[update.kind, 'all', 'drop', 'all', 'all', 'drop', aggregation.kind, 'polynomial'],
	);
});

test.serial('cutlayer run --list policies prints a line for each, and --json its parameters', async t => {
	const {code, stdout} = await callCutlayer(['run', '--list', 'policies']);
	t.is(code, 0);
	const [head, ...lines] = stdout.trim().split('\n');
	t.deepEqual(head!.trim().split(/ {2,}/), ['kind', 'name', 'what it does', 'source', 'settings']);
	t.is(lines.length, rows.length);
	const hinge = lines.find(line => line.includes(' hinge '))!.split(/ {2,}/);
	t.deepEqual(hinge, [
		'aggregation.staleness',
		'hinge',
		's = 1 if tau <= b, else 1 / (a (tau - b) + 1)',
		'Xie et al., 2019, arXiv 1903.03934',
		'a 10, b 4',
	]);
	const json = JSON.parse((await callCutlayer(['run', '--list', 'policies', '--json'])).stdout);
	t.deepEqual(json, structuredClone(rows));
	t.like(json.find((row: {name: string}) => row.name === 'overselect').parameters, [
		{name: 'count', description: 'uploads that are needed'},
		{name: 'factor', default: 1.3},
		{name: 'late', default: 'drop'},
	]);
});

test.serial('cutlayer run --list takes no other word, and says which it takes', async t => {
	const {code, stderr} = await callCutlayer(['run', '--list', 'policy']);
	t.is(code, 2);
	t.regex(stderr, /argument 'policy' is invalid. Allowed choices are scenarios, policies/);
});

test('the README names every policy and no other', t => {
	const readme = readFileSync(path.resolve(import.meta.dirname, '../../README.md'), 'utf8');
	const [, table = ''] = readme.split('\n| in a scenario | one of |\n| --- | --- |\n');
	const named = table
		.split('\n\n')[0]!
		.split('\n')
		.map(line => [...line.matchAll(/`([^`]+)`/g)].map(match => match[1]!));
	const kinds = [...new Set(rows.map(row => row.kind))];
	t.deepEqual(
		named,
		kinds.map(kind => [kind, ...namesOf(kind)]),
	);
});
