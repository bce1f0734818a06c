/**
One run from a scenario, from its first line on the screen to its folder on the disk.
*/
import {randomBytes} from 'node:crypto';
import {cp} from 'node:fs/promises';
import {basename, join, resolve} from 'node:path';
import {checkScenario} from '../../protocols/check-scenario.ts';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import {changesText} from '../../protocols/what-if.ts';
import {withoutSecrets} from '../bus/addresses.ts';
import {type CheckpointAt, checkHasCheckpoint} from '../run/checkpoint.ts';
import {defaultLeaseMs} from '../run/durability.ts';
import {checkRunFolder, createRunFolder, readJson, replaceJson, runFiles} from '../run/folder.ts';
import type {RunResult} from '../run/live-run.ts';
import {saveAdapters} from '../run/save-adapters.ts';
import type {SimulatedChange} from '../run/simulated.ts';
import {type OpenWorld, openWorld} from '../run/world.ts';
import {openProgress} from '../setup/progress.ts';
import {readCreds} from './broker-access.ts';
import {runSession, type SessionPart} from './live-session.ts';
import {machineFacts} from './machine.ts';
import type {RunFlags} from './run-flags.ts';
import {RunView} from './run-view.ts';
import {openScenario, shippedScenarios} from './scenario-files.ts';
import {version} from './version.ts';

/** Runs and reports; sets the exit code to 0 done, 1 failed, 130 interrupted. Throws what cannot start. */
export async function runScenario(name: string | undefined, flags: RunFlags): Promise<void> {
	await execute(flags.resume ? await resumed(flags.resume, name) : await fresh(name, flags), flags);
}

/** Runs what is described; throws what cannot start. */
export async function execute(described: Described, flags: RunFlags): Promise<void> {
	const {scenario, folder, run, whatIf, scenarioHash, config, part} = described;
	checkClock(scenario, flags);
	checkBus(flags);
	checkTraceStream(flags);
	checkDurable(flags);
	if (flags.resume) await checkHasCheckpoint(join(folder, runFiles.checkpoints));
	else await checkRunFolder(folder);
	const isGuest = part !== undefined && !part.roles.some(({kind}) => kind === 'fed-server');
	const view = new RunView(scenario, {isQuiet: flags.quiet || flags.json, isGuest});
	const progress = await openProgress(flags.quiet || flags.json);
	const open = await openWorld({
		scenario,
		bus: flags.bus,
		clock: flags.clock,
		natsUrl: flags.nats,
		creds: typeof flags.creds === 'string' ? await readCreds(flags.creds) : flags.creds,
		backend: flags.backend,
		processes: flags.processes,
		durable: flags.durable ? {run, leaseMs: defaultLeaseMs} : undefined,
		whatIf,
		startMs: described.takenUp?.clockMs,
		...(flags.traceStream && {traceStreamOf: run}),
		part,
		onNotice: text => view.notice(text),
		onProgress: progress.onProgress,
	}).finally(progress.close);
	let discard: (() => Promise<void>) | undefined;
	try {
		if (!flags.resume) discard = await createRunFolder(folder);
		if (described.takenUp) await takeUp(described.takenUp, folder);
		await replaceJson(join(folder, runFiles.config), {
			run,
			scenario,
			...open.facts,
			...machineFacts(),
			bus: flags.bus,
			clock: flags.clock ?? 'wall',
			hasDevicesImposed: flags.clock === 'wall',
			...config,
		});
		view.begin(open.facts, folder);
		if (!flags.clock && open.natsUrl && !part) view.attachable(run, withoutSecrets(open.natsUrl));
		const level = flags.trace;
		const trace = {
			level,
			code: version,
			backend: open.facts.backend,
			...(scenarioHash && {scenarioHash}),
			isPublished: flags.traceStream === true,
		};
		const isResumed = flags.resume !== undefined || described.takenUp !== undefined;
		const result = await runSession(open, {scenario, run, folder, isResumed, trace, part, view});
		const unmet = open.unmet();
		if (unmet.length > 0)
			view.notice(`No message met the change: ${changesText(unmet)}; see cutlayer trace ls for what was sent`);
		await leave(result, {scenario, folder, open, view, json: flags.json, hasReport: !isGuest});
	} catch (error) {
		// What never began leaves nothing behind.
		if (!view.hasRows) await discard?.();
		throw error;
	} finally {
		view.close();
		await open.close();
	}
}

function checkBus({processes, bus, nats}: RunFlags): void {
	if (bus === 'nats' || (!processes && !nats)) return;
	const flag = processes ? '--processes' : '--nats';
	throw new CutlayerError('usage', `Expected --bus nats with ${flag}, found --bus memory; leave one of the two out`);
}

function checkDurable({durable, processes, clock}: RunFlags): void {
	if (!durable || (processes && !clock)) return;
	const found = clock ? `--clock ${clock}` : 'all actors in one process';
	throw new CutlayerError(
		'usage',
		`Expected --processes with --durable, found ${found}; an actor survives a process of its own, so add --processes or leave --durable out`,
	);
}

