/**
Seeks to one record of a trace in a process that does nothing else: `node --import=tsx test/bench/seek.ts FILE N` prints the time
from opening the file on, and the most memory the process ever had, which holds the loader of TypeScript too.
*/
import {Trace} from '../../runtime/trace/trace.ts';

const [path = '', n = '1'] = process.argv.slice(2);
const startMs = performance.now();
const trace = await Trace.open(path);
const record = await trace.streams[0]!.record(Number(n));
const seekMs = performance.now() - startMs;
await trace.close();
process.stdout.write(
	`${JSON.stringify({n: record?.n ?? null, seekMs, rssMb: process.resourceUsage().maxRSS / 1e3})}\n`,
);
