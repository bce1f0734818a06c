/**
Who takes part in a run from elsewhere waits for nobody for ever.
*/
import test from 'ava';
import type {Bus} from '../../protocols/ports.ts';
import {askControl} from '../../runtime/attach/ask.ts';
import {watchRun} from '../../runtime/attach/watch-run.ts';
import {createMemoryBroker} from '../../runtime/bus/memory.ts';
import {wrapBus} from '../../runtime/bus/wrap.ts';

const speaker = {kind: 'client', id: 'kim', incarnation: 0} as const;

const watched = (bus: Bus, times: {everyMs: number; brokerLeaseMs?: number}) =>
	new Promise<string | undefined>(resolve => {
		watchRun({bus, speaker, run: 'tiny', ...times, onGone: resolve});
	});

test('a run that does not answer three times in a row is gone', async t => {
	const bus = createMemoryBroker().connect();
	let questions = 0;
	bus.subscribe('cutlayer.v1.tiny.client.kim.ask-runs', () => questions++);
	t.is(await watched(bus, {everyMs: 5}), undefined);
	t.is(questions, 3);
	await bus.close();
});

test('a broker that is away is waited for as long as its lease says, and the sentence says what to do', async t => {
	const bus = wrapBus(createMemoryBroker().connect(), {flush: () => new Promise(() => undefined)});
	const gone = /^The broker has been away for 20 ms: start it again, then attach again$/;
	t.regex((await watched(bus, {everyMs: 5, brokerLeaseMs: 20}))!, gone);
	const asked = askControl({bus, speaker, run: 'tiny', brokerLeaseMs: 20}, {command: 'pause'});
	const error = await t.throwsAsync(asked, {message: gone});
	t.is((error as {code?: string}).code, 'broker-unreachable');
});
