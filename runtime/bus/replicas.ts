/**
How many servers of a cluster keep a copy of a stream.
*/
import type {NatsConnection} from 'nats';

/** Enough to lose one server of three; more copies cost more than they save. */
const replicasMax = 3;

/**
Three in a cluster of three servers or more, which goes on without one of them; one elsewhere, since of two servers neither may be lost.
*/
export function replicasOf({info}: Pick<NatsConnection, 'info'>): number {
	const servers = info?.connect_urls?.length ?? 1;
	return servers >= replicasMax ? replicasMax : 1;
}
