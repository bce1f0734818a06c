/**
A trace on its way over a bus: pieces of a trace file, each with its place. What is in them is the trace's business.
*/
import type {Frame} from './ports.ts';
import {subjectOf} from './subjects.ts';

/** `bytes` stand at `at` in `file`; the last piece says how long the file is. */
export type TracePart = {
	readonly file: string;
	readonly at: number;
	readonly bytes: Uint8Array;
	/** It is the last one. */
	readonly isEnd: boolean;
};

/** The subject to which a host publishes its part of a run's trace. */
export const traceSubject = (run: string, host: string): string =>
	subjectOf({run, kind: 'host', id: host, verb: 'trace'});

const names = {file: 'Cutlayer-Trace-File', at: 'Cutlayer-Trace-At', end: 'Cutlayer-Trace-End'} as const;

export const partFrame = (subject: string, {file, at, bytes, isEnd}: TracePart): Frame => ({
	subject,
	headers: {[names.file]: file, [names.at]: String(at), ...(isEnd && {[names.end]: '1'})},
	body: bytes,
});

/** The piece in a frame, or nothing when it is none; a file name is never a path. */
export function partOf({headers, body}: Frame): TracePart | undefined {
	const [file, at] = [headers[names.file], Number(headers[names.at])];
	if (file === undefined || !/^[a-z0-9-]{1,64}(\.\d{1,6})?\.trace$/.test(file)) return undefined;
	if (!Number.isSafeInteger(at) || at < 0) return undefined;
	return {file, at, bytes: body, isEnd: headers[names.end] === '1'};
}
