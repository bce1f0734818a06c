/**
From a checked scenario and a model to what each actor is: the part it holds, how it trains, what its machine starts from. Pure.
*/
import type {ClientInput} from '../../actors/client-context.ts';
import type {EvaluatorInput} from '../../actors/evaluator.ts';
import type {FedServerInput} from '../../actors/fed-server-context.ts';
import type {MainServerInput} from '../../actors/main-server-context.ts';
import {attachedOf, attachOf} from '../../protocols/attach-events.ts';
import {cutMax, cutMin, cutOf, distinctCuts} from '../../protocols/cuts.ts';
import {CutlayerError} from '../../protocols/errors.ts';
import {type Agreement, protocolVersion} from '../../protocols/messages.ts';
import {isPipelined, pipelineDepthOf} from '../../protocols/pipelining.ts';
import {isAsynchronous} from '../../protocols/policies.ts';
import {globalRank, rankOf} from '../../protocols/ranks.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import {isUShaped, tailBlocksOf} from '../../protocols/u-shape.ts';
import type {ActorSpec, TrainerSpec} from '../compute/spec.ts';
import type {ModelConfig} from '../model/config.ts';
import {placeOf} from '../model/lora.ts';
import type {Schedule} from '../model/schedule.ts';
import type {Part} from '../model/split.ts';
import {isAwayAtStart} from '../sim/presence.ts';
import type {ActorRole} from './running-actor.ts';

/** The model a run trains, as both sides must agree on it. */
export type RunModel = {readonly config: ModelConfig; readonly modelHash: string; readonly vocabularyHash: string};

export const fedServerId = 'fed';
export const mainServerId = 'main';
export const evaluatorId = 'evaluator';
export const clientIds = ({clients}: Scenario): string[] => Array.from({length: clients}, (_, index) => `c${index}`);

/** Who takes part in a run, and who joins it as it says: servers first, so that they are there when clients say hello. */
export const rolesOf = (scenario: Scenario): ActorRole[] => [
	{kind: 'fed-server', id: fedServerId},
	...(scenario.mainServer ? [{kind: 'main-server', id: mainServerId} as const] : []),
	...evaluatorIds(scenario).map(id => ({kind: 'evaluator', id}) as const),
	...clientIds(scenario).map(id => ({kind: 'client', id}) as const),
	...attachedOf(scenario, 'client').map(({id}) => ({kind: 'client', id}) as const),
];

/** The run's own evaluator, and those that join it. */
const evaluatorIds = (scenario: Scenario): string[] => [
	...(isEvaluated(scenario) ? [evaluatorId] : []),
	...attachedOf(scenario, 'evaluator').map(({id}) => id),
];

const isEvaluated = ({evaluation, data}: Scenario) => evaluation.everyRounds > 0 && data.validationRows > 0;

/** Throws `scenario-invalid` when the scenario does not fit the model. */
export function checkAgainstModel(scenario: Scenario, config: ModelConfig): void {
	const {blocks, context} = config;
	const cut = cutMax(scenario);
	if (scenario.mainServer && cut > blocks) {
		throw new CutlayerError(
			'scenario-invalid',
			`\`cut\` in scenario ${scenario.name}: expected 0 to ${blocks}, the blocks of ${scenario.model}, got ${cut}; lower the cut`,
		);
	}
	const tailBlocks = tailBlocksOf(scenario);
	if (isUShaped(scenario) && cut + tailBlocks >= blocks) {
		throw new CutlayerError(
			'scenario-invalid',
			`\`tailBlocks\` in scenario ${scenario.name}: a head of ${cut} and an end of ${tailBlocks} blocks leave the main server none of the ${blocks} of ${scenario.model}; lower one of them`,
		);
	}
	if (scenario.data.tokensMax > context) {
		throw new CutlayerError(
			'scenario-invalid',
			`\`data.tokensMax\` in scenario ${scenario.name}: expected at most the model's context of ${context} tokens, got ${scenario.data.tokensMax}`,
		);
	}
	for (const target of scenario.lora.targets) placeOf(config, target);
}

