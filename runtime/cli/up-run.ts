/**
One actor of a run that is spread by hand: each process has the same scenario and run id, and waits for what it needs.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import {checkId} from '../../protocols/subjects.ts';
import {askRuns, type FoundRun} from '../attach/ask.ts';
import {ownRows} from '../run/own-data.ts';
import {evaluatorId, fedServerId, mainServerId} from '../run/plan.ts';
import type {ActorKind} from '../run/running-actor.ts';
import {type Access, openAccess} from './broker-access.ts';
import {incarnationFor, joinAs} from './guest.ts';
import type {UpFlags} from './guest-flags.ts';
import {openScenario} from './scenario-files.ts';

/** Takes part to the end of the run. Throws `usage`, `scenario-invalid` or `data-invalid` for what the user can correct. */
export async function upRun(kind: ActorKind, name: string, flags: UpFlags): Promise<void> {
	const scenario = await openScenario(name, [...flags.set, ...(flags.model ? [`model=${flags.model}`] : [])]);
	const asked = idOf(kind, flags);
	if (kind === 'main-server' && !scenario.mainServer)
		throw new CutlayerError('usage', `Scenario ${scenario.name} has no main server; leave this process out`);
	const run = checkId(flags.run, 'run id');
	const access = await openAccess(flags, kind, asked);
	const {id} = access.speaker;
	const found = await awaitRun(kind, run, access, flags).finally(() => access.bus.close());
	await joinAs(
		{
			role: {kind, id},
			run,
			scenario,
			creds: access.creds,
			agreement: found?.agreement,
			incarnation: kind === 'client' && found ? incarnationFor(found, id, false) : 0,
			rows: kind === 'client' ? ownRows(scenario, id, flags) : undefined,
		},
		flags,
	);
}

/** Credentials of a client say who it is. */
function idOf(kind: ActorKind, {id, creds}: UpFlags): string | undefined {
	const fixed = {'fed-server': fedServerId, 'main-server': mainServerId, evaluator: evaluatorId, client: undefined}[
		kind
	];
	if (id !== undefined) return checkId(id);
	if (fixed !== undefined) return fixed;
	if (creds !== undefined) return undefined;
	throw new CutlayerError(
		'usage',
		'Expected the id of this client, found none; name it with --id, for example --id c0',
	);
}

/** The fed server begins the run; the others wait for it, clients also for the main server. */
async function awaitRun(kind: ActorKind, run: string, access: Access, flags: UpFlags): Promise<FoundRun | undefined> {
	const {bus, speaker, refusals} = access;
	const isFedServer = kind === 'fed-server';
	for (let asked = 0; ; asked++) {
		const [found] = await askRuns({
			bus,
			speaker: isFedServer ? {...speaker, kind: 'observer'} : speaker,
			run,
			brokerLeaseMs: flags.brokerLeaseMs,
		});
		if (refusals.length > 0) throw new CutlayerError('usage', refusals[0]!);
		if (isFedServer && !found) return undefined;
		if (isFedServer)
			throw new CutlayerError(
				'usage',
				`Expected no run ${run} at ${bus.url}, found one that is ${Math.round(found!.ageMs / 1000)} s old; choose another --run`,
			);
		if (found && (found.isReady || kind !== 'client')) return found;
		if (asked === 0) process.stderr.write(`Waiting for the servers of run ${run} at ${bus.url}\n`);
	}
}
