/**
When a run ends before all its steps, as the scenario's section `stop` says: it hears every row of the metrics and tells the
reason once. Pure; rounds are counted by the fed server itself.
*/
import type {Scenario} from '../../protocols/scenario.ts';
import type {MetricsRow} from './recorder.ts';

export class Stopping {
	readonly #stop: Scenario['stop'];
	#tokens = 0;

	constructor(stop: Scenario['stop']) {
		this.#stop = stop;
	}

	/** Why the round under way is to be the last, or nothing. */
	take(row: MetricsRow): string | undefined {
		const {tokens, targetLoss} = this.#stop;
		if (row.kind === 'step') this.#tokens += Number(row.tokens);
		if (tokens !== undefined && row.kind === 'step' && this.#tokens >= tokens)
			return `the clients have trained on ${this.#tokens} tokens, of stop.tokens ${tokens}`;
		if (targetLoss === undefined || row.kind !== 'eval' || Number(row.loss) > targetLoss) return undefined;
		return `the validation loss came to ${Number(row.loss).toFixed(4)}, of stop.targetLoss ${targetLoss}`;
	}
}

/** What a run that was not stopped ends with. */
export const endingOf = ({stop, training: {steps, stepsPerRound}}: Scenario): string =>
	stop.rounds !== undefined && stop.rounds * stepsPerRound < steps
		? `stopped: ${stop.rounds} rounds are done, as stop.rounds says`
		: 'all steps are done';
