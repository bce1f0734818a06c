/**
The version of this Cutlayer, as its package.json says.
*/
import {readFileSync} from 'node:fs';

export const {version} = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
	readonly version: string;
};
