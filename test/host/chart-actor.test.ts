import {isDeepStrictEqual} from 'node:util';
import test, {type ExecutionContext} from 'ava';
import fc from 'fast-check';
import {type AnyStateMachine, and, assign, fromCallback, not, setup} from 'xstate';
import {clientMachine} from '../../actors/client.ts';
import {evaluatorMachine} from '../../actors/evaluator.ts';
import {fedServerMachine} from '../../actors/fed-server.ts';
import {mainServerMachine} from '../../actors/main-server.ts';
import {chartOf} from '../../runtime/host/chart.ts';
import type {MachineActor, MachineStart} from '../../runtime/host/machine.ts';
import {createMachineActor} from '../../runtime/host/machine-actor.ts';
import {agreement, from, handle, roundOpened} from '../_helpers/machine.ts';

const isLong = process.env.CUTLAYER_TESTS === 'long';

/** What a test does to an actor; `timer` fires the oldest, `save` starts a new one from what the old one was. */
type Act = {readonly event: {readonly type: string}} | 'timer' | 'pass' | 'save' | 'stop';

/** An actor with everything that it did, in order. */
class Driven {
	readonly log: unknown[] = [];
	readonly #machine: AnyStateMachine;
	readonly #isTabled: boolean;
	#timers: {readonly id: number; readonly fire: () => void}[] = [];
	#passes: {readonly name: string; readonly sendBack: (event: {type: string}) => void}[] = [];
	#next = 0;
	#actor: MachineActor;

	constructor(machine: AnyStateMachine, input: object, isTabled: boolean) {
		this.#machine = machine;
		this.#isTabled = isTabled;
		this.#actor = this.#create({input});
	}

