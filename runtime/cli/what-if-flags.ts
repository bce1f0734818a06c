/**
What a user may say of a what-if on the command line.
*/
export type WhatIfFlags = {
	readonly whatIf?: string;
	readonly at?: number;
	readonly round?: number;
	readonly set?: readonly string[];
	readonly drop?: readonly string[];
	readonly delay?: readonly string[];
	readonly without?: readonly string[];
	readonly out?: string;
	readonly backend?: 'tensorflow' | 'wasm' | 'cpu';
	readonly json: boolean;
	readonly quiet: boolean;
};

/** Whether the flags ask for another run, in place of the replay of this one. */
export const isWhatIf = ({whatIf, at, round, set, drop, delay, without}: WhatIfFlags): boolean =>
	whatIf !== undefined ||
	at !== undefined ||
	round !== undefined ||
	[set, drop, delay, without].some(list => list !== undefined && list.length > 0);

/** How a changed run is made. */
export type WhatIfOptions = Pick<WhatIfFlags, 'backend' | 'quiet' | 'json'> & {
	readonly out: string;
	/** Default the level of the parent. */
	readonly trace?: 'off' | 'digest' | 'full';
};
