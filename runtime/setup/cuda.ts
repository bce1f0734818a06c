/**
CUDA for the `tensorflow` wheel: the libraries its `and-cuda` extra names, unpacked by pip beside it, never into a Python.
*/
import {existsSync} from 'node:fs';
import {readdir, readFile} from 'node:fs/promises';
import path from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import {runCommand} from './command.ts';
import type {OnProgress} from './progress.ts';
import {findPip} from './pypi.ts';
import {extractMembers, wheelMembers} from './wheel.ts';

/** True when an NVIDIA driver runs on this machine. */
export const hasNvidiaDriver = (): boolean => existsSync('/proc/driver/nvidia/version');

/** The requirements that the `and-cuda` extra adds, out of a wheel's METADATA: `nvidia-cublas-cu12<13.0,>=12.5.3.2` and so on. */
export function cudaRequirements(metadata: string): string[] {
	return [...metadata.matchAll(/^Requires-Dist: ([^;\n]+);.*extra == ["']and-cuda["']/gm)].map(match =>
		(match[1] ?? '').replace(/[\s()]/g, ''),
	);
}

/**
Unpacks the CUDA libraries that `wheel` asks for into `folder/cuda` and returns their `lib` folders relative to `folder`.
Throws `download-failed` when pip cannot get them.
*/
export async function addCudaLibraries(wheel: string, folder: string, onProgress: OnProgress): Promise<string[]> {
	const requirements = await readRequirements(wheel, folder);
	onProgress({what: `Downloading the CUDA libraries (${requirements.length} packages, about 3 GB)`});
	const arguments_ = [
		'--no-input',
		'--no-deps',
		'--only-binary=:all:',
		'--no-cache-dir',
		'--disable-pip-version-check',
	];
	const target = path.join(folder, 'cuda');
	const result = await runCommand(
		await findPip(),
		['-m', 'pip', 'install', ...arguments_, '--target', target, ...requirements],
		{timeoutMs: 60 * 60_000},
	);
	if (result.exitCode !== 0) {
		throw new CutlayerError(
			'download-failed',
			`pip could not get the CUDA libraries (${result.stderr.trim().split('\n').at(-1)}): run \`cutlayer setup\` without --cuda`,
		);
	}
	const packages = await readdir(path.join(target, 'nvidia'));
	return packages
		.map(name => path.join('cuda', 'nvidia', name, 'lib'))
		.filter(lib => existsSync(path.join(folder, lib)));
}

async function readRequirements(wheel: string, folder: string): Promise<string[]> {
	const metadata = (await wheelMembers(wheel)).find(member => member.name.endsWith('.dist-info/METADATA'));
	if (!metadata) throw new CutlayerError('download-failed', `${wheel} has no METADATA: it is no wheel`);
	const file = path.join(folder, 'METADATA');
	await extractMembers(wheel, new Map([[metadata, file]]), 'Reading the CUDA requirements', () => undefined);
	return cudaRequirements(await readFile(file, 'utf8'));
}
