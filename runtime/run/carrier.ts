/**
Carries the frames of a simulated run over a real bus: each one published crosses it at once, and virtual time stands still
until it has arrived everywhere. When it is handed over, and in which order, is the simulated network's; what is handed over
is what arrived.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import type {Bus, Frame} from '../../protocols/ports.ts';
import {subjectMatches} from '../../protocols/subjects.ts';
import {settled} from '../live/settled.ts';

/** One subscription on the real bus. */
type Line = {
	readonly connection: object;
	readonly pattern: string;
	/** The server knows of it: what is published from now on comes. */
	isActive: boolean;
	/** Frames on their way, by message id, as they were sent. */
	readonly expected: Map<string, Frame[]>;
	/** What arrived, by what was sent; gone with the frame that was sent. */
	readonly arrived: WeakMap<Frame, Frame>;
};

type HandOver = {readonly line: Line; readonly frame: Frame; readonly deliver: (frame: Frame) => void};

const patienceMs = 30_000;

const keyOf = (frame: Frame) => frame.headers['Nats-Msg-Id'] ?? '';

export class Carrier {
	readonly #connect: (name: string) => Promise<Bus>;
	readonly #lines = new Set<Line>();
	/** Who listens without a link hears of a frame before it has arrived: that waits here, in order. */
	#early: HandOver[] = [];
	#onTheWay = 0;
	#carried = 0;
	#waiting: (() => void)[] = [];

	/** `connect` makes a connection to the real bus. */
	constructor(connect: (name: string) => Promise<Bus>) {
		this.#connect = connect;
	}

	/** Frames that crossed the real bus, one for each receiver. */
	get carried(): number {
		return this.#carried;
	}

	/** A simulated connection whose frames cross the real bus. */
	async carry(name: string, simulated: Bus): Promise<Bus> {
		const real = await this.#connect(name);
		const connection = {};
		return {
			maxPayloadBytes: Math.min(simulated.maxPayloadBytes, real.maxPayloadBytes),
			publish: frame => {
				this.#expect(connection, frame);
				real.publish(frame);
				simulated.publish(frame);
			},
			subscribe: (pattern, deliver) => {
				const line: Line = {connection, pattern, isActive: false, expected: new Map(), arrived: new WeakMap()};
				this.#lines.add(line);
				const stops = [
					real.subscribe(pattern, frame => this.#arrive(line, frame)),
					simulated.subscribe(pattern, frame => this.#handOver({line, frame, deliver})),
				];
				void real.flush().then(() => {
					line.isActive = true;
				});
				return () => {
					for (const stop of stops) stop();
					this.#forget(line);
				};
			},
			flush: async () => {
				await real.flush();
				await this.settled();
			},
			close: async () => {
				await simulated.close();
				for (const line of this.#lines) if (line.connection === connection) this.#forget(line);
				await real.close();
			},
		};
	}

	/** Resolves when nothing published is undelivered and everything that follows from it in this process has happened. */
	async settled(): Promise<void> {
		await settled();
		while (this.#onTheWay > 0 || this.#early.length > 0) {
			await this.#allArrived();
			for (const {line, frame, deliver} of this.#early.splice(0)) deliver(line.arrived.get(frame) ?? frame);
			await settled();
		}
	}

	#expect(connection: object, frame: Frame): void {
		for (const line of this.#lines) {
			if (!line.isActive || line.connection === connection || !subjectMatches(line.pattern, frame.subject)) continue;
			line.expected.set(keyOf(frame), [...(line.expected.get(keyOf(frame)) ?? []), frame]);
			this.#onTheWay++;
		}
	}

	/** A publisher's own frames come back to it too and are not awaited. */
	#arrive(line: Line, frame: Frame): void {
		const sent = line.expected.get(keyOf(frame))?.shift();
		if (!sent) return;
		if (line.expected.get(keyOf(frame))!.length === 0) line.expected.delete(keyOf(frame));
		line.arrived.set(sent, frame);
		this.#carried++;
		this.#less(1);
	}

	/** A frame that the simulated network has damaged is handed over as it is. */
	#handOver(handOver: HandOver): void {
		const {line, frame, deliver} = handOver;
		const isEarly = this.#early.length > 0 || line.expected.get(keyOf(frame))?.includes(frame);
		if (isEarly) this.#early.push(handOver);
		else deliver(line.arrived.get(frame) ?? frame);
	}

	#forget(line: Line): void {
		this.#lines.delete(line);
		const waiting = [...line.expected.values()].reduce((sum, frames) => sum + frames.length, 0);
		line.expected.clear();
		this.#early = this.#early.filter(handOver => handOver.line !== line);
		this.#less(waiting);
	}

	#less(count: number): void {
		this.#onTheWay -= count;
		if (this.#onTheWay === 0) for (const resolve of this.#waiting.splice(0)) resolve();
	}

	async #allArrived(): Promise<void> {
		if (this.#onTheWay === 0) return;
		let timer: NodeJS.Timeout | undefined;
		const late = new Promise<never>((_, reject) => {
			timer = setTimeout(() => reject(this.#lateError()), patienceMs);
		});
		const all = new Promise<void>(resolve => this.#waiting.push(resolve));
		await Promise.race([all, late]).finally(() => clearTimeout(timer));
	}

	#lateError(): CutlayerError {
		return new CutlayerError(
			'broker-unreachable',
			`Expected every frame to cross the broker within ${patienceMs} ms, ${this.#onTheWay} did not; see its log, or run with --bus memory`,
		);
	}
}
