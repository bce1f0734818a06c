/**
A trace file in memory that can be small, slow or broken.
*/
import type {TraceFile} from '../../runtime/trace/file.ts';

export class MemoryFile implements TraceFile {
	bytes = new Uint8Array(0);
	/** Bytes the disk has room for. */
	capacity = Number.POSITIVE_INFINITY;
	/** Awaited before each write. */
	before: () => Promise<void> = () => Promise.resolve();

	async write(bytes: Uint8Array, position: number): Promise<void> {
		await this.before();
		const room = Math.max(0, this.capacity - position);
		const end = position + Math.min(bytes.byteLength, room);
		const grown = new Uint8Array(Math.max(this.bytes.byteLength, end));
		grown.set(this.bytes);
		grown.set(bytes.subarray(0, end - position), position);
		this.bytes = grown;
		if (room < bytes.byteLength) throw new Error('ENOSPC: no space left on device, write');
	}

	async truncate(length: number): Promise<void> {
		this.bytes = this.bytes.slice(0, length);
	}

	close(): Promise<void> {
		return Promise.resolve();
	}
}
