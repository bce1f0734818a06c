import {execFile} from 'node:child_process';
import {mkdtempSync, readdirSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {promisify} from 'node:util';
import test from 'ava';
import {bundlePackages} from '../../runtime/loader/packages.mjs';

const run = promisify(execFile);

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
	const folder = mkdtempSync(path.join(tmpdir(), 'cutlayer-loader-'));
	try {
		await use(folder);
	} finally {
		rmSync(folder, {recursive: true});
	}
}

test('packages are bundled once, by whoever comes first, and share what they have in common', async t => {
	await inFolder(async folder => {
		const [places, same] = await Promise.all([bundlePackages(folder), bundlePackages(folder)]);
		t.deepEqual(places, same);
		t.is(readdirSync(folder).length, 1);
		const file = fileURLToPath(places.typebox!);
		const made = statSync(file).ino;
		await bundlePackages(folder);
		t.is(statSync(file).ino, made);

		const {Type} = (await import(places.typebox!)) as typeof import('typebox');
		const {Value} = (await import(places['typebox/value']!)) as typeof import('typebox/value');
		t.deepEqual(Value.Default(Type.Object({rank: Type.Number({default: 4})}), {}), {rank: 4});
	});
});

test('where nothing can be kept, packages are imported as they are', async t => {
	await inFolder(async folder => {
		writeFileSync(path.join(folder, 'file'), '');
		t.deepEqual(await bundlePackages(path.join(folder, 'file')), {});
	});
});

test('a program that registers gets the bundles, and the rest from where it is', async t => {
	const code = `console.log(JSON.stringify(['typebox', 'xstate'].map(name => import.meta.resolve(name))))`;
	const args = ['--import=./runtime/loader/register.mjs', '--input-type=module', '--eval', code];
	const {stdout} = await run(process.execPath, args);
	const [bundled, other] = JSON.parse(stdout) as [string, string];
	t.regex(bundled, /node_modules\/\.cache\/cutlayer\/[\da-f]{16}\/typebox\.mjs$/);
	t.regex(other, /node_modules\/xstate\//);
});

test('a scenario in a folder that is no package is a module all the same', async t => {
	await inFolder(async folder => {
		const file = path.join(folder, 'mine.ts');
		writeFileSync(file, 'export default {name: "mine"} as const;\n');
		const code = `console.log((await import(${JSON.stringify(file)})).default.name)`;
		const args = ['--import=./runtime/loader/register.mjs', '--input-type=module', '--eval', code];
		t.is((await run(process.execPath, args)).stdout, 'mine\n');
	});
});
