import test from 'ava';
import {clientMachine} from '../../actors/client.ts';
import {mainServerMachine} from '../../actors/main-server.ts';
import {agreement, clientInput, from, handle, mainServerInput, roundOpened, Stepper} from '../_helpers/machine.ts';

const pipelined = {...clientInput, pipelineDepth: 2};
const welcome = (server: string, credit = 2) =>
	from(server, `${server}-server`, 'welcome', {incarnation: 0, round: -1, adapterVersion: 0, credit});
const forwardDone = {type: 'forward.done', lengths: [3], targets: 2, tensors: handle('activations')};
const backwardDone = {type: 'backward.done', tokens: 3, gradientNorm: 0.5};
const gradient = (step: number) =>
	from('main', 'main-server', 'gradient', {
		incarnation: 0,
		round: 0,
		step,
		loss: 2,
		targets: 2,
		serverVersion: step + 1,
		serverStaleness: 0,
		tensors: handle(`gradient/${step}`),
	});
const skip = (step: number, next: number) => from('main', 'main-server', 'step-skipped', {round: 0, step, next});
const closing = from('fed', 'fed-server', 'round-closing', {round: 0});

const opened = (steps: number, changes = {}) =>
	new Stepper(clientMachine, {...pipelined, ...changes}).take(
		welcome('fed'),
		welcome('main'),
		roundOpened(0, ['c1', 'c2'], {steps}),
	);
/** Two batches on their way. */
const filled = (steps = 4) => opened(steps).take(forwardDone, forwardDone);
const onTheirWay = (client: Stepper) =>
	client.context.pipeline.inFlight.map(({step, batchIndex}: {step: number; batchIndex: number}) => [step, batchIndex]);

test('a client begins as many batches as may be on their way, then waits', t => {
	const client = opened(4).take(forwardDone);
	t.like(client.one('activations').body, {step: 0, serverVersionSeen: 0});
	t.regex(client.state, /forwarding/);
	client.take(forwardDone);
	t.like(client.one('activations').body, {step: 1});
	t.regex(client.state, /awaitingGradients/);
	t.deepEqual(onTheirWay(client), [
		[0, 0],
		[1, 1],
	]);
});

test('gradients are used in order of their steps, and after each the next batch is begun first', t => {
	const client = filled().take(gradient(1));
	t.regex(client.state, /awaitingGradients/);
	client.take(gradient(0));
	t.regex(client.state, /backwarding/);
	client.take(backwardDone);
	t.like(client.one('report').body.row, {step: 0, gradientStaleness: 0});
	t.regex(client.state, /forwarding/);
	client.take(forwardDone);
	t.like(client.one('activations').body, {step: 2, serverVersionSeen: 2});
	t.regex(client.state, /backwarding/);
	client.take(backwardDone);
	t.like(client.one('report').body.row, {step: 1, gradientStaleness: 1});
	t.deepEqual(onTheirWay(client), [[2, 2]]);
});

test('a second gradient of a step changes nothing', t => {
	const client = filled().take(gradient(0), gradient(0), backwardDone, gradient(0));
	t.deepEqual(onTheirWay(client), [[1, 1]]);
	t.regex(client.state, /forwarding/);
});

test('a main server that grants less has less on its way', t => {
	const client = new Stepper(clientMachine, {...clientInput, pipelineDepth: 8}).take(
		welcome('fed', 0),
		welcome('main', 1),
		roundOpened(0, ['c1'], {steps: 4}),
		forwardDone,
	);
	t.regex(client.state, /awaitingGradients/);
});

test('what has no answer is sent again', t => {
	const client = filled().take(gradient(1), {
		type: 'xstate.after.answerTimeout.client.active.training.awaitingGradients',
	});
	t.deepEqual(client.verbs, ['activations to main']);
	t.like(client.one('activations').body, {step: 0});
});

test('a skipped step is given up, and its batch begun anew as a later step', t => {
	const client = filled(8).take(skip(0, 5));
	t.like(client.one('report').body, {kind: 'drop', row: {step: 0, steps: 4, reason: 'skipped'}});
	t.regex(client.state, /forwarding/);
	t.deepEqual(client.context.pipeline.begun, {step: 5, batchIndex: 0});
	client.take(skip(1, 5));
	t.like(client.one('report').body, {kind: 'drop', row: {step: 1, steps: 1}});
	client.take(forwardDone);
	t.deepEqual(client.context.pipeline.begun, {step: 6, batchIndex: 1});
	t.deepEqual(onTheirWay(client), [[5, 0]]);
});

test('a round that closes takes back what is on its way, or all but the batch that is being used', t => {
	const client = filled().take(closing);
	t.like(client.one('report').body, {kind: 'drop', row: {step: 0, steps: 4, reason: 'round closed'}});
	t.regex(client.state, /readingAdapter/);
	t.deepEqual(client.context.pipeline.returned, [0, 1]);
	const busy = filled().take(gradient(0), closing);
	t.like(busy.one('report').body, {kind: 'drop', row: {step: 1, steps: 3, reason: 'round closed'}});
	busy.take(backwardDone);
	t.regex(busy.state, /readingAdapter/);
	t.deepEqual(busy.context.pipeline.returned, [1]);
	busy.take({type: 'readAdapter.done', tensors: handle('adapter')});
	t.is(busy.one('upload').body.stepsDone, 1);
	busy.take(from('fed', 'fed-server', 'upload-accepted', {round: 0}), roundOpened(1, ['c1']));
	t.deepEqual(busy.context.pipeline.begun, {step: 0, batchIndex: 1});
});

