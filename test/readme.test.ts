/**
The commands of the README, run in a clean copy of the repository. `npm install` is replaced by a link to the packages that
are here, unless CUTLAYER_README_FULL is set; `npm start` takes one step, `npm test` one file.
*/
import {execFile} from 'node:child_process';
import {cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {promisify} from 'node:util';
import test from 'ava';
import {testWithModel} from './_helpers/optional.ts';

const root = path.resolve(import.meta.dirname, '..');
const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
const isFull = process.env.CUTLAYER_README_FULL !== undefined;
const run = promisify(execFile);

/** The contents of the fenced blocks of a language, in order. */
const blocks = (language: string) =>
	[...readme.matchAll(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\`$`, 'gm'))].map(match => match[1]!);

/** The commands of the README, a line each. */
const commands = blocks('sh').flatMap(block => block.split('\n').filter(line => line.trim() !== ''));

/** What is run for a command. */
function shortened(command: string): string {
	const [install, rest] = command.startsWith('npm install && ')
		? ['npm install && ', command.slice(15)]
		: ['', command];
	const short = {
		'npm start': 'npm start -- --steps 1 --out runs/started',
		'npm test': 'npm test -- test/protocols/subjects.test.ts',
	}[rest];
	return `${isFull ? install : ''}${short ?? rest}`;
}

/** Copies what the repository tracks or does not ignore, and the files that the README tells its reader to write. */
async function copyRepository(to: string): Promise<void> {
	const {stdout} = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
		cwd: root,
		maxBuffer: 2 ** 26,
	});
	for (const file of stdout.split('\0').filter(file => file !== '' && existsSync(path.join(root, file)))) {
		mkdirSync(path.dirname(path.join(to, file)), {recursive: true});
		cpSync(path.join(root, file), path.join(to, file));
	}
	if (!isFull) symlinkSync(path.join(root, 'node_modules'), path.join(to, 'node_modules'));
	writeFileSync(path.join(to, 'rows.jsonl'), blocks('jsonl')[0]!);
	writeFileSync(path.join(to, 'mine.ts'), blocks('ts')[0]!);
}

test('the README gives the two commands that a newcomer needs', t => {
	t.deepEqual(commands.slice(0, 2), ['npm install && npm start', 'npm install && npm test']);
});

testWithModel('every command of the README works in a clean copy of the repository', async t => {
	t.timeout(20 * 60_000);
	const copy = mkdtempSync(path.join(tmpdir(), 'cutlayer-readme-'));
	try {
		await copyRepository(copy);
		// AVA's own variables would make an inner AVA refuse to start.
		const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(AVA|NODE_OPTIONS)/.test(name)));
		for (const command of commands.map(shortened)) {
			const {stdout, stderr} = await run('bash', ['-c', command], {cwd: copy, env}).catch(
				(error: {stdout: string; stderr: string}) => {
					throw new Error(`${command}\n${error.stdout}\n${error.stderr}`);
				},
			);
			t.not(stdout + stderr, '', command);
		}
		for (const folder of ['started', 'mine', 'mine-too']) {
			for (const file of ['report.html', 'config.json', 'metrics.jsonl', 'summary.json', 'adapters/whole'])
				t.true(existsSync(path.join(copy, 'runs', folder, file)), `${folder}/${file}`);
		}
	} finally {
		rmSync(copy, {recursive: true});
	}
});

test('the README names each command of the command line and no other', async t => {
	const {stdout} = await run(process.execPath, [path.join(root, 'runtime/cli/cutlayer.mjs'), '--help']);
	const listed = stdout.split('\nCommands:\n')[1]!.split('\n\n')[0]!;
	const known = [...listed.matchAll(/^ {2}([a-z]+)/gm)].map(match => match[1]!).filter(name => name !== 'help');
	const [, table] = readme.split('\n| command | what it does |\n');
	const named = [...table!.split('\n\n')[0]!.matchAll(/^\| `([a-z]+)` \|/gm)].map(match => match[1]!);
	t.true(known.length > 5);
	t.deepEqual([...named].sort(), [...known].sort());
});

test('every link of the README leads to a file', t => {
	const links = [...readme.matchAll(/\]\(([^)]+)\)/g)].map(match => match[1]!).filter(link => !link.startsWith('http'));
	t.true(links.length > 5);
	for (const link of links) t.true(existsSync(path.join(root, link)), link);
});
