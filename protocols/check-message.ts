/**
The check of a decoded body against its verb's schema and route. Compiled once; never throws on bad input.
*/
import {Compile} from 'typebox/compile';
import type {FrameProblem} from './envelope.ts';
import {messageRoutes, messageSchemas, type Verb} from './messages.ts';
import type {Subject} from './subjects.ts';
import type {NamedTensors} from './tensor.ts';

const validators = new Map(Object.entries(messageSchemas).map(([verb, schema]) => [verb, Compile(schema)]));

/** What is wrong with a message, or nothing. */
export function messageProblem({verb, kind, to}: Subject, body: unknown): FrameProblem | undefined {
	const validator = validators.get(verb);
	const route = messageRoutes[verb as Verb];
	if (!validator || !route) {
		return problem('verb', verb, 'a verb of this protocol version', 'run the same version of Cutlayer on both sides');
	}
	if (!route.from.includes(kind))
		return problem('sender', kind, route.from.join(' or '), `only these may send ${verb}`);
	if (route.reach !== 'either' && (route.reach === 'one') !== (to !== undefined)) {
		return problem(
			'subject',
			to ?? 'a broadcast',
			route.reach === 'one' ? 'one receiver' : 'a broadcast',
			'correct the subject',
		);
	}
	if (!validator.Check(body)) {
		const error = validator.Errors(body)[0];
		const field = error?.instancePath.slice(1).replaceAll('/', '.') || 'body';
		return problem(
			field,
			valueAt(body, field),
			error?.message ?? 'a valid body',
			`send ${verb} as docs/protocol.md says`,
		);
	}
	return tensorsProblem(verb as Verb, body as {tensors?: unknown});
}

const problem = (field: string, found: string, expected: string, fix: string): FrameProblem => ({
	code: 'invalid-message',
	field,
	found,
	expected,
	fix,
});

const valueAt = (body: unknown, field: string): string => {
	const value = field.split('.').reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], body);
	return (JSON.stringify(value) ?? 'nothing').slice(0, 80);
};

/** Which tensors a verb carries: names it must have, `*` for the matrices of an adapter. */
const tensorNames: Partial<Record<Verb, readonly string[]>> = {
	activations: ['activations', 'targetPositions', 'labels'],
	'tail-output': ['activations'],
	'tail-gradient': ['gradient'],
	gradient: ['gradient'],
	'round-opened': ['*'],
	upload: ['*'],
	'shared-blocks': ['*'],
	'server-adapter': ['*'],
	'run-finished': ['*'],
};

function tensorsProblem(
	verb: Verb,
	{tensors, ...body}: {tensors?: unknown; [field: string]: unknown},
): FrameProblem | undefined {
	const names = tensorNames[verb];
	if (!names) return undefined;
	const fix = `send ${verb} as docs/protocol.md says`;
	for (const [name, value] of Object.entries(tensors as NamedTensors)) {
		const isTensor = value?.bytes instanceof Uint8Array && Array.isArray(value.shape);
		if (!isTensor) return problem(`tensors.${name}`, typeof value, 'a tensor', fix);
		const isFloat = value.dtype !== 'i32';
		const isIndex = name === 'targetPositions' || name === 'labels';
		if (names[0] !== '*' && !names.includes(name)) return problem(`tensors.${name}`, name, names.join(', '), fix);
		if (isFloat === isIndex) return problem(`tensors.${name}`, value.dtype, isIndex ? 'i32' : 'a float format', fix);
	}
	return verb === 'activations' ? activationsProblem(body, tensors as NamedTensors) : undefined;
}

/** Counts that must fit each other before any arithmetic trusts them. */
function activationsProblem(body: {[field: string]: unknown}, tensors: NamedTensors): FrameProblem | undefined {
	const fix = 'send one row of activations a token and one position and label a target';
	const {activations, targetPositions, labels} = tensors;
	// Where labels stay with the clients neither comes.
	if (!activations || !targetPositions !== !labels) {
		return problem('tensors', Object.keys(tensors).join(', '), 'activations, targetPositions and labels', fix);
	}
	const tokens = (body.lengths as number[]).reduce((total, length) => total + length, 0);
	if (activations.shape.length !== 2 || activations.shape[0] !== tokens) {
		return problem('tensors.activations', `[${activations.shape}]`, `[${tokens}, hidden]`, fix);
	}
	for (const [name, tensor] of Object.entries({targetPositions, labels})) {
		if (!tensor) continue;
		if (tensor.shape.length !== 1 || tensor.shape[0] !== body.targets || tensor.shape[0] === 0) {
			return problem(`tensors.${name}`, `[${tensor.shape}]`, `[${body.targets}] with at least one target`, fix);
		}
	}
	return undefined;
}
