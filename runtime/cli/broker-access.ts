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

/**
Connects as an actor of this kind; credentials that are made for one say its id, and may stand for another kind with `isAnyKind`.
Throws `usage` when they are for somebody else, or the broker is not there or does not let it in.
*/
export async function openAccess(
	flags: BrokerFlags,
	asked: SenderKind,
	id?: string,
	{isAnyKind = false} = {},
): Promise<Access> {
	const creds = flags.creds === undefined ? undefined : await readCreds(flags.creds);
	const speaker = {...speakerOf(creds, {asked, id, isAnyKind}), incarnation: 0};
	const refusals: string[] = [];
	try {
		const bus = await connectNats({
			url: flags.nats,
			name: speaker.id,
			creds,
			onProblem: problem => void refusals.push(problem.message),
			onNotice: text => void process.stderr.write(`${text}\n`),
		});
		return {bus, speaker, creds, refusals};
	} catch (error) {
		if (error instanceof CutlayerError) throw new CutlayerError('usage', error.message, {cause: error});
		// An address that is none is refused by the library itself.
		throw new CutlayerError(
			'usage',
			`Expected the address of a broker such as nats://127.0.0.1:4222, found ${flags.nats}: ${errorText(error)}`,
		);
	}
}

type Asked = {readonly asked: SenderKind; readonly id: string | undefined; readonly isAnyKind: boolean};

function speakerOf(creds: BrokerCredentials | undefined, {asked, id, isAnyKind}: Asked): Pick<Speaker, 'kind' | 'id'> {
	// Those of a whole run may be anybody.
	if (!creds?.kind || !creds.id || creds.kind === 'run') return {kind: asked, id: checkId(id ?? freshId(asked))};
	const kind = creds.kind === 'probe' ? 'observer' : (creds.kind as SenderKind);
	if (kind !== asked && !isAnyKind)
		throw new CutlayerError(
			'usage',
			`Expected credentials of a ${asked}, found those of ${kind} ${creds.id}; name another file with --creds`,
		);
	if (id !== undefined && id !== creds.id)
		throw new CutlayerError(
			'usage',
			`Expected --id ${creds.id}, whom the credentials are for, found ${id}; leave --id out, or name another file with --creds`,
		);
	// A fed server asks as an observer does.
	return {kind: isAnyKind && kind === 'fed-server' ? 'observer' : kind, id: creds.id};
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
