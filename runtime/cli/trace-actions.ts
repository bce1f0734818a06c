/**
What the commands of `cutlayer trace` do once it is known which one was meant.
*/

import {once} from 'node:events';
import {createWriteStream} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';
import {CutlayerError} from '../../protocols/errors.ts';
import {replayTrace} from '../replay/replay.ts';
import {firstParting} from '../trace/diff.ts';
import {toCsv, toJsonLines} from '../trace/export.ts';
import type {RecordHead} from '../trace/head.ts';
import {checkTrace, type Violation} from '../trace/invariants.ts';
import {unusualUploads} from '../trace/norms.ts';
import {toPerfetto} from '../trace/perfetto.ts';
import type {Tail} from '../trace/read.ts';
import {type Located, locatedOf, Trace} from '../trace/trace.ts';
import {lineOf} from '../trace/words.ts';
import type {ListFlags} from './trace-flags.ts';

const pollMs = 200;

async function withTrace<T>(path: string, use: (trace: Trace) => Promise<T>): Promise<T> {
	const trace = await Trace.open(path);
	try {
		return await use(trace);
	} finally {
		await trace.close();
	}
}

/** Waits while whoever reads is slower; a reader that went away ends the command quietly. */
async function print(text: string, out: NodeJS.WritableStream = process.stdout): Promise<void> {
	if (!out.write(text)) await once(out, 'drain');
}

const oneLine = (trace: Trace, located: Located, json: boolean): string =>
	json ? `${JSON.stringify(located.record)}\n` : `${lineOf(located.record, trace.label(located))}\n`;

function isWanted(head: RecordHead, {actor, verb, round, from, to}: ListFlags): boolean {
	if (actor !== undefined && head.actor !== actor) return false;
	if (from !== undefined && head.t < from) return false;
	if (to !== undefined && head.t > to) return false;
	if (round !== undefined && head.round !== round) return false;
	return verb === undefined || head.verbs.includes(verb);
}

/** `trace ls` */
export const list = (path: string, flags: ListFlags): Promise<void> =>
	withTrace(path, async trace => {
		let isNone = true;
		for await (const batch of trace.entryBatches()) {
			const wanted = batch.filter(({head}) => isWanted(head, flags));
			isNone &&= wanted.length === 0;
			const lines = wanted.map(entry => oneLine(trace, locatedOf(entry), flags.json));
			if (lines.length > 0) await print(lines.join(''));
		}
		if (isNone) await explainNone(trace, flags);
	});

/** Throws `usage` for an actor or a word that the trace does not have; else says that nothing matches. */
async function explainNone(trace: Trace, {actor, verb}: ListFlags): Promise<void> {
	const {actors, verbs} = await trace.words();
	const stranger = (kind: string, asked: string | undefined, known: readonly string[]) => {
		if (asked === undefined || known.includes(asked)) return;
		const shown = known.length > 40 ? `${known.slice(0, 40).join(', ')} ...` : known.join(', ');
		throw new CutlayerError('usage', `There is no ${kind} ${asked} in ${trace.folder}: expected one of ${shown}`);
	};
	stranger('actor', actor, actors);
	stranger('verb', verb, verbs);
	await print('no record matches\n', process.stderr);
}

/** `trace show` */
export const show = (path: string, label: string, {json}: {json: boolean}): Promise<void> =>
	withTrace(path, async trace => {
		const located = await trace.find(label);
		const [causes, effects] = [await trace.causesOf(located), await trace.effectsOf(located)];
		if (json) {
			const labels = (all: Located[]) => all.map(one => trace.label(one));
			await print(`${JSON.stringify({record: located.record, causes: labels(causes), effects: labels(effects)})}\n`);
			return;
		}
		const lines = (all: Located[]) => all.map(one => lineOf(one.record, trace.label(one)));
		const text = [
			...lines([located]),
			JSON.stringify(located.record, null, 2),
			'causes, nearest first:',
			...lines(causes),
			'effects:',
			...lines(effects),
		];
		await print(`${text.join('\n')}\n`);
	});

