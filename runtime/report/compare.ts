/**
Several runs side by side: what each needed to a common target loss, as figures, as a table of text and as one picture. Pure.
*/
import * as Plot from '@observablehq/plot';
import {parseHTML} from 'linkedom';
import {bytesText, secondsText} from '../units.ts';
import type {Json, RecordedRun, Row} from './read.ts';
import {numberAt, valueAt} from './read.ts';

/** One validation loss of a run; bytes are those of all clients so far. */
export type ComparedPoint = {
	readonly name: string;
	readonly seconds: number;
	readonly round: number;
	readonly bytes: number;
	readonly bytesUp: number;
	readonly bytesDown: number;
	readonly loss: number;
};

export type ComparedRun = {
	readonly name: string;
	readonly points: readonly ComparedPoint[];
	/** The first point at or under the target; absent when it was never reached. */
	readonly reached: ComparedPoint | undefined;
	readonly finalLoss: number | undefined;
	/** Share of the run's time in which the clients, and the main server, computed nothing; absent in real time. */
	readonly idleClients: number | undefined;
	readonly idleServer: number | undefined;
	/** Frames refused and steps not taken, by reason. */
	readonly dropped: Readonly<Record<string, number>>;
	/** Where a what-if parts from its parent; null for other runs. */
	readonly parts: {readonly record: number; readonly seconds: number} | null;
};

export type Comparison = {readonly targetLoss: number | undefined; readonly runs: readonly ComparedRun[]};

/** `targetLoss` defaults to the largest final loss: the lowest that all of them reach. Equal names get a number. */
export function compareRuns(recorded: readonly RecordedRun[], targetLoss?: number): Comparison {
	const names = uniqueNames(recorded.map(({config}) => nameOf(config)));
	const all = recorded.map(({rows}, index) => pointsOf(rows, names[index]!));
	const finals = all.flatMap(points => points.at(-1)?.loss ?? []);
	const target = targetLoss ?? (finals.length > 0 ? Math.max(...finals) : undefined);
	const runs = recorded.map(({config, summary}, index) => {
		const points = all[index]!;
		const share = (key: string) => (valueAt(summary, key) === undefined ? undefined : numberAt(summary, key));
		return {
			name: names[index]!,
			points,
			reached: points.find(({loss}) => target !== undefined && loss <= target),
			finalLoss: points.at(-1)?.loss,
			idleClients: share('idleShare.clients'),
			idleServer: share('idleShare.mainServer'),
			dropped: {...countsAt(summary, 'dropped'), ...countsAt(summary, 'stepsDropped')},
			parts: partingOf(config),
		};
	});
	return {targetLoss: target, runs};
}

function pointsOf(rows: readonly Row[], name: string): ComparedPoint[] {
	let [bytesUp, bytesDown] = [0, 0];
	return rows.flatMap(row => {
		if (row.kind === 'step') {
			bytesUp += numberAt(row, 'bytesUp');
			bytesDown += numberAt(row, 'bytesDown');
		}
		if (row.kind !== 'eval') return [];
		const [round, loss] = [numberAt(row, 'adapterVersion'), numberAt(row, 'loss')];
		return [{name, seconds: row.timeMs / 1000, round, bytes: bytesUp + bytesDown, bytesUp, bytesDown, loss}];
	});
}

/** A what-if is called after its parent and what it changes. */
function nameOf(config: Json): string {
	const name = String(valueAt(config, 'scenario.name') ?? 'run');
	const label = valueAt(config, 'whatIf.label');
	return typeof label === 'string' ? `${name} ${label.slice(0, 60)}` : name;
}

const partingOf = (config: Json): ComparedRun['parts'] =>
	valueAt(config, 'whatIf') === undefined
		? null
		: {record: numberAt(config, 'whatIf.at'), seconds: numberAt(config, 'whatIf.atMs') / 1000};

const countsAt = (summary: RecordedRun['summary'], key: string) =>
	(valueAt(summary, key) ?? {}) as Record<string, number>;

