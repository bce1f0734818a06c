/**
Which values of a scenario may change while its run is under way. Pure.
*/
import {checkScenario, setPath} from '../../protocols/check-scenario.ts';
import {CutlayerError} from '../../protocols/errors.ts';
import type {Scenario} from '../../protocols/scenario.ts';

/** Decided anew at each use by the machines; everything else was agreed on at the door or is inside the arithmetic. */
const changeable = ['closing', 'aggregation', 'timing', 'checkpoint'];

/** The scenario with `path=value` set. Throws `usage` or `scenario-invalid`. */
export function changedPolicy(scenario: Scenario, assignment: string): Scenario {
	const section = assignment.split(/[.=]/)[0] ?? '';
	if (!changeable.includes(section)) {
		throw new CutlayerError(
			'usage',
			`Expected a path in ${changeable.join(', ')}, found ${JSON.stringify(assignment.slice(0, 80))}; start another run to change the rest`,
		);
	}
	const file = structuredClone(scenario);
	setPath(file, assignment);
	const after = checkScenario(file, 'the run');
	if ((after.aggregation.kind === 'fedprox') !== (scenario.aggregation.kind === 'fedprox')) {
		throw new CutlayerError(
			'usage',
			`Expected aggregation without fedprox to stay so and with it too, found ${after.aggregation.kind} after ${scenario.aggregation.kind}; start another run, since clients train with its term`,
		);
	}
	return after;
}

/** The scenario with `kind=format` set among its wire formats. Throws `usage` or `scenario-invalid`. */
export function changedWire(scenario: Scenario, assignment: string): Scenario {
	const kind = assignment.split('=')[0] ?? '';
	if (!Object.keys(scenario.wire).includes(kind)) {
		throw new CutlayerError(
			'usage',
			`Expected ${Object.keys(scenario.wire).join(', ')} with a format, found ${JSON.stringify(assignment.slice(0, 80))}; for example wire activations=bf16`,
		);
	}
	const file = structuredClone(scenario);
	setPath(file, `wire.${assignment}`);
	return checkScenario(file, 'the run');
}
