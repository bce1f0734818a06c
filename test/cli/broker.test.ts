/**
The folder of a broker with users.
*/
import {execFile} from 'node:child_process';
import {readdirSync, readFileSync, statSync} from 'node:fs';
import path from 'node:path';
import {promisify} from 'node:util';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {callCutlayer} from '../_helpers/call-cutlayer.ts';
import {testWith} from '../_helpers/optional.ts';
import {inFolder} from '../_helpers/tiny-model.ts';

const binary = findBroker()?.binary;
const modeOf = (file: string) => (statSync(file).mode & 0o777).toString(8);

testWith(binary)('a broker folder is for its owner alone, holds a key for each actor, and takes more', async t => {
	await inFolder(async parent => {
		const folder = path.join(parent, 'broker');
		const file = (...names: string[]) => path.join(folder, ...names);
		const init = ['broker', 'init', '--out', folder, '--clients', '2', '--add', 'probe:spy'];
		const made = await callCutlayer(init);
		t.is(made.code, 0, made.stderr);
		t.regex(made.stdout, /It has no certificate: on a network give --tls-cert and --tls-key/);
		const added = await callCutlayer(['broker', 'add-client', 'kim', '--folder', folder, '--run', 'tiny']);
		t.is(added.code, 0, added.stderr);

		const ids = ['run', 'fed', 'main', 'c0', 'c1', 'evaluator', 'observer', 'ctl', 'spy', 'kim'];
		t.deepEqual(readdirSync(file('creds')).toSorted(), ids.map(id => `${id}.nk`).toSorted());
		t.is(modeOf(folder), '700');
		t.is(modeOf(file('creds')), '700');
		const secrets = ids.map(id => {
			t.is(modeOf(file('creds', `${id}.nk`)), '600');
			return /^SU[A-Z2-7]{56}$/m.exec(readFileSync(file('creds', `${id}.nk`), 'utf8'))![0];
		});
		t.is(new Set(secrets).size, ids.length);
		for (const name of ['nats.conf', 'users.conf', 'users.json']) {
			t.is(modeOf(file(name)), '600');
			const text = readFileSync(file(name), 'utf8');
			for (const secret of secrets) t.false(text.includes(secret) || made.stdout.includes(secret));
		}
		const users = readFileSync(file('users.conf'), 'utf8');
		t.regex(users, /"cutlayer\.v1\.tiny\.client\.kim\.>"/);
		t.notRegex(users, /"cutlayer\.v1\.\*\.client\.kim/);
		const {stderr} = await promisify(execFile)(binary!, ['-t', '-c', file('nats.conf')]);
		t.regex(stderr, /configuration file .* is valid/);

		const refused: readonly [args: string[], says: RegExp][] = [
			[init, /holds a broker already; add to it with cutlayer broker add-client/],
			[
				['broker', 'add-client', 'kim', '--folder', folder],
				/Expected an id that is free in .*, found kim; choose another/,
			],
			[['broker', 'add-client', 'Kim!', '--folder', folder], /Expected the id to be 1 to 64 characters/],
			[['broker', 'add-client', 'kim', '--folder', parent], /Expected a broker in .*, found none; make it with/],
			[['broker', 'init', '--out', file('b'), '--add', 'king:x'], /Expected an actor such as client:kim with one of/],
			[['broker', 'init', '--out', file('b'), '--tls-cert', 'x.pem'], /Expected --tls-cert and --tls-key together/],
		];
		for (const [args, says] of refused) {
			const {code, stderr} = await callCutlayer(args);
			t.is(code, 2, args.join(' '));
			t.regex(stderr, says);
		}
	});
});
