/**
A connection of a command to a broker, to find runs and speak to them. What cannot be reached is the user's to correct.
*/
import {randomBytes} from 'node:crypto';
import {readFile} from 'node:fs/promises';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {checkId, type SenderKind} from '../../protocols/subjects.ts';
import {askRuns, type FoundRun} from '../attach/ask.ts';
import type {Speaker} from '../attach/voice.ts';
import {BrokerCredentials} from '../bus/credentials.ts';
import {connectNats, type NatsBus} from '../bus/nats.ts';

export type BrokerFlags = {readonly nats: string; readonly creds?: string};

export type Access = {
	readonly bus: NatsBus;
	readonly speaker: Speaker;
	readonly creds: BrokerCredentials | undefined;
	/** Whether the broker has refused this connection a subject; each is said where it happens. */
	readonly refusals: readonly string[];
};

/** An id nobody else has. */
export const freshId = (kind: string): string => `${kind}-${randomBytes(3).toString('hex')}`;

/** Connects as this actor. Throws `usage` when the broker is not there or does not let it in. */
export async function openAccess(flags: BrokerFlags, kind: SenderKind, id: string): Promise<Access> {
	const creds = flags.creds === undefined ? undefined : await readCreds(flags.creds);
	const refusals: string[] = [];
	try {
		const bus = await connectNats({
			url: flags.nats,
			name: checkId(id),
			...(creds && {creds}),
			onProblem: problem => void refusals.push(problem.message),
			onNotice: text => void process.stderr.write(`${text}\n`),
		});
		return {bus, speaker: {kind, id, incarnation: 0}, creds, refusals};
	} catch (error) {
		if (error instanceof CutlayerError) throw new CutlayerError('usage', error.message, {cause: error});
		// An address that is none is refused by the library itself.
		throw new CutlayerError(
			'usage',
			`Expected the address of a broker such as nats://127.0.0.1:4222, found ${flags.nats}: ${errorText(error)}`,
		);
	}
}

/** Throws `usage`. */
export async function readCreds(path: string): Promise<BrokerCredentials> {
	const text = await readFile(path, 'utf8').catch(error => {
		throw new CutlayerError('usage', `Expected credentials at ${path}, found ${errorText(error)}; correct --creds`);
	});
	return BrokerCredentials.parse(text, path, Date.now());
}

/** The run named, or the only one of the broker. Throws `usage` with what is there. */
export async function findRun({bus, speaker, refusals}: Access, run: string | undefined): Promise<FoundRun> {
	if (run !== undefined) checkId(run, 'run id');
	const found = await askRuns({bus, speaker, run, waitMs: run === undefined ? 1000 : 3000});
	if (found.length === 1) return found[0]!;
	if (refusals.length > 0) throw new CutlayerError('usage', refusals[0]!);
	const others = run === undefined ? found : await askRuns({bus, speaker});
	const names = others.map(other => other.run).join(', ');
	const there = names === '' ? 'none' : names;
	if (run === undefined && found.length > 1)
		throw new CutlayerError('usage', `Expected one run at ${bus.url}, found ${there}; name one with --run`);
	throw new CutlayerError(
		'usage',
		`Expected ${run === undefined ? 'a run' : `run ${run}`} at ${bus.url}, found ${there}; ${
			names === '' ? 'start one there with cutlayer run --nats' : 'name one of these with --run'
		}`,
	);
}
