/**
The runs that answer on a broker, a line each.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import {askRuns, type FoundRun} from '../attach/ask.ts';
import {durationText} from '../units.ts';
import {type BrokerFlags, openAccess} from './broker-access.ts';

/** Prints them; none is no error. Throws `usage`. */
export async function listRuns(flags: BrokerFlags & {readonly json: boolean}): Promise<void> {
	const {bus, speaker, refusals} = await openAccess(flags, 'observer', undefined, {isAnyKind: true});
	try {
		const runs = await askRuns({bus, speaker});
		if (runs.length === 0 && refusals.length > 0) throw new CutlayerError('usage', refusals[0]!);
		const rows = runs.map(rowOf);
		if (flags.json) process.stdout.write(`${JSON.stringify(rows)}\n`);
		else if (rows.length === 0) process.stderr.write(`No run answers at ${bus.url}\n`);
		else for (const row of rows) process.stdout.write(`${lineOf(row)}\n`);
	} finally {
		await bus.close();
	}
}

const rowOf = ({run, scenario, ageMs, round, members, isPaused}: FoundRun) => ({
	run,
	scenario: (JSON.parse(scenario) as {name: string}).name,
	ageMs: Math.round(ageMs),
	round,
	members: members.map(({client}) => client),
	isPaused,
});

const lineOf = ({run, scenario, ageMs, round, members, isPaused}: ReturnType<typeof rowOf>): string =>
	[
		run.padEnd(24),
		`scenario ${scenario}`,
		`age ${durationText(ageMs / 1000)}`,
		round < 0 ? 'before its first round' : `round ${round}`,
		`members ${members.join(' ') || 'none'}`,
		...(isPaused ? ['paused'] : []),
	].join('  ');
