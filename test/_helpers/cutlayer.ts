/**
Runs the command line in a process of its own, as a user does.
*/
import {type ChildProcess, spawn} from 'node:child_process';
import {readdirSync, readFileSync} from 'node:fs';
import path from 'node:path';

const command = path.resolve(import.meta.dirname, '../../runtime/cli/cutlayer.mjs');

export type Ended = {
	/** Null when a signal ended it. */
	readonly code: number | null;
	readonly stdout: string;
	readonly stderr: string;
};

export type Started = {
	readonly child: ChildProcess;
	/** Resolves when stderr holds this text; rejects when the process ends before. */
	said(text: string | RegExp): Promise<void>;
	readonly ended: Promise<Ended>;
};

/** Starts `cutlayer` with these arguments; it is killed when it has not ended after 3 minutes. */
export function startCutlayer(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Started {
	const child = spawn(process.execPath, [command, ...args], {
		env: {...process.env, ...environment},
		stdio: ['ignore', 'pipe', 'pipe'],
	});
	const texts = {stdout: '', stderr: ''};
	const heard = new Set<() => void>();
	for (const name of ['stdout', 'stderr'] as const) {
		child[name].setEncoding('utf8').on('data', (chunk: string) => {
			texts[name] += chunk;
			for (const hear of heard) hear();
		});
	}
	const force = setTimeout(() => child.kill('SIGKILL'), 180_000);
	const ended = new Promise<Ended>(resolve => {
		child.on('close', code => {
			clearTimeout(force);
			resolve({code, ...texts});
		});
	});
	const said = (text: string | RegExp) =>
		new Promise<void>((resolve, reject) => {
			const hear = () => {
				if (texts.stderr.search(text) < 0) return;
				heard.delete(hear);
				resolve();
			};
			heard.add(hear);
			hear();
			void ended.then(() => reject(new Error(`It ended without saying ${text}:\n${texts.stderr}`)));
		});
	return {child, said, ended};
}

export const runCutlayer = (args: readonly string[], environment?: NodeJS.ProcessEnv): Promise<Ended> =>
	startCutlayer(args, environment).ended;

/** Processes whose arguments hold this text, from /proc. */
export function processesWith(text: string): number[] {
	const pids = readdirSync('/proc').filter(name => /^\d+$/.test(name));
	return pids.map(Number).filter(pid => argumentsOf(pid).includes(text));
}

/** The children of a process by the actor they serve. */
export function actorsOf(parent: number): Record<string, number> {
	const found = processesWith('\0actor\0').filter(pid => parentOf(pid) === parent);
	return Object.fromEntries(found.map(pid => [argumentsOf(pid).split('\0').at(-2)!, pid]));
}

export const isRunning = (pid: number): boolean => {
	try {
		process.kill(pid, 0);
		return !/^State:\s+Z/m.test(read(`/proc/${pid}/status`));
	} catch {
		return false;
	}
};

const argumentsOf = (pid: number) => read(`/proc/${pid}/cmdline`);
const parentOf = (pid: number) => Number(/^PPid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1]);

function read(file: string): string {
	try {
		return readFileSync(file, 'utf8');
	} catch {
		return '';
	}
}
