/**
Batches of a client that are on their way to the main server at once: which is begun next, whose gradient is used next, which are
taken back. Pure.

The order is fixed, so that no number depends on when gradients come: as many batches are begun as may be on their way, then the
oldest is finished with its gradient, then the next is begun.
*/
import type {HandledBody, Outgoing} from '../protocols/events.ts';
import type {ClientContext, ClientEvent, InFlight, Pipeline} from './client-context.ts';

type Body = {readonly round: number; readonly step: number};

/** Nothing on its way. */
export const emptyPipeline = (depth: number): Pipeline => ({
	depth,
	inFlight: [],
	begun: null,
	nextStep: 0,
	returned: [],
});

/** Where a client may have one batch on its way it needs no pipeline. */
export const firstPipeline = ({pipelineDepth = 1}: Pick<ClientContext, 'pipelineDepth'>) =>
	pipelineDepth > 1 ? {pipeline: emptyPipeline(pipelineDepth)} : {};

type Changed = Partial<Pick<ClientContext, 'pipeline' | 'step'>>;

/** The pipeline changed, and the first step that is not done. */
function changed(pipeline: Pipeline, changes: Partial<Pipeline>): Changed {
	const next = {...pipeline, ...changes};
	return {pipeline: next, step: next.inFlight[0]?.step ?? next.begun?.step ?? next.nextStep};
}

const freshBegun = ({begun}: Pipeline) => (begun && !begun.isAgain ? [begun] : []);

/** Batches that were not trained on, the oldest first: they are the next to be begun. */
const withReturned = (pipeline: Pipeline, batches: readonly {readonly batchIndex: number}[]) =>
	[...pipeline.returned, ...batches.map(({batchIndex}) => batchIndex)].toSorted((a, b) => a - b);

/** Steps of the round that are neither taken nor given up. */
export const unfinished = ({pipeline, step, steps}: Pick<ClientContext, 'pipeline' | 'step' | 'steps'>): number =>
	pipeline
		? pipeline.inFlight.length + freshBegun(pipeline).length + Math.max(0, steps - pipeline.nextStep)
		: steps - step;

/** Nothing is on its way any more, and what was is begun anew. */
const takenBack = (pipeline: Pipeline): Partial<Pipeline> => ({
	inFlight: [],
	begun: null,
	returned: withReturned(pipeline, [...pipeline.inFlight, ...freshBegun(pipeline)]),
});

/** Another round: what is on its way is taken back. */
export const newRound = ({pipeline}: ClientContext): Changed =>
	pipeline ? changed(pipeline, {...takenBack(pipeline), nextStep: 0}) : {};

/** The round ends before all that is not finished. */
export function endedEarly({pipeline, step}: ClientContext): Partial<ClientContext> {
	if (!pipeline) return {steps: step};
	return {...changed(pipeline, {...takenBack(pipeline), nextStep: step}), steps: step};
}

/** The round ends after the batch whose gradient is being used. */
export function endedAfterOldest(pipeline: Pipeline): Partial<ClientContext> {
	const [oldest, ...later] = pipeline.inFlight;
	const steps = oldest!.step + 1;
	const returned = withReturned(pipeline, later);
	return {...changed(pipeline, {inFlight: [oldest!], nextStep: steps, returned}), steps};
}

const lostOf = (pipeline: Pipeline) => pipeline.inFlight.find(({isLost}) => isLost);

/** What a forward pass kept is gone, and is needed for the gradient. */
export const hasLost = ({pipeline}: ClientContext): boolean => pipeline !== undefined && lostOf(pipeline) !== undefined;

export const canBegin = ({pipeline, steps}: ClientContext): boolean =>
	pipeline !== undefined && pipeline.inFlight.length < pipeline.depth && pipeline.nextStep < steps;

export const hasGradient = ({pipeline}: ClientContext): boolean => Boolean(pipeline?.inFlight[0]?.gradient);

/** The next batch, or one whose forward pass was lost once more. */
export function begin({pipeline, batchIndex}: ClientContext): Partial<ClientContext> {
	const lost = lostOf(pipeline!);
	if (lost) return changed(pipeline!, {begun: {step: lost.step, batchIndex: lost.batchIndex, isAgain: true}});
	const {nextStep, returned} = pipeline!;
	const [again, ...left] = returned;
	const begun = {step: nextStep, batchIndex: again ?? batchIndex};
	return {
		...changed(pipeline!, {begun, nextStep: nextStep + 1, returned: left}),
		batchIndex: again === undefined ? batchIndex + 1 : batchIndex,
	};
}

