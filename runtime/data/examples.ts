/**
Rows as token ids, made when they are first asked for: a run tokenises only what it trains on.
*/
import {type Row, renderRow} from './row.ts';
import type {Tokenizer} from './tokenizer.ts';

/** A tokenised row: prompt, completion, end of text. The loss is taken on what follows the first `promptLength` ids. */
export type Example = {readonly ids: Int32Array; readonly promptLength: number};

/** Examples by their place; an array is one. */
export type ExampleSource = {readonly length: number; at(index: number): Example | undefined};

/** Lazily tokenised rows. */
export type TokenisedRows = ExampleSource & {
	/** How many of the rows made so far were longer than the limit and lost something. */
	readonly cutRows: number;
};

type Limits = {
	/** The longest example in ids, at least 2: the model's context or less. */
	readonly tokensMax: number;
};

/** Tokenises a row: prompt and completion apart, then the end-of-text token; too long ones are cut by `cutExample`. */
export function encodeRow(row: Row, tokenizer: Pick<Tokenizer, 'encode' | 'eosId'>): Example {
	const {prompt, completion} = renderRow(row);
	const promptIds = tokenizer.encode(prompt);
	return {
		ids: Int32Array.from([...promptIds, ...tokenizer.encode(completion), tokenizer.eosId]),
		promptLength: promptIds.length,
	};
}

/**
Cuts an example to `tokensMax` ids. The completion loses its end; a prompt that leaves it less than half of the room loses
its beginning, so that every example keeps something to learn.
*/
export function cutExample({ids, promptLength}: Example, tokensMax: number): Example {
	if (ids.length <= tokensMax) return {ids, promptLength};
	const completion = Math.min(ids.length - promptLength, Math.max(tokensMax - promptLength, Math.ceil(tokensMax / 2)));
	const prompt = Math.min(promptLength, tokensMax - completion);
	return {ids: ids.slice(promptLength - prompt, promptLength + completion), promptLength: prompt};
}

/** The rows as examples, each tokenised once, when it is first asked for. */
export function tokeniseRows(
	rows: readonly Row[],
	tokenizer: Pick<Tokenizer, 'encode' | 'eosId'>,
	{tokensMax}: Limits,
): TokenisedRows {
	const made = new Array<Example | undefined>(rows.length);
	let cutRows = 0;
	return {
		length: rows.length,
		get cutRows() {
			return cutRows;
		},
		at(index) {
			const row = rows[index];
			if (!row || made[index]) return made[index];
			const whole = encodeRow(row, tokenizer);
			made[index] = cutExample(whole, tokensMax);
			if (whole.ids.length > tokensMax) cutRows++;
			return made[index];
		},
	};
}
