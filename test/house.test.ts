/**
The style of the house is a test: what every file looks like, who may import what, and that linter and compiler agree.
*/
import {execFile} from 'node:child_process';
import {mkdir, mkdtemp, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {promisify} from 'node:util';
import test from 'ava';
import {importBreaches} from './house/import-rules.ts';
import {breaches} from './house/source-rules.ts';
import {houseFolders, readSources} from './house/sources.ts';

const root = path.resolve(import.meta.dirname, '..');
const run = promisify(execFile);

test('every source file keeps the rules of the house', t => {
	const sources = readSources(root);
	t.true(sources.length > 50);
	t.deepEqual(sources.flatMap(breaches), []);
});

test('every import keeps the rules of the house', async t => {
	t.deepEqual(await importBreaches(root), []);
});

for (const [tool, args] of [
	['biome', ['check', '.']],
	['tsc', ['-p', '.']],
] as const) {
	test(`${tool} finds nothing`, async t => {
		const program = path.join(root, 'node_modules', '.bin', tool);
		const said = await run(program, args, {cwd: root}).then(
			() => '',
			(error: {stdout: string; stderr: string}) => error.stdout + error.stderr,
		);
		t.is(said, '');
	});
}

const opening = '/** What it is. */\n';

test('a planted breach of each rule for a single file is found at its line', t => {
	const planted: [file: string, text: string, expected: string[]][] = [
		[
			'protocols/a.ts',
			'export {};\n',
			['protocols/a.ts:1: error: a file that does not say what it is is banned, use an opening comment /** ... */'],
		],
		[
			'runtime/a.ts',
			`${opening}${'\n'.repeat(500)}`,
			['runtime/a.ts:501: error: a file of 501 lines is banned, use files of at most 500'],
		],
		['actors/a.ts', `${opening}const at = Date.now();\n`, ['actors/a.ts:2: error: Date is banned, use the clock port']],
		[
			'runtime/sim/a.ts',
			`${opening}setTimeout(() => 0, 1);\n`,
			['runtime/sim/a.ts:2: error: setTimeout is banned, use the clock port'],
		],
		[
			'runtime/trace/a.ts',
			`${opening}globalThis.setInterval(f);\n`,
			['runtime/trace/a.ts:2: error: setInterval is banned, use the clock port'],
		],
		[
			'runtime/replay/a.ts',
			`${opening}\nperformance.now();\n`,
			['runtime/replay/a.ts:3: error: performance is banned, use the clock port'],
		],
		[
			'runtime/compute/a.ts',
			`${opening}Math.random();\n`,
			['runtime/compute/a.ts:2: error: Math.random is banned, use a keyed stream of runtime/random.ts'],
		],
		[
			'scenarios/a.ts',
			`${opening}import {randomUUID} from 'node:crypto';\n`,
			['scenarios/a.ts:2: error: randomUUID is banned, use an id derived from what it names'],
		],
		[
			'protocols/b.ts',
			`${opening}crypto.randomUUID();\n`,
			['protocols/b.ts:2: error: randomUUID is banned, use an id derived from what it names'],
		],
		[
			'runtime/live/a.ts',
			`${opening}createActor(machine);\n`,
			['runtime/live/a.ts:2: error: createActor is banned, use the host, which makes every actor'],
		],
		[
			'test/a.test.ts',
			`${opening}test.skip('x', f);\n`,
			['test/a.test.ts:2: error: test.skip is banned, use a test that runs and passes'],
		],
		[
			'test/b.test.ts',
			`${opening}test.serial.failing('x', f);\n`,
			['test/b.test.ts:2: error: test.serial.failing is banned, use a test that runs and passes'],
		],
	];
	for (const [file, text, expected] of planted) t.deepEqual(breaches({file, text}), expected);
});

test('names that only look banned are let through', t => {
	const innocent = `${opening}
import type {Clock} from './ports.ts';
interface Timer { setTimeout(fire: () => void): void }
const wait = (clock: Clock) => clock.setTimeout(() => undefined, 5); // not Date.now()
const text = 'Math.random';
`;
	t.deepEqual(breaches({file: 'protocols/a.ts', text: innocent}), []);
	t.deepEqual(breaches({file: 'runtime/live/a.ts', text: `${opening}Date.now(); Math.random();\n`}), []);
	t.deepEqual(breaches({file: 'runtime/host/a.ts', text: `${opening}createActor(machine);\n`}), []);
});

const plantedImports: Record<string, string> = {
	'protocols/a.ts': "import '../actors/b.ts';\n",
	'actors/b.ts': "import 'node:fs';\nimport '../runtime/run.ts';\n",
	'scenarios/c.ts': "import '../actors/b.ts';\n",
	'runtime/run.ts': "import './cli/d.ts';\nimport '@tensorflow/tfjs';\n",
	'runtime/cli/d.ts': "import 'nats';\nimport 'msgpackr';\nimport '../../test/e.ts';\n",
	'runtime/tensor/f.ts': "import '../model/g.ts';\nimport 'node:fs/promises';\n",
	'runtime/model/g.ts': "import '../weights/h.ts';\nimport './missing.ts';\n",
	'runtime/weights/h.ts': "import '../cycle-a.ts';\n",
	'runtime/cycle-a.ts': "import './cycle-b.ts';\n",
	'runtime/cycle-b.ts': "import './cycle-a.ts';\n",
	'runtime/report/i.ts': "import '../host/j.ts';\n",
	'runtime/host/j.ts': "import '../replay/k.ts';\n",
	'runtime/replay/k.ts': "import '../run.ts';\n",
	'test/e.ts': "import 'nats';\nimport '@tensorflow/tfjs';\n",
};

const plantedBreaches = [
	'actors/b.ts:2: error: importing node:fs is banned, use protocols and xstate only',
	'actors/b.ts:3: error: importing ../runtime/run.ts is banned, use protocols and xstate only',
	'protocols/a.ts:2: error: importing ../actors/b.ts is banned, use protocols only',
	'runtime/cli/d.ts:2: error: importing nats is banned, use runtime/bus',
	'runtime/cli/d.ts:3: error: importing msgpackr is banned, use protocols/codec.ts',
	'runtime/cli/d.ts:4: error: importing ../../test/e.ts is banned, use code outside test/',
	'runtime/cycle-a.ts:2: error: importing ./cycle-b.ts is banned, use a third file that both import',
	'runtime/host/j.ts:2: error: importing ../replay/k.ts is banned, use a room below host',
	'runtime/model/g.ts:2: error: importing ../weights/h.ts is banned, use tensor, which lies below model',
	'runtime/model/g.ts:3: error: importing ./missing.ts is banned, use a module that exists, with its .ts ending',
	'runtime/replay/k.ts:2: error: importing ../run.ts is banned, use a room below run',
	'runtime/report/i.ts:2: error: importing ../host/j.ts is banned, use trace and units only',
	'runtime/run.ts:2: error: importing ./cli/d.ts is banned, use a room below cli',
	'runtime/run.ts:3: error: importing @tensorflow/tfjs is banned, use runtime/tensor',
	'runtime/tensor/f.ts:2: error: importing ../model/g.ts is banned, use protocols only, tensor is the lowest room',
	'runtime/tensor/f.ts:3: error: importing node:fs/promises is banned, use the rooms whose job files are',
	'runtime/weights/h.ts:2: error: importing ../cycle-a.ts is banned, use tensor and model, which lie below weights',
	'scenarios/c.ts:2: error: importing ../actors/b.ts is banned, use protocols only',
];

test('a planted import of each forbidden kind is found at its line', async t => {
	const folder = await mkdtemp(path.join(tmpdir(), 'cutlayer-house-'));
	try {
		for (const name of houseFolders) await mkdir(path.join(folder, name), {recursive: true});
		await writeFile(path.join(folder, 'tsconfig.json'), '{}');
		for (const [file, text] of Object.entries(plantedImports)) {
			await mkdir(path.dirname(path.join(folder, file)), {recursive: true});
			await writeFile(path.join(folder, file), opening + text);
		}
		const found = await importBreaches(folder);
		// There is no node_modules: that the packages do not resolve is not planted.
		t.deepEqual(
			found.filter(line => !/importing [^.]\S* is banned, use a module that exists/.test(line)).sort(),
			plantedBreaches,
		);
	} finally {
		await rm(folder, {recursive: true, force: true});
	}
});