/** What a client holds; without one, what any of them does. */
export const clientPart = (scenario: Scenario, {blocks}: ModelConfig, client?: string): Part =>
	scenario.mainServer
		? {
				from: 0,
				to: client === undefined ? cutMax(scenario) : cutOf(scenario, client),
				hasEmbedding: true,
				hasHead: false,
			}
		: {from: 0, to: blocks, hasEmbedding: true, hasHead: true};

export const serverPart = (scenario: Scenario, {blocks}: ModelConfig): Part => ({
	from: cutMin(scenario),
	to: blocks - tailBlocksOf(scenario),
	hasEmbedding: false,
	hasHead: !isUShaped(scenario),
});

/** The model's end, where clients hold it. */
export const tailPart = (scenario: Scenario, {blocks}: ModelConfig): {readonly tailPart?: Part} =>
	isUShaped(scenario)
		? {tailPart: {from: blocks - tailBlocksOf(scenario), to: blocks, hasEmbedding: false, hasHead: true}}
		: {};

const clientCut = (scenario: Scenario, client: string | undefined) =>
	client === undefined ? cutMin(scenario) : cutOf(scenario, client);

/** Clients of unlike cuts. */
const isMixed = (scenario: Scenario) => scenario.mainServer && distinctCuts(scenario).length > 1;

export const agreementOf = (
	scenario: Scenario,
	{config, modelHash, vocabularyHash}: RunModel,
	client?: string,
): Agreement => ({
	protocol: protocolVersion,
	modelHash,
	vocabularyHash,
	cut: scenario.mainServer ? clientCut(scenario, client) : config.blocks,
	...(isUShaped(scenario) && {tailBlocks: scenario.tailBlocks}),
	...(client === undefined && isMixed(scenario) && {cuts: [...distinctCuts(scenario)]}),
	rank: client === undefined ? scenario.lora.rank : rankOf(scenario, client),
	...(client === undefined &&
		scenario.lora.ranks && {ranks: [...new Set(scenario.lora.ranks)].toSorted((a, b) => a - b)}),
	alpha: scenario.lora.alpha,
	wire: scenario.wire,
});

const roundsOf = ({training: {steps, stepsPerRound}}: Scenario): number => Math.ceil(steps / stepsPerRound);

/** Aggregations of the whole run; asynchronous ones take as many client rounds in all as rounds of all would, or as many as are asked for. */
export function aggregationsOf(scenario: Scenario): number {
	const {aggregation, clients} = scenario;
	if (!isAsynchronous(aggregation)) return roundsOf(scenario);
	const buffer = aggregation.kind === 'fedbuff' ? aggregation.count : 1;
	return aggregation.aggregations ?? Math.ceil((roundsOf(scenario) * clients) / buffer);
}

/**
Optimizer steps of a client's schedule from one version of the global adapter to the next, where clients do not take part in
every round alike: who opens a round with version g is at `g` times as many. Null where a client counts its own steps.
*/
const stepsPerVersion = (scenario: Scenario): number | null => {
	if (scenario.selection.kind === 'all' && !isAsynchronous(scenario.aggregation)) return null;
	return optimizerSteps(scenario, false) / aggregationsOf(scenario);
};

/** Optimizer steps of one side in the whole run: the total its schedule decays over. */
function optimizerSteps(
	{training: {steps, stepsPerRound, accumulation}, update, clients}: Scenario,
	isServer: boolean,
): number {
	const whole = Math.floor(steps / stepsPerRound);
	const perRound = Math.ceil(stepsPerRound / accumulation);
	const total = whole * perRound + Math.ceil((steps % stepsPerRound) / accumulation);
	if (!isServer || update.kind === 'parallel' || update.kind === 'replicas') return total;
	const batches = update.kind === 'buffered' ? update.count : 1;
	return Math.ceil((steps * clients) / (batches * accumulation));
}