	do(act: Act): void {
		if (act === 'timer') this.#timers.shift()?.fire();
		else if (act === 'pass') {
			const pass = this.#passes.shift();
			pass?.sendBack({type: `${pass.name}.done`, ...done[pass.name]} as {type: string});
		} else if (act === 'stop') this.#actor.stop();
		else if (act === 'save') {
			const snapshot = JSON.parse(JSON.stringify(this.#actor.getPersistedSnapshot()));
			this.log.push(['saved', snapshot]);
			// Nobody goes on from an actor that threw or was stopped.
			if (snapshot.status === 'error' || snapshot.status === 'stopped') return;
			this.#actor.stop();
			this.#passes = [];
			this.#actor = this.#create({snapshot});
		} else this.#actor.send(act.event);
		const {status, value, context} = this.#actor.getSnapshot();
		const isQuiet = status === 'active' && this.#actor.getSnapshot().hasTag('quiet');
		this.log.push(JSON.parse(JSON.stringify([status, value, context, isQuiet])));
	}

	#create(start: MachineStart): MachineActor {
		const {log} = this;
		const actor = createMachineActor({
			id: 'one',
			machine: this.#machine,
			isTabled: this.#isTabled,
			start,
			clock: {
				setTimeout: fire => {
					this.#timers.push({id: this.#next, fire});
					return this.#next++;
				},
				clearTimeout: id => {
					log.push(['timer is cleared', id]);
					this.#timers = this.#timers.filter(timer => timer.id !== id);
				},
			},
			startPass: (name, {input, sendBack}) => {
				log.push(['pass', name, structuredClone(input)]);
				if (name === 'broken') throw new Error('no such thing');
				this.#passes.push({name, sendBack});
				return () => {
					log.push(['pass ends', name]);
					// Late word of it is heard by nobody.
					sendBack({type: 'late'});
				};
			},
			send: message => log.push(['send', message]),
			onInput: ({type}, timer) => log.push(['input', type, timer]),
			onTimerSet: (timer, delayMs) => log.push(['timer', timer, delayMs]),
			onSettled: () => log.push('settled'),
			onDone: thrown => log.push(['done', thrown]),
		});
		actor.start();
		return actor;
	}
}

const done: Readonly<Record<string, object>> = {
	forward: {lengths: [3], targets: 2, tensors: handle('activations')},
	backward: {tokens: 3, gradientNorm: 0.5},
	readAdapter: {tensors: handle('adapter')},
};

const say = (verb: string) => ({type: 'send', params: {verb, body: {}} as never}) as const;

const pass = () => fromCallback<{type: string}, object>(() => undefined);

/** A machine with all that ours may use, and transitions that rival each other. */
const gauntlet = setup({
	types: {context: {} as {n: number; isArmed: boolean}, events: {} as {type: string; by?: number}},
	actors: {work: pass(), broken: pass()},
	actions: {send: (_, _message: object) => undefined},
	guards: {
		isOdd: ({context}) => context.n % 2 === 1,
		isArmed: ({context}) => context.isArmed,
		isBothOddAndArmed: and(['isOdd', 'isArmed']),
		throws: () => {
			throw new Error('no answer');
		},
	},
	delays: {soon: ({context}) => 10 + context.n, later: 500},
}).createMachine({
	id: 'gauntlet',
	context: ({input}) => ({n: (input as unknown as {n: number}).n, isArmed: false}),
	initial: 'active',
	on: {
		arm: {actions: assign({isArmed: ({context}) => !context.isArmed})},
		add: {actions: assign(({context, event}) => ({n: context.n + (event.by ?? 1)}))},
		leave: {target: '.over', actions: say('left')},
		late: {actions: say('late')},
	},
	states: {
		active: {
			type: 'parallel',
			entry: say('in'),
			exit: say('out'),
			states: {
				left: {
					initial: 'a',
					on: {again: {target: 'left', reenter: true}, both: '.c', nothing: {}},
					states: {
						a: {
							tags: 'quiet',
							entry: say('a'),
							exit: say('not a'),
							after: {soon: {target: 'a', reenter: true, actions: assign(({context}) => ({n: context.n + 1}))}},
							on: {go: [{guard: 'isOdd', target: 'b'}, {target: 'c'}], nothing: 'b', both: 'b'},
						},
						b: {
							invoke: {src: 'work', input: ({context}) => ({n: context.n})},
							after: {later: 'a'},
							always: {guard: 'isBothOddAndArmed', target: 'c', actions: say('at once')},
							on: {'work.done': {target: 'a', actions: assign({n: 0})}, go: {actions: say('busy')}},
						},
						c: {
							initial: 'inner',
							always: {guard: ({context}) => context.n > 4, actions: assign({n: ({context}) => context.n - 5})},
							on: {go: 'a', cross: '#gauntlet.active.right.y', up: '#gauntlet.active'},
							states: {inner: {on: {go: {guard: not('isArmed'), target: 'deeper'}}}, deeper: {}},
						},
					},
				},
				right: {
					initial: 'x',
					on: {cross: '#gauntlet.active.left.b'},
					states: {
						x: {on: {go: 'y', both: 'y', ask: {guard: 'throws', target: 'y'}}},
						y: {
							invoke: {src: 'work', input: () => ({})},
							on: {go: {guard: 'isArmed', target: 'x'}, break: 'z', cross: 'x', again: {target: 'y', reenter: true}},
						},
						z: {invoke: {src: 'broken', input: () => ({})}, on: {go: 'x'}},
					},
				},
			},
		},
		over: {entry: say('over'), type: 'final'},
	},
	output: ({context}) => ({n: context.n}),
});

/** The library's comparison is slow, and asked for what differs only. */
function assertSame(t: ExecutionContext, machine: AnyStateMachine, input: object, acts: readonly Act[]): void {
	const logs = [false, true].map(isTabled => {
		const actor = new Driven(machine, input, isTabled);
		for (const act of acts) actor.do(act);
		return actor.log;
	});
	if (!isDeepStrictEqual(logs[1], logs[0])) t.deepEqual(logs[1], logs[0]);
}

const acts = (events: readonly {readonly type: string}[], weight = 8) =>
	fc.array(
		fc.oneof(
			{weight, arbitrary: fc.constantFrom(...events).map((event): Act => ({event}))},
			{weight: 2, arbitrary: fc.constant<Act>('pass')},
			{weight: 2, arbitrary: fc.constant<Act>('timer')},
			{weight: 1, arbitrary: fc.constantFrom<Act>('save', 'save', 'save', 'stop')},
		),
		{maxLength: 40},
	);

test('a machine with rival transitions does the same by tables as in the actor of xstate', t => {
	t.truthy(chartOf(gauntlet));
	const types = [
		'go',
		'go',
		'both',
		'arm',
		'add',
		'again',
		'cross',
		'up',
		'nothing',
		'break',
		'ask',
		'leave',
		'unknown',
	];
	const events = types.map(type => ({type}));
	fc.assert(
		fc.property(acts(events, 16), fc.integer({min: 0, max: 9}), (given, n) => {
			assertSame(t, gauntlet, {n}, given);
		}),
		{numRuns: isLong ? 5000 : 100},
	);
	t.pass();
});

test('a client does the same by tables as in the actor of xstate', t => {
	const input = {
		...{clientId: 'c1', incarnation: 0, samples: 10, agreement, fedServerId: 'fed', mainServerId: 'main'},
		...{accumulation: 1, onSkipped: 'drop', stepsPerVersion: null, answerTimeoutMs: 1000, heartbeatMs: 300},
	};
	const welcome = (server: string) =>
		from(server, `${server}-server`, 'welcome', {incarnation: 0, round: -1, adapterVersion: 0, credit: 1});
	const gradient = (round: number, step: number) =>
		from('main', 'main-server', 'gradient', {
			...{incarnation: 0, round, step, loss: 2, targets: 2, serverVersion: step + 1, serverStaleness: 0},
			tensors: handle(`gradient/${step}`),
		});
	const events = [
		...[welcome('fed'), welcome('main'), roundOpened(0, ['c1', 'c2']), roundOpened(1, ['c1'])],
		...[gradient(0, 0), gradient(0, 1), gradient(1, 0), gradient(1, 1)],
		from('main', 'main-server', 'step-skipped', {round: 0, step: 0, next: 1}),
		from('fed', 'fed-server', 'upload-accepted', {round: 0}),
		from('fed', 'fed-server', 'round-closing', {round: 0}),
		...['host.pause', 'host.resume', 'host.restored'].map(type => ({type})),
		{type: 'pass.failed', pass: 'forward', error: 'no memory'},
	];
	fc.assert(
		fc.property(acts(events, 12), fc.constantFrom('drop', 'reuse'), (given, onSkipped) => {
			assertSame(t, clientMachine, {...input, onSkipped}, given);
		}),
		{numRuns: isLong ? 2000 : 60},
	);
	t.pass();
});

test('all machines of the protocol run by tables', t => {
	for (const machine of [clientMachine, mainServerMachine, fedServerMachine, evaluatorMachine])
		t.truthy(chartOf(machine), machine.id);
});

test('a machine with what tables do not know runs in the actor of xstate', t => {
	const machine = setup({}).createMachine({initial: 'a', states: {a: {on: {'*': 'b'}}, b: {}}});
	t.is(chartOf(machine), undefined);
	const actor = new Driven(machine, {}, true);
	actor.do({event: {type: 'anything'}});
	t.is((actor.log.at(-1) as unknown[])[1], 'b');
});
