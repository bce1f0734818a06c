/**
What every trace must show, whatever was run: steps applied once, weights that sum to 1, versions that never go back,
messages that arrive as they were sent. Reads records in order and keeps no more than a line a peer.
*/
import type {TraceRecord} from './format.ts';
import {MessageRule} from './invariants/messages.ts';
import type {Report, Rule} from './invariants/rule.ts';
import {StepRule} from './invariants/steps.ts';
import {UploadRule} from './invariants/uploads.ts';
import {VersionRule} from './invariants/versions.ts';
import {isOfActor, type Located, type Trace} from './trace.ts';

/** An invariant that does not hold, and the records that show it. `invariant` is its number in docs/trace.md. */
export type Violation = {
	readonly invariant: number;
	readonly text: string;
	readonly at: readonly Located[];
};

export type CheckResult = {
	readonly records: number;
	readonly violations: readonly Violation[];
	/** What was counted, by name. */
	readonly counts: Readonly<Record<string, number>>;
};

const violationsMax = 100;

/** Checks the invariants that need no replay: 5, 6, 7 and 9. Stops at a hundred violations. */
export async function checkTrace(trace: Trace): Promise<CheckResult> {
	const violations: Violation[] = [];
	let here: Located | undefined;
	const report: Report = (invariant, text, ...at) => violations.push({invariant, text, at: here ? [...at, here] : at});
	const rules: Rule[] = [
		new StepRule(report),
		new UploadRule(report),
		new VersionRule(report),
		new MessageRule(report),
	];
	let records = 0;
	for await (const located of trace.records()) {
		records++;
		here = located;
		for (const rule of rules) feed(rule, located.record, located);
		if (violations.length >= violationsMax) break;
	}
	const counts = Object.assign({}, ...rules.map(rule => rule.counts?.())) as Record<string, number>;
	return {records, violations, counts};
}

function feed(rule: Rule, record: TraceRecord, at: Located): void {
	if (record.kind === 'gap') rule.gap?.();
	if (!isOfActor(record)) return;
	if (record.kind === 'started') rule.started?.(record, at);
	else if (record.kind === 'input') rule.input?.(record, at);
	else if (record.kind === 'dropped') rule.dropped?.(record, at);
	else rule.ended?.(record, at);
}
