import test from 'ava';
import {mainServerMachine} from '../../actors/main-server.ts';
import {keysOf} from '../../protocols/table.ts';
import {agreement, from, handle, mainServerInput as input, roundOpened, Stepper} from '../_helpers/machine.ts';

const welcome = from('fed', 'fed-server', 'welcome', {incarnation: 0, round: -1, adapterVersion: 0, credit: 0});
const hello = (client: string, incarnation = 0, changes = {}) =>
	from(client, 'client', 'hello', {incarnation, samples: 5, agreement: {...agreement, ...changes}});
const activations = (client: string, step: number, changes = {}) =>
	from(client, 'client', 'activations', {
		incarnation: 0,
		round: 0,
		step,
		lengths: [3],
		targets: 2,
		serverVersionSeen: 0,
		tensors: handle(`${client}/${step}`),
		...changes,
	});
const stepDone = (losses: number[], isApplied = true) => ({
	type: 'mainStep.done',
	losses,
	gradientNorm: 1,
	isApplied,
	tensors: Object.fromEntries(losses.map((_, index) => [`${index}`, handle(`gradient/${index}`)])),
});

const ready = (changes = {}) =>
	new Stepper(mainServerMachine, {...input, ...changes}).take(welcome, hello('c0'), hello('c1'));
const inRound = (changes = {}, steps = 3) => ready(changes).take(roundOpened(0, ['c0', 'c1'], {steps}));

test('a client that agrees is welcomed with its credit, one that does not hears both values', t => {
	const server = ready();
	t.like(server.one('welcome'), {to: 'c1', body: {credit: 1}});
	server.take(hello('c2', 0, {rank: 8}));
	t.like(server.one('refused'), {to: 'c2', body: {code: 'mismatch', field: 'rank', found: '8', expected: '4'}});
});

test('a parallel step waits for the whole cohort and answers each client', t => {
	const server = inRound().take(activations('c0', 0));
	t.is(server.state, '"collecting"');
	server.take(activations('c1', 0));
	t.is(server.state, '"stepping"');
	t.deepEqual(
		server.context.plan.map((part: {weight: number}) => part.weight),
		[0.5, 0.5],
	);
	server.take(stepDone([2, 3]));
	t.deepEqual(server.verbs, ['gradient to c0', 'gradient to c1']);
	t.is(server.context.serverVersion, 1);
	t.is(server.context.inbox.size, 0);
});

test('activations that overtake the opening of their round wait for it', t => {
	const server = ready().take(activations('c0', 0), activations('c1', 0));
	t.is(server.state, '"collecting"');
	t.is(server.take(roundOpened(0, ['c0', 'c1'])).state, '"stepping"');
});

test('a repeat gets the stored answer and is not applied again', t => {
	const server = inRound().take(activations('c0', 0), activations('c1', 0), stepDone([2, 3]), activations('c0', 0));
	t.like(server.one('gradient'), {to: 'c0', body: {step: 0, loss: 2, tensors: handle('gradient/0')}});
	t.is(server.state, '"collecting"');
	t.is(server.context.serverVersion, 1);
});

test('a repeat of a batch that still waits is taken once', t => {
	const server = inRound().take(activations('c0', 0), activations('c0', 0));
	t.deepEqual(keysOf(server.context.inbox), ['c0']);
	t.is(server.context.arrivals, 1);
});

test('an older repeat is answered without tensors', t => {
	const server = inRound().take(activations('c0', 0), activations('c1', 0), stepDone([2, 3]));
	server.take(activations('c0', 1), activations('c1', 1), stepDone([2, 3]), activations('c0', 0));
	t.like(server.one('refused'), {to: 'c0', body: {code: 'already-applied', field: 'step'}});
});

test('what an older incarnation sends is refused, and its batch is forgotten when the newer one comes', t => {
	const server = inRound().take(activations('c0', 0), hello('c0', 1));
	t.is(server.context.inbox.size, 0);
	server.take(activations('c0', 0));
	t.like(server.one('refused'), {to: 'c0', body: {code: 'fenced', found: '0', expected: 'at least 1'}});
});

