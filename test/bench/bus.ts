/**
A round trip of 1.2 MB of activations over NATS on loopback, through encode, chunked bus, decode and the look for NaN on both sides,
against the plain client moving the same bytes. Both go in turns, so that what disturbs one disturbs the other.
*/
import {connect, type NatsConnection} from 'nats';
import {decodeFrame, encodeFrame} from '../../protocols/codec.ts';
import {parseMessageId} from '../../protocols/envelope.ts';
import type {Bus, Frame} from '../../protocols/ports.ts';
import type {Tensor} from '../../protocols/tensor.ts';
import {startBroker} from '../../runtime/bus/broker.ts';
import {createMemoryBroker} from '../../runtime/bus/memory.ts';
import {connectNats} from '../../runtime/bus/nats.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {activationsMessage, megabyteOfActivations} from '../_helpers/activations.ts';
import {medianOf} from '../_helpers/median.ts';
import type {Row} from './rows.ts';

const ratioBar = 1.3;
const warmUps = 40;
const repetitions = 200;

type Trip = () => Promise<void>;

/** Decodes a frame and gives its tensor; a refusal would make the time meaningless. */
function tensorIn(frame: Frame): Tensor {
	const decoded = decodeFrame(frame);
	if (!decoded.ok) throw new Error(`The benchmark's own frame was refused: ${decoded.problem.found}`);
	return (decoded.body as {tensors: {activations: Tensor}}).tensors.activations;
}

/** A client that sends activations and waits for as many back; a server that decodes and answers with a message of its own. */
function tripOverBus(client: Bus, server: Bus, activations: Tensor): Trip {
	let sequence = 0;
	let answered = () => {};
	server.subscribe('cutlayer.v1.bench.client.*.activations.s1', frame => {
		const message = activationsMessage(parseMessageId(frame.headers['Nats-Msg-Id']!)!.sequence, tensorIn(frame));
		server.publish(encodeFrame({...message, subject: 'cutlayer.v1.bench.client.c1.gradient.c1'}));
	});
	client.subscribe('cutlayer.v1.bench.client.*.gradient.c1', frame => {
		tensorIn(frame);
		answered();
	});
	return () =>
		new Promise(resolve => {
			answered = resolve;
			client.publish(encodeFrame(activationsMessage(sequence++, activations)));
		});
}

function tripOverPlainClient(client: NatsConnection, server: NatsConnection, body: Uint8Array): Trip {
	let answered = () => {};
	server.subscribe('plain.ask', {callback: (_, message) => server.publish('plain.answer', message.data)});
	client.subscribe('plain.answer', {callback: () => answered()});
	return () =>
		new Promise(resolve => {
			answered = resolve;
			client.publish('plain.ask', body);
		});
}

/** Medians in milliseconds of trips made in turns. */
async function inTurns(trips: readonly Trip[]): Promise<number[]> {
	const times = trips.map(() => [] as number[]);
	for (let repetition = -warmUps; repetition < repetitions; repetition++) {
		for (const [index, trip] of trips.entries()) {
			const startMs = performance.now();
			await trip();
			if (repetition >= 0) times[index]!.push(performance.now() - startMs);
		}
	}
	return times.map(medianOf);
}

async function overNats(
	binary: string,
	maxPayloadBytes: number,
	activations: Tensor,
): Promise<{oursMs: number; plainMs: number}> {
	const broker = await startBroker({binary, maxPayloadBytes});
	const bodyBytes = encodeFrame(activationsMessage(0, activations)).body;
	const plain = await Promise.all([connect({servers: broker.url}), connect({servers: broker.url})]);
	const ours = await Promise.all([
		connectNats({url: broker.url, name: 'client'}),
		connectNats({url: broker.url, name: 'server'}),
	]);
	const plainTrip = tripOverPlainClient(plain[0], plain[1], bodyBytes.subarray(0, maxPayloadBytes));
	const trip = tripOverBus(ours[0], ours[1], activations);
	await Promise.all([...plain, ...ours].map(connection => connection.flush()));
	const [oursMs, plainMs] = await inTurns([trip, plainTrip]);
	await Promise.all([...plain, ...ours].map(connection => connection.close()));
	await broker.stop();
	return {oursMs: oursMs!, plainMs: plainMs!};
}

/** Rows of the memory bus, and of NATS when a broker is at hand. */
export async function run(): Promise<Row[]> {
	const activations = megabyteOfActivations();
	const memory = createMemoryBroker();
	const [memoryMs] = await inTurns([tripOverBus(memory.connect(), memory.connect(), activations)]);
	const rows: Row[] = [{name: 'bus: round trip of 1.2 MB in memory', value: memoryMs!, unit: 'ms'}];
	const found = findBroker();
	if (!found) throw new Error('The bus benchmark needs a broker: set NATS_SERVER_BIN or run `cutlayer setup`');
	const {oursMs, plainMs} = await overNats(found.binary, 16 * 2 ** 20, activations);
	const ratio = oursMs / plainMs;
	const chunkedTrip = await overNats(found.binary, 2 ** 20, activations);
	return [
		...rows,
		{name: 'bus: round trip of 1.2 MB over NATS', value: oursMs, unit: 'ms'},
		{name: 'bus: the same bytes by the plain client', value: plainMs, unit: 'ms'},
		{name: 'bus: ratio to the plain client', value: ratio, unit: 'x', bar: ratioBar, holds: ratio <= ratioBar},
		{name: 'bus: round trip of 1.2 MB over a limit of 1 MB, in chunks', value: chunkedTrip.oursMs, unit: 'ms'},
	];
}
