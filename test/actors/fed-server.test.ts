import test from 'ava';
import {fedServerMachine} from '../../actors/fed-server.ts';
import type {Upload} from '../../actors/fed-server-context.ts';
import {entryOf, keysOf} from '../../protocols/table.ts';
import {agreement, from, handle, Stepper} from '../_helpers/machine.ts';

const input = {
	serverId: 'fed',
	incarnation: 0,
	agreement,
	clientsExpected: 2,
	hasMainServer: true,
	stepsPerRound: 2,
	stepsTotal: 5,
	aggregationsTotal: 3,
	watchers: ['main'],
	selection: {kind: 'all'},
	closing: {kind: 'all'},
	aggregation: {kind: 'fedavg'},
	leaseMs: 0,
	checkpointEveryRounds: 0,
};
const hello = (sender: string, {kind = 'client', samples = 10, incarnation = 0, changes = {}} = {}) =>
	from(sender, kind, 'hello', {incarnation, samples, agreement: {...agreement, ...changes}});
const mainHello = hello('main', {kind: 'main-server', samples: 0});
const upload = (client: string, round: number, changes = {}) =>
	from(client, 'client', 'upload', {
		incarnation: 0,
		round,
		adapterVersion: round,
		stepsDone: 2,
		samples: 10,
		lossMean: 1,
		lossSquareMean: 1,
		tensors: handle(`${client}/${round}`),
		...changes,
	});
const leave = (client: string) => from(client, 'client', 'leave', {incarnation: 0, reason: 'out of memory'});
const aggregated = {type: 'aggregate.done', tensors: handle('global')};
const leaseCheck = {type: 'xstate.after.leaseCheck.fed-server.active.leases.checking'};
const deadline = {type: 'xstate.after.deadline.fed-server.active.rounds.collecting'};

const started = (changes = {}) =>
	new Stepper(fedServerMachine, {...input, ...changes}).take({type: 'readAdapter.done', tensors: handle('first')});
const inRound = (changes = {}, samples = [30, 10]) =>
	started(changes).take(mainHello, hello('c0', {samples: samples[0]!}), hello('c1', {samples: samples[1]!}));

test('the first round opens when the main server and all clients are here', t => {
	const fed = started().take(hello('c0'), hello('c1'));
	t.regex(fed.state, /gathering/);
	fed.take(mainHello);
	t.regex(fed.state, /collecting/);
	t.like(fed.one('round-opened').body, {round: 0, adapterVersion: 0, steps: 2, tensors: handle('first')});
});

test('the weights of a cohort are its shares of the samples', t => {
	t.deepEqual(inRound().one('round-opened').body.cohort, [
		{client: 'c0', weight: 0.75},
		{client: 'c1', weight: 0.25},
	]);
});

test('a client without rows joins and is in no cohort', t => {
	t.deepEqual(inRound({}, [30, 0]).one('round-opened').body.cohort, [{client: 'c0', weight: 1}]);
});

test('a run in which nobody has rows fails with a sentence', t => {
	const fed = inRound({}, [0, 0]);
	t.is(fed.snapshot.status, 'done');
	t.regex(fed.context.failure, /No client can train: 2 of 2 joined and none of them has data/);
});

test('a hello that differs is refused with both values', t => {
	const fed = started().take(hello('c0', {changes: {modelHash: 'other'}}));
	t.like(fed.one('refused'), {
		to: 'c0',
		body: {code: 'mismatch', field: 'modelHash', found: '"other"', expected: '"model"'},
	});
	t.is(fed.context.roster.size, 0);
});

test('a round closes when all have uploaded, and the next has the next version', t => {
	const fed = inRound().take(upload('c1', 0));
	t.deepEqual(fed.verbs, ['upload-accepted to c1']);
	fed.take(upload('c0', 0));
	t.regex(fed.state, /aggregating/);
	fed.take(aggregated);
	t.like(fed.one('report').body, {kind: 'round', row: {round: 0, adapterVersion: 1, uploads: 2, gone: ''}});
	t.like(fed.one('round-opened').body, {round: 1, adapterVersion: 1, tensors: handle('global')});
});