const uniqueNames = (names: readonly string[]): string[] =>
	names.map((name, index) => {
		const before = names.slice(0, index).filter(other => other === name).length;
		return before === 0 ? name : `${name}-${before + 1}`;
	});

const percent = (share: number | undefined) => (share === undefined ? '-' : `${Math.round(100 * share)} %`);

/** The comparison as a table for a terminal. */
export function comparisonText({targetLoss, runs}: Comparison): string {
	const header = ['run', 'time', 'rounds', 'up', 'down', 'final loss', 'idle clients', 'idle server', 'dropped'];
	const lines = runs.map(({name, reached, finalLoss, idleClients, idleServer, dropped}) => [
		name,
		reached ? secondsText(reached.seconds) : 'not reached',
		reached ? String(reached.round) : '-',
		reached ? bytesText(reached.bytesUp) : '-',
		reached ? bytesText(reached.bytesDown) : '-',
		finalLoss === undefined ? '-' : finalLoss.toFixed(4),
		percent(idleClients),
		percent(idleServer),
		Object.entries(dropped)
			.map(([reason, count]) => `${reason} ${count}`)
			.join(', ') || '0',
	]);
	const widths = header.map((title, column) => Math.max(title.length, ...lines.map(line => line[column]!.length)));
	const table = [header, ...lines].map(line => line.map((cell, column) => cell.padEnd(widths[column]!)).join('  '));
	const target = targetLoss === undefined ? 'no run was evaluated' : targetLoss.toFixed(4);
	const partings = runs.flatMap(({name, parts}) =>
		parts
			? [`${name}: parts from its parent at record ${parts.record}, ${parts.seconds.toFixed(3)} s after the start`]
			: [],
	);
	const text = [...table.map(line => line.trimEnd()), ...partings];
	return `time, rounds and bytes of all clients to a validation loss of ${target}\n${text.join('\n')}\n`;
}

/** The validation loss against time, bytes and rounds, one line a run: an SVG file. */
export function comparisonPicture({runs, targetLoss}: Comparison): string {
	const {document} = parseHTML('<!doctype html><html><body></body></html>');
	const points = runs.flatMap(run => run.points);
	const axes = [
		{x: 'seconds', label: 'seconds →'},
		{x: 'bytes', label: 'bytes of all clients, up and down →'},
		{x: 'round', label: 'aggregations →'},
	] as const;
	const panels = axes.map(({x, label}, place) => {
		const options = {
			document,
			width: 420,
			height: 320,
			marginLeft: 50,
			marginBottom: 40,
			color: {type: 'categorical', legend: false, domain: runs.map(({name}) => name), scheme: 'Tableau10'},
			x: {label, nice: true, ...(x === 'bytes' && {tickFormat: bytesText, ticks: 4})},
			y: {label: '↑ validation loss, nats a token', grid: true, nice: true},
			marks: [
				...(targetLoss === undefined ? [] : [Plot.ruleY([targetLoss], {strokeDasharray: '4 4', strokeOpacity: 0.6})]),
				...(x === 'seconds'
					? runs.flatMap(({parts}) => (parts ? [Plot.ruleX([parts.seconds], {strokeDasharray: '2 3'})] : []))
					: []),
				Plot.lineY(points, {x, y: 'loss', stroke: 'name', strokeWidth: 2}),
				Plot.text(
					points,
					Plot.selectLast({x, y: 'loss', z: 'name', text: 'name', fill: 'name', dy: -8, textAnchor: 'end'}),
				),
			],
		};
		const svg = Plot.plot(options as unknown as Plot.PlotOptions);
		svg.setAttribute('x', String(place * 430));
		return svg.outerHTML;
	});
	return `<svg xmlns="http://www.w3.org/2000/svg" width="1290" height="330" font-family="system-ui, sans-serif"><rect width="100%" height="100%" fill="white"/>${panels.join('')}</svg>\n`;
}
