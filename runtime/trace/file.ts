/**
The file a trace is written to, as far as a writer needs it, so that a test can stand in for a full disk.
*/
import {type FileHandle, open} from 'node:fs/promises';

export interface TraceFile {
	/** Writes all bytes at a position; rejects when the disk does not take them all. */
	write(bytes: Uint8Array, position: number): Promise<void>;
	truncate(length: number): Promise<void>;
	close(): Promise<void>;
}

/** A new file on the disk; an old one of that name is emptied. */
export async function openTraceFile(path: string): Promise<TraceFile> {
	const file = await open(path, 'w');
	return {
		write: (bytes, position) => writeAll(file, bytes, position),
		truncate: length => file.truncate(length),
		close: () => file.close(),
	};
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
	let written = 0;
	while (written < bytes.byteLength) {
		const {bytesWritten} = await file.write(bytes, written, bytes.byteLength - written, position + written);
		written += bytesWritten;
	}
}
