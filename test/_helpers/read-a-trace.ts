/**
Calls commands one after the other in a process with a bounded heap, printing nothing but the most memory that each left behind:
`node --max-old-space-size=N --import=./runtime/loader/register.mjs test/_helpers/read-a-trace.ts '[["trace","ls","FILE"]]'`.
*/
import {callCutlayerUnheard} from './call-cutlayer.ts';

const commands = JSON.parse(process.argv[2] ?? '[]') as string[][];
const found: {command: string; code: number; bytes: number; rssMb: number}[] = [];
for (const args of commands) {
	const {code, bytes} = await callCutlayerUnheard(args);
	found.push({command: args.join(' '), code, bytes, rssMb: process.resourceUsage().maxRSS / 1e3});
}
process.stdout.write(JSON.stringify(found));
