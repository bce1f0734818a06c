/**
The fed server's policies as a scenario names them: whom it selects, when a round closes, how uploads are combined. Each has a
line, its parameters with defaults and its source; `cutlayer run --list policies` prints them from here.
*/
import Type, {type Static} from 'typebox';
import {quorumParts} from './quorum.ts';
import {choice, integer, optionalCount, policy, positive, unit} from './schema-parts.ts';

const optionalPositive = (description: string) =>
	Type.Optional(Type.Number({exclusiveMinimum: 0, maximum: 1e12, description}));

const chosen = optionalCount('clients a round; under overselect that rule says how many');

export const selectionSchema = Type.Union(
	[
		policy('all', 'every client that is here and has data', 'SplitLoRA, arXiv 2407.00952', {}),
		policy(
			'available',
			'clients heard of within two thirds of their lease and not late with an earlier round',
			'FedScale, ICML 2022',
			{},
		),
		policy(
			'in-turn',
			'one client a round, one after another, which goes on from where the last one stopped',
			'Gupta and Raskar, 2018, arXiv 1810.06060',
			{},
		),
		policy('random', 'so many, or a fraction, drawn anew each round', 'McMahan et al., AISTATS 2017', {
			...quorumParts('clients a round; under overselect that rule says how many', 'the clients that have data'),
		}),
		policy(
			'power-of-choice',
			'of some drawn by their samples those whose last loss was highest',
			'Cho et al., 2020, arXiv 2010.01243 (variant rpow-d)',
			{count: chosen, candidates: integer(1, 10, 'clients drawn, d')},
		),
		policy('oort', 'highest loss and speed first, some never tried among them', 'Lai et al., OSDI 2021', {
			count: chosen,
			exploration: unit(0.9, 'share of clients never tried, in the first round'),
			explorationDecay: unit(0.98, 'times that share, each round'),
			explorationMin: unit(0.3, 'that share never falls below it'),
			penalty: Type.Number({minimum: 0, maximum: 100, default: 2, description: 'power of the penalty of slow clients'}),
			preferredMs: optionalPositive('slower clients are penalised; default the median of the last durations'),
			cutoff: unit(0.95, 'of the least utility that would be chosen: who is above it may be'),
		}),
	],
	{default: {kind: 'all'}},
);
/** Who takes part in a round. */
export type Selection = Static<typeof selectionSchema>;

const late = Type.Union(
	[
		choice('drop', 'an upload after the closing is lost', 'Bonawitz et al., MLSys 2019'),
		choice(
			'carry',
			'it counts in the next aggregation, by 1 / sqrt(1 + tau)',
			'after FedBuff (Nguyen et al., AISTATS 2022)',
		),
	],
	{default: 'drop', description: 'what becomes of an upload after the closing'},
);

export const closingSchema = Type.Union(
	[
		policy('all', 'waits for everybody who has not left', 'SplitLoRA, arXiv 2407.00952', {}),
		policy('quorum', 'closes at its deadline, or later with so many', 'Bonawitz et al., MLSys 2019', {
			...quorumParts('uploads', 'the cohort'),
			deadlineMs: positive(60_000, 'after the opening of the round'),
			late,
		}),
		policy('overselect', 'invites more than needed and takes the first', 'Bonawitz et al., MLSys 2019', {
			count: Type.Integer({minimum: 1, maximum: 1e9, description: 'uploads that are needed'}),
			factor: Type.Number({minimum: 1, maximum: 100, default: 1.3, description: 'times so many are invited'}),
			late,
		}),
		policy(
			'adaptive',
			'deadline: the median of the last durations plus k median deviations',
			'Leys et al., J. Exp. Soc. Psychol. 49, 2013 (the rule for outliers)',
			{
				k: Type.Number({minimum: 0, maximum: 1e6, default: 3, description: 'median absolute deviations'}),
				fraction: Type.Number({
					exclusiveMinimum: 0,
					maximum: 1,
					default: 0.5,
					description: 'of the cohort, the quorum',
				}),
				rounds: integer(1, 5, 'durations are those of so many rounds'),
				firstDeadlineMs: positive(60_000, 'while no duration was seen'),
				late,
			},
		),
	],
	{default: {kind: 'all'}},
);
/** When a round ends. */
export type RoundClosing = Static<typeof closingSchema>;

const fedasync = 'Xie et al., 2019, arXiv 1903.03934';

export const stalenessSchema = Type.Union(
	[
		policy('constant', 's = 1', fedasync, {}),
		policy('polynomial', 's = (tau + 1)^-a', fedasync, {a: positive(0.5, 'the power')}),
		policy('hinge', 's = 1 if tau <= b, else 1 / (a (tau - b) + 1)', fedasync, {
			a: positive(10, 'the slope'),
			b: Type.Number({minimum: 0, maximum: 1e9, default: 4, description: 'staleness that costs nothing'}),
		}),
	],
	{default: {kind: 'polynomial'}, description: 'how much a stale upload counts'},
);
/** How much an upload of staleness tau counts. */
export type StalenessFunction = Static<typeof stalenessSchema>;

