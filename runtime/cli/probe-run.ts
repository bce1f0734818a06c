/**
A probe of a run that is under way: what its activations give away, a line a batch and a table at the end. It needs the model's
embedding, and the permission to hear what clients send the main server.
*/
import {checkScenario} from '../../protocols/check-scenario.ts';
import {cutOf, distinctCuts} from '../../protocols/cuts.ts';
import {CutlayerError} from '../../protocols/errors.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import {patternOf} from '../../protocols/subjects.ts';
import {isUShaped} from '../../protocols/u-shape.ts';
import type {FoundRun} from '../attach/ask.ts';
import {Probe, type ProbeRow} from '../attach/probe.ts';
import {ThreadCompute} from '../compute/thread.ts';
import {type RecoveredAtCut, recoveredByCut} from '../run/recovered.ts';
import {ensureModel} from '../setup/model.ts';
import {resolveBackend} from '../setup/resolve.ts';
import {openWeights} from '../weights/load.ts';
import {type Access, findRun, openAccess} from './broker-access.ts';
import type {AttachFlags} from './guest-flags.ts';
import {untilOver} from './until-over.ts';

/** Measures until the run is over, or Ctrl-C. Throws `usage` without the permission, or `run-failed` when the run is gone. */
export async function probeRun(flags: AttachFlags): Promise<void> {
	const access = await openAccess(flags, 'observer', flags.id);
	const {bus} = access;
	try {
		checkCredentials(access, flags.creds);
		const found = await findRun(access, flags.run);
		const scenario = checkScenario(JSON.parse(found.scenario), `run ${found.run}`);
		if (flags.model !== undefined) scenario.model = flags.model;
		checkMeasurable(scenario, found.run);
		await checkHeard(access, found.run);
		const rows: ProbeRow[] = [];
		await probing(access, {found, scenario, flags, rows});
		if (flags.json) process.stdout.write(`${JSON.stringify({run: found.run, cuts: recoveredByCut(rows)})}\n`);
		else process.stdout.write(table(recoveredByCut(rows)));
	} finally {
		await bus.close();
	}
}

type Probing = {
	readonly found: FoundRun;
	readonly scenario: Scenario;
	readonly flags: AttachFlags;
	readonly rows: ProbeRow[];
};

async function probing(access: Access, {found, scenario, flags, rows}: Probing): Promise<void> {
	const {bus, speaker} = access;
	const {run, ageMs} = found;
	const beganMs = performance.now() - ageMs;
	const say = (text: string) => void (flags.quiet || process.stderr.write(`${text}\n`));
	const compute = await openEmbedding(found, scenario, flags);
	try {
		const heads = flags.throughHead ? distinctCuts(scenario).filter(cut => cut > 0) : [];
		await compute.run({actor: speaker.id, pass: 'open', input: {kind: 'probe', heads}, tensors: {}});
		const probe = new Probe({
			...{bus, speaker, run, compute},
			everyRounds: flags.every ?? 1,
			cutOf: client => cutOf(scenario, client),
			now: () => performance.now() - beganMs,
			onRow: row => {
				rows.push(row);
				say(rowText(row));
			},
			onProblem: say,
		});
		await bus.flush();
		say(`Probing run ${run} at ${bus.url}; Ctrl-C to leave`);
		await untilOver(access, run, flags.brokerLeaseMs).finally(() => probe.close());
	} finally {
		await compute.close();
	}
}

const permission = (found: string, fix: string) =>
	new CutlayerError('usage', `Expected the permission to hear activations, found ${found}; ${fix}`);

/** Those that cutlayer made say for whom they are. */
function checkCredentials({creds, speaker}: Access, path = ''): void {
	if (creds?.kind !== 'observer') return;
	throw permission(
		`credentials of observer ${speaker.id} in ${path}`,
		'ask for those of a probe, which cutlayer broker add-client --role probe makes',
	);
}

/** What the broker refuses comes before its answer, and is told of a turn later. */
async function checkHeard({bus, refusals}: Access, run: string): Promise<void> {
	const unsubscribe = bus.subscribe(`${patternOf({run, kind: 'client', verb: 'activations'})}.*`, () => undefined);
	for (let turn = 0; turn < 2; turn++) await bus.flush();
	unsubscribe();
	const refused = refusals.find(text => text.includes('activations'));
	if (refused) throw permission('a broker that refuses it', 'name credentials of a probe with --creds');
}

function checkMeasurable(scenario: Scenario, run: string): void {
	if (scenario.mainServer && !isUShaped(scenario)) return;
	throw new CutlayerError(
		'usage',
		scenario.mainServer
			? `Expected a run whose labels say which tokens are recovered, found run ${run} with labels at its clients; probe one with labels=main-server`
			: `Expected a run with a main server, found run ${run} whose clients send no activations; probe one with a cut`,
	);
}

async function openEmbedding(
	{run, agreement}: FoundRun,
	{model}: Scenario,
	flags: AttachFlags,
): Promise<ThreadCompute> {
	const files = await ensureModel(model, () => undefined);
	const weights = await openWeights(files.path);
	await weights.close();
	if (weights.modelHash !== agreement.modelHash)
		throw new CutlayerError(
			'usage',
			`Run ${run} expects modelHash ${agreement.modelHash}, found ${weights.modelHash} of ${model} here; name the same weights with --model`,
		);
	const backend = resolveBackend(flags.backend);
	for (const [name, value] of Object.entries(backend.environment)) process.env[name] ??= value;
	return (await ThreadCompute.open({backend, modelPath: files.path})).compute;
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

const throughHeadText = (share: number | undefined) =>
	share === undefined ? '' : `, ${percent(share)} through the head`;

const rowText = ({client, round, cut, tokens, recoveredThroughHead, ...row}: ProbeRow) =>
	`${client}  round ${round}  cut ${cut}  ${tokens} tokens  recovered ${percent(row.recoveredCosine)} by angle, ${percent(row.recoveredEuclidean)} by distance${throughHeadText(recoveredThroughHead)}`;

const table = (cuts: readonly RecoveredAtCut[]) =>
	[
		'cut    tokens  by angle  by distance  through the head',
		...cuts.map(
			({cut, tokens, cosine, euclidean, throughHead}) =>
				`${String(cut).padStart(3)}  ${String(tokens).padStart(8)}  ${percent(cosine).padStart(8)}  ${percent(euclidean).padStart(11)}  ${(throughHead === undefined ? '-' : percent(throughHead)).padStart(16)}`,
		),
		'',
	].join('\n');
