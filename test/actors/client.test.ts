import test from 'ava';
import {clientMachine} from '../../actors/client.ts';
import {from, handle, clientInput as input, roundOpened, Stepper} from '../_helpers/machine.ts';

const welcome = (server: string) =>
	from(server, `${server}-server`, 'welcome', {incarnation: 0, round: -1, adapterVersion: 0, credit: 1});
const forwardDone = {type: 'forward.done', lengths: [3], targets: 2, tensors: handle('activations')};
const backwardDone = {type: 'backward.done', tokens: 3, gradientNorm: 0.5};
const gradient = (round: number, step: number) =>
	from('main', 'main-server', 'gradient', {
		incarnation: 0,
		round,
		step,
		loss: 2,
		targets: 2,
		serverVersion: step + 1,
		serverStaleness: 0,
		tensors: handle(`gradient/${step}`),
	});
const refused = (code: string, verb = 'activations') =>
	from('main', 'main-server', 'refused', {verb, code, field: 'cut', found: '3', expected: '2', fix: 'set cut to 2'});
const closing = (round: number) => from('fed', 'fed-server', 'round-closing', {round});

const joined = (changes = {}) =>
	new Stepper(clientMachine, {...input, ...changes}).take(welcome('fed'), welcome('main'));
const awaiting = () => joined().take(roundOpened(0, ['c1', 'c2']), forwardDone);

test('a client says hello, and again when no answer comes', t => {
	const client = new Stepper(clientMachine, input);
	t.deepEqual(client.verbs, ['hello']);
	client.take({type: 'xstate.after.answerTimeout.client.active.training.joining'});
	t.deepEqual(client.verbs, ['hello']);
	client.take(welcome('fed'));
	t.regex(client.state, /joining/);
	t.regex(client.take(welcome('main')).state, /idle/);
});

test('a client that is refused at the door leaves with both values and the fix', t => {
	const client = new Stepper(clientMachine, input).take(refused('mismatch', 'hello'));
	t.is(client.snapshot.status, 'done');
	t.is(client.context.failure, 'main refused hello: cut is 3, expected 2; set cut to 2');
	t.is(client.one('leave').body.reason, client.context.failure);
});

test('a round that opens before both doors waits for them', t => {
	const client = new Stepper(clientMachine, input).take(welcome('main'), roundOpened(0, ['c1']));
	t.regex(client.state, /joining/);
	t.regex(client.take(welcome('fed')).state, /forwarding/);
});

test('a client that is not in the cohort stays idle', t => {
	t.regex(joined().take(roundOpened(0, ['c0', 'c2'])).state, /idle/);
});

test('a step is activations, gradient, report, and the next batch', t => {
	const client = awaiting();
	t.like(client.one('activations'), {to: 'main', body: {round: 0, step: 0, lengths: [3], targets: 2}});
	client.take(gradient(0, 0));
	t.regex(client.state, /backwarding/);
	client.take(backwardDone);
	t.like(client.one('report').body, {kind: 'step', row: {round: 0, step: 0, loss: 2, targets: 2, tokens: 3}});
	t.like(client.context, {step: 1, batchIndex: 1, optimizerSteps: 1, serverVersionSeen: 1, adapter: null});
	t.regex(client.state, /forwarding/);
});

test('a gradient of another round or step is dropped', t => {
	const client = awaiting().take(gradient(0, 1), gradient(1, 0));
	t.regex(client.state, /awaitingGradient/);
	t.is(client.context.gradient, null);
});

test('a second answer to the same step is dropped', t => {
	const client = awaiting().take(gradient(0, 0), gradient(0, 0), backwardDone, gradient(0, 0));
	t.regex(client.state, /forwarding/);
	t.is(client.context.step, 1);
});

test('a client without an answer sends the same activations again', t => {
	const client = awaiting();
	const first = client.sent;
	client.take({type: 'xstate.after.answerTimeout.client.active.training.awaitingGradient'});
	t.deepEqual(client.sent, first);
});

