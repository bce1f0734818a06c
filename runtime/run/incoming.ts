/**
What a server checks of a message beyond its schema, because only it knows the model: a frame that fails is refused before it
reaches the machine, so that one client's mistake costs that client alone. Pure.
*/
import type {MainServerContext} from '../../actors/main-server-context.ts';
import type {FrameProblem} from '../../protocols/envelope.ts';
import {entryOf} from '../../protocols/table.ts';
import {i32View, type NamedTensors, type TensorHandle} from '../../protocols/tensor.ts';
import {overlayGroup} from '../compute/wire.ts';
import type {ObservedHost} from '../host/observer.ts';
import type {ModelConfig} from '../model/config.ts';

/** The problem of a message's body, if it has one. */
export type IncomingCheck = (
	verb: string,
	body: unknown,
	host: ObservedHost,
	sender: string,
) => FrameProblem | undefined;

const problem = (field: string, found: string, expected: string, fix: string): FrameProblem => ({
	code: 'invalid-message',
	field,
	found,
	expected,
	fix,
});

/** Activations whose rows, positions and labels the tail can compute. */
export function activationsCheck({hidden, context, vocabulary}: ModelConfig): IncomingCheck {
	return (verb, body) => {
		if (verb !== 'activations') return undefined;
		const {lengths, tensors} = body as {lengths: readonly number[]; tensors: NamedTensors};
		const {activations, targetPositions, labels} = tensors;
		if (!targetPositions || !labels)
			return problem('tensors', 'no labels', 'targetPositions and labels', 'set `labels` to main-server on both sides');
		const [tokens, width] = activations!.shape as [number, number];
		const fix = 'use the same model and tokenizer on both sides';
		if (width !== hidden) return problem('tensors.activations', `[${tokens}, ${width}]`, `[${tokens}, ${hidden}]`, fix);
		const longest = lengths.reduce((max, length) => Math.max(max, length), 0);
		if (longest > context) return problem('lengths', `${longest}`, `at most ${context} tokens a row`, fix);
		return (
			outside('tensors.targetPositions', i32View(targetPositions), tokens, 'packed row') ??
			outside('tensors.labels', i32View(labels), vocabulary, 'token id')
		);
	};
}

type EndsBody = {
	readonly lengths?: readonly number[];
	readonly tensors: NamedTensors;
	readonly round: number;
	readonly step: number;
};

/** Where labels stay with the clients: activations without them, and gradients of the shape of what was sent. */
export function endsCheck({hidden, context}: ModelConfig): IncomingCheck {
	return (verb, body, host, sender) => {
		if (verb !== 'activations' && verb !== 'tail-gradient') return undefined;
		const {lengths, tensors, round, step} = body as EndsBody;
		const fix = 'use the same model and the same `labels` on both sides';
		if (tensors.labels) return problem('tensors.labels', 'labels', 'none: they stay with the client', fix);
		const name = verb === 'activations' ? 'activations' : 'gradient';
		const found = tensors[name]?.shape ?? [];
		const waiting = entryOf((host.context as MainServerContext).inbox, sender);
		// A late repeat is of another batch: it is answered from the store, or changes nothing.
		const known = lengths ?? (waiting?.round === round && waiting.step === step ? waiting.lengths : undefined);
		const tokens = known?.reduce((sum, length) => sum + length, 0) ?? found[0];
		if (`${found}` !== `${tokens},${hidden}`)
			return problem(`tensors.${name}`, `[${found}]`, `[${tokens}, ${hidden}]`, fix);
		const longest = (lengths ?? []).reduce((max, length) => Math.max(max, length), 0);
		return longest > context ? problem('lengths', `${longest}`, `at most ${context} tokens a row`, fix) : undefined;
	};
}

function outside(field: string, values: Int32Array, limit: number, what: string): FrameProblem | undefined {
	const found = values.find(value => value < 0 || value >= limit);
	if (found === undefined) return undefined;
	return problem(
		field,
		`${found}`,
		`a ${what} from 0 to ${limit - 1}`,
		'use the same model and tokenizer on both sides',
	);
}

/**
Uploads with exactly the matrices of the global adapter they began from, in one of the ranks that clients have; where `cuts` are
unlike those below one of them, and of the main server those between them.
*/
export const uploadCheck =
	(ranks: readonly number[], cuts: readonly number[] = []): IncomingCheck =>
	(verb, body, host) => {
		const {adapter} = host.context as {readonly adapter: TensorHandle | null};
		if ((verb !== 'upload' && verb !== 'shared-blocks') || !adapter) return undefined;
		const {tensors} = body as {tensors: NamedTensors};
		const whole = withoutOverlay(host.tensors(adapter));
		const [first = 0, last = 0] = [cuts[0], cuts.at(-1)];
		const between = verb === 'upload' ? {from: 0, to: cutIn(tensors, cuts)} : {from: first, to: last};
		const global = cuts.length > 1 ? ofBlocks(whole, between) : whole;
		const fix = 'use the same cut, rank and targets on both sides';
		const rank = rankIn(tensors, global, ranks);
		for (const [name, {shape}] of Object.entries(global)) {
			const found = tensors[name];
			const expected = `${shapeAt(name, shape, rank)}`;
			if (!found) return problem(`tensors.${name}`, 'nothing', `[${expected}]`, fix);
			if (`${found.shape}` !== expected) return problem(`tensors.${name}`, `[${found.shape}]`, `[${expected}]`, fix);
		}
		const extra = Object.keys(tensors).find(name => !global[name]);
		return extra === undefined
			? undefined
			: problem('tensors', extra.slice(0, 80), 'only matrices of the global adapter', fix);
	};

/** The smallest cut above all blocks of an upload. */
function cutIn(tensors: NamedTensors, cuts: readonly number[]): number {
	const blocks = Object.keys(tensors).map(blockOf);
	return cuts.find(cut => blocks.every(block => block < cut)) ?? cuts.at(-1) ?? 0;
}

const blockOf = (name: string) => Number(name.split('.')[1]);

const ofBlocks = (tensors: NamedTensors, {from, to}: {readonly from: number; readonly to: number}): NamedTensors =>
	Object.fromEntries(Object.entries(tensors).filter(([name]) => blockOf(name) >= from && blockOf(name) < to));

const withoutOverlay = (tensors: NamedTensors): NamedTensors =>
	Object.fromEntries(Object.entries(tensors).filter(([name]) => !name.startsWith(`${overlayGroup}.`)));

/** The place of the rank in a matrix's shape: A is `[rank, in]`, B `[out, rank]`. */
const rankAxis = (name: string) => (name.endsWith('.A') ? 0 : 1);

const shapeAt = (name: string, shape: readonly number[], rank: number): number[] =>
	shape.map((extent, axis) => (axis === rankAxis(name) ? rank : extent));

/** The rank its first matrix says the upload has, if a client may have it; else that of the global adapter. */
function rankIn(tensors: NamedTensors, global: NamedTensors, ranks: readonly number[]): number {
	const [first] = Object.keys(global);
	if (first === undefined) return 0;
	const found = tensors[first]?.shape[rankAxis(first)];
	return found !== undefined && ranks.includes(found) ? found : global[first]!.shape[rankAxis(first)]!;
}
