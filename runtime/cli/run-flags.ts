/**
What a user may say of a run on the command line.
*/
import type {BrokerCredentials} from '../bus/credentials.ts';

export type RunFlags = {
	readonly out?: string;
	readonly seed?: number;
	readonly steps?: number;
	readonly set: readonly string[];
	readonly bus: 'nats' | 'memory';
	readonly nats?: string;
	/** For that broker: a file, or what was in it. */
	readonly creds?: string | BrokerCredentials;
	readonly clock?: 'wall' | 'virtual';
	readonly backend?: 'tensorflow' | 'wasm' | 'cpu';
	readonly resume?: string;
	readonly processes?: boolean;
	/** With processes: an actor survives its process. */
	readonly durable?: boolean;
	readonly trace: 'off' | 'digest' | 'full';
	readonly traceStream?: boolean;
	readonly json: boolean;
	readonly quiet: boolean;
	readonly list?: 'scenarios' | 'policies';
};