test('an upload that comes twice, or for a closed round, is accepted and counts once', t => {
	const fed = inRound().take(upload('c0', 0), upload('c0', 0, {tensors: handle('again')}));
	t.deepEqual(fed.verbs, ['upload-accepted to c0']);
	t.is(entryOf<Upload>(fed.context.uploads, 'c0')?.tensors.handle, 'c0/0');
	fed.take(upload('c1', 0), aggregated, upload('c0', 0));
	t.deepEqual(fed.verbs, ['upload-accepted to c0']);
	t.is(fed.context.uploads.size, 0);
});

test('the last round takes the steps that are left, then the run is over', t => {
	const fed = inRound();
	for (const round of [0, 1]) fed.take(upload('c0', round), upload('c1', round), aggregated);
	t.like(fed.one('round-opened').body, {round: 2, steps: 1});
	fed.take(upload('c0', 2), upload('c1', 2), aggregated);
	t.like(fed.one('run-finished').body, {rounds: 3, adapterVersion: 3, reason: 'done'});
	t.is(fed.snapshot.status, 'done');
});

test('a late joiner is welcomed in mid-round and is in the next cohort', t => {
	const fed = inRound().take(hello('c2'));
	t.deepEqual(fed.verbs, ['welcome to c2']);
	t.is(fed.one('welcome').body.round, 0);
	fed.take(upload('c0', 0), upload('c1', 0), aggregated);
	t.deepEqual(
		fed.one('round-opened').body.cohort.map(member => member.client),
		['c0', 'c1', 'c2'],
	);
});

test('a member that returns hears the round in progress; an older incarnation is refused', t => {
	const fed = inRound().take(hello('c1', {incarnation: 1}));
	t.deepEqual(fed.verbs, ['welcome to c1', 'round-opened to c1']);
	t.like(fed.take(hello('c1')).one('refused'), {to: 'c1', body: {code: 'fenced'}});
});

test('a member that leaves is not waited for, and everybody hears why', t => {
	const fed = inRound().take(upload('c0', 0), leave('c1'));
	t.like(fed.one('roster-changed').body, {clients: ['c0'], left: ['c1'], reason: 'out of memory'});
	t.regex(fed.state, /aggregating/);
});

test('a silent member is gone when its lease has ended, one with a sign of life is not', t => {
	const beat = from('c0', 'client', 'heartbeat', {incarnation: 0, round: 0, isIdle: false});
	const fed = inRound({leaseMs: 3000}).take(leaseCheck, leaseCheck, leaseCheck, beat);
	t.deepEqual(keysOf(fed.context.roster), ['c0', 'c1']);
	fed.take(leaseCheck);
	t.deepEqual(keysOf(fed.context.roster), ['c0']);
	t.like(fed.one('roster-changed').body, {left: ['c1'], reason: 'silent for 3000 ms'});
});

test('a round with a quorum closes at its deadline and asks the late for what they have', t => {
	const quorum = {closing: {kind: 'quorum', count: 1, deadlineMs: 100}};
	const fed = inRound(quorum).take(upload('c0', 0));
	t.regex(fed.state, /collecting/);
	fed.take(deadline);
	t.true(fed.verbs.includes('round-closing'));
	t.regex(fed.state, /aggregating/);
});

test('a quorum that is not met at the deadline closes when it is, and a round that cannot be met is void', t => {
	const quorum = {closing: {kind: 'quorum', count: 2, deadlineMs: 100}};
	const late = inRound(quorum).take(upload('c0', 0), deadline);
	t.regex(late.state, /collecting/);
	t.regex(late.take(upload('c1', 0)).state, /aggregating/);
	const lost = inRound(quorum).take(upload('c0', 0), leave('c1'));
	t.is(lost.context.adapterVersion, 0);
	t.is(lost.context.round, 1);
	t.true(lost.one('report').body.row.isVoid);
});
