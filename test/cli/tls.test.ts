/**
A broker with a certificate of a private authority, made here by openssl: who knows the authority is let in, who does not is told.
*/
import {execFileSync} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import path from 'node:path';
import {startBroker} from '../../runtime/bus/broker.ts';
import {connectNats} from '../../runtime/bus/nats.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {runCutlayer} from '../_helpers/cutlayer.ts';
import {testWith} from '../_helpers/optional.ts';
import {inFolder} from '../_helpers/tiny-model.ts';

const binary = findBroker()?.binary;

const openssl = (...words: string[]) => execFileSync('openssl', words, {stdio: ['ignore', 'ignore', 'ignore']});

const hasOpenssl = (() => {
	try {
		openssl('version');
		return 'yes';
	} catch {
		return undefined;
	}
})();

/** An authority, and a certificate of it for the loopback address. */
function makeCertificates(folder: string) {
	const at = (name: string) => path.join(folder, name);
	const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
	openssl(
		'req',
		'-x509',
		...ec,
		'-keyout',
		at('ca.key'),
		'-out',
		at('ca.pem'),
		'-days',
		'2',
		'-subj',
		'/CN=test authority',
	);
	openssl('req', ...ec, '-keyout', at('key.pem'), '-out', at('server.csr'), '-subj', '/CN=127.0.0.1');
	writeFileSync(at('names.cnf'), 'subjectAltName=IP:127.0.0.1');
	const signed = [
		'-CA',
		at('ca.pem'),
		'-CAkey',
		at('ca.key'),
		'-CAcreateserial',
		'-days',
		'2',
		'-extfile',
		at('names.cnf'),
	];
	openssl('x509', '-req', '-in', at('server.csr'), ...signed, '-out', at('cert.pem'));
	return {ca: at('ca.pem'), cert: at('cert.pem'), key: at('key.pem')};
}

testWith(binary, hasOpenssl)(
	'an authority that is named is trusted, and one that is unknown is told with what to do',
	async t => {
		t.timeout(120_000);
		await inFolder(async folder => {
			const {ca, cert, key} = makeCertificates(folder);
			const config = `tls { cert_file: ${JSON.stringify(cert)}, key_file: ${JSON.stringify(key)} }`;
			const broker = await startBroker({binary: binary!, config});
			t.teardown(() => broker.stop());
			const url = broker.url.replace('nats:', 'tls:');

			const bus = await connectNats({url, name: 'knows', tls: {caFile: ca}});
			const heard = new Promise<string>(resolve => bus.subscribe('a.b', ({subject}) => resolve(subject)));
			await bus.flush();
			bus.publish({subject: 'a.b', headers: {}, body: Uint8Array.of(1)});
			t.is(await heard, 'a.b');
			await bus.close();

			const other = await t.throwsAsync(
				connectNats({url: url.replace('127.0.0.1', 'localhost'), name: 'x', tls: {caFile: ca}}),
			);
			t.regex(other!.message, /altnames.*; name the broker as its certificate does, or make one for this address$/);
			const plain = await startBroker({binary: binary!});
			t.teardown(() => plain.stop());
			const refused = await t.throwsAsync(connectNats({url: plain.url.replace('nats:', 'tls:'), name: 'x'}));
			t.regex(refused!.message, /found .*, which has no certificate; give it one, or use a nats:\/\/ address$/);

			// Node reads the file of authorities when a process starts.
			const runs = ['runs', '--nats', url];
			const [knows, knowsNot] = await Promise.all([
				runCutlayer(runs, {NODE_EXTRA_CA_CERTS: ca}),
				runCutlayer(runs, {NODE_EXTRA_CA_CERTS: ''}),
			]);
			t.is(knows.code, 0, knows.stderr);
			t.is(knowsNot.code, 2, knowsNot.stderr);
			t.regex(
				knowsNot.stderr,
				/^cutlayer: Expected a NATS broker at tls:\/\/127\.0\.0\.1:\d+, found .*; .*name the file of its certificate authority in NODE_EXTRA_CA_CERTS$/m,
			);
			t.is(knowsNot.stderr.trim().split('\n').length, 1, knowsNot.stderr);
		});
	},
);