function checkTraceStream({traceStream, trace, bus, clock}: RunFlags): void {
	if (!traceStream || (trace !== 'off' && bus === 'nats' && !clock)) return;
	const found = trace === 'off' ? '--trace off' : clock ? `--clock ${clock}` : '--bus memory';
	throw new CutlayerError(
		'usage',
		`Expected a trace and a run over NATS with --trace-stream, found ${found}; leave one of the two out`,
	);
}

function checkClock({faults, attach = [], name}: Scenario, {clock, resume, processes}: RunFlags): void {
	if (!clock && attach.length > 0) {
		throw new CutlayerError(
			'usage',
			`Scenario ${name} has ${attach.length} actors that attach, which is for simulated devices only: add --clock virtual, or leave them out and use cutlayer attach`,
		);
	}
	if (!clock && faults.length > 0) {
		throw new CutlayerError(
			'usage',
			`Scenario ${name} has ${faults.length} faults, which happen to simulated devices only: add --clock virtual, or --clock wall for the same in real time`,
		);
	}
	if (clock && processes) {
		throw new CutlayerError(
			'usage',
			`The actors of simulated devices share a process: leave --processes or --clock ${clock} out`,
		);
	}
	if (clock && resume) {
		throw new CutlayerError(
			'usage',
			'A run on simulated devices is not resumed: start it anew, in virtual time the same scenario and seed give the same run',
		);
	}
}

/** Into a new folder; its rows are cut to those of the checkpoint when the run begins. */
async function takeUp({path, metrics}: NonNullable<Described['takenUp']>, folder: string): Promise<void> {
	await cp(path, join(folder, runFiles.checkpoints, basename(path)), {recursive: true});
	await cp(metrics, join(folder, runFiles.metrics));
}

/** What a resumed run reads of its `config.json`. */
type RunConfig = {
	readonly scenario?: unknown;
	readonly run?: unknown;
	readonly clock?: 'wall' | 'virtual';
	readonly hasDevicesImposed?: boolean;
};

/** A run to be: `config` is what its `config.json` says besides. */
export type Described = {
	readonly scenario: Scenario;
	readonly folder: string;
	readonly run: string;
	readonly whatIf?: SimulatedChange;
	/** A checkpoint of another run, and that run's rows: it goes on from there in virtual time. */
	readonly takenUp?: CheckpointAt & {readonly metrics: string};
	/** Only these actors, of a run whose others are elsewhere. */
	readonly part?: SessionPart;
	readonly scenarioHash?: string;
	readonly config?: Readonly<Record<string, unknown>>;
};

async function fresh(name: string | undefined, {set, seed, steps, out}: RunFlags): Promise<Described> {
	if (!name) {
		throw new CutlayerError(
			'usage',
			`Expected a scenario: a path or one of ${(await shippedScenarios()).join(', ')}; for example cutlayer run quickstart`,
		);
	}
	const assignments = [...set];
	if (seed !== undefined) assignments.push(`seed=${seed}`);
	if (steps !== undefined) assignments.push(`training.steps=${steps}`);
	const scenario = await openScenario(name, assignments);
	const run = `${scenario.name.slice(0, 56)}-${randomBytes(3).toString('hex')}`;
	return {scenario, run, folder: resolve(out ?? join('runs', run))};
}

async function resumed(folder: string, name: string | undefined): Promise<Described> {
	if (name)
		throw new CutlayerError('usage', 'Expected either a scenario or --resume: a resumed run goes on with its own');
	const path = join(folder, runFiles.config);
	const config = (await readJson(path, 'the run')) as RunConfig | null;
	if (typeof config?.run !== 'string' || typeof config.scenario !== 'object') {
		throw new CutlayerError(
			'usage',
			`Expected \`run\` and \`scenario\` in ${path}, which a run writes there, found neither or one; give the folder of a run`,
		);
	}
	if (config.clock === 'virtual' || config.hasDevicesImposed) {
		throw new CutlayerError(
			'usage',
			`The run in ${folder} was on simulated devices and is not resumed: start it anew, in virtual time the same scenario and seed give the same run`,
		);
	}
	return {
		scenario: checkScenario(config.scenario, path),
		run: config.run,
		folder: resolve(folder),
	};
}

type Leaving = {
	readonly scenario: Scenario;
	readonly folder: string;
	readonly open: OpenWorld;
	readonly view: RunView;
	readonly json: boolean;
	/** Not for a part of a run, which has a part of its rows. */
	readonly hasReport: boolean;
};

async function leave(
	{summary, adapters}: RunResult,
	{scenario, folder, open, view, json, hasReport}: Leaving,
): Promise<void> {
	if (adapters) {
		await saveAdapters(join(folder, runFiles.adapters), adapters, {scenario, config: open.config});
	}
	await replaceJson(join(folder, runFiles.summary), summary);
	if (hasReport) await report(folder, view);
	view.end(summary, folder);
	if (json) process.stdout.write(`${JSON.stringify({folder, ...summary})}\n`);
	process.exitCode = {done: 0, failed: 1, interrupted: 130}[summary.status];
}

/** A run is not lost with its report: what stops one is said, and `cutlayer report` can be tried again. */
async function report(folder: string, view: RunView): Promise<void> {
	const {writeReport} = await import('../report/write.ts');
	await writeReport(folder).catch(error => view.notice(`No report was written: ${errorText(error)}`));
}
