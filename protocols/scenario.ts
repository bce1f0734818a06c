/**
What a run is: one plain checked object. The schema holds every default; nothing here starts anything.
*/
import Type, {type Static} from 'typebox';
import {attachSchema} from './attach-events.ts';
import {faultSchema} from './faults.ts';
import {fleetSchema} from './fleet.ts';
import {aggregationSchema, closingSchema, selectionSchema} from './policies.ts';
import {flag, integer, literals, positive, section, unit} from './schema-parts.ts';
import {stepClosingSchema, updateSchema} from './step-policies.ts';

const partition = Type.Union([
	section({kind: Type.Literal('iid')}),
	section({
		kind: Type.Literal('dirichlet'),
		alpha: positive(0.5, 'smaller is more unequal'),
		by: Type.String({default: 'name'}),
	}),
	section({kind: Type.Literal('length')}),
	section({kind: Type.Literal('quantity-skew'), sigma: positive(1, 'of the log-normal sizes')}),
]);

const data = section({
	kind: literals('restaurants', 'e2e', 'csv', 'jsonl', 'text'),
	path: Type.Optional(Type.String({minLength: 1, description: 'a file, or a folder with the E2E files'})),
	rows: Type.Optional(Type.Integer({minimum: 1, description: 'training rows taken from the start; default all'})),
	validationRows: integer(0, 64, 'fixed rows the validation loss is measured on'),
	partition: Type.Union(partition.anyOf, {default: {kind: 'iid'}}),
	batchSize: integer(1, 8, 'rows a batch'),
	order: Type.Union([Type.Literal('shuffled'), Type.Literal('sequential')], {default: 'shuffled'}),
	tokensMax: integer(2, 512, 'longer rows are cut and counted'),
});

const optimizer = Type.Union([
	section({
		kind: Type.Literal('adamw'),
		beta1: unit(0.9, ''),
		beta2: unit(0.999, ''),
		eps: positive(1e-8, ''),
		weightDecay: Type.Number({minimum: 0, maximum: 1, default: 0.01, description: 'decoupled'}),
	}),
	section({kind: Type.Literal('sgd')}),
]);

const schedule = Type.Union([
	section({kind: Type.Literal('constant')}),
	section({
		kind: Type.Literal('linear'),
		warmupSteps: Type.Optional(Type.Integer({minimum: 0, description: 'default 5 % of all steps'})),
	}),
]);

const training = section({
	steps: integer(1, 100, 'steps a client takes in all'),
	stepsPerRound: integer(1, 10, 'I: steps between two aggregations'),
	learningRate: positive(2e-4, 'of the clients'),
	serverLearningRate: Type.Optional(
		Type.Number({exclusiveMinimum: 0, maximum: 1e12, description: 'of the main server; default that of the clients'}),
	),
	optimizer: Type.Union(optimizer.anyOf, {default: {kind: 'adamw'}}),
	schedule: Type.Union(schedule.anyOf, {default: {kind: 'linear'}}),
	optimizerAtRound: Type.Union([Type.Literal('keep'), Type.Literal('reset')], {default: 'keep'}),
	clipNorm: Type.Number({
		minimum: 0,
		maximum: 1e9,
		default: 0,
		description: 'global gradient norm, each side; 0 = off',
	}),
	accumulation: integer(1, 1, 'batches averaged before one optimizer step'),
	labelSmoothing: Type.Number({minimum: 0, maximum: 0.99, default: 0, description: 'over the whole vocabulary'}),
	clientGradient: Type.Union([Type.Literal('own'), Type.Literal('weighted')], {default: 'own'}),
});

const projection = literals('q', 'k', 'v', 'o', 'up', 'gate', 'down', 'qkv');
const lora = section({
	rank: integer(1, 4, 'of every actor; with `ranks` of the main server alone'),
	ranks: Type.Optional(
		Type.Array(Type.Integer({minimum: 1, maximum: 65_536}), {
			minItems: 1,
			maxItems: 100_000,
			description: 'of the clients in turn; unlike ones need an aggregation that mixes them',
		}),
	),
	alpha: positive(32, 'scaling is alpha / rank'),
	targets: Type.Array(projection, {minItems: 1, uniqueItems: true, default: ['q', 'v']}),
	dropout: Type.Number({minimum: 0, maximum: 0.9, default: 0.1, description: 'on the input of A, in training only'}),
	isRankStabilised: flag(false, 'scaling alpha / sqrt(rank)'),
	initial: Type.Optional(
		Type.String({minLength: 1, description: 'a PEFT folder, or a .safetensors file with its names, to start from'}),
	),
});

