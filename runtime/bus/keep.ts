/**
A message for a stream of the broker, said until the stream has it: while servers of a cluster change places nobody takes it.
*/
import {setTimeout as sleep} from 'node:timers/promises';
import {type JetStreamClient, type NatsConnection, NatsError} from 'nats';
import type {Bus, Frame} from '../../protocols/ports.ts';
import {natsHeadersOf} from './nats-headers.ts';

type Keeping = {
	readonly bus: Pick<Bus, 'flush'> & {readonly connection: NatsConnection};
	readonly jetstream: JetStreamClient;
};

type KeepOptions = {
	/** By which a repeat is known; default the id of the message itself. */
	readonly id?: string;
	/** The broker's word that it never will; default what a stream itself refuses. */
	readonly isRefused?: (error: unknown) => boolean;
};

const ackTimeoutMs = 5000;
const retryMs = 250;

/** The stream itself says no; that nobody answers may change. */
const isRefusedByStream = (error: unknown): boolean =>
	error instanceof NatsError && error.api_error !== undefined && error.api_error.code < 500;

/** Resolves once the stream has it; rejects when the broker refuses it for good or the connection is closed. */
export async function keepIn(
	{bus, jetstream}: Keeping,
	frame: Frame,
	{id, isRefused = isRefusedByStream}: KeepOptions,
): Promise<void> {
	for (;;) {
		const options = {headers: natsHeadersOf(frame), timeout: ackTimeoutMs, ...(id !== undefined && {msgID: id})};
		try {
			await jetstream.publish(frame.subject, frame.body, options);
			return;
		} catch (error) {
			if (bus.connection.isClosed() || isRefused(error)) throw error;
			await sleep(retryMs, undefined, {ref: false});
			await bus.flush();
		}
	}
}
