/**
Configuration of a `nats-server` with a user for each actor: text, and the keys in it. It writes no file.
*/
import {nkeys} from 'nats';
import {type BrokerRole, permissionsOf} from '../../protocols/permissions.ts';

/** A user of the broker; the key is the public half. */
export type BrokerUser = {
	readonly role: BrokerRole;
	readonly id: string;
	readonly nkey: string;
	/** The only run it may take part in; default every run. */
	readonly run?: string;
};

export type ServerOptions = {
	/** `host:port` */
	readonly listen: string;
	/** Where JetStream keeps its streams. */
	readonly storeDir: string;
	/** Files of the server's certificate and its key, and of the authority of clients when they need certificates. */
	readonly tls?: {readonly cert: string; readonly key: string} | undefined;
};

const maxPayloadBytes = 16 * 2 ** 20;

/** The server's own settings; its users are in a file beside it. */
export function serverConfig({listen, storeDir, tls}: ServerOptions): string {
	const encrypted = tls
		? `tls { cert_file: ${JSON.stringify(tls.cert)}, key_file: ${JSON.stringify(tls.key)} }`
		: '# Without certificates everybody on the way can read everything: see --tls-cert and --tls-key.';
	return `# Written by cutlayer broker init: nats-server -c nats.conf
listen: ${JSON.stringify(listen)}
max_payload: ${maxPayloadBytes}
max_pending: ${16 * maxPayloadBytes}
jetstream { store_dir: ${JSON.stringify(storeDir)} }
${encrypted}
include ./users.conf
`;
}

/** The users with their permissions; whoever has no key stays outside. */
export function usersConfig(users: readonly BrokerUser[]): string {
	const list = (subjects: readonly string[]) => `[${subjects.map(subject => JSON.stringify(subject)).join(', ')}]`;
	const lines = users.map(({role, id, nkey, run}) => {
		const {publish, subscribe, deny} = permissionsOf(role, id, run);
		const denied = deny.length > 0 ? `, deny: ${list(deny)}` : '';
		return `    # ${role} ${id}
    {nkey: ${nkey}, permissions: {
      publish: {allow: ${list(publish)}}
      subscribe: {allow: ${list(subscribe)}${denied}}
    }}`;
	});
	return `# Written by cutlayer broker from users.json; it holds no secret.
authorization {
  users: [
${lines.join('\n')}
  ]
}
`;
}

/** A new key: its public half for the server, and the text of the secret file for the actor. */
export function newUser(user: Omit<BrokerUser, 'nkey'>): {readonly user: BrokerUser; readonly secret: string} {
	const pair = nkeys.createUser();
	const seed = new TextDecoder().decode(pair.getSeed());
	const secret = `# cutlayer ${user.role} ${user.id}\n# The secret key of this actor: it goes to no other machine and into no log.\n${seed}\n`;
	return {user: {...user, nkey: pair.getPublicKey()}, secret};
}
