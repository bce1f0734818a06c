/**
A file on a disk that is full from an instant of the run on: it takes what fits in the place it has by then, and no more. In virtual
time an instant may come before the first write has been made, so that some place there always is. For runs whose scenario says so.
*/
import type {Clock} from '../../protocols/ports.ts';
import {openTraceFile, type TraceFile} from '../trace/file.ts';

/** What fits in any case, bytes. */
const roomBytes = 16 << 10;

/** Opens files that are full from `fullAtMs` on. */
export const fullDisk =
	(fullAtMs: number, clock: Pick<Clock, 'now'>) =>
	async (path: string): Promise<TraceFile> => {
		const file = await openTraceFile(path);
		/** What the file holds at the most, bytes. */
		let place = roomBytes;
		return {
			write: async (bytes, position) => {
				const end = position + bytes.byteLength;
				if (clock.now() >= fullAtMs && end > place)
					throw new Error('ENOSPC: no space left on device, as the scenario says');
				place = Math.max(place, end);
				await file.write(bytes, position);
			},
			truncate: length => file.truncate(length),
			close: () => file.close(),
		};
	};
