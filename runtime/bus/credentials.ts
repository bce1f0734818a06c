/**
Credentials for a broker: a user's JWT with its key (`.creds`), or the seed of an nkey (`.nk`) as `cutlayer broker` writes it.
They are held in memory and shown nowhere.
*/
import {type Authenticator, credsAuthenticator, nkeyAuthenticator, nkeys} from 'nats';
import {CutlayerError} from '../../protocols/errors.ts';

/** A secret that prints as nothing. */
export class BrokerCredentials {
	readonly #bytes: Uint8Array;
	readonly #isJwt: boolean;
	/** Who they are for, when the file says so. */
	readonly kind: string | undefined;
	readonly id: string | undefined;

	private constructor(bytes: Uint8Array, {isJwt, kind, id}: {isJwt: boolean; kind?: string; id?: string}) {
		this.#bytes = bytes;
		this.#isJwt = isJwt;
		this.kind = kind;
		this.id = id;
	}

	/** Reads the text of a file; throws `usage` when it holds neither form, or a JWT that has expired at `nowMs`. */
	static parse(text: string, path: string, nowMs: number): BrokerCredentials {
		const jwt = /-----BEGIN NATS USER JWT-----\s+(\S+)\s/.exec(text)?.[1];
		if (jwt) {
			checkExpiry(jwt, path, nowMs);
			return new BrokerCredentials(new TextEncoder().encode(text), {isJwt: true});
		}
		const seed = /^SU[A-Z2-7]{56}$/m.exec(text)?.[0];
		if (!seed || !isSeed(seed))
			throw new CutlayerError(
				'usage',
				`Expected a user JWT or the seed of an nkey in ${path}, found neither; name the file that cutlayer broker or nsc wrote with --creds`,
			);
		const [, kind, id] = /^# cutlayer ([a-z-]+) ([a-z0-9-]+)$/m.exec(text) ?? [];
		return new BrokerCredentials(new TextEncoder().encode(seed), {isJwt: false, ...(kind && id && {kind, id})});
	}

	/** The text that `parse` reads, to be handed to a process of this run over its pipe. */
	get secretText(): string {
		return new TextDecoder().decode(this.#bytes);
	}

	get authenticator(): Authenticator {
		return this.#isJwt ? credsAuthenticator(this.#bytes) : nkeyAuthenticator(this.#bytes);
	}
}

function isSeed(text: string): boolean {
	try {
		return nkeys.fromSeed(new TextEncoder().encode(text)).getPublicKey().startsWith('U');
	} catch {
		return false;
	}
}

function checkExpiry(jwt: string, path: string, nowMs: number): void {
	let endS: unknown;
	try {
		endS = (JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString()) as {exp?: unknown}).exp;
	} catch {
		throw new CutlayerError('usage', `Expected a user JWT in ${path}, found a damaged one; get the file again`);
	}
	if (typeof endS !== 'number' || endS === 0 || endS * 1000 > nowMs) return;
	throw new CutlayerError(
		'usage',
		`Expected credentials that hold now in ${path}, found ones that ended ${new Date(endS * 1000).toISOString()}; get new ones`,
	);
}
