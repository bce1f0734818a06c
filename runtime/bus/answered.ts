/**
What a cluster answers about its streams: while its servers choose who leads nobody does, and it is asked again.
*/
import {setTimeout as sleep} from 'node:timers/promises';
import {type NatsConnection, NatsError} from 'nats';

/** Longer than a cluster takes to choose. */
const waitMsMax = 30_000;
const retryMs = 250;

/** The first answer. Rejects as `ask` does: at once where one server is all there is, in a cluster after 30 s without an answer. */
export async function answered<T>({info}: Pick<NatsConnection, 'info'>, ask: () => Promise<T>): Promise<T> {
	const endMs = performance.now() + waitMsMax;
	for (;;) {
		try {
			return await ask();
		} catch (error) {
			if (info?.cluster === undefined || !isLeaderless(error) || performance.now() > endMs) throw error;
			await sleep(retryMs);
		}
	}
}

const isLeaderless = (error: unknown): boolean =>
	error instanceof NatsError && (error.code === 'TIMEOUT' || error.api_error?.code === 503);
