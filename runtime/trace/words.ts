/**
Records as people read them: one line each. Pure.
*/
import type {Command, TraceRecord} from './format.ts';
import {commandsOf} from './trace.ts';

type Fields = Readonly<Record<string, unknown>>;

const shown = [
	'client',
	'round',
	'step',
	'next',
	'adapterVersion',
	'serverVersion',
	'loss',
	'stepsDone',
	'code',
	'reason',
];

/** `      41    1203.512  main        gradient of c1 ...`: number, time, actor, what happened and what followed. */
export function lineOf(record: TraceRecord, label = String(record.n)): string {
	const actor = 'actor' in record ? record.actor : '';
	return `${label.padStart(8)} ${record.t.toFixed(3).padStart(12)}  ${actor.padEnd(10)}  ${textOf(record)}`;
}

/** What happened and what followed. */
export function textOf(record: TraceRecord): string {
	const commands = commandsOf(record).map(commandText);
	const followed = commands.length > 0 ? `  -> ${commands.join(', ')}` : '';
	return `${eventText(record)}${stateText(record)}${followed}`;
}

function eventText(record: TraceRecord): string {
	switch (record.kind) {
		case 'started':
			return `started as ${record.role}, incarnation ${record.incarnation}${record.snapshot === undefined ? '' : ', from a checkpoint'}`;
		case 'input': {
			const {event} = record;
			const from = event.from === undefined ? '' : ` from ${event.from}`;
			const type = event.type.replace(/^xstate\.after\.([^.]+)\..*/, 'timer $1');
			return `${type}${from}${fieldsText((event.body ?? event) as Fields)}${record.thrown === undefined ? '' : `, threw: ${record.thrown}`}`;
		}
		case 'dropped':
			return `dropped a frame from ${record.from}: ${record.code}, ${record.field} is ${record.found}, expected ${record.expected}`;
		case 'ended':
			return `ended${record.failure === null ? '' : `: ${record.failure}`}`;
		case 'gap':
			return `${record.lost} records were lost here`;
		case 'end':
			return `the trace ends: ${record.reason}${record.text === undefined ? '' : `, ${record.text}`}`;
		default:
			return `a record of kind ${(record as {kind: string}).kind}, which this version of Cutlayer does not know`;
	}
}

/** A command in a few words: `send gradient to c1`. */
export function commandText(command: Command): string {
	if ('send' in command) {
		const norm = command.norm === undefined ? '' : ` |w| ${command.norm.toPrecision(4)}`;
		return `${command.send}${command.to === undefined ? '' : ` to ${command.to}`}${norm}`;
	}
	if ('unsent' in command) return `could not send ${command.unsent}`;
	if ('pass' in command) return `pass ${command.pass}`;
	return 'timer' in command ? `timer ${command.delayMs} ms` : `something unknown (${Object.keys(command)[0]})`;
}

function stateText(record: TraceRecord): string {
	if (!('state' in record) || record.state === undefined) return '';
	return `  [${stateName(record.state)}]`;
}

/** `active.training.stepping+liveness.beating` */
export function stateName(state: unknown): string {
	if (typeof state !== 'object' || state === null) return String(state);
	return Object.entries(state)
		.map(([name, inner]) => `${name}.${stateName(inner)}`)
		.join('+');
}

function fieldsText(fields: Fields): string {
	const texts = shown.flatMap(name => {
		const value = fields[name];
		if (typeof value === 'number') return [`${name} ${Number.isInteger(value) ? value : value.toPrecision(6)}`];
		return typeof value === 'string' ? [`${name} ${value.slice(0, 60)}`] : [];
	});
	return texts.length > 0 ? ` (${texts.join(', ')})` : '';
}

/** What came and what was begun or sent then: the words that `--verb` filters by. */
export function verbsOf(record: TraceRecord): string[] {
	const left = commandsOf(record).flatMap(command =>
		'send' in command ? [command.send] : 'pass' in command ? [command.pass] : [],
	);
	return record.kind === 'input' ? [record.event.type, ...left] : [record.kind, ...left];
}

/** The round a record is about, when it says one. */
export function roundOf(record: TraceRecord): number | undefined {
	if (record.kind !== 'input') return undefined;
	const bodies: unknown[] = [
		record.event.body,
		...commandsOf(record).map(command =>
			'send' in command ? command.body : 'pass' in command ? command.input : undefined,
		),
	];
	for (const body of bodies) {
		const round = (body as {round?: unknown} | undefined)?.round;
		if (typeof round === 'number') return round;
	}
	return undefined;
}
