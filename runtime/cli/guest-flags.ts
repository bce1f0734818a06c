/**
What a user may say on the command line of an actor that takes part in a run elsewhere, and of a change of a run.
*/
import type {BrokerFlags} from './broker-access.ts';

/** What takes part needs; the same for `attach` and `up`. */
export type GuestFlags = BrokerFlags & {
	readonly run?: string;
	readonly id?: string;
	readonly data?: string;
	readonly shard?: number;
	readonly model?: string;
	readonly set: readonly string[];
	readonly out?: string;
	/** How long a broker that is away is waited for, ms; default 60,000. */
	readonly brokerLeaseMs?: number;
	readonly backend?: 'tensorflow' | 'wasm' | 'cpu';
	readonly trace: 'off' | 'digest' | 'full';
	readonly json: boolean;
	readonly quiet: boolean;
};

export type AttachFlags = GuestFlags & {
	readonly rank?: number;
	readonly cut?: number;
	readonly every?: number;
	readonly throughHead?: boolean;
	readonly replace: boolean;
};

export type UpFlags = GuestFlags & {readonly run: string};

export type CtlFlags = BrokerFlags & {readonly json: boolean};
