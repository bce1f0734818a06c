/**
A trace as trace-event JSON for Perfetto and chrome://tracing: actors are tracks of one process, passes and waiting are slices on
them; links are another process, messages in flight are slices there and flow arrows between actors; bytes and staleness are
counters. Times are microseconds of run time.
*/
import type {Command, TraceRecord} from './format.ts';
import {commandsOf, type Trace} from './trace.ts';
import {stateName} from './words.ts';

type TraceEvent = {
	readonly ph: 'X' | 'M' | 's' | 'f' | 'C' | 'b' | 'e';
	readonly name: string;
	readonly pid: number;
	readonly tid: number;
	readonly ts?: number;
	readonly dur?: number;
	readonly id?: string;
	readonly cat?: string;
	readonly bp?: 'e';
	readonly args?: Readonly<Record<string, unknown>>;
};

const pid = 1;
/** Messages in flight, which may overlap: asynchronous slices, those to one actor under one name. */
const linksPid = 2;
const sentMax = 65_536;

/** Pieces of one JSON object. */
export async function* toPerfetto(trace: Trace): AsyncGenerator<string> {
	const timeline = new Timeline();
	yield '{"displayTimeUnit":"ms","traceEvents":[\n';
	const processes = [processName(pid, 'actors'), processName(linksPid, 'links')];
	yield processes.map(event => JSON.stringify(event)).join(',\n');
	const separator = ',\n';
	for await (const located of trace.records()) {
		for (const event of timeline.take(located.record, trace.label(located))) {
			yield `${separator}${JSON.stringify(event)}`;
		}
	}
	yield '\n]}\n';
}

const processName = (id: number, name: string): TraceEvent => ({
	ph: 'M',
	name: 'process_name',
	pid: id,
	tid: 0,
	args: {name},
});

/** A message that left, until it is forgotten. */
type Sent = {readonly ts: number; readonly tid: number; readonly verb: string; readonly bytes: number};

type Track = {
	readonly tid: number;
	/** Passes under way, by name, with the time of their start. */
	readonly passes: Map<string, number>;
	state: string;
	stateSince: number;
	bytesSent: number;
	bytesReceived: number;
};

class Timeline {
	readonly #tracks = new Map<string, Track>();
	readonly #sent = new Map<string, Sent>();

	*take(record: TraceRecord, label: string): Generator<TraceEvent> {
		if (!('actor' in record)) return;
		const ts = Math.round(record.t * 1000);
		const known = this.#tracks.get(record.actor);
		const track = known ?? newTrack(this.#tracks.size + 1, ts);
		this.#tracks.set(record.actor, track);
		if (!known) {
			yield {ph: 'M', name: 'thread_name', pid, tid: track.tid, args: {name: record.actor}};
			yield {ph: 'M', name: 'thread_name', pid: linksPid, tid: track.tid, args: {name: `to ${record.actor}`}};
		}
		yield* endPasses(record, track, ts);
		yield* this.#changeState(record, track, ts);
		const name = record.kind === 'input' ? record.event.type : record.kind;
		yield {ph: 'X', name, pid, tid: track.tid, ts, dur: 1, cat: 'input', args: {record: label}};
		if (record.kind === 'input' && record.message !== undefined)
			yield* this.#arrive(record.message, record.actor, track, ts);
		for (const command of commandsOf(record)) yield* this.#command(command, record.actor, track, ts);
	}

	/** Without a pass under way the actor waited in its former state. */
	*#changeState(record: TraceRecord, track: Track, ts: number): Generator<TraceEvent> {
		if (!('state' in record) || record.state === undefined) return;
		if (track.state !== '' && track.passes.size === 0 && ts > track.stateSince) {
			const {tid, stateSince, state} = track;
			yield {ph: 'X', name: `waiting: ${state}`, pid, tid, ts: stateSince, dur: ts - stateSince, cat: 'waiting'};
		}
		track.state = stateName(record.state);
		track.stateSince = ts;
	}

	*#arrive(message: string, actor: string, track: Track, ts: number): Generator<TraceEvent> {
		const sent = this.#sent.get(message);
		if (!sent) return;
		const {tid} = track;
		const {verb: name, bytes} = sent;
		const id = `${message}>${tid}`;
		const flow = {name, pid, cat: 'message', id} as const;
		yield {ph: 's', ...flow, tid: sent.tid, ts: sent.ts};
		yield {ph: 'f', bp: 'e', ...flow, tid, ts};
		const transfer = {name: `${name} to ${actor}`, pid: linksPid, tid, cat: 'transfer', id} as const;
		yield {ph: 'b', ...transfer, ts: sent.ts, args: {message, bytes}};
		yield {ph: 'e', ...transfer, ts};
		track.bytesReceived += bytes;
		yield {ph: 'C', name: `bytes received by ${actor}`, pid, tid, ts, args: {bytes: track.bytesReceived}};
	}

	*#command(command: Command, actor: string, track: Track, ts: number): Generator<TraceEvent> {
		if ('pass' in command) {
			track.passes.set(command.pass, ts);
			track.stateSince = ts;
		}
		if (!('send' in command)) return;
		this.#sent.set(command.id, {ts, tid: track.tid, verb: command.send, bytes: command.bytes});
		if (this.#sent.size > sentMax)
			for (const oldest of this.#sent.keys()) {
				this.#sent.delete(oldest);
				break;
			}
		track.bytesSent += command.bytes;
		yield {ph: 'C', name: `bytes sent by ${actor}`, pid, tid: track.tid, ts, args: {bytes: track.bytesSent}};
		yield* stalenessOf(command.body, actor, track.tid, ts);
	}
}

const newTrack = (tid: number, ts: number): Track => ({
	tid,
	passes: new Map(),
	state: '',
	stateSince: ts,
	bytesSent: 0,
	bytesReceived: 0,
});

/** A pass ends with its result, or when another begins in its place. */
function* endPasses(record: TraceRecord, {tid, passes}: Track, ts: number): Generator<TraceEvent> {
	const isLeft =
		commandsOf(record).some(command => 'pass' in command) || record.kind === 'ended' || record.kind === 'started';
	for (const [name, since] of passes) {
		const isDone =
			record.kind === 'input' && (record.event.type === `${name}.done` || record.event.type === 'pass.failed');
		if (!isDone && !isLeft) continue;
		passes.delete(name);
		if (ts > since)
			yield {ph: 'X', name, pid, tid, ts: since, dur: ts - since, cat: 'pass', ...(!isDone && {args: {isLeft: true}})};
	}
}

function* stalenessOf(body: unknown, actor: string, tid: number, ts: number): Generator<TraceEvent> {
	const {kind, row = {}} = body as {kind?: string; row?: Readonly<Record<string, unknown>>};
	if (kind !== 'step' && kind !== 'round') return;
	for (const [name, value] of Object.entries(row)) {
		if (/staleness/i.test(name) && typeof value === 'number')
			yield {ph: 'C', name: `${name} of ${actor}`, pid, tid, ts, args: {[name]: value}};
	}
}
