import {writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import {CutlayerError} from '../../protocols/errors.ts';
import {readCsv, readJsonLines, readPlainText} from '../../runtime/data/corpus.ts';
import {openDataset, splitValidation} from '../../runtime/data/dataset.ts';
import {attributesOf, type Row, renderRow} from '../../runtime/data/row.ts';
import {testWith} from '../_helpers/optional.ts';
import {sharedPath} from '../_helpers/shared.ts';
import {temporaryFolder} from '../weights/folder.ts';

const refusal = (message: RegExp) => ({instanceOf: CutlayerError, code: 'data-invalid', message});
const e2e = sharedPath('data/e2e');
const testWithE2e = testWith(e2e);

testWithE2e('the official E2E files have the published numbers of rows and meanings', async t => {
	for (const [file, count, distinct] of [
		['trainset.csv', 42_061, 4862],
		['devset.csv', 4672, 547],
		['testset_w_refs.csv', 4693, 630],
	] as const) {
		const rows = await readCsv(join(e2e!, file));
		t.is(rows.length, count);
		t.is(new Set(rows.map(({source}) => source)).size, distinct);
	}
	const {train, validation} = await openDataset({kind: 'e2e', path: e2e, rows: 100, validationRows: 64});
	t.is(train.length, 100);
	t.is(validation.length, 64);
	t.like(train[0], {
		kind: 'meaning',
		source:
			'name[The Vaults], eatType[pub], priceRange[more than £30], customer rating[5 out of 5], near[Café Adriatic]',
	});
	t.true(validation[0]!.source.startsWith('name[Alimentum]'));
});

test('a CSV file is read with quotes, line breaks, further columns and a byte order mark', async t => {
	const path = join(await temporaryFolder(t), 'x.csv');
	await writeFile(path, '\ufeffid,ref,mr\r\n1,"A ""fine"" place,\nreally.",name[A]\r\n\r\n2,Ökö,name[B]\r\n');
	const rows: Row[] = [
		{kind: 'meaning', source: 'name[A]', target: 'A "fine" place,\nreally.'},
		{kind: 'meaning', source: 'name[B]', target: 'Ökö'},
	];
	t.deepEqual(await readCsv(path), rows);
	t.deepEqual(await readCsv(path, {rowsMax: 1}), rows.slice(0, 1));
	await writeFile(path, 'prompt,completion\nQ:, A\n');
	t.deepEqual(await readCsv(path), [{kind: 'pair', source: 'Q:', target: ' A'}]);
});

test('JSON lines are read as prompts and completions', async t => {
	const path = join(await temporaryFolder(t), 'x.jsonl');
	await writeFile(path, '{"prompt":"a","completion":"b","n":1}\n\n{"mr":"name[C]","ref":"C."}\r\n');
	t.deepEqual(await readJsonLines(path), [
		{kind: 'pair', source: 'a', target: 'b'},
		{kind: 'meaning', source: 'name[C]', target: 'C.'},
	]);
	t.is((await readJsonLines(path, {rowsMax: 1})).length, 1);
});

test('each paragraph of a plain text is a row', async t => {
	const path = join(await temporaryFolder(t), 'x.txt');
	await writeFile(path, '\n\nOne\r\nstill one.\r\n\r\n  \t\r\nTwo.\n\n\n');
	t.deepEqual(
		(await readPlainText(path)).map(({target}) => target),
		['One\nstill one.', 'Two.'],
	);
});

test('what is wrong with a file is said with names, lines and offsets', async t => {
	const path = join(await temporaryFolder(t), 'x');
	const cases: [(path: string) => Promise<unknown>, string | Buffer, RegExp][] = [
		[readCsv, 'a,b\n1,2\n', /has the columns a, b; expected `mr` and `ref` or `prompt` and `completion`/],
		[readCsv, 'mr,ref\n', /has no rows/],
		[readCsv, 'mr,ref\nx,y\nx,y,z\n', /is not a CSV file: .*line 3/],
		[readCsv, 'mr,ref\nx,"y\n', /is not a CSV file/],
		[readCsv, 'mr,ref\nx,y\nx, \n', /empty `ref` in row 2/],
		[readCsv, '', /is empty/],
		[readCsv, ' \n\n', /is empty/],
		[readJsonLines, '{"prompt":"a","completion":"b"}\n{"prompt":\n', /no JSON in line 2/],
		[readJsonLines, '{"prompt":"a"}\n', /the keys prompt in line 1; expected `prompt` and `completion`/],
		[readJsonLines, '{}\n', /the keys \(none\) in line 1/],
		[readJsonLines, '[1]\n', /no object in line 1/],
		[readJsonLines, 'null\n', /no object in line 1/],
		[readJsonLines, '{"prompt":1,"completion":"b"}\n', /needs texts in `prompt` and `completion` of line 1/],
		[readJsonLines, '{"prompt":"a","completion":""}\n', /not empty/],
		[readPlainText, '\n \n', /is empty/],
	];
	for (const [read, content, message] of cases) {
		await writeFile(path, content);
		await t.throwsAsync(read(path), refusal(message), String(content));
	}
	await t.throwsAsync(readCsv(join(path, 'none')), refusal(/Cannot read/));
});

test('the offset of the first byte that is not UTF-8 is exact', async t => {
	const path = join(await temporaryFolder(t), 'x.txt');
	const cases: [Buffer, number][] = [
		[Buffer.from([0xff]), 0],
		[Buffer.concat([Buffer.from('mr,ref\nCafé \ufffd '), Buffer.from([0xe9, 0x20])]), 17],
		[Buffer.concat([Buffer.from('\ufeffabc'), Buffer.from([0xe2, 0x82])]), 6],
		[Buffer.concat([Buffer.from('x'.repeat(100_000)), Buffer.from([0xc0, 0x80])]), 100_000],
		[Buffer.concat([Buffer.from('a'), Buffer.from([0xed, 0xa0, 0x80])]), 1],
	];
	for (const [bytes, offset] of cases) {
		await writeFile(path, bytes);
		await t.throwsAsync(readPlainText(path), refusal(new RegExp(`not UTF-8: the bytes at offset ${offset} `)));
	}
});

test('the template is a meaning, two bars and a sentence; pairs and texts stand as they are', t => {
	t.deepEqual(renderRow({kind: 'meaning', source: 'name[A]', target: 'A.'}), {prompt: 'name[A] ||', completion: ' A.'});
	t.deepEqual(renderRow({kind: 'pair', source: 'Q:', target: ' A'}), {prompt: 'Q:', completion: ' A'});
	t.deepEqual(renderRow({kind: 'text', source: '', target: 'T'}), {prompt: '', completion: 'T'});
	t.deepEqual(attributesOf('name[The A, B], customer rating[5 out of 5], near[Café]'), {
		name: 'The A, B',
		'customer rating': '5 out of 5',
		near: 'Café',
	});
});

test('validation rows are set apart by content, whole meanings at a time', t => {
	const rows: Row[] = Array.from({length: 300}, (_, index) => ({
		kind: 'meaning',
		source: `name[${Math.floor(index / 3)}]`,
		target: `sentence ${index}`,
	}));
	const {train, validation} = splitValidation(rows, 20);
	t.is(validation.length, 21);
	t.is(train.length, 279);
	const sources = new Set(validation.map(({source}) => source));
	t.false(train.some(({source}) => sources.has(source)));
	const again = splitValidation(rows.toReversed(), 20);
	t.deepEqual(again.validation.toReversed(), validation);
	t.deepEqual(splitValidation(rows, 0), {train: rows, validation: []});
});

test('a dataset of one file leaves rows to train on, or says so', async t => {
	const path = join(await temporaryFolder(t), 'x.txt');
	await writeFile(path, 'a\n\nb\n\nc\n\nd\n');
	const {train, validation} = await openDataset({kind: 'text', path, validationRows: 1, rows: 2});
	t.is(train.length, 2);
	t.is(validation.length, 1);
	await t.throwsAsync(openDataset({kind: 'text', path, validationRows: 4}), refusal(/no rows to train on after 4/));
	const restaurants = await openDataset({kind: 'restaurants', validationRows: 64});
	t.true(restaurants.validation.length >= 64 && restaurants.validation.length < 67);
	t.is(restaurants.train.length + restaurants.validation.length, 3600);
});
