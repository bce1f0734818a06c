/**
Puts an actor together: its machine, its arithmetic and the data only it may see. One function a role.
*/
import {clientMachine} from '../../actors/client.ts';
import {evaluatorMachine} from '../../actors/evaluator.ts';
import {fedServerMachine} from '../../actors/fed-server.ts';
import {mainServerMachine} from '../../actors/main-server.ts';
import {distinctCuts} from '../../protocols/cuts.ts';
import type {PassResult} from '../../protocols/ports.ts';
import {ranksOf} from '../../protocols/ranks.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import {type NamedTensors, tensorOf} from '../../protocols/tensor.ts';
import {heldOf} from '../compute/kept-adapter.ts';
import {prefixed} from '../compute/names.ts';
import type {ActorSpec, NoiseKey} from '../compute/spec.ts';
import type {PackedBatch} from '../data/batches.ts';
import {ActorHost, type ActorOptions, type HostObserver, type HostPorts, type SavedActor} from '../host/actor-host.ts';
import type {Outlet} from '../host/outlet.ts';
import {fromNamedTensors, toNamedTensors} from '../model/lora.ts';
import {randomStream} from '../random.ts';
import {activationsCheck, endsCheck, uploadCheck} from './incoming.ts';
import * as plan from './plan.ts';

/** A client's rows as its passes see them. */
export type ClientData = {readonly samples: number; readonly batchAt: (index: number) => PackedBatch};

export type ActorContext = {
	readonly run: string;
	readonly scenario: Scenario;
	readonly model: plan.RunModel;
	readonly ports: HostPorts;
	readonly observer?: HostObserver;
	readonly incarnation?: number;
	/** What noise for privacy is keyed by; default the seed. */
	readonly noiseKey?: NoiseKey;
	/** A first adapter in place of the keyed one, for the actor's own blocks. */
	readonly initial?: NamedTensors;
	/** Runs the machine by tables. */
	readonly isTabled?: boolean | undefined;
	/** Where its messages wait for a durable checkpoint; default they leave at once. */
	readonly outlet?: Outlet;
	/** From a checkpoint: the host's half and the arithmetic's. */
	readonly saved?: {readonly host: SavedActor; readonly compute: PassResult};
};

type Role = Pick<ActorOptions, 'kind' | 'id' | 'machine' | 'input' | 'passes'> &
	Pick<Partial<ActorOptions>, 'overrides' | 'check' | 'stamped'>;

/** Who adds noise keys it so. */
export const withNoiseKey = (spec: ActorSpec, noiseKey: NoiseKey | undefined): ActorSpec =>
	noiseKey !== undefined && (spec.kind === 'client' || spec.kind === 'fed-server') ? {...spec, noiseKey} : spec;

async function openActor(context: ActorContext, spec: ActorSpec, role: Role): Promise<ActorHost> {
	const {run, ports, observer, outlet, incarnation = 0, initial = {}, saved, isTabled, noiseKey} = context;
	await ports.compute.run({
		actor: role.id,
		pass: 'open',
		input: withNoiseKey(spec, noiseKey),
		tensors: prefixed('initial', own(initial, spec)),
	});
	if (saved)
		await ports.compute.run({
			actor: role.id,
			pass: 'restore',
			input: saved.compute.output,
			tensors: saved.compute.tensors,
		});
	return new ActorHost({
		run,
		incarnation,
		ports,
		isTabled,
		...role,
		...(observer && {observer}),
		...(outlet && {outlet}),
		...(saved && {saved: saved.host}),
	});
}

/** The matrices of an adapter that belong to an actor's blocks. */
const own = (adapter: NamedTensors, spec: ActorSpec): NamedTensors => {
	const held = 'part' in spec ? spec : spec.kind === 'evaluator' ? spec.frozenA : undefined;
	return held ? toNamedTensors(heldOf(fromNamedTensors(adapter), held)) : {};
};

const batchTensors = ({ids, targetPositions, labels}: PackedBatch): NamedTensors => ({
	ids: tensorOf(ids, [ids.length]),
	targetPositions: tensorOf(targetPositions, [targetPositions.length]),
	labels: tensorOf(labels, [labels.length]),
});