for (const code of ['not-in-cohort', 'already-applied']) {
	test(`a client that is refused as ${code} in mid-step goes on with the next round`, t => {
		const client = awaiting().take(refused(code));
		t.regex(client.state, /awaitingGradient/);
		client.take(roundOpened(1, ['c1']));
		t.regex(client.state, /forwarding/);
		t.like(client.context, {round: 1, step: 0, adapter: handle('global/1')});
	});
}

test('the closing of its round ends a step that waits and uploads the steps done', t => {
	const client = awaiting().take(gradient(0, 0), backwardDone, forwardDone, closing(0));
	t.regex(client.state, /readingAdapter/);
	client.take({type: 'readAdapter.done', tensors: handle('adapter')});
	t.like(client.one('upload'), {to: 'fed', body: {round: 0, stepsDone: 1, samples: 10, tensors: handle('adapter')}});
});

test('the closing of another round changes nothing', t => {
	t.regex(awaiting().take(closing(1)).state, /awaitingGradient/);
});

test('a skipped step keeps the batch', t => {
	const client = awaiting().take(from('main', 'main-server', 'step-skipped', {round: 0, step: 0, next: 1}));
	t.regex(client.state, /awaitingGradient/);
	t.like(client.context, {step: 1, batchIndex: 0});
	t.like(client.one('activations'), {body: {round: 0, step: 1}});
	t.like(client.one('report').body, {kind: 'drop', row: {round: 0, step: 0, steps: 1, reason: 'skipped'}});
});

test('an upload is sent again until it is accepted, and only for its own round', t => {
	const client = joined({mainServerId: null}).take(roundOpened(0, ['c1'], {steps: 1}), {
		type: 'localStep.done',
		loss: 1,
		targets: 2,
		tokens: 3,
		gradientNorm: 1,
	});
	client.take({type: 'readAdapter.done', tensors: handle('adapter')});
	const accepted = (round: number) => from('fed', 'fed-server', 'upload-accepted', {round});
	t.regex(client.take(accepted(7)).state, /uploading/);
	client.take({type: 'xstate.after.answerTimeout.client.active.training.uploading'});
	t.deepEqual(client.verbs, ['upload to fed']);
	t.regex(client.take(accepted(0)).state, /idle/);
	t.regex(client.take(roundOpened(0, ['c1'])).state, /idle/);
});

test('a pause waits for the step boundary and a resume goes on with the next step', t => {
	const client = awaiting().take({type: 'host.pause'}, gradient(0, 0));
	t.regex(client.state, /backwarding/);
	t.regex(client.take(backwardDone).state, /paused/);
	client.take(roundOpened(0, ['c1']));
	t.regex(client.take({type: 'host.resume'}).state, /forwarding/);
	t.is(client.context.step, 1);
});

test('a client restored while it awaits a gradient computes its activations again', t => {
	t.regex(awaiting().take({type: 'host.restored'}).state, /forwarding/);
});

test('a client restored while it uploads sends the upload again', t => {
	const client = joined().take(roundOpened(0, ['c1']), closing(0), {
		type: 'readAdapter.done',
		tensors: handle('adapter'),
	});
	const [upload] = client.sent;
	t.deepEqual(client.take({type: 'host.restored'}).sent, [upload!]);
});

test('a pass that fails makes the client leave with its text', t => {
	const client = awaiting().take({type: 'pass.failed', pass: 'forward', error: 'out of memory'});
	t.is(client.one('leave').body.reason, 'forward failed: out of memory');
	t.is(client.snapshot.status, 'done');
});

test('a client whose lease has ended says hello again and keeps its step', t => {
	const client = awaiting().take(refused('not-in-cohort', 'heartbeat'));
	t.deepEqual(client.verbs, ['hello']);
	t.regex(client.state, /awaitingGradient/);
});

test('the end of the run ends the client in any state', t => {
	const finished = from('fed', 'fed-server', 'run-finished', {
		rounds: 1,
		adapterVersion: 1,
		reason: 'done',
		tensors: handle('final'),
	});
	t.is(awaiting().take(finished).snapshot.status, 'done');
	t.is(new Stepper(clientMachine, input).take(finished).snapshot.status, 'done');
});
