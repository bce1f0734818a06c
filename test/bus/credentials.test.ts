/**
Files of credentials: what is taken, what is refused with which sentence, and that the secret prints as nothing.
*/
import {inspect} from 'node:util';
import test from 'ava';
import {newUser} from '../../runtime/bus/broker-config.ts';
import {BrokerCredentials} from '../../runtime/bus/credentials.ts';

const nowMs = Date.UTC(2026, 0, 2);

/** A `.creds` file whose JWT ends at a time, in seconds; its signature is the server's to check. */
const credsFile = (claims: string) => {
	const part = (text: string) => Buffer.from(text).toString('base64url');
	const jwt = [part('{"typ":"JWT"}'), part(claims), 'signature'].join('.');
	return `-----BEGIN NATS USER JWT-----\n${jwt}\n------END NATS USER JWT------\n`;
};

test('the key of an actor says whom it is for, and prints as nothing', t => {
	const {secret} = newUser({role: 'client', id: 'kim'});
	const credentials = BrokerCredentials.parse(secret, 'kim.nk', nowMs);
	t.is(credentials.kind, 'client');
	t.is(credentials.id, 'kim');
	const seed = /^SU.+$/m.exec(secret)![0];
	t.is(credentials.secretText, seed);
	for (const text of [
		JSON.stringify(credentials),
		inspect(credentials, {depth: 9, showHidden: true}),
		`${credentials}`,
	])
		t.false(text.includes(seed), text);
});

test('a JWT is taken while it holds, or when it never ends', t => {
	for (const claims of ['{}', '{"exp":0}', `{"exp":${nowMs / 1000 + 1}}`])
		t.is(BrokerCredentials.parse(credsFile(claims), 'me.creds', nowMs).id, undefined);
});

test('what has expired, is damaged or is no credentials at all is told in a sentence with the fix', t => {
	const cases: readonly [text: string, says: RegExp][] = [
		[
			credsFile(`{"exp":${nowMs / 1000 - 86_400}}`),
			/^Expected credentials that hold now in x, found ones that ended 2026-01-01T00:00:00.000Z; get new ones$/,
		],
		[credsFile('{"exp":'), /^Expected a user JWT in x, found a damaged one; get the file again$/],
		['', /^Expected a user JWT or the seed of an nkey in x, found neither; name the file/],
		[`SU${'A'.repeat(56)}`, /found neither/],
	];
	for (const [text, says] of cases)
		t.throws(() => BrokerCredentials.parse(text, 'x', nowMs), {message: says, code: 'usage'});
});