const ownBatches = new WeakMap<PackedBatch, NamedTensors>();

/** A batch as passes of a client get it, made once for each that is kept. */
function ownBatch(batch: PackedBatch): NamedTensors {
	const known = ownBatches.get(batch) ?? prefixed('batch', batchTensors(batch));
	ownBatches.set(batch, known);
	return known;
}

/** A client with its private rows. */
export function openClient(context: ActorContext, clientId: string, data: ClientData): Promise<ActorHost> {
	const {scenario, model, incarnation = 0} = context;
	const agreement = plan.agreementOf(scenario, model, clientId);
	const withBatch: NonNullable<Role['overrides']>[string] = (request, compute) => {
		const batch = data.batchAt((request.input as {batchIndex: number}).batchIndex);
		const input = {...(request.input as object), lengths: batch.lengths};
		return compute.run({...request, input, tensors: {...request.tensors, ...ownBatch(batch)}});
	};
	return openActor(context, plan.clientSpec(scenario, model.config, clientId), {
		kind: 'client',
		id: clientId,
		machine: clientMachine,
		input: plan.clientInput(scenario, agreement, {clientId, samples: data.samples, incarnation}),
		passes: ['backward', 'reuse', 'readAdapter'],
		overrides: {
			forward: withBatch,
			localStep: withBatch,
			...(scenario.labels === 'client' && {tailStep: withBatch}),
		},
	});
}

export function openMainServer(context: ActorContext): Promise<ActorHost> {
	const {scenario, model, incarnation = 0} = context;
	return openActor(context, plan.mainServerSpec(scenario, model.config), {
		kind: 'main-server',
		id: plan.mainServerId,
		machine: mainServerMachine,
		input: plan.mainServerInput(scenario, plan.agreementOf(scenario, model), incarnation),
		passes: ['mainStep', 'mainForward', 'mainBackward', 'averageReplicas', 'adoptShared', 'readShared', 'readAdapter'],
		check: scenario.labels === 'client' ? endsCheck(model.config) : activationsCheck(model.config),
	});
}

/** `checkpoint` is called between rounds when the scenario asks for it; the next round opens when it resolves. */
export function openFedServer(context: ActorContext, checkpoint: () => Promise<void>): Promise<ActorHost> {
	const {scenario, model, incarnation = 0} = context;
	return openActor(context, plan.fedServerSpec(scenario, model.config), {
		kind: 'fed-server',
		id: plan.fedServerId,
		machine: fedServerMachine,
		input: plan.fedServerInput(scenario, plan.agreementOf(scenario, model), incarnation),
		passes: ['readAdapter', 'aggregate'],
		check: uploadCheck(ranksOf(scenario), scenario.mainServer ? distinctCuts(scenario) : []),
		stamped: 'upload',
		overrides: {
			checkpoint: () => checkpoint().then(() => ({output: {}, tensors: {}})),
			survey: ({input}) => Promise.resolve({output: survey(context, input as SurveyInput), tensors: {}}),
		},
	});
}

type SurveyInput = {readonly round: number; readonly clients: readonly string[]};

/** The time, and a number for each client that depends on no other client. */
const survey = ({scenario, ports}: ActorContext, {round, clients}: SurveyInput) => ({
	nowMs: ports.clock.now(),
	draws: Object.fromEntries(
		clients.map(client => [client, randomStream(scenario.seed, round, client, 'selection').float()]),
	),
});

/** An evaluator over fixed batches. */
export function openEvaluator(
	context: ActorContext,
	batches: readonly PackedBatch[],
	id = plan.evaluatorId,
): Promise<ActorHost> {
	const {scenario, model} = context;
	const rows = Object.assign(
		{},
		...batches.map((batch, index) => prefixed(`${index}`, batchTensors(batch))),
	) as NamedTensors;
	const input = {batches: batches.map(({lengths}) => ({lengths}))};
	return openActor(context, plan.evaluatorSpec(scenario, model.config), {
		kind: 'evaluator',
		id,
		machine: evaluatorMachine,
		input: plan.evaluatorInput(scenario, id),
		passes: [],
		overrides: {
			evaluate: (request, compute) => compute.run({...request, input, tensors: {...request.tensors, ...rows}}),
		},
	});
}