function scheduleOf(scenario: Scenario, isServer: boolean): Schedule {
	const {training} = scenario;
	const lr = isServer ? (training.serverLearningRate ?? training.learningRate) : training.learningRate;
	if (training.schedule.kind === 'constant') return {kind: 'constant', lr};
	const totalSteps = optimizerSteps(scenario, isServer);
	return {kind: 'linear', lr, totalSteps, warmupSteps: training.schedule.warmupSteps ?? Math.ceil(0.05 * totalSteps)};
}

function trainerSpec(scenario: Scenario, part: Part, isServer: boolean): TrainerSpec {
	const {lora, seed, training} = scenario;
	const {optimizer, clipNorm, labelSmoothing} = training;
	const schedule = scheduleOf(scenario, isServer);
	return {part, lora, seed, optimizer, schedule, clipNorm, labelSmoothing};
}

/** The parts of a specification that follow from how adapters are combined. */
const isAFrozen = ({aggregation}: Pick<Scenario, 'aggregation'>) => aggregation.kind === 'ffa-lora';

/** Moments of an adapter that is put away with its round say nothing of the fresh one. */
const momentsOf = ({aggregation, training}: Scenario) =>
	aggregation.kind === 'flora' ? 'reset' : training.optimizerAtRound;

const proximal = ({aggregation}: Scenario) => (aggregation.kind === 'fedprox' ? {proximalMu: aggregation.mu} : {});

export const clientSpec = (scenario: Scenario, config: ModelConfig, clientId: string): ActorSpec => ({
	kind: 'client',
	wire: scenario.wire.activations,
	wireAdapter: scenario.wire.adapters,
	...(onSkipped(scenario) === 'reuse' && {keepsGradient: true}),
	...(isPipelined(scenario) && {isPipelined: true}),
	optimizerAtRound: momentsOf(scenario),
	...(scenario.aggregation.kind === 'flexlora' && {adoption: 'rescale' as const}),
	...proximal(scenario),
	...trainerSpec(scenario, clientPart(scenario, config, clientId), false),
	...tailPart(scenario, config),
	...(isUShaped(scenario) && {wireGradient: scenario.wire.gradients}),
	...(scenario.privacy?.activations && {activationNoise: scenario.privacy.activations}),
	...(isAFrozen(scenario) && {isAFrozen: true}),
	lora: {...scenario.lora, rank: rankOf(scenario, clientId)},
});

export const mainServerSpec = (scenario: Scenario, config: ModelConfig): ActorSpec => ({
	kind: 'main-server',
	wire: scenario.wire.gradients,
	clientGradient: scenario.training.clientGradient,
	...trainerSpec(scenario, serverPart(scenario, config), true),
	...(isUShaped(scenario) && {wireActivations: scenario.wire.activations}),
	...(isMixed(scenario) && {
		shared: {
			cuts: distinctCuts(scenario),
			wireAdapter: scenario.wire.adapters,
			optimizerAtRound: momentsOf(scenario),
			...proximal(scenario),
		},
	}),
});

export const fedServerSpec = (scenario: Scenario, config: ModelConfig): ActorSpec => ({
	kind: 'fed-server',
	part: clientPart(scenario, config),
	...tailPart(scenario, config),
	lora: {...scenario.lora, rank: globalRank(scenario)},
	seed: scenario.seed,
	wireAdapter: scenario.wire.adapters,
	...(isAFrozen(scenario) && {isAFrozen: true}),
});

export const evaluatorSpec = (scenario: Scenario, config: ModelConfig): ActorSpec => ({
	kind: 'evaluator',
	lora: {...scenario.lora, rank: globalRank(scenario)},
	...(isAFrozen(scenario) && {
		frozenA: {part: clientPart(scenario, config), ...tailPart(scenario, config), seed: scenario.seed},
	}),
	parts: scenario.mainServer
		? [
				clientPart(scenario, config),
				{...serverPart(scenario, config), from: cutMax(scenario)},
				...Object.values(tailPart(scenario, config)),
			]
		: [clientPart(scenario, config)],
});

