/**
Temporary folders, and wheels of a few bytes that the real pip finds in a folder instead of an index.
*/
import {execFileSync} from 'node:child_process';
import {mkdirSync, mkdtempSync, rmSync, symlinkSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import type {ExecutionContext} from 'ava';
import {findProgram} from '../../runtime/setup/command.ts';

/** A new folder that goes when the test ends. */
export function temporaryFolder(t: ExecutionContext): string {
	const folder = mkdtempSync(path.join(tmpdir(), 'cutlayer-setup-'));
	t.teardown(() => rmSync(folder, {recursive: true, force: true}));
	return folder;
}

/** The variables that decide what setup finds; every one not given is unset. */
const watched = [
	...[
		'CUTLAYER_CACHE',
		'TENSORFLOW_LIB',
		'NATS_SERVER_BIN',
		'PATH',
		'HOME',
		'XDG_CACHE_HOME',
		'CXX',
		'LD_LIBRARY_PATH',
	],
	...['HF_HOME', 'HF_HUB_CACHE', 'HF_ENDPOINT', 'HF_TOKEN', 'HF_HUB_OFFLINE', 'PIP_NO_INDEX', 'PIP_FIND_LINKS'],
];

/** Sets this process's variables until the test ends: for serial tests only. */
export function setEnvironment(t: ExecutionContext, variables: Record<string, string>): void {
	const before = watched.map(name => [name, process.env[name]] as const);
	for (const name of watched) delete process.env[name];
	Object.assign(process.env, variables);
	t.teardown(() => {
		for (const [name, value] of before) {
			if (value === undefined) delete process.env[name];
			else process.env[name] = value;
		}
	});
}

/** A folder with these programs of this machine and no others, for PATH. */
export function folderOfPrograms(t: ExecutionContext, names: readonly string[]): string {
	const folder = temporaryFolder(t);
	for (const name of names) {
		const program = findProgram([name]);
		if (!program) throw new Error(`The tests need ${name} on PATH`);
		symlinkSync(program, path.join(folder, name));
	}
	return folder;
}

/** The real python3, not a shim that looks for it on PATH. */
export const python = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], {encoding: 'utf8'}).trim();

const zipping = `
import json, sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED) as wheel:
    for name, text in json.load(sys.stdin).items():
        wheel.writestr(name, text)
`;

/** Writes a wheel into `folder` and returns its path. */
export function writeWheel(folder: string, name: string, version: string, members: Record<string, string>): string {
	mkdirSync(folder, {recursive: true});
	const stem = `${name.replaceAll('-', '_')}-${version}`;
	const file = path.join(folder, `${stem}-py3-none-any.whl`);
	const information = {
		[`${stem}.dist-info/METADATA`]: `Metadata-Version: 2.1\nName: ${name}\nVersion: ${version}\n`,
		[`${stem}.dist-info/WHEEL`]: 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
	};
	execFileSync(python, ['-c', zipping, file], {input: JSON.stringify({...members, ...information})});
	return file;
}
