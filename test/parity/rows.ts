/**
What a comparison with golden numbers reports.
*/

/** One number of ours beside one of theirs; `holds` says that the relative error is within the tolerance. */
export type ParityRow = {
	readonly name: string;
	readonly ours: number;
	readonly theirs: number;
	readonly relativeError: number;
	readonly tolerance: number;
	readonly holds: boolean;
};
