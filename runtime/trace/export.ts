/**
A trace for other tools: one JSON object a record, or a table. Pieces of text, so that memory does not grow with the trace.
*/
import {commandsOf, type Trace} from './trace.ts';
import {commandText, roundOf, stateName} from './words.ts';

/** A record a line as JSON; NaN and infinities become null. */
export async function* toJsonLines(trace: Trace): AsyncGenerator<string> {
	for (const {name, header} of trace.streams) yield `${JSON.stringify({stream: name, ...header})}\n`;
	for await (const {stream, record} of trace.records()) {
		yield `${JSON.stringify(trace.streams.length > 1 ? {stream: stream.name, ...record} : record)}\n`;
	}
}

const columns = [
	'record',
	'timeMs',
	'actor',
	'kind',
	'event',
	'from',
	'round',
	'message',
	'cause',
	'state',
	'commands',
	'bytesSent',
];

/** A row a record, with a heading; quoted as RFC 4180 says. */
export async function* toCsv(trace: Trace): AsyncGenerator<string> {
	yield `${columns.join(',')}\n`;
	for await (const located of trace.records()) {
		const {record} = located;
		const event = record.kind === 'input' ? record.event : undefined;
		const commands = commandsOf(record);
		const bytes = commands.reduce((total, command) => total + ('bytes' in command ? command.bytes : 0), 0);
		const cells = [
			trace.label(located),
			record.t,
			'actor' in record ? record.actor : '',
			record.kind,
			event?.type ?? '',
			event?.from ?? '',
			roundOf(record) ?? '',
			record.kind === 'input' ? (record.message ?? '') : '',
			record.kind === 'input' ? (record.by ?? '') : '',
			'state' in record && record.state !== undefined ? stateName(record.state) : '',
			commands.map(commandText).join('; '),
			bytes,
		];
		yield `${cells.map(cell).join(',')}\n`;
	}
}

const cell = (value: string | number): string => {
	const text = String(value);
	return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