/** The identity of the batch that was begun, and the steps whose forward passes are still needed. */
export const begunKey = ({round, pipeline}: ClientContext) => {
	const {step, batchIndex} = pipeline!.begun!;
	return {round, step, batchIndex, inFlight: pipeline!.inFlight.map(batch => batch.step)};
};

/** The batch that was begun is on its way; one that was given up meanwhile is not. */
export function sent(
	{pipeline, optimizerSteps}: ClientContext,
	{lengths, targets, tensors}: Extract<ClientEvent, {type: 'forward.done'}>,
): Changed {
	const {begun, inFlight} = pipeline!;
	const {step, batchIndex, isAgain} = begun!;
	const rest = {begun: null};
	if (!isAgain) {
		const batch: InFlight = {step, batchIndex, lengths, targets, tensors, optimizerSteps, gradient: null};
		return changed(pipeline!, {...rest, inFlight: [...inFlight, batch]});
	}
	const again = inFlight.map(({isLost, ...batch}) =>
		batch.step === step ? {...batch, tensors} : {...batch, ...(isLost && {isLost})},
	);
	return changed(pipeline!, {...rest, inFlight: again});
}

/** Batches without an answer. */
export const unanswered = ({pipeline}: ClientContext): readonly InFlight[] =>
	pipeline!.inFlight.filter(({gradient}) => !gradient);

const waitingFor = ({pipeline, round}: ClientContext, body: Body) =>
	body.round === round ? pipeline?.inFlight.find(({step, gradient}) => step === body.step && !gradient) : undefined;

/** Whether an answer is to a batch that is on its way. */
export const isOnItsWay = (context: ClientContext, body: Body): boolean => waitingFor(context, body) !== undefined;

export function withGradient(context: ClientContext, gradient: HandledBody<'gradient'>): Partial<ClientContext> {
	const inFlight = context.pipeline!.inFlight.map(batch =>
		batch.step === gradient.step ? {...batch, gradient} : batch,
	);
	return {
		...changed(context.pipeline!, {inFlight}),
		serverVersionSeen: Math.max(context.serverVersionSeen, gradient.serverVersion),
	};
}

/** The others went on without a step: its batch is taken back, and what is begun next is not before `next`. */
export function skipped(
	{pipeline, steps}: ClientContext,
	{step, next}: Extract<ClientEvent, {type: 'step-skipped'}>['body'],
): {readonly change: Changed; readonly steps: number} {
	const {inFlight, nextStep} = pipeline!;
	const first = Math.min(steps, Math.max(nextStep, next));
	const given = inFlight.filter(batch => batch.step === step);
	const change = changed(pipeline!, {
		inFlight: inFlight.filter(batch => batch.step !== step),
		nextStep: first,
		returned: withReturned(pipeline!, given),
	});
	return {change, steps: 1 + first - nextStep};
}

/** The oldest batch as the step under way, so that its gradient is used as that of any step is. */
export const oldestAsStep = ({pipeline}: ClientContext): Partial<ClientContext> => {
	const {gradient, step, lengths, targets, tensors, optimizerSteps} = pipeline!.inFlight[0]!;
	return {step, gradient, activations: {lengths, targets, tensors, optimizerSteps}};
};

/** What the backward pass of the oldest works on. */
export const oldestShape = ({pipeline}: ClientContext) => {
	if (!pipeline) return {};
	const {batchIndex, lengths, targets} = pipeline.inFlight[0]!;
	return {batchIndex, lengths, targets};
};

export const afterOldest = ({pipeline}: ClientContext): Changed =>
	pipeline ? changed(pipeline, {inFlight: pipeline.inFlight.slice(1)}) : {};

/** Forward passes keep nothing over a restart. */
export const withLost = ({pipeline}: ClientContext): Changed =>
	pipeline ? changed(pipeline, {inFlight: pipeline.inFlight.map(batch => ({...batch, isLost: true as const}))}) : {};

/** What the main server lets be on its way. */
export const withCredit = ({pipeline, pipelineDepth = 1}: ClientContext, credit: number): Changed =>
	pipeline ? {pipeline: {...pipeline, depth: Math.max(1, Math.min(pipelineDepth, credit))}} : {};

/** The activations of a batch, as a message. */
export const activationsOf = (
	context: ClientContext,
	{step, lengths, targets, tensors}: Pick<InFlight, 'step' | 'lengths' | 'targets' | 'tensors'>,
): Outgoing => {
	const {incarnation, round, serverVersionSeen, mainServerId} = context;
	const body = {incarnation, round, step, serverVersionSeen, lengths, targets, tensors};
	return {verb: 'activations', to: mainServerId!, body};
};
