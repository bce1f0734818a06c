/**
The pictures of a report, as SVG text that scales and takes its colours from the page. No scripts, no page around them.
*/
import * as Plot from '@observablehq/plot';
import {parseHTML} from 'linkedom';
import {bytesText} from '../units.ts';
import type {ClientFigures, EvaluationPoint, RateSlot, StalenessCount, StepPoint} from './figures.ts';

/** More clients than this share one colour: nobody can tell more apart. */
export const coloursMax = 8;

/** More clients than this are not drawn one by one. */
export const barsMax = 24;

const pointsMax = 400;
const {document} = parseHTML('<!doctype html><html><body></body></html>');
const frame = {document, width: 560, height: 260, marginLeft: 52, marginBottom: 38};

const svgOf = (options: Plot.PlotOptions): string => Plot.plot({...frame, ...options} as Plot.PlotOptions).outerHTML;

/** The colour of a client by its place in the list. */
export const colourOf = (index: number, clients: number): string =>
	clients > coloursMax ? 'var(--many)' : `var(--series-${index})`;

const coloursOf = (clients: readonly string[]) => ({
	type: 'ordinal' as const,
	domain: clients,
	range: clients.map((_, index) => colourOf(index, clients.length)),
});

const stepsMost = (steps: readonly StepPoint[]) => steps.reduce((max, {step}) => Math.max(max, step), 1);
const stepsAPoint = (steps: readonly StepPoint[]) => Math.ceil(stepsMost(steps) / pointsMax);
const pointsInMean = (steps: readonly StepPoint[]) =>
	Math.max(1, Math.round(stepsMost(steps) / stepsAPoint(steps) / 8));

/** Over how many steps the loss chart takes its moving mean. */
export const stepsInMean = (steps: readonly StepPoint[]): number => pointsInMean(steps) * stepsAPoint(steps);

/** The loss of each step, faint, and its moving mean, one line a client. */
export function lossChart(steps: readonly StepPoint[], clients: readonly string[]): string {
	const points = clients.flatMap(client =>
		thinned(
			steps.filter(point => point.client === client),
			stepsAPoint(steps),
		),
	);
	const most = stepsMost(steps);
	const channels = {x: 'step', y: 'loss', z: 'client', stroke: 'client'};
	const smooth = Plot.windowY({k: pointsInMean(steps), anchor: 'end', reduce: 'mean'}, {...channels, strokeWidth: 2});
	return svgOf({
		width: 1120,
		height: 300,
		color: coloursOf(clients),
		x: {...wholeTicks(1, most), label: 'step of the client →'},
		y: {grid: true, nice: true, label: '↑ training loss, nats a token'},
		marks: [
			Plot.lineY(points, {...channels, strokeWidth: 1, strokeOpacity: 0.35}),
			Plot.lineY(points, smooth),
			...(most === 1 ? [Plot.dot(points, {...channels, fill: 'client'})] : []),
		],
	});
}

export function evaluationChart(evaluations: readonly EvaluationPoint[]): string {
	const versions = evaluations.map(({version}) => version);
	const last = evaluations.at(-1);
	return svgOf({
		x: {...wholeTicks(Math.min(...versions), Math.max(...versions)), label: 'aggregations →'},
		y: {grid: true, nice: true, label: '↑ validation loss, nats a token'},
		marginRight: 44,
		marks: [
			Plot.lineY(evaluations, {x: 'version', y: 'loss', stroke: 'var(--series-0)', strokeWidth: 2}),
			Plot.dot(evaluations, {x: 'version', y: 'loss', fill: 'var(--series-0)', r: 3.5}),
			Plot.text(last ? [last] : [], {
				x: 'version',
				y: 'loss',
				text: point => point.loss.toFixed(3),
				textAnchor: 'start',
				dx: 8,
				fill: 'currentColor',
			}),
		],
	});
}

/** Bytes of each client, up and down. */
export function bytesChart(clients: readonly ClientFigures[]): string {
	const bars = clients.flatMap(({client, bytesUp, bytesDown}) => [
		{client, direction: 'up', bytes: bytesUp},
		{client, direction: 'down', bytes: bytesDown},
	]);
	const longest = Math.max(4, ...clients.map(({client}) => client.length));
	const most = Math.max(1, ...bars.map(({bytes}) => bytes));
	return svgOf({
		height: Math.max(130, 42 + 50 * clients.length),
		marginTop: 4,
		marginLeft: 20 + 7 * Math.min(longest, 20),
		marginRight: 70,
		color: {type: 'ordinal', domain: ['up', 'down'], range: ['var(--up)', 'var(--down)']},
		x: {domain: [0, most], grid: true, ticks: 4, tickFormat: (bytes: number) => bytesText(bytes), label: null},
		y: {axis: null, domain: ['up', 'down'], padding: 0.15},
		fy: {label: null, domain: clients.map(({client}) => client), axis: 'left', padding: 0.2},
		marks: [
			Plot.barX(bars, {x: 'bytes', y: 'direction', fy: 'client', fill: 'direction'}),
			Plot.text(bars, {
				x: 'bytes',
				y: 'direction',
				fy: 'client',
				text: bar => `${bar.direction === 'up' ? '↑' : '↓'} ${bytesText(bar.bytes)}`,
				textAnchor: 'start',
				dx: 5,
			}),
		],
	});
}

export function rateChart(rates: readonly RateSlot[]): string {
	return svgOf({
		x: {label: 'seconds since the run began →', domain: [0, rates.at(-1)?.to ?? 1]},
		y: {grid: true, label: '↑ tokens a second, all clients', zero: true},
		marks: [
			Plot.rectY(rates, {x1: 'from', x2: 'to', y: 'tokensPerSecond', fill: 'var(--series-2)', inset: 0.5}),
			Plot.ruleY([0]),
		],
	});
}

export function stalenessChart(counts: readonly StalenessCount[]): string {
	const most = counts.reduce((max, {staleness}) => Math.max(max, staleness), 0);
	const bars = counts.map(({staleness, steps}) => ({from: staleness - 0.45, to: staleness + 0.45, staleness, steps}));
	return svgOf({
		x: {...wholeTicks(0, most), domain: [-0.6, Math.max(3.6, most + 0.6)], label: 'server updates a step was behind →'},
		y: {grid: true, label: '↑ steps', zero: true},
		marks: [
			Plot.rectY(bars, {x1: 'from', x2: 'to', y: 'steps', fill: 'var(--series-1)'}),
			Plot.text(bars, {x: 'staleness', y: 'steps', text: bar => String(bar.steps), dy: -7}),
			Plot.ruleY([0]),
		],
	});
}

/** An axis over whole numbers, with ticks on some of them. */
function wholeTicks(from: number, to: number) {
	const every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find(each => (to - from) / each <= 10) ?? 10_000;
	const first = Math.ceil(from / every) * every;
	const ticks = Array.from({length: Math.floor((to - first) / every) + 1}, (_, index) => first + index * every);
	return {domain: from === to ? [from - 0.5, to + 0.5] : [from, to], ticks, tickFormat: (value: number) => `${value}`};
}

/** One point for each `each` points of one client: their mean. */
function thinned(points: readonly StepPoint[], each: number): readonly StepPoint[] {
	if (each === 1) return points;
	return Array.from({length: Math.ceil(points.length / each)}, (_, index) => {
		const part = points.slice(index * each, (index + 1) * each);
		return {...part.at(-1)!, loss: part.reduce((total, {loss}) => total + loss, 0) / part.length};
	});
}
