/**
What a rule over a trace is: it hears every record in order and tells what does not hold.
*/
import type {DroppedRecord, EndedRecord, InputRecord, StartedRecord} from '../format.ts';
import type {Located} from '../trace.ts';

/** Tells a violation by the invariant's number in docs/trace.md; `at` are the records beside the one under way. */
export type Report = (invariant: number, text: string, ...at: Located[]) => void;

export interface Rule {
	started?(record: StartedRecord, at: Located): void;
	input?(record: InputRecord, at: Located): void;
	dropped?(record: DroppedRecord, at: Located): void;
	ended?(record: EndedRecord, at: Located): void;
	/** Records were lost: what follows may build on them. */
	gap?(): void;
	/** Numbers for the user, such as how many steps were applied. */
	counts?(): Readonly<Record<string, number>>;
}
