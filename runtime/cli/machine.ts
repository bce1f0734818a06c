/**
What a figure depends on: this machine and these versions.
*/
import {cpus, totalmem} from 'node:os';

export type MachineFacts = {
	readonly machine: {
		readonly cpu: string;
		readonly cores: number;
		readonly memoryGb: number;
		readonly platform: string;
	};
	readonly versions: {readonly node: string};
};

export function machineFacts(): MachineFacts {
	const cores = cpus();
	return {
		machine: {
			cpu: cores[0]?.model.trim() ?? 'unknown',
			cores: cores.length,
			memoryGb: Math.round(totalmem() / 2 ** 30),
			platform: `${process.platform} ${process.arch}`,
		},
		versions: {node: process.version},
	};
}
