/**
A writer over a stand-in file.
*/
import {TraceWriter, type TraceWriterOptions} from '../../runtime/trace/write.ts';
import {MemoryFile} from './memory-file.ts';

export const writerTo = (file: MemoryFile, options: Partial<TraceWriterOptions> = {}): TraceWriter =>
	new TraceWriter({
		file,
		index: new MemoryFile(),
		header: {code: 'test', scenarioHash: '0', seed: 1, backend: 'none', clock: 'virtual', level: 'digest'},
		onNotice: () => undefined,
		...options,
	});
