/**
Frames published while the broker is away, in order and within a bound. It decides nothing about when to send them.
*/
import type {Frame} from '../../protocols/ports.ts';

/** A bounded queue of whole frames. */
export class Outbox {
	bytes = 0;
	private frames: Frame[] = [];
	private readonly bytesMax: number;

	constructor(bytesMax: number) {
		this.bytesMax = bytesMax;
	}

	get isEmpty(): boolean {
		return this.frames.length === 0;
	}

	/** Keeps a frame; false when it would go over the bound (an empty outbox takes any frame). */
	add(frame: Frame): boolean {
		const bytes = this.bytes + frame.body.byteLength + frameOverheadBytes;
		if (bytes > this.bytesMax && !this.isEmpty) return false;
		this.frames.push(frame);
		this.bytes = bytes;
		return true;
	}

	/** Takes everything out, oldest first. */
	takeAll(): readonly Frame[] {
		const {frames} = this;
		this.frames = [];
		this.bytes = 0;
		return frames;
	}
}

/** What a frame takes besides its body, about. */
const frameOverheadBytes = 512;
