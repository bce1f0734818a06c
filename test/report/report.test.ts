/**
The report of a run folder: the numbers on the page, what is missing, and that no text of a run becomes markup.
*/
import {readFile} from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import {parseHTML} from 'linkedom';
import {csvOf} from '../../runtime/report/csv.ts';
import {figuresOf} from '../../runtime/report/figures.ts';
import {readRecordedRun} from '../../runtime/report/read.ts';
import {writeReport} from '../../runtime/report/write.ts';
import {type Files, smallRun, withRun} from './recorded-run.ts';

type Element = {textContent: string; innerHTML: string; querySelectorAll(selector: string): Iterable<Element>};

const pageOf = (files: Files): Promise<{html: string; document: Element}> =>
	withRun(files, async folder => {
		const html = await readFile(await writeReport(folder), 'utf8');
		return {html, document: parseHTML(html).document as unknown as Element};
	});

const texts = (element: Element, selector: string) =>
	[...element.querySelectorAll(selector)].map(({textContent}) => textContent.trim());

/** The section with this title. */
const sectionOf = (document: Element, title: string): Element =>
	[...document.querySelectorAll('section')].find(section => texts(section, 'h2')[0] === title)!;

test('a report holds the sums of the rows, client by client in numeric order', async t => {
	const {document} = await pageOf(smallRun());
	t.deepEqual(texts(sectionOf(document, 'Clients'), 'td'), [
		...['c2', '2', '100', '3.0000', '1.5000', '100 kB', '200 kB', '0.50'],
		...['c10', '2', '200', '4.0000', '2.5000', '200 kB', '400 kB', '0.50'],
	]);
	t.deepEqual(texts(document, '.headline dd'), [
		...['3.500 → 2.000', '3.250 → 2.125', '8.37', '1'],
		...['5.00 s', '60.0', '300 kB', '600 kB'],
	]);
	t.deepEqual(texts(sectionOf(document, 'Dropped messages'), 'td'), ['not-finite', '3']);
	t.true(texts(document, '.facts dd').includes('rank 4, alpha 32, dropout 0.1, on q, v'));
	t.true(texts(document, '.facts dd').includes('Some CPU, 2 cores, 8 GB, linux x64'));
});

test('a report has five pictures and neither scripts nor references to other files', async t => {
	const {html, document} = await pageOf(smallRun());
	t.is(texts(document, 'svg').length, 5);
	t.notRegex(html, /<script|<link|<img|<iframe|src=|href=|@import|url\(/i);
});

test('tokens a second are those of the steps in each slot, and staleness is counted a step', async t => {
	const {rates, staleness} = await withRun(smallRun(), async folder => figuresOf(await readRecordedRun(folder)));
	t.deepEqual(rates, [
		{from: 0, to: 2, tokensPerSecond: 50},
		{from: 2, to: 4, tokensPerSecond: 100},
	]);
	t.deepEqual(staleness, [
		{staleness: 0, steps: 2},
		{staleness: 1, steps: 2},
	]);
});

test('no text of a run becomes markup', async t => {
	const evil = '<b id="x">&\'"</b>';
	const {config, rows, summary} = smallRun();
	const {html, document} = await pageOf({
		config: {...config, run: evil, scenario: {name: evil, description: evil}, backend: evil},
		rows: rows.map(row => (row.client ? {...row, client: evil} : row)),
		summary: {...summary, status: evil, reason: evil, dropped: {[evil]: 1}},
	});
	t.false(html.includes('<b id'));
	t.deepEqual(texts(document, 'b'), []);
	t.deepEqual(texts(document, 'h1'), [evil]);
	t.is(texts(sectionOf(document, 'Clients'), 'td')[0], evil);
});

test('a run without evaluation says that nothing was recorded', async t => {
	const files = smallRun();
	const {document} = await pageOf({...files, rows: files.rows.filter(row => row.kind !== 'eval')});
	t.is(texts(sectionOf(document, 'Validation loss'), 'svg').length, 0);
	t.true(sectionOf(document, 'Validation loss').textContent.includes('Nothing was recorded.'));
	t.is(texts(document, '.headline dd')[1], '–');
});

test('a run of one row has its pictures', async t => {
	const files = smallRun();
	const {html, document} = await pageOf({...files, rows: files.rows.slice(1, 2)});
	t.deepEqual(texts(sectionOf(document, 'Clients'), 'td').slice(0, 4), ['c10', '1', '100', '4.0000']);
	t.is(texts(document, 'svg').length, 4);
	t.notRegex(html, /NaN|undefined|Infinity/);
});

test('a run without rows has a report', async t => {
	const {html, document} = await pageOf({...smallRun(), rows: []});
	t.is(texts(document, 'svg').length, 0);
	t.notRegex(html, /NaN|undefined|Infinity/);
});

test('a run without summary.json and with a torn last line is reported up to that line', async t => {
	const {document} = await pageOf({...smallRun(), summary: undefined, tail: '{"kind":"step","timeMs":90'});
	t.deepEqual(texts(document, '.status'), ['not finished']);
	t.is(texts(document, '.headline dd')[4], '4.50 s'); // 4.5 s, the last whole row
	t.deepEqual(texts(sectionOf(document, 'Clients'), 'td').slice(1, 3), ['2', '100']);
});

test('an interrupted run says how to go on', async t => {
	const summary = {status: 'interrupted', reason: 'go on with: cutlayer run --resume here', seconds: 3};
	const {document} = await pageOf({...smallRun(), summary});
	t.deepEqual(texts(document, '.status'), ['interrupted']);
	t.true(texts(document, 'header p')[1]!.includes('--resume here'));
	t.true(sectionOf(document, 'Dropped messages').textContent.includes('No message was refused.'));
});

test('many clients and many steps make a small page', async t => {
	const files = smallRun();
	const rows = Array.from({length: 60_000}, (_, index) => ({
		...files.rows[1]!,
		client: `c${index % 30}`,
		timeMs: index,
		loss: 3 - index / 60_000,
	}));
	const {html, document} = await pageOf({...files, rows});
	t.true(html.length < 1_500_000, `${html.length} characters`);
	t.is(texts(sectionOf(document, 'Clients'), 'tbody tr').length, 30);
	t.true(sectionOf(document, 'Bytes of each client').textContent.includes('The 24 of 30 clients'));
});

test('a folder that is no run and a damaged row are refused by name', async t => {
	await withRun(smallRun(), async folder => {
		const absent = path.join(folder, 'absent');
		await t.throwsAsync(writeReport(absent), {
			code: 'usage',
			message: `Expected ${absent} to be the folder of a run, found no config.json in it`,
		});
	});
	await withRun({...smallRun(), tail: 'nonsense\n'}, async folder => {
		await t.throwsAsync(writeReport(folder), {code: 'data-invalid', message: /metrics\.jsonl line 8 to be JSON/});
	});
});

test('a report that cannot be written is refused with the path', async t => {
	await withRun(smallRun(), async folder => {
		const out = path.join(folder, 'absent', 'report.html');
		await t.throwsAsync(writeReport(folder, out), {
			code: 'disk',
			message: new RegExp(`Cannot write the report ${out}`),
		});
	});
});

test('CSV has a column for each field, and quotes what needs it', t => {
	const text = csvOf([
		{kind: 'step', timeMs: 1, loss: 2.5},
		{kind: 'round', timeMs: 2, gone: 'c1, "c2"', isVoid: true},
	]);
	t.is(text, 'kind,timeMs,loss,gone,isVoid\r\nstep,1,2.5,,\r\nround,2,,"c1, ""c2""",true\r\n');
});
