import {readFile, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import {runCutlayer} from '../_helpers/cutlayer.ts';
import {testWithModel as test} from '../_helpers/optional.ts';
import {recordsIn, rewriteTrace} from '../_helpers/traces.ts';
import {temporaryFolder} from '../weights/folder.ts';

const small = [
	'clients=2',
	'training.steps=2',
	'training.stepsPerRound=1',
	'data.batchSize=1',
	'data.validationRows=1',
];

/** A machine on which nothing was set up. */
const bare = (folder: string) => ({
	CUTLAYER_CACHE: join(folder, 'no-cache'),
	NATS_SERVER_BIN: '',
	PATH: '/nonexistent',
	HTTPS_PROXY: 'http://127.0.0.1:1',
});

test('a run of SmolLM2 replays where there is neither model nor broker; one changed byte is found and named', async t => {
	const folder = await temporaryFolder(t);
	const run = join(folder, 'run');
	const sets = small.flatMap(assignment => ['--set', assignment]);
	const made = await runCutlayer(['run', 'quickstart', '--bus', 'memory', '--quiet', '--out', run, ...sets]);
	t.is(made.code, 0, made.stderr);
	const replay = () => runCutlayer(['replay', run], bare(folder));

	const whole = await replay();
	t.is(whole.code, 0, whole.stderr);
	t.regex(whole.stdout, /^\d+ inputs and \d+ commands of .*c1.*\nno divergence\n$/);

	// A byte of the file: its checksum no longer fits.
	const path = join(run, 'trace', 'run.trace');
	const bytes = await readFile(path);
	const changed = Buffer.from(bytes);
	changed[changed.byteLength >> 1]! ^= 1;
	await writeFile(path, changed);
	const damaged = await replay();
	t.is(damaged.code, 2);
	t.regex(damaged.stderr, /run\.trace: record \d+ at byte \d+ is damaged: expected the checksum/);

	// A byte of what was recorded, by somebody who makes the checksum fit: the machines do otherwise.
	await writeFile(path, bytes);
	const record = (await recordsIn(run)).find(
		found => found.kind === 'input' && found.actor === 'c1' && found.event.type === 'gradient',
	)!;
	await rewriteTrace(run, found =>
		found.n === record.n && found.kind === 'input'
			? {...found, event: {...found.event, body: {...(found.event.body as object), serverVersion: 9}}}
			: found,
	);
	const parted = await replay();
	t.is(parted.code, 1);
	t.true(parted.stdout.includes(`first divergence: record ${record.n} of c1, context /`), parted.stdout);
	t.regex(parted.stdout, /replayed: .*9/);
});
