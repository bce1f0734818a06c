import {cp} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import {firstParting} from '../../runtime/trace/diff.ts';
import {FakeCompute} from '../_helpers/fake-compute.ts';
import {recordRun, withFolder} from '../_helpers/recorded-run.ts';
import {rewriteTrace, withTrace} from '../_helpers/traces.ts';

const diff = (a: string, b: string) => withTrace(a, one => withTrace(b, two => firstParting(one, two)));

test('two runs of one scenario do not part, although their times and the order of arrivals differ', t =>
	withFolder(async folder => {
		const [a, b] = [join(folder, 'a'), join(folder, 'b')];
		const slow = new FakeCompute(async ({actor}) => {
			for (let turn = actor === 'c0' ? 8 : 0; turn > 0; turn--) await new Promise(setImmediate);
		});
		await recordRun({folder: a});
		await recordRun({folder: b, compute: slow});
		t.is(await diff(a, b), undefined);
	}));

test('the first message that says something else is found in the words of both runs', t =>
	withFolder(async folder => {
		const [a, b] = [join(folder, 'a'), join(folder, 'b')];
		await recordRun({folder: a});
		await cp(a, b, {recursive: true});
		let changed = 0;
		await rewriteTrace(b, record => {
			if (record.kind !== 'input' || record.actor !== 'c1' || record.event.type !== 'gradient' || ++changed !== 2)
				return record;
			return {...record, event: {...record.event, body: {...(record.event.body as object), loss: 77}}};
		});
		const parting = await diff(a, b);
		t.is(parting?.actor, 'c1');
		t.is(parting?.channel, 'gradient/main');
		t.is(parting?.same, 1);
		t.is(parting?.b?.record.n, parting?.a?.record.n);
		t.regex(JSON.stringify(parting?.b?.record), /"loss":77/);
	}));

test('a run that goes on where the other ended parts there', t =>
	withFolder(async folder => {
		const [a, b] = [join(folder, 'a'), join(folder, 'b')];
		await recordRun({folder: a, scenario: {training: {steps: 4, stepsPerRound: 2}}});
		await cp(a, b, {recursive: true});
		await rewriteTrace(b, record =>
			'actor' in record && record.actor === 'fed' && record.n > 100 ? undefined : record,
		);
		const parting = await diff(a, b);
		t.is(parting?.actor, 'fed');
		t.is(parting?.b, undefined);
		t.true(parting!.a!.record.n > 100);
	}));

test('an actor that is gone in one run is where they part, not what that did to others later', t =>
	withFolder(async folder => {
		const [a, b] = [join(folder, 'a'), join(folder, 'b')];
		const header = {
			code: 'test',
			scenarioHash: '',
			seed: 1,
			backend: 'fake',
			clock: 'virtual',
			level: 'digest',
		} as const;
		await recordRun({folder: a, recorder: {header}, scenario: {training: {steps: 8, stepsPerRound: 2}}});
		await cp(a, b, {recursive: true});
		const gone = 60;
		await rewriteTrace(b, record => {
			if ('actor' in record && record.actor === 'c1' && record.n > gone) return undefined;
			if (record.kind !== 'input' || record.n < gone + 40 || record.event.type !== 'gradient') return record;
			return {...record, event: {...record.event, body: {...(record.event.body as object), loss: 77}}};
		});
		const parting = await diff(a, b);
		t.is(parting?.actor, 'c1');
		t.is(parting?.b, undefined);
		t.true(parting!.a!.record.n > gone && parting!.a!.record.n < gone + 40);
	}));
