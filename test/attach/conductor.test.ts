/**
What a run's conductor tells its actors when somebody asks for a change, over the memory bus with a fed server's own machine.
*/
import test from 'ava';
import {fedServerMachine} from '../../actors/fed-server.ts';
import {checkScenario} from '../../protocols/check-scenario.ts';
import {askControl} from '../../runtime/attach/ask.ts';
import {Conductor} from '../../runtime/attach/conductor.ts';
import {createMemoryBroker} from '../../runtime/bus/memory.ts';
import {agreement, from, handle, Stepper} from '../_helpers/machine.ts';

const hello = (sender: string, kind = 'client') =>
	from(sender, kind, 'hello', {incarnation: 0, samples: kind === 'client' ? 10 : 0, agreement});

test('an evaluator that asks for the adapters is told of every round where one client is chosen at a time', async t => {
	const fed = new Stepper(fedServerMachine, {
		...{serverId: 'fed', incarnation: 0, agreement, clientsExpected: 2, hasMainServer: true, watchers: ['main']},
		...{stepsPerRound: 2, stepsTotal: 8, aggregationsTotal: 4, checkpointEveryRounds: 0, leaseMs: 0},
		...{selection: {kind: 'in-turn'}, closing: {kind: 'all'}, aggregation: {kind: 'fedavg'}},
	}).take({type: 'readAdapter.done', tensors: handle('first')});
	const broker = createMemoryBroker();
	const nothing = () => undefined;
	const conductor = await Conductor.open({
		run: 'tiny',
		bus: broker.connect(),
		scenario: checkScenario({name: 'tiny', data: {kind: 'restaurants'}, mainServer: false}),
		agreement,
		watchers: ['main'],
		now: () => 0,
		actors: () => [
			{
				id: 'fed',
				kind: 'fed-server',
				isDone: false,
				pause: nothing,
				resume: nothing,
				change: change => void fed.take({type: 'host.changed', input: change}),
			},
		],
		changesOf: () => ({}),
		specOf: () => t.fail() as never,
		onNotice: nothing,
	});
	const bus = broker.connect();
	for (const id of ['judge', 'judge', 'other'])
		await askControl({bus, run: 'tiny', speaker: {kind: 'evaluator', id, incarnation: 0}}, {command: 'evaluate'});
	fed.take(hello('main', 'main-server'), hello('c0'), hello('c1'));
	const told = fed.verbs.filter(verb => verb.startsWith('round-opened'));
	t.deepEqual(
		told.slice(0, 3),
		['main', 'judge', 'other'].map(id => `round-opened to ${id}`),
	);
	t.is(told.length, 4);
	await conductor.close();
	await bus.close();
});
