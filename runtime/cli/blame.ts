/**
`cutlayer trace blame`: runs a run again without each client in turn, from a record on, and says whose leaving moves the
validation loss most. It decides nothing about training.
*/
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join, resolve} from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import {type ParentRun, readParent, recordOfRound} from '../replay/parent-run.ts';
import {numberAt, readRecordedRun} from '../report/read.ts';
import {clientIds} from '../run/plan.ts';
import {interruptedCode, runWhatIf} from './what-if-run.ts';

export type BlameFlags = {
	readonly loss: boolean;
	readonly from?: number;
	readonly round?: number;
	/** Only these. */
	readonly client: readonly string[];
	/** Keeps the runs there. */
	readonly out?: string;
	readonly backend?: 'tensorflow' | 'wasm' | 'cpu';
	readonly json: boolean;
};

/** What a client's contributions from the point on did: `moved` is the loss with them minus the loss without. */
type Blamed = {readonly client: string; readonly loss: number; readonly moved: number; readonly folder?: string};

/** Exits 0, or 130 when it was interrupted, with what was found until then; throws `usage` and what a run throws. */
export async function blame(folder: string, flags: BlameFlags): Promise<void> {
	if (!flags.loss) throw new CutlayerError('usage', 'Expected what to look for: add --loss, the validation loss');
	const parent = await readParent(folder);
	const from = flags.from ?? (flags.round === undefined ? 2 : await recordOfRound(folder, flags.round));
	const clients = chosen(clientIds(parent.scenario), flags.client);
	const before = await lastLoss(folder);
	const keep = flags.out === undefined ? await mkdtemp(join(tmpdir(), 'cutlayer-blame-')) : resolve(flags.out);
	const found = await leaveEachOut(parent, {clients, from, before, keep}, flags).finally(async () => {
		if (flags.out === undefined) await rm(keep, {recursive: true, force: true});
	});
	const blamed = found.toSorted((a, b) => Math.abs(b.moved) - Math.abs(a.moved));
	if (found.length < clients.length) {
		process.exitCode = interruptedCode;
		process.stderr.write(
			`interrupted: ${found.length} of ${clients.length} clients were looked at; give --client for others\n`,
		);
	}
	process.stdout.write(
		flags.json ? `${JSON.stringify({run: folder, from, loss: before, blamed})}\n` : textOf(from, before, blamed),
	);
}

type Search = {
	readonly clients: readonly string[];
	readonly from: number;
	/** The loss with all of them. */
	readonly before: number;
	readonly keep: string;
};

/** One after the other, until all were left out or somebody interrupts. */
async function leaveEachOut(
	parent: ParentRun,
	{clients, from, before, keep}: Search,
	flags: BlameFlags,
): Promise<Blamed[]> {
	const bar = await openBar(clients.length, flags.json);
	const found: Blamed[] = [];
	// The run under way hears it too and stops early.
	let isInterrupted = false;
	const interrupt = () => {
		isInterrupted = true;
	};
	process.on('SIGINT', interrupt);
	try {
		for (const client of clients) {
			if (isInterrupted) break;
			bar.next(`without ${client}`);
			const out = join(keep, `without-${client}`);
			const loss = await lossWithout(parent, {client, from, out}, flags);
			if (loss === undefined) break;
			found.push({client, loss, moved: before - loss, ...(flags.out !== undefined && {folder: out})});
		}
		return found;
	} finally {
		process.off('SIGINT', interrupt);
		bar.close();
	}
}

function chosen(all: readonly string[], asked: readonly string[]): readonly string[] {
	const stranger = asked.find(client => !all.includes(client));
	if (stranger === undefined) return asked.length > 0 ? asked : all;
	throw new CutlayerError('usage', `There is no client ${stranger} in the run: expected ${all[0]} to ${all.at(-1)}`);
}

async function lossWithout(
	parent: ParentRun,
	{client, from, out}: {client: string; from: number; out: string},
	{backend}: BlameFlags,
): Promise<number | undefined> {
	await runWhatIf(
		parent,
		{at: from, changes: [{kind: 'without', client}]},
		{out, quiet: true, json: false, ...(backend && {backend})},
	);
	if (process.exitCode === interruptedCode) return undefined;
	if (process.exitCode)
		throw new CutlayerError(
			'run-failed',
			`The run without ${client} did not end well, see ${out}/summary.json; give --client for the others`,
		);
	return lastLoss(out);
}

/** The last validation loss of a run. Throws `usage` when it has none. */
async function lastLoss(folder: string): Promise<number> {
	const {rows} = await readRecordedRun(folder);
	const row = rows.findLast(({kind}) => kind === 'eval');
	if (row) return numberAt(row, 'loss');
	throw new CutlayerError(
		'usage',
		`The run in ${folder} was never evaluated: set data.validationRows and evaluation.everyRounds`,
	);
}

function textOf(from: number, loss: number, blamed: readonly Blamed[]): string {
	const lines = blamed.map(
		({client, loss: without, moved}) =>
			`${client.padEnd(8)} ${without.toFixed(4).padStart(12)} ${signed(moved).padStart(12)}`,
	);
	return [
		`validation loss at the end ${loss.toFixed(4)}; without one client from record ${from} on:`,
		`${'client'.padEnd(8)} ${'loss without'.padStart(12)} ${'it moved'.padStart(12)}`,
		...lines,
		'',
	].join('\n');
}

const signed = (value: number) => `${value < 0 ? '' : '+'}${value.toFixed(4)}`;

/** A bar on a terminal, a line a run elsewhere, nothing when `isQuiet`. */
async function openBar(total: number, isQuiet: boolean): Promise<{next(what: string): void; close(): void}> {
	if (isQuiet) return {next: () => undefined, close: () => undefined};
	if (!process.stderr.isTTY) {
		let done = 0;
		return {next: what => void process.stderr.write(`${++done}/${total} ${what}\n`), close: () => undefined};
	}
	const {default: cliProgress} = await import('cli-progress');
	const bar = new cliProgress.SingleBar({
		format: '{what} [{bar}] {value}/{total}, {eta_formatted} left',
		stream: process.stderr,
	});
	bar.start(total, 0, {what: ''});
	let begun = 0;
	return {next: what => bar.update(begun++, {what}), close: () => bar.stop()};
}
