/**
What a broker keeps of a durable run: a stream of its training messages, a stream of its servers' checkpoints, and a bucket with
the lease of each server. It knows nothing of what is in them.
*/
import {type JetStreamClient, type JetStreamManager, type KV, NatsError, nanos} from 'nats';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {messageRoutes, type Verb} from '../../protocols/messages.ts';
import {hostVerbs} from '../../protocols/run-messages.ts';
import {checkId} from '../../protocols/subjects.ts';
import {keptStream} from './kept-stream.ts';
import type {NatsBus} from './nats.ts';

/** How long it recognises a message that is said again, ms. */
const recognisedMs = 120_000;

export type RunStreams = {
	readonly bus: NatsBus;
	readonly run: string;
	readonly jetstream: JetStreamClient;
	readonly manager: JetStreamManager;
	readonly leases: KV;
};

const checked = (run: string) => checkId(run, 'run id');
export const trainingStreamOf = (run: string) => `cutlayer-run-${checked(run)}`;
export const savedStreamOf = (run: string) => `cutlayer-saved-${checked(run)}`;
const leasesOf = (run: string) => `cutlayer-leases-${checked(run)}`;

/** The stream of saved states has a subject for each actor. */
export const savedSubjectOf = (run: string, id: string) => `cutlayer.v1.${checked(run)}.host.${checkId(id)}.checkpoint`;

/** Signs of life, and what is said around a run, are worth nothing later. */
const volatileVerbs: ReadonlySet<string> = new Set([...hostVerbs, 'heartbeat']);

/** Whether a message is kept until its receiver has it. */
export const isKept = (verb: string): boolean => verb in messageRoutes && !volatileVerbs.has(verb);

/** The kept messages of a run, of one verb each. */
function trainingSubjects(run: string): string[] {
	return (Object.keys(messageRoutes) as Verb[]).filter(isKept).flatMap(verb => {
		const stem = `cutlayer.v1.${checked(run)}.*.*.${verb}`;
		const {reach} = messageRoutes[verb];
		return [...(reach === 'one' ? [] : [stem]), ...(reach === 'all' ? [] : [`${stem}.*`])];
	});
}

/**
Finds what a run has at the broker, or makes it; `isFresh` drops what a former run of that id left.
Throws `broker-limit` when the server keeps no streams.
*/
export async function openRunStreams(bus: NatsBus, run: string, {isFresh = false} = {}): Promise<RunStreams> {
	try {
		const manager = await bus.connection.jetstreamManager();
		if (isFresh) await dropRunStreams({manager, run});
		const common = {
			...keptStream(bus.connection),
			allow_direct: true,
		};
		await manager.streams.add({
			...common,
			name: trainingStreamOf(run),
			subjects: trainingSubjects(run),
			duplicate_window: nanos(recognisedMs),
		});
		await manager.streams.add({...common, name: savedStreamOf(run), subjects: [savedSubjects(run)]});
		const jetstream = bus.connection.jetstream();
		const leases = await jetstream.views.kv(leasesOf(run), {history: 1, replicas: common.num_replicas});
		return {bus, run, jetstream, manager, leases};
	} catch (error) {
		throw noStreams(bus, error);
	}
}

const savedSubjects = (run: string) => `cutlayer.v1.${checked(run)}.host.*.checkpoint`;

/** Removes everything the broker keeps of a run. */
export async function dropRunStreams({manager, run}: Pick<RunStreams, 'manager' | 'run'>): Promise<void> {
	for (const name of [trainingStreamOf(run), savedStreamOf(run), `KV_${leasesOf(run)}`])
		await manager.streams.delete(name).catch(ignoreAbsent);
}

function ignoreAbsent(error: unknown): void {
	if (!(error instanceof NatsError) || error.api_error?.err_code !== 10_059) throw error;
}

const noStreams = (bus: NatsBus, error: unknown): CutlayerError =>
	new CutlayerError(
		'broker-limit',
		`Expected JetStream at ${bus.url}, found: ${errorText(error)}; without it a step that was answered is lost with the process that took it: start nats-server with -js, or go on without --durable`,
		{cause: error},
	);