const adaptive = {
	learningRate: positive(1e-3, 'of the server, over the mean change'),
	beta1: unit(0.9, 'of the first moment'),
	beta2: unit(0.99, 'of the second moment'),
	tau: positive(1e-3, 'added to the root of the second moment'),
};

const byzantine = integer(0, 1, 'wrong uploads to withstand');
const aggregations = optionalCount('after so many the run is over; default as many as take the same steps');

export const aggregationSchema = Type.Union(
	[
		policy('fedavg', 'mean of A and of B, weighted by samples', 'McMahan et al., AISTATS 2017', {}),
		policy('uniform', 'mean of A and of B, every upload alike', 'the published code of SplitLoRA', {}),
		policy('fedprox', 'fedavg of clients that are drawn to the global adapter', 'Li et al., MLSys 2020', {
			mu: positive(0.01, 'pull towards the global adapter'),
		}),
		policy('fedavgm', 'momentum over the mean change', 'Hsu et al., 2019, arXiv 1909.06335', {
			learningRate: positive(1, 'of the server, over the mean change'),
			momentum: unit(0.9, 'of the mean change'),
		}),
		policy('fedadam', 'Adam over the mean change', 'Reddi et al., ICLR 2021', adaptive),
		policy('fedyogi', 'Yogi over the mean change', 'Reddi et al., ICLR 2021', adaptive),
		policy('median', 'median of each coordinate', 'Yin et al., ICML 2018', {}),
		policy('trimmed-mean', 'mean of each coordinate without its extremes', 'Yin et al., ICML 2018', {
			fraction: Type.Number({minimum: 0, exclusiveMaximum: 0.5, default: 0.2, description: 'cut from both ends'}),
		}),
		policy('krum', 'the upload nearest to the others', 'Blanchard et al., NeurIPS 2017', {byzantine}),
		policy('multi-krum', 'mean of the uploads nearest to the others', 'Blanchard et al., NeurIPS 2017', {
			byzantine,
			count: integer(1, 3, 'uploads that are averaged'),
		}),
		policy('clipped', 'fedavg of changes whose norm is bounded', 'McMahan et al., ICLR 2018', {
			normMax: positive(1, 'of a change of the adapter'),
		}),
		policy(
			'dp-fedavg',
			'mean of clipped changes with noise, alike for all; the summary tells the epsilon spent',
			'McMahan et al., ICLR 2018, fixed divisor',
			{
				normMax: positive(1, 'of a change of the adapter'),
				noiseMultiplier: positive(1, 'standard deviation of the noise on the sum, in normMax'),
				delta: Type.Number({exclusiveMinimum: 0, exclusiveMaximum: 1, default: 1e-5, description: 'for the epsilon'}),
			},
		),
		policy('ffa-lora', 'A frozen, only B trained and sent: half the bytes, an exact mean', 'Sun et al., ICLR 2024', {}),
		policy(
			'zero-padding',
			'unlike ranks: filled with zeros, cut off for smaller ranks (HetLoRA)',
			'Cho et al., EMNLP 2024',
			{weights: Type.Union([Type.Literal('samples'), Type.Literal('norm')], {default: 'samples'})},
		),
		policy('flexlora', 'unlike ranks: the mean of the products, cut to each rank', 'Bai et al., NeurIPS 2024', {}),
		policy(
			'flora',
			'unlike ranks: stacked exactly into an overlay of the base, fresh adapters after',
			'Wang et al., NeurIPS 2024',
			{},
		),
		policy(
			'fedex-lora',
			'mean of A and B, what it misses of the products into an overlay of the base',
			'Singhal et al., 2024, arXiv 2410.09432',
			{},
		),
		policy('fedasync', 'asynchronous: each upload is mixed in as it comes, w + a s(tau) (w_i - w)', fedasync, {
			mixing: Type.Number({exclusiveMinimum: 0, maximum: 1, default: 0.6, description: 'a, share of a fresh upload'}),
			staleness: stalenessSchema,
			aggregations,
		}),
		policy(
			'fedbuff',
			'asynchronous: each so many uploads the mean of changes / sqrt(1 + tau) is added',
			'Nguyen et al., AISTATS 2022',
			{
				count: integer(1, 10, 'uploads an aggregation, K'),
				learningRate: positive(1, 'of the server, over the mean change'),
				aggregations,
			},
		),
	],
	{default: {kind: 'fedavg'}},
);
/** How uploads become the next global adapter. */
export type Aggregation = Static<typeof aggregationSchema>;

const asynchronous = ['fedasync', 'fedbuff'] as const;
/** An aggregation in which every client goes at its own pace. */
export type AsynchronousAggregation = Extract<Aggregation, {kind: (typeof asynchronous)[number]}>;

export const isAsynchronous = (aggregation: Aggregation): aggregation is AsynchronousAggregation =>
	(asynchronous as readonly string[]).includes(aggregation.kind);
