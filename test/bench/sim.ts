/**
The simulator without arithmetic: messages a second on one core, what a message costs as the fleet grows, and what a client weighs.
Time is the process' own on its processors, so that what else runs on the machine counts as little as it can.
*/
import {simScenario, simulate} from '../_helpers/simulate.ts';
import type {Row} from './rows.ts';

/** One run of `rounds` rounds of one step: processor time, messages delivered, and the growth of resident memory at its end. */
async function measure(clients: number, rounds: number) {
	const scenario = simScenario({
		clients,
		fleet: {profile: 'lognormal-0.6'},
		training: {steps: rounds, stepsPerRound: 1},
		timing: {heartbeatMs: 0, leaseMs: 0},
		evaluation: {everyRounds: 0},
		update: {kind: 'sequential'},
	});
	const residentBefore = process.memoryUsage.rss();
	const start = process.cpuUsage();
	const {figures, summary} = await simulate(scenario);
	const {user, system} = process.cpuUsage(start);
	if (summary.status !== 'done') throw new Error(`The run did not end well: ${summary.reason}`);
	const seconds = (user + system) / 1e6;
	const kilobytesEach = (process.memoryUsage.rss() - residentBefore) / clients / 1000;
	return {seconds, perSecond: figures.messages / seconds, kilobytesEach};
}

/** Messages a second of a fleet of 100, then 1,000 clients for 4 rounds beside it. */
export async function run(): Promise<Row[]> {
	await measure(100, 2);
	const small = await measure(100, 20);
	const large = await measure(1000, 4);
	const ratio = small.perSecond / large.perSecond;
	const atLeast = (name: string, value: number, unit: string, bar: number): Row => ({
		name,
		value,
		unit,
		bar,
		holds: value >= bar,
	});
	const atMost = (name: string, value: number, unit: string, bar: number): Row => ({
		name,
		value,
		unit,
		bar,
		holds: value <= bar,
	});
	return [
		atLeast('simulated messages, 100 clients, shapes only', small.perSecond, '1/s', 20_000),
		atMost('cost of a message, 1,000 clients over 100', ratio, 'x', 1.3),
		atMost('resident memory a client of 1,000', large.kilobytesEach, 'kB', 30),
	];
}
