/**
Tests over material that is not part of the project; without it they are reported as skipped, with what is missing in their title.
*/
import test from 'ava';
import {sharedFolder, smollm2Path} from './shared.ts';

/** `test` when everything is here; else a test that is reported as skipped and says why. */
export function testWith(...present: (string | undefined)[]): typeof test {
	if (present.every(Boolean)) return test;
	const lacksSetup = smollm2Path && sharedFolder ? 'no nats-server' : 'no base model';
	const why =
		smollm2Path && !sharedFolder ? 'no shared folder with the E2E corpus' : `${lacksSetup}: run cutlayer setup`;
	const skipped = (title: string, ...rest: unknown[]) =>
		(test.skip as (title: string, ...rest: unknown[]) => void)(`${title} (skipped: ${why})`, ...rest);
	return skipped as unknown as typeof test;
}

/** A test over the real model. */
export const testWithModel: typeof test = testWith(smollm2Path);
