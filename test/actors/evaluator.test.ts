import test from 'ava';
import {evaluatorMachine} from '../../actors/evaluator.ts';
import {from, handle, roundOpened, Stepper} from '../_helpers/machine.ts';

const input = {evaluatorId: 'evaluator', hasMainServer: true, everyRounds: 1};
const opened = (version: number) => roundOpened(version, ['c0'], {adapterVersion: version});
const serverAdapter = (version: number) =>
	from('main', 'main-server', 'server-adapter', {
		adapterVersion: version,
		serverVersion: version * 10,
		tensors: handle(`server/${version}`),
	});
const finished = (version: number) =>
	from('fed', 'fed-server', 'run-finished', {
		rounds: version,
		adapterVersion: version,
		reason: 'done',
		tensors: handle('last'),
	});
const evaluated = {type: 'evaluate.done', loss: 2, perplexity: 7.4, targets: 9};
const start = (changes = {}) => new Stepper(evaluatorMachine, {...input, ...changes});

test('a version is evaluated when both halves of it are here, and reported with both versions', t => {
	const evaluator = start().take(opened(0));
	t.is(evaluator.state, '"watching"');
	t.is(evaluator.take(serverAdapter(0)).state, '"evaluating"');
	evaluator.take(evaluated);
	t.like(evaluator.one('report').body, {kind: 'eval', row: {adapterVersion: 0, serverVersion: 0, loss: 2, targets: 9}});
	t.is(evaluator.state, '"watching"');
});

test('a version that comes while another is evaluated waits its turn, the server half first too', t => {
	const evaluator = start().take(opened(0), serverAdapter(0), serverAdapter(1), opened(1), evaluated);
	t.is(evaluator.state, '"evaluating"');
	t.like(evaluator.take(evaluated).one('report').body, {row: {adapterVersion: 1, serverVersion: 10}});
});

test('a version is evaluated once, however often it is told', t => {
	const evaluator = start().take(opened(0), serverAdapter(0), evaluated, opened(0), serverAdapter(0));
	t.is(evaluator.state, '"watching"');
});

test('without a main server the client half is enough', t => {
	t.is(start({hasMainServer: false}).take(opened(0)).state, '"evaluating"');
});

test('only every n-th version is evaluated, and the last one always', t => {
	const evaluator = start({everyRounds: 2}).take(opened(1), serverAdapter(1));
	t.is(evaluator.state, '"watching"');
	evaluator.take(finished(3), serverAdapter(3));
	t.is(evaluator.state, '"evaluating"');
	t.is(evaluator.take(evaluated).snapshot.status, 'done');
});

test('an evaluator that is slower than training keeps eight versions and lets the oldest go', t => {
	const evaluator = start();
	for (let version = 0; version < 20; version++) evaluator.take(opened(version));
	t.deepEqual(
		evaluator.context.clientAdapters.map((adapter: {version: number}) => adapter.version),
		[12, 13, 14, 15, 16, 17, 18, 19],
	);
});

test('a pass that fails ends the evaluator with its text', t => {
	const evaluator = start().take({type: 'pass.failed', pass: 'evaluate', error: 'no memory'});
	t.is(evaluator.context.failure, 'evaluate failed: no memory');
	t.is(evaluator.snapshot.status, 'done');
});
