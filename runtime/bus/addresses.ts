/**
The address of a broker as users write it: one server, or several of a cluster with commas between. Connects to nothing.
*/
import {CutlayerError} from '../../protocols/errors.ts';

/** An address without user and password. */
export const withoutSecrets = (url: string): string => url.replace(/\/\/[^@/]*@/g, '//');

/**
The servers an address names: `nats://a:4222,nats://b:4222` are two of one cluster.
Throws `usage` when a place between commas is empty.
*/
export function serversOf(url: string): string[] {
	const servers = url.split(',').map(server => server.trim());
	if (servers.every(server => server !== '')) return servers;
	throw new CutlayerError(
		'usage',
		`Expected the addresses of one cluster with single commas between, such as nats://a:4222,nats://b:4222, found ${withoutSecrets(url)}; take out the extra comma`,
	);
}