/** `trace diff` */
export const diff = (pathA: string, pathB: string, {json}: {json: boolean}): Promise<void> =>
	withTrace(pathA, a =>
		withTrace(pathB, async b => {
			const parting = await firstParting(a, b);
			process.exitCode = parting ? 1 : 0;
			if (json) {
				const side = (found: Located | undefined) => found?.record ?? null;
				await print(`${JSON.stringify(parting ? {...parting, a: side(parting.a), b: side(parting.b)} : null)}\n`);
				return;
			}
			if (!parting) return print('the runs do not part\n');
			const {actor, channel, same, a: one, b: two} = parting;
			const text = [
				`the runs part at ${actor}, after ${same} equal records (${channel})`,
				...sideText('a', a, one),
				...sideText('b', b, two),
			];
			await print(`${text.join('\n')}\n`);
		}),
	);

function sideText(name: string, trace: Trace, located: Located | undefined): string[] {
	if (!located) return [`${name}: has no more records there`];
	return [
		`${name}: ${lineOf(located.record, trace.label(located)).trimStart()}`,
		`   ${JSON.stringify(located.record)}`,
	];
}

/** `trace check`: what the records show, and a replay of every actor. */
export const check = (path: string, {json}: {json: boolean}): Promise<void> =>
	withTrace(path, async trace => {
		const {records, counts, violations} = await checkTrace(trace);
		const {divergence, inputs, skipped} = await replayTrace(trace);
		const all: Violation[] = [...violations];
		if (divergence) {
			const text = `${divergence.actor} does otherwise when its inputs are replayed: ${divergence.what} is ${JSON.stringify(divergence.replayed)}, recorded was ${JSON.stringify(divergence.recorded)}`;
			all.unshift({invariant: 4, text, at: [divergence.at]});
		}
		process.exitCode = all.length > 0 ? 1 : 0;
		const unusual = await unusualUploads(trace);
		const figures = {records, 'inputs replayed': inputs, 'inputs not comparable': skipped, ...counts};
		if (json) {
			const plain = all.map(({at, ...violation}) => ({...violation, records: at.map(one => trace.label(one))}));
			const uploads = unusual.map(({at, ...upload}) => ({...upload, record: trace.label(at)}));
			return print(`${JSON.stringify({counts: figures, violations: plain, unusualUploads: uploads})}\n`);
		}
		for (const {invariant, text, at} of all) {
			await print(`invariant ${invariant}: ${text}\n`);
			for (const located of at) await print(oneLine(trace, located, false));
		}
		for (const {client, round, norm, median, at} of unusual) {
			await print(
				`look at record ${trace.label(at)}: ${client} uploads an adapter of norm ${norm.toPrecision(4)} in round ${round}, the median there is ${median.toPrecision(4)}\n`,
			);
		}
		const rows = Object.entries(figures).map(([name, value]) => `${name.padEnd(44)} ${value}`);
		await print(`${rows.join('\n')}\n${all.length === 0 ? 'every invariant holds' : `${all.length} violations`}\n`);
	});

type ExportFlags = {readonly format: 'jsonl' | 'csv' | 'perfetto'; readonly out?: string};

/** `trace export` */
export const exportTo = (path: string, {format, out}: ExportFlags): Promise<void> =>
	withTrace(path, async trace => {
		const pieces = {jsonl: toJsonLines, csv: toCsv, perfetto: toPerfetto}[format](trace);
		if (out === undefined) {
			for await (const piece of pieces) await print(piece);
			return;
		}
		const file = createWriteStream(out);
		const failed = new Promise<never>((_, reject) => {
			file.on('error', error =>
				reject(new CutlayerError('disk', `Cannot write ${out}: ${error.message}; give another --out`, {cause: error})),
			);
		});
		const written = (async () => {
			for await (const piece of pieces) await print(piece, file);
			await new Promise<void>(resolve => file.end(resolve));
		})();
		await Promise.race([written, failed]);
		process.stderr.write(`wrote ${out}\n`);
	});

/** `trace follow`: until every stream has its last record. */
export const follow = (path: string, flags: ListFlags): Promise<void> =>
	withTrace(path, async trace => {
		const tails = new Map<string, Tail | undefined>(trace.streams.map(({name}) => [name, undefined]));
		while (tails.size > 0) {
			for (const stream of trace.streams) {
				if (!tails.has(stream.name)) continue;
				const after = tails.get(stream.name);
				const entries = stream.entries(after ? {after} : {});
				let next = await entries.next();
				for (; !next.done; next = await entries.next()) {
					if (isWanted(next.value.head, flags)) await print(oneLine(trace, locatedOf(next.value), flags.json));
					if (next.value.head.kind === 'end') tails.delete(stream.name);
				}
				if (tails.has(stream.name)) tails.set(stream.name, next.value);
			}
			if (tails.size > 0) await sleep(pollMs);
		}
	});