test('a client that never said hello, or is not in the cohort, is refused', t => {
	const server = inRound().take(activations('c9', 0));
	t.like(server.one('refused'), {to: 'c9', body: {code: 'not-in-cohort'}});
	server.take(hello('c2'), activations('c2', 0));
	t.like(server.one('refused'), {to: 'c2', body: {code: 'not-in-cohort', field: 'round'}});
});

test('a parallel step goes on with weights that sum to 1 when a member leaves', t => {
	const left = from('c1', 'client', 'leave', {incarnation: 0, reason: 'done'});
	const server = inRound().take(activations('c0', 0), left);
	t.is(server.state, '"stepping"');
	t.deepEqual(server.context.plan, [{client: 'c0', weight: 1}]);
});

test('a member that leaves during its step gets no answer, and the others get theirs', t => {
	const server = inRound().take(activations('c0', 0), activations('c1', 0));
	t.is(server.state, '"stepping"');
	server.take(from('c1', 'client', 'leave', {incarnation: 0, reason: 'done'}), stepDone([2, 3]));
	t.deepEqual(server.verbs, ['gradient to c0']);
	t.is(server.state, '"collecting"');
});

test('a sequential server takes batches one by one, in order of arrival', t => {
	const server = inRound({update: {kind: 'sequential'}}).take(activations('c1', 0), activations('c0', 0));
	t.deepEqual(server.context.plan, [{client: 'c1', weight: 1}]);
	server.take(stepDone([3]));
	t.deepEqual(server.context.plan, [{client: 'c0', weight: 1}]);
	server.take(stepDone([2]));
	t.is(server.context.serverVersion, 2);
});

test('server staleness is what was applied since the version the client saw, and never negative', t => {
	const server = inRound({update: {kind: 'sequential'}}).take(
		activations('c1', 0),
		activations('c0', 0),
		stepDone([3]),
	);
	t.is(server.take(stepDone([2])).one('gradient').body.serverStaleness, 1);
	server.take(activations('c0', 1, {serverVersionSeen: 99}), stepDone([2]));
	t.is(server.one('gradient').body.serverStaleness, 0);
});

test('with accumulation a version is one optimizer step, and the last step of a round is applied', t => {
	const server = inRound({accumulation: 2}, 3);
	for (const [step, isApplied] of [false, true, true].entries()) {
		server.take(activations('c0', step), activations('c1', step));
		server.take(stepDone([2, 3], isApplied));
	}
	t.is(server.context.serverVersion, 2);
	t.is(server.context.accumulated, 0);
});

test('a client that comes back behind the others is sent on to the step they wait for', t => {
	const server = inRound().take(activations('c0', 0), activations('c1', 0), stepDone([2, 3]));
	server.take(hello('c0', 1), activations('c0', 0, {incarnation: 1}));
	t.like(server.one('step-skipped'), {to: 'c0', body: {step: 0, next: 1}});
});

test('a client that comes back from nothing is not applied again, whatever the order of updates', t => {
	const server = inRound({update: {kind: 'sequential'}}).take(activations('c0', 0), stepDone([2]));
	server.take(activations('c0', 1), stepDone([2]));
	server.take(hello('c0', 1), activations('c0', 0, {incarnation: 1}));
	t.like(server.one('step-skipped'), {to: 'c0', body: {step: 0, next: 2}});
	t.is(server.state, '"collecting"');
});

test('a client that comes back while its step is under way goes on after it', t => {
	const server = inRound({update: {kind: 'sequential'}}).take(activations('c0', 0), hello('c0', 1), stepDone([2]));
	server.take(activations('c0', 0, {incarnation: 1}));
	t.like(server.one('step-skipped'), {to: 'c0', body: {step: 0, next: 1}});
	t.is(server.context.serverVersion, 1);
});

test('the adapter is published between rounds, under the version of the opening', t => {
	const server = ready({isAdapterPublished: true}).take(roundOpened(0, ['c0', 'c1'], {adapterVersion: 7}));
	t.is(server.state, '"publishing"');
	server.take({type: 'readAdapter.done', tensors: handle('adapter')});
	t.like(server.one('server-adapter').body, {adapterVersion: 7, serverVersion: 0});
});

test('a pass that fails ends the server with its text', t => {
	const server = inRound().take({type: 'pass.failed', pass: 'mainStep', error: 'out of memory'});
	t.is(server.snapshot.status, 'done');
	t.is(server.context.failure, 'mainStep failed: out of memory');
});