/** What a client does with a step the others took without it. */
const onSkipped = ({stepClosing}: Scenario) => (stepClosing.kind === 'quorum' ? stepClosing.missing : 'drop');

export const clientInput = (
	scenario: Scenario,
	agreement: Agreement,
	{clientId, samples, incarnation}: {clientId: string; samples: number; incarnation: number},
): ClientInput => ({
	clientId,
	incarnation,
	samples,
	agreement,
	fedServerId,
	mainServerId: scenario.mainServer ? mainServerId : null,
	...(isUShaped(scenario) && {labels: scenario.labels}),
	...(isPipelined(scenario) && {pipelineDepth: pipelineDepthOf(scenario)}),
	accumulation: scenario.training.accumulation,
	onSkipped: onSkipped(scenario),
	stepsPerVersion: stepsPerVersion(scenario),
	answerTimeoutMs: scenario.timing.answerTimeoutMs,
	heartbeatMs: scenario.timing.heartbeatMs,
});

export const mainServerInput = (scenario: Scenario, agreement: Agreement, incarnation: number): MainServerInput => ({
	serverId: mainServerId,
	incarnation,
	fedServerId,
	agreement,
	...(isUShaped(scenario) && {labels: scenario.labels}),
	update: scenario.update,
	stepClosing: scenario.stepClosing,
	isOwnPace: isAsynchronous(scenario.aggregation),
	accumulation: scenario.training.accumulation,
	credit: pipelineDepthOf(scenario),
	isAdapterPublished: evaluatorIds(scenario).length > 0,
	answerTimeoutMs: scenario.timing.answerTimeoutMs,
});

/** Clients that are there when the run begins. */
const presentAtStart = (scenario: Scenario): number =>
	Math.max(1, clientIds(scenario).filter(id => !isAwayAtStart(scenario, id)).length);

const stepsTotal = ({training: {steps, stepsPerRound}, stop}: Scenario): number =>
	Math.min(steps, (stop.rounds ?? Number.POSITIVE_INFINITY) * stepsPerRound);

/** Who hears of every round beside its cohort. */
export const watchersOf = (scenario: Scenario): string[] => [
	...(scenario.mainServer ? [mainServerId] : []),
	...evaluatorIds(scenario),
];

export const fedServerInput = (scenario: Scenario, agreement: Agreement, incarnation: number): FedServerInput => ({
	serverId: fedServerId,
	incarnation,
	agreement,
	clientsExpected: presentAtStart(scenario),
	hasMainServer: scenario.mainServer,
	watchers: watchersOf(scenario),
	stepsPerRound: scenario.training.stepsPerRound,
	stepsTotal: stepsTotal(scenario),
	aggregationsTotal: Math.min(aggregationsOf(scenario), scenario.stop.rounds ?? Number.POSITIVE_INFINITY),
	selection: scenario.selection,
	closing: scenario.closing,
	aggregation: scenario.aggregation,
	leaseMs: scenario.timing.leaseMs,
	checkpointEveryRounds: scenario.checkpoint.everyRounds,
	sharing: isMixed(scenario)
		? {cuts: distinctCuts(scenario), mainServerId, answerTimeoutMs: scenario.timing.answerTimeoutMs}
		: null,
});

export function evaluatorInput(scenario: Scenario, id: string = evaluatorId): EvaluatorInput {
	const attached = attachOf(scenario, id);
	return {
		evaluatorId: id,
		hasMainServer: scenario.mainServer,
		everyRounds: attached?.kind === 'evaluator' ? attached.everyRounds : scenario.evaluation.everyRounds,
	};
}
