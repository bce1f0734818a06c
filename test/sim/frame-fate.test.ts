import test from 'ava';
import type {Fault} from '../../protocols/faults.ts';
import {FrameFate, type Passage} from '../../runtime/sim/frame-fate.ts';

const passage = (index: number, atMs = 0): Passage => ({
	messageId: `c0:0:${index}`,
	sender: 'c0',
	receiver: 'main',
	atMs,
});
const fate = (...faults: Fault[]) => new FrameFate(faults, 1);
const share = (count: number, of: number) => count / of;

test('frames are lost and doubled at their rates, whoever else sends', t => {
	const both = fate({kind: 'loss', rate: 0.3, fromMs: 0}, {kind: 'duplication', rate: 0.5, fromMs: 0});
	const copies = Array.from({length: 4000}, (_, index) => both.copies(passage(index)));
	t.true(Math.abs(share(copies.filter(count => count === 0).length, 4000) - 0.3) < 0.03);
	t.true(Math.abs(share(copies.filter(count => count === 2).length, 4000) - 0.35) < 0.031);
	t.is<number, number>(both.copies(passage(7)), copies[7]!);
});

test('a late frame is overtaken, within its delay', t => {
	const late = fate({kind: 'reordering', rate: 0.25, delayMs: 40, fromMs: 0});
	const arrivals = Array.from({length: 4000}, (_, index) => late.arrivalMs(passage(index), 100));
	const delayed = arrivals.filter(at => at > 100);
	t.true(Math.abs(share(delayed.length, 4000) - 0.25) < 0.028);
	t.true(delayed.length > 0 && Math.max(...delayed) < 140 && Math.max(...delayed) > 135);
});

test('a clogged link hands over at the end of the window what arrives within it', t => {
	const clogged = fate({kind: 'clog', clients: ['c0'], fromMs: 100, toMs: 200});
	t.deepEqual(
		[50, 100, 150, 200].map(at => clogged.arrivalMs(passage(0), at)),
		[50, 200, 200, 200],
	);
	t.is(clogged.arrivalMs({...passage(0), sender: 'c1'}, 150), 150);
});

test('while the broker is away frames wait for it, and those it had on the way are lost', t => {
	const away = fate({kind: 'broker-restart', atMs: 100, awayMs: 50});
	t.deepEqual(
		[99, 100, 149, 150].map(at => away.brokerAtMs(at)),
		[99, 150, 150, 150],
	);
	t.true(away.isBrokerLost(90, 110));
	t.false(away.isBrokerLost(80, 99));
	t.false(away.isBrokerLost(150, 170));
});

test('a damaged frame is cut to half, and the sender keeps the whole one', t => {
	const frame = {subject: 's', headers: {}, body: Uint8Array.of(1, 2, 3, 4)};
	const damaged = fate({kind: 'corruption', rate: 1, fromMs: 10}).altered(frame, passage(0, 10));
	t.deepEqual([...damaged.body], [1, 2]);
	t.is(frame.body.length, 4);
	t.is(fate({kind: 'corruption', rate: 1, fromMs: 10}).altered(frame, passage(0, 9)), frame);
});
