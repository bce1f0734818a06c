/**
Which wheel of TensorFlow serves which machine, and which of its files the binding needs. Facts only, nothing is fetched here.
*/
import {readFileSync} from 'node:fs';
import path from 'node:path';
import type {Wheel} from './pypi.ts';

/** The TensorFlow release the binding is built against. */
export const tensorflowVersion = '2.21.0';

export type NativeWheel = Wheel & {
	/** The folder in the cache, which names wheel and version. */
	readonly folder: string;
	/** Needed on disk while the wheel is unpacked, bytes. */
	readonly spaceBytes: number;
	readonly hasCuda: boolean;
};

const linuxX64 = ['manylinux_2_27_x86_64', 'manylinux_2_17_x86_64', 'manylinux2014_x86_64'];
const linuxArm64 = ['manylinux_2_27_aarch64', 'manylinux_2_17_aarch64', 'manylinux2014_aarch64'];
const macArm64 = ['macosx_12_0_arm64'];

const wheel = (
	name: string,
	kind: string,
	platforms: readonly string[],
	sha256: string,
	spaceBytes: number,
): NativeWheel => ({
	name,
	version: tensorflowVersion,
	sha256,
	target: {python: '3.11', platforms},
	folder: `${kind}-${tensorflowVersion}`,
	spaceBytes,
	hasCuda: kind === 'tensorflow-cuda',
});

const wheels: Readonly<Record<string, NativeWheel>> = {
	'linux x64': wheel(
		'tensorflow-cpu',
		'tensorflow-cpu',
		linuxX64,
		'2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c',
		1.2e9,
	),
	'linux x64 cuda': wheel(
		'tensorflow',
		'tensorflow-cuda',
		linuxX64,
		'9056fbc9ba04235810b71ae6cbd958a196e8804fb53bbcffbf3e23b56155f124',
		9e9,
	),
	'linux arm64': wheel(
		'tensorflow',
		'tensorflow',
		linuxArm64,
		'4b24aca16d527a3cf1c37f720c04c484c3d20f4d0fdfa98632ac8b9f3be6eb5c',
		1.3e9,
	),
	'darwin arm64': wheel(
		'tensorflow',
		'tensorflow',
		macArm64,
		'51f46f4806139d01fc7920cc72a4c75876f80649bf40ff083ab6212ceb43ca88',
		1.1e9,
	),
};

/** The wheel for a machine, or undefined where TensorFlow has none. */
export const nativeWheel = (platform: string, arch: string, wantsCuda: boolean): NativeWheel | undefined =>
	wheels[`${platform} ${arch}${wantsCuda ? ' cuda' : ''}`];

/** Why this machine cannot run the wheel's library although one exists for its system, or undefined when it can. */
export function unsuitableBecause(): string | undefined {
	if (process.platform !== 'linux') return undefined;
	const {header} = process.report.getReport() as {header?: {glibcVersionRuntime?: string}};
	if (!header?.glibcVersionRuntime) return 'TensorFlow needs glibc, and this system has another C library';
	if (process.arch === 'x64' && !cpuFlags().has('avx')) return 'TensorFlow needs a CPU with AVX, and this one has none';
	return undefined;
}

/** The instruction sets of the first CPU, as Linux names them; empty elsewhere. */
export function cpuFlags(): ReadonlySet<string> {
	try {
		const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'));
		return new Set((line?.[1] ?? '').split(/\s+/).filter(Boolean));
	} catch {
		return new Set();
	}
}

const library = /^tensorflow\/(libtensorflow_(?:cc|framework)\.(?:so\.2|2\.dylib))$/;
const include = 'tensorflow/include/';

/** Where a member of the wheel goes below the folder in the cache, or undefined when the binding does not need it. */
export function placeOf(member: string): string | undefined {
	const found = library.exec(member)?.[1];
	if (found) return path.join('lib', found);
	if (!member.startsWith(include) || !member.endsWith('.h')) return undefined;
	const header = member.slice(include.length);
	const isNeeded =
		header.startsWith('tensorflow/c/') || header.includes('tsl/c/') || path.basename(header).startsWith('ctstring');
	return isNeeded ? path.join('include', header) : undefined;
}
