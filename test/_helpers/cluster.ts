/**
A cluster of real `nats-server`s on the loopback interface, with JetStream on each.
*/

import type {AddressInfo} from 'node:net';
import {createServer} from 'node:net';
import {type Broker, startBroker} from '../../runtime/bus/broker.ts';

/** Starts `size` servers that know each other, calls `use`, and ends them. */
export async function withCluster<T>(
	binary: string,
	size: number,
	use: (nodes: readonly Broker[]) => Promise<T>,
): Promise<T> {
	const ports = await freePorts(size);
	const routes = ports.map(port => `"nats://127.0.0.1:${port}"`).join(', ');
	const nodes = await Promise.all(
		ports.map((port, index) =>
			startBroker({
				binary,
				config: `server_name: node${index}\ncluster {name: test, listen: "127.0.0.1:${port}", routes: [${routes}]}`,
			}),
		),
	);
	try {
		return await use(nodes);
	} finally {
		await Promise.all(nodes.map(node => node.stop()));
	}
}

/** Ports that nobody has; all are held until all are known, so that they differ. */
async function freePorts(count: number): Promise<number[]> {
	const servers = await Promise.all(
		Array.from({length: count}, () => {
			const server = createServer();
			return new Promise<typeof server>(resolve => server.listen(0, '127.0.0.1', () => resolve(server)));
		}),
	);
	const ports = servers.map(server => (server.address() as AddressInfo).port);
	await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))));
	return ports;
}
