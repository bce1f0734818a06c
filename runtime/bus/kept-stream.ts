/**
What every stream that a broker keeps for a run has in common: for how long, where, and in how many copies.
*/
import {type NatsConnection, nanos, RetentionPolicy, StorageType, type StreamConfig} from 'nats';

type Connected = Pick<NatsConnection, 'info'>;

/** How long the broker keeps what nobody reads or ends, ms. */
const keptMs = 7 * 24 * 3_600_000;

/** Enough to lose one server of three; more copies cost more than they save. */
const replicasMax = 3;

/**
Three in a cluster of three servers or more, which goes on without one of them; one elsewhere, since of two servers neither may be lost.
*/
export function replicasOf({info}: Connected): number {
	const servers = info?.connect_urls?.length ?? 1;
	return servers >= replicasMax ? replicasMax : 1;
}

/** Of a stream on the servers that the connection knows. */
export const keptStream = (connection: Connected) =>
	({
		retention: RetentionPolicy.Limits,
		storage: StorageType.File,
		max_age: nanos(keptMs),
		num_replicas: replicasOf(connection),
	}) satisfies Partial<StreamConfig>;
