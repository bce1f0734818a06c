/**
Traces as other minor versions of the format write them, made from a kept one: what an older lacks, and what a newer may add.
*/
import {mkdir, writeFile} from 'node:fs/promises';
import {type Command, frameOf, magicOf, type TraceHeader, type TraceRecord} from '../../runtime/trace/format.ts';
import {recordsIn, withTrace} from '../_helpers/traces.ts';

const folder = new URL('./', import.meta.url).pathname;
export const minorsFolder = `${folder}minors/`;

/** Record kinds, commands and fields that no version has. */
export const invented = {kind: 'weather', command: {whispered: 'to itself'}, field: {deep: [1, {er: null}]}} as const;

type Minor = {
	/** Of the format in the header. */
	readonly minor: number;
	readonly header?: object;
	/** What stands in the place of a record; numbers are put right. */
	readonly change: (record: TraceRecord) => readonly object[];
};

/** Minor 0 had no norms of adapters. */
const older: Minor = {
	minor: 0,
	change: record => [{...record, ...('commands' in record && {commands: record.commands?.map(withoutNorm)})}],
};

const newer: Minor = {
	minor: 7,
	header: {region: invented.field},
	change: record => {
		const grown = {...record, invented: invented.field};
		if (record.kind !== 'input') return [grown];
		const commands = [...(record.commands ?? []).map(command => ({...command, invented: 1})), invented.command];
		const made = {...grown, event: {...record.event, invented: true}, commands};
		// One kind of an actor, one of nobody.
		return record.n % 5 === 0
			? [made, {kind: invented.kind, t: record.t, actor: record.actor, wind: 3}, {kind: invented.kind, t: record.t}]
			: [made];
	},
};

const withoutNorm = (command: Command): object => {
	if (!('send' in command)) return command;
	const {norm: _, ...rest} = command;
	return rest;
};

/** Writes `older.trace` and `newer.trace`. */
export async function recordMinors(): Promise<void> {
	await mkdir(minorsFolder, {recursive: true});
	for (const [name, minor] of Object.entries({older, newer})) {
		const {path, header} = await withTrace(`${folder}split-lora.trace`, async ({streams}) => streams[0]!);
		await writeFile(`${minorsFolder}${name}.trace`, rewritten(minor, header, await recordsIn(path)));
	}
}

function rewritten(
	{minor, header: added, change}: Minor,
	header: TraceHeader,
	records: readonly TraceRecord[],
): Buffer {
	const numbers = new Map<number, number>();
	const made: object[] = [];
	for (const record of records) {
		numbers.set(record.n, made.length + 1);
		for (const one of change(record)) {
			const {by, ...rest} = one as {by?: number};
			made.push({...rest, ...(by !== undefined && {by: numbers.get(by)}), n: made.length + 1});
		}
	}
	const all = [{...header, format: {...header.format, minor}, ...added}, ...made] as TraceRecord[];
	return Buffer.concat([Buffer.from(magicOf(1)), ...all.map(frameOf)]);
}
