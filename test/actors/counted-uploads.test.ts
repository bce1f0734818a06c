import test from 'ava';
import {uploadsByRound} from '../../actors/counted-uploads.ts';
import type {Upload} from '../../actors/fed-server-context.ts';

const upload = (client: string, round: number, baseVersion: number) => ({client, round, baseVersion}) as Upload;

test('an upload is found by its client and round, the first of two alike, and a stranger is not', t => {
	const uploads = [upload('c1', 0, 0), upload('c1', 1, 1), upload('c1', 1, 9), upload('c10', 1, 2)];
	const find = uploadsByRound(uploads);
	for (const client of ['c1', 'c10', 'c']) {
		for (const round of [0, 1, 2, 10]) {
			t.is(
				find({client, round}),
				uploads.find(one => one.client === client && one.round === round),
			);
		}
	}
});