const wireFormat = Type.Union([Type.Literal('f32'), Type.Literal('bf16'), Type.Literal('f16'), Type.Literal('i8')], {
	default: 'f32',
});

export const scenarioSchema = section({
	name: Type.String({pattern: '^[a-z0-9-]{1,64}$', description: 'lower case letters, digits and dashes'}),
	description: Type.String({default: '', description: 'one line for `cutlayer run --list`'}),
	seed: Type.Integer({minimum: 0, maximum: 2 ** 31 - 1, default: 1}),
	model: Type.String({minLength: 1, default: 'smollm2-135m', description: 'a name, a folder or a .gguf file'}),
	cut: Type.Union(
		[
			Type.Integer({minimum: 0, maximum: 1e9, description: 'a whole number from 0 on'}),
			Type.Array(Type.Integer({minimum: 0, maximum: 1e9}), {
				minItems: 1,
				maxItems: 100_000,
				description: 'a list of them that clients take in turn',
			}),
		],
		{default: 6, description: 'the clients hold blocks [0, cut)'},
	),
	labels: Type.Union([Type.Literal('main-server'), Type.Literal('client')], {
		default: 'main-server',
		description: 'who has them, and so computes the loss; client = the U shape',
	}),
	tailBlocks: integer(0, 1, 'with labels at the client: blocks it holds at the end, before norm and LM head'),
	mainServer: flag(true, 'false = the clients hold the whole model (FedLoRA, CenLoRA)'),
	clients: integer(1, 3, 'how many'),
	lora: section(lora.properties, {default: {}}),
	data,
	training: section(training.properties, {default: {}}),
	stop: section(
		{
			rounds: Type.Optional(Type.Integer({minimum: 1, maximum: 1e9, description: 'aggregations'})),
			tokens: Type.Optional(Type.Integer({minimum: 1, maximum: 1e15, description: 'of all clients'})),
			targetLoss: Type.Optional(
				Type.Number({exclusiveMinimum: 0, maximum: 1e6, description: 'of the validation rows'}),
			),
			timeMs: Type.Optional(
				Type.Number({exclusiveMinimum: 0, maximum: 1e12, description: 'of the run, virtual or real'}),
			),
		},
		{description: 'ends the run before training.steps: the round under way is then the last', default: {}},
	),
	update: updateSchema,
	stepClosing: stepClosingSchema,
	pipelineDepth: Type.Optional(
		Type.Integer({
			minimum: 1,
			maximum: 64,
			description: 'batches a client may have on their way to the main server at once; default 1',
		}),
	),
	selection: selectionSchema,
	closing: closingSchema,
	aggregation: aggregationSchema,
	privacy: Type.Optional(
		section({
			activations: Type.Optional(
				section({
					normMax: positive(1, 'each row of activations is clipped to this norm'),
					sigma: positive(0.1, 'standard deviation of the noise of each value, in normMax'),
				}),
			),
		}),
	),
	wire: section({activations: wireFormat, gradients: wireFormat, adapters: wireFormat}, {default: {}}),
	evaluation: section(
		{everyRounds: integer(0, 1, '0 = never'), batchSize: integer(1, 8, 'rows a pass')},
		{default: {}},
	),
	fleet: fleetSchema,
	attach: Type.Optional(
		Type.Array(attachSchema, {maxItems: 1000, description: 'who joins from outside, in virtual time only'}),
	),
	faults: Type.Array(faultSchema, {
		default: [],
		maxItems: 10_000,
		description: 'to simulated devices: with --clock virtual or wall',
	}),
	checkpoint: section(
		{
			everyRounds: integer(0, 0, '0 = only when interrupted'),
			keep: integer(0, 2, 'the newest that are kept; 0 = all'),
		},
		{default: {}},
	),
	timing: section(
		{
			answerTimeoutMs: positive(120_000, 'a message without an answer is sent again'),
			heartbeatMs: Type.Number({minimum: 0, maximum: 1e9, default: 2000, description: '0 = none'}),
			leaseMs: Type.Number({
				minimum: 0,
				maximum: 1e9,
				default: 30_000,
				description: 'a silent client is gone after it; 0 = never',
			}),
		},
		{default: {}},
	),
});

/** A scenario with every default filled in. */
export type Scenario = Static<typeof scenarioSchema>;

type DeepPartial<T> = T extends readonly unknown[] ? T : T extends object ? {[K in keyof T]?: DeepPartial<T[K]>} : T;

/** What a scenario file exports: a name, data, and whatever differs from the defaults. */
export type ScenarioFile = DeepPartial<Omit<Scenario, 'name'>> & Pick<Scenario, 'name'>;
