/**
The stream of a broker in which the traces of a run are kept while it runs and after it: bytes of trace files as they were
written. It knows nothing of what is in them.
*/
import {AckPolicy, type JetStreamManager, NatsError, nanos} from 'nats';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import type {Frame} from '../../protocols/ports.ts';
import {checkId} from '../../protocols/subjects.ts';
import {answered} from './answered.ts';
import {keptStream} from './kept-stream.ts';
import type {NatsBus} from './nats.ts';
import {frameOf} from './nats-headers.ts';

const streamOf = (run: string) => `cutlayer-trace-${checkId(run, 'run id')}`;
const subjectsOf = (run: string) => `cutlayer.v1.${checkId(run, 'run id')}.host.*.trace`;

/** Makes the stream of a run, or finds it there. Throws `broker-limit` when the server keeps no streams. */
export async function openTraceStream(bus: NatsBus, run: string): Promise<void> {
	const manager = await managerOf(bus);
	try {
		const stream = {name: streamOf(run), subjects: [subjectsOf(run)], ...keptStream(bus.connection)};
		await answered(bus.connection, () => manager.streams.add(stream));
	} catch (error) {
		throw new CutlayerError(
			'broker-limit',
			`The broker at ${bus.url} takes no stream for the trace of ${run}: ${errorText(error)}; run without --trace-stream`,
			{cause: error},
		);
	}
}

/** One message of the stream, and how many come after it at the moment. */
export type Kept = {readonly frame: Frame; readonly pending: number};

/**
Everything the stream of a run has, from its first message on, then what comes.
Throws `broker-limit` without JetStream, `usage` when the run has no stream there.
*/
export async function* readTraceStream(bus: NatsBus, run: string): AsyncGenerator<Kept | undefined> {
	const manager = await managerOf(bus);
	const name = streamOf(run);
	const {state} = await answered(bus.connection, () => manager.streams.info(name)).catch((error: unknown) => {
		if (error instanceof NatsError && error.api_error?.err_code === 10_059) throw unknownRun(bus, run);
		throw error;
	});
	// Nothing is there yet to be waited for by a consumer.
	if (state.messages === 0) yield undefined;
	const {name: consumer} = await answered(bus.connection, () =>
		manager.consumers.add(name, {ack_policy: AckPolicy.None, inactive_threshold: nanos(60_000), mem_storage: true}),
	);
	const messages = await (await bus.connection.jetstream().consumers.get(name, consumer)).consume({
		max_messages: 256,
	});
	try {
		for await (const message of messages) {
			const headers = message.headers;
			const frame = frameOf({subject: message.subject, data: message.data, headers} as Parameters<typeof frameOf>[0]);
			yield {frame, pending: message.info.pending};
		}
	} finally {
		messages.stop();
		await manager.consumers.delete(name, consumer).catch(() => undefined);
	}
}

async function managerOf(bus: NatsBus): Promise<JetStreamManager> {
	try {
		return await answered(bus.connection, () => bus.connection.jetstreamManager());
	} catch (error) {
		throw new CutlayerError(
			'broker-limit',
			`Expected JetStream at ${bus.url}, where traces are kept, found: ${errorText(error)}; start nats-server with -js, or read the run's folder with cutlayer trace follow`,
			{cause: error},
		);
	}
}

const unknownRun = ({url}: NatsBus, run: string) =>
	new CutlayerError(
		'usage',
		`The broker at ${url} keeps no trace of a run ${run}: expected one that was started with --trace-stream; its id is \`run\` in its config.json`,
	);
