/**
The simulator without arithmetic: messages a second on one core, and what a message costs as the fleet grows.
*/
import {performance} from 'node:perf_hooks';
import {simScenario, simulate} from '../_helpers/simulate.ts';
import type {Row} from './rows.ts';

/** One run of `rounds` rounds of one step; wall time and messages delivered. */
async function measure(clients: number, rounds: number) {
	const scenario = simScenario({
		clients,
		fleet: {profile: 'lognormal-0.6'},
		training: {steps: rounds, stepsPerRound: 1},
		timing: {heartbeatMs: 0, leaseMs: 0},
		evaluation: {everyRounds: 0},
		update: {kind: 'sequential'},
	});
	const start = performance.now();
	const {figures, summary} = await simulate(scenario);
	const seconds = (performance.now() - start) / 1000;
	if (summary.status !== 'done') throw new Error(`The run did not end well: ${summary.reason}`);
	return {clients, messages: figures.messages, seconds, perSecond: figures.messages / seconds};
}

/** Messages a second of a fleet of 50, and how much dearer a message is in one of 200. */
export async function run(): Promise<Row[]> {
	await measure(10, 2);
	const [small, large] = [await measure(50, 4), await measure(200, 4)];
	const ratio = small.perSecond / large.perSecond;
	return [
		{
			name: 'simulated messages, 50 clients, shapes only',
			value: small.perSecond,
			unit: '1/s',
			bar: 20_000,
			holds: small.perSecond >= 20_000,
		},
		{name: 'cost of a message, 200 clients over 50', value: ratio, unit: 'x', bar: 1.3, holds: ratio <= 1.3},
	];
}