test('the last steps of a round drain the pipeline, and the upload counts them all', t => {
	const client = filled(2).take(gradient(0), backwardDone);
	t.regex(client.state, /awaitingGradients/);
	client.take(gradient(1), backwardDone, {type: 'readAdapter.done', tensors: handle('adapter')});
	t.is(client.one('upload').body.stepsDone, 2);
});

test('a client restored from a checkpoint does the forward passes of what is on its way again, in order', t => {
	const client = filled().take(gradient(0), {type: 'host.pause'}, backwardDone);
	t.regex(client.state, /paused/);
	client.take({type: 'host.restored'}, welcome('fed'), welcome('main'));
	t.regex(client.state, /forwarding/);
	t.deepEqual(client.context.pipeline.begun, {step: 1, batchIndex: 1, isAgain: true});
	client.take(forwardDone);
	t.like(client.one('activations').body, {step: 1});
	t.deepEqual(client.context.pipeline.begun, {step: 2, batchIndex: 2});
});

const hello = (client: string, incarnation = 0) =>
	from(client, 'client', 'hello', {incarnation, samples: 10, agreement});
const activations = (client: string, step: number, {round = 0, incarnation = 0} = {}) =>
	from(client, 'client', 'activations', {
		incarnation,
		round,
		step,
		serverVersionSeen: 0,
		lengths: [3],
		targets: 2,
		tensors: handle(`${client}/${round}/${step}`),
	});
const server = (changes = {}) =>
	new Stepper(mainServerMachine, {...mainServerInput, credit: 2, ...changes}).take(
		from('fed', 'fed-server', 'welcome', {incarnation: 0, round: -1, adapterVersion: 0, credit: 0}),
		hello('c1'),
		hello('c2'),
		roundOpened(0, ['c1', 'c2'], {steps: 8}),
	);
const stepDone = (count: number) => ({
	type: 'mainStep.done',
	losses: Array(count).fill(1),
	gradientNorm: 1,
	isApplied: true,
	tensors: Object.fromEntries(Array.from({length: count}, (_, index) => [`${index}`, handle(`g${index}`)])),
});
const plan = (main: Stepper) => main.context.plan.map(({client}: {client: string}) => client).join();

test('batches are taken in order of their steps, whatever order they come in', t => {
	const main = server().take(activations('c1', 1), activations('c2', 0), activations('c2', 1));
	t.regex(main.state, /collecting/);
	main.take(activations('c1', 0));
	t.regex(main.state, /stepping/);
	main.take(stepDone(2));
	t.deepEqual(main.verbs, ['gradient to c1', 'gradient to c2']);
	t.regex(main.state, /stepping/);
	main.take(stepDone(2));
	t.deepEqual(
		main.sent.map(({body}) => (body as {step: number}).step),
		[1, 1],
	);
	t.is(main.context.nextStep, 2);
	t.regex(main.state, /collecting/);
});

test('one batch at a time: in order of arrival, a client waits for its own turn', t => {
	const main = server({update: {kind: 'sequential'}}).take(activations('c1', 0));
	t.is(plan(main), 'c1');
	main.take(activations('c1', 1), activations('c2', 0), stepDone(1));
	t.is(plan(main), 'c1');
	main.take(stepDone(1));
	t.is(plan(main), 'c2');
});

test('as many answers are kept as may be asked for again, and what is over the credit is not taken', t => {
	const main = server({update: {kind: 'sequential'}}).take(activations('c1', 0), stepDone(1));
	main.take(activations('c1', 1), stepDone(1));
	t.like(main.take(activations('c1', 0)).one('gradient').body, {step: 0});
	t.like(main.take(activations('c1', 1)).one('gradient').body, {step: 1});
	main.take(activations('c1', 2), stepDone(1));
	t.is(main.take(activations('c1', 0)).one('refused').body.code, 'already-applied');
	main.take(activations('c1', 4), activations('c1', 5), activations('c1', 6));
	t.deepEqual(main.sent, []);
	t.regex(main.state, /collecting/);
	main.take(activations('c1', 3), stepDone(1));
	t.is(plan(main), 'c1');
	main.take(stepDone(1), stepDone(1));
	t.regex(main.state, /collecting/);
	t.is(main.take(activations('c1', 6)).state.includes('stepping'), true);
});

test('who leaves or begins a new life leaves no batch behind', t => {
	const gone = server().take(
		activations('c1', 0),
		activations('c1', 1),
		from('c1', 'client', 'leave', {incarnation: 0, reason: 'x'}),
	);
	t.is(gone.context.inbox.size + gone.context.early.size, 0);
	const anew = server().take(activations('c1', 0), activations('c1', 1), hello('c1', 1));
	t.is(anew.context.inbox.size + anew.context.early.size, 0);
	anew.take(activations('c1', 0, {incarnation: 1}), activations('c2', 0));
	t.regex(anew.state, /stepping/);
});

test('batches of the next round replace those of the last', t => {
	const main = server().take(activations('c1', 0), activations('c1', 1));
	main.take(
		activations('c1', 1, {round: 1}),
		activations('c1', 0, {round: 1}),
		roundOpened(1, ['c1', 'c2'], {steps: 8}),
	);
	main.take(activations('c2', 0, {round: 1}));
	t.regex(main.state, /stepping/);
	main.take(stepDone(2), activations('c2', 1, {round: 1}));
	t.regex(main.state, /stepping/);
});
