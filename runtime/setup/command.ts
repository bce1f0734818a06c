/**
Other programs as setup needs them: found on PATH, run without a shell or a keyboard, their output kept for the error message.
*/
import {spawn} from 'node:child_process';
import {accessSync, constants, statSync} from 'node:fs';
import path from 'node:path';
import type {Environment} from './cache.ts';

export type CommandResult = {
	/** 0 when it succeeded; undefined when a signal ended it. */
	readonly exitCode: number | undefined;
	readonly signal: string | undefined;
	readonly stdout: string;
	readonly stderr: string;
};

export type CommandOptions = {
	readonly environment?: Environment;
	readonly input?: string;
	/** Called with each complete line of standard output as it comes. */
	readonly onLine?: (line: string) => void;
	/** Kills the command after so long; default 15 minutes. */
	readonly timeoutMs?: number;
};

/** The path of an executable file of the first of these names found on PATH; a name with a slash is taken as a path. */
export function findProgram(names: readonly string[], environment: Environment = process.env): string | undefined {
	const folders = (environment.PATH ?? '').split(path.delimiter).filter(Boolean);
	for (const name of names) {
		const candidates = name.includes('/') ? [name] : folders.map(folder => path.join(folder, name));
		const found = candidates.find(isExecutable);
		if (found) return found;
	}
	return undefined;
}

/** True for a file this process may execute. */
export function isExecutable(file: string): boolean {
	try {
		accessSync(file, constants.X_OK);
		return statSync(file).isFile();
	} catch {
		return false;
	}
}

/** Runs a program to its end; never rejects for an exit code, only when it cannot be started. */
export function runCommand(
	program: string,
	args: readonly string[],
	options: CommandOptions = {},
): Promise<CommandResult> {
	return new Promise((resolve, reject) => {
		const child = spawn(program, args, {
			env: {...process.env, ...options.environment},
			stdio: ['pipe', 'pipe', 'pipe'],
			timeout: options.timeoutMs ?? 15 * 60_000,
		});
		let stdout = '';
		let stderr = '';
		let pending = '';
		child.stdout.setEncoding('utf8').on('data', (text: string) => {
			stdout += text;
			const lines = (pending + text).split('\n');
			pending = lines.pop() ?? '';
			for (const line of lines) options.onLine?.(line);
		});
		child.stderr.setEncoding('utf8').on('data', (text: string) => {
			stderr += text;
		});
		child.on('error', reject);
		child.on('close', (code, signal) => {
			resolve({exitCode: code ?? undefined, signal: signal ?? undefined, stdout, stderr});
		});
		child.stdin.on('error', () => undefined); // a program that ended without reading its input is judged by its exit code
		child.stdin.end(options.input ?? '');
	});
}
