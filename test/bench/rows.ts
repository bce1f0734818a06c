/**
What a benchmark reports.
*/

/** A measured value; `bar` is the value it is held to, `holds` whether it keeps it. Rows without a bar inform. */
export type Row = {
	readonly name: string;
	readonly value: number;
	readonly unit: string;
	readonly bar?: number;
	readonly holds?: boolean;
};
