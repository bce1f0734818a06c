/**
A message for a stream of the broker, said until the stream has it: while servers of a cluster change places nobody takes it.
*/
import {setTimeout as sleep} from 'node:timers/promises';
import {type NatsConnection, NatsError} from 'nats';
import type {Bus, Frame} from '../../protocols/ports.ts';
import {natsHeadersOf} from './nats-headers.ts';

type Keeping = Pick<Bus, 'flush'> & {readonly connection: NatsConnection};

const ackTimeoutMs = 5000;
const retryMs = 250;

/** Resolves once the stream has it; rejects when the broker refuses it for good or the connection is closed. */
export async function keepIn(bus: Keeping, frame: Frame, id: string): Promise<void> {
	const jetstream = bus.connection.jetstream();
	for (;;) {
		const headers = natsHeadersOf(frame);
		try {
			await jetstream.publish(frame.subject, frame.body, {headers, msgID: id, timeout: ackTimeoutMs});
			return;
		} catch (error) {
			if (bus.connection.isClosed() || isRefused(error)) throw error;
			await sleep(retryMs, undefined, {ref: false});
			await bus.flush();
		}
	}
}

/** The stream itself says no; that nobody answers may change. */
const isRefused = (error: unknown): boolean =>
	error instanceof NatsError && error.api_error !== undefined && error.api_error.code < 500;
