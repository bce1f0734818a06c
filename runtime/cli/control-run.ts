/**
One change of a running run, from the words of the command line to the run's answer.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import {askControl, type ControlAsked} from '../attach/ask.ts';
import {findRun, openAccess} from './broker-access.ts';
import type {CtlFlags} from './guest-flags.ts';

/** Prints what the run did. Throws `usage` for what cannot be asked and what the run refuses. */
export async function controlRun(
	run: string,
	command: string,
	value: string | undefined,
	flags: CtlFlags,
): Promise<void> {
	const asked = controlOf(command, value);
	const access = await openAccess(flags, 'conductor');
	try {
		await findRun(access, run);
		const text = await askControl({...access, run}, asked);
		process.stdout.write(flags.json ? `${JSON.stringify({run, ...asked, text})}\n` : `${run}: ${text}\n`);
	} finally {
		await access.bus.close();
	}
}

/** Throws `usage`. */
export function controlOf(command: string, value: string | undefined): ControlAsked {
	const usage = (expected: string, found: string, fix: string) =>
		new CutlayerError('usage', `Expected ${expected}, found ${found}; ${fix}`);
	const given = value ?? 'nothing';
	switch (command) {
		case 'pause':
		case 'resume':
			if (value !== undefined) throw usage(`nothing after ${command}`, value, 'leave it out');
			return {command};
		case 'drop':
		case 'kill':
			if (!value || !/^[a-z0-9-]{1,64}$/.test(value))
				throw usage('the id of an actor', given, `for example ${command} c1`);
			return {command, actor: value};
		case 'slow': {
			const [, actor, delayMs] = /^([a-z0-9-]{1,64})=(\d+(?:\.\d+)?)$/.exec(value ?? '') ?? [];
			if (!actor || !delayMs) throw usage('ID=MS', given, 'for example slow c1=500');
			return {command, actor, value: delayMs};
		}
		case 'policy':
			if (!value?.includes('=')) throw usage('PATH=VALUE', given, 'for example policy closing.kind=all');
			return {command, value};
		case 'wire':
			if (!value?.includes('=')) throw usage('KIND=FORMAT', given, 'for example wire activations=bf16');
			return {command, value};
		default:
			throw usage('pause, resume, drop, kill, slow, policy or wire', command, 'see cutlayer ctl --help');
	}
}
