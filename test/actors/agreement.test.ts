import test from 'ava';
import {refusalOf} from '../../actors/agreement.ts';
import type {Agreement} from '../../protocols/messages.ts';

const agreement = (rank: number, ranks?: number[]): Agreement => ({
	protocol: 1,
	modelHash: 'm',
	vocabularyHash: 'v',
	cut: 2,
	rank,
	...(ranks && {ranks}),
	alpha: 32,
	wire: {activations: 'f32', gradients: 'f32', adapters: 'f32'},
});

test('a server with a list of ranks takes clients of those alone, and a server of its own rank', t => {
	const server = agreement(3, [2, 4]);
	t.is(refusalOf('hello', server, agreement(2)), undefined);
	t.is(refusalOf('hello', server, agreement(4)), undefined);
	t.is(refusalOf('hello', server, agreement(3, [2, 4])), undefined);
	const refusal = refusalOf('hello', server, agreement(3));
	t.like(refusal, {field: 'rank', found: '3', expected: '2 or 4', fix: 'set rank to 2 or 4 or join another run'});
	t.like(refusalOf('hello', server, agreement(5, [2, 4])), {field: 'rank', found: '5', expected: '3'});
});

test('a server without a list takes its own rank alone', t => {
	t.is(refusalOf('hello', agreement(4), agreement(4)), undefined);
	t.like(refusalOf('hello', agreement(4), agreement(2)), {field: 'rank', found: '2', expected: '4'});
});
