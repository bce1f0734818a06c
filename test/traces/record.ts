/**
Makes the traces in this folder again: `node --import=tsx test/traces/record.ts`. Only when the protocol itself has changed;
a trace that no longer replays is else the finding.
*/
import {cp, rm} from 'node:fs/promises';
import {join} from 'node:path';
import {FakeCompute} from '../_helpers/fake-compute.ts';
import {recordRun, withFolder} from '../_helpers/recorded-run.ts';
import {recordMinors} from './minors.ts';
import {traceScenarios} from './scenarios.ts';

for (const [name, scenario] of Object.entries(traceScenarios)) {
	await withFolder(async folder => {
		const compute = new FakeCompute(({actor, pass}) =>
			name === 'dropout' && actor === 'c1' && pass === 'backward'
				? Promise.reject(new Error('no memory'))
				: Promise.resolve(),
		);
		await recordRun({folder, scenario, compute});
		const target = new URL(`${name}.trace`, import.meta.url).pathname;
		await rm(target, {force: true});
		await cp(join(folder, 'trace', 'run.trace'), target);
	});
}

await recordMinors();
