/**
`cutlayer broker`: a NATS server with a user for each actor.
*/
import {type Command, Option} from 'commander';
import {brokerRoles} from '../../../protocols/permissions.ts';
import type {AddFlags, InitFlags} from '../broker-files.ts';
import {wholeNumber} from './run.ts';

const examples = `
Examples:
  $ cutlayer broker init --out broker --clients 3 --tls-cert server.pem --tls-key server-key.pem
  $ nats-server -c broker/nats.conf
  $ cutlayer broker add-client kim --folder broker
  $ cutlayer attach client --nats tls://broker.example:4222 --creds kim.nk --data rows.jsonl
`;

export function registerBroker(program: Command): void {
	const broker = program
		.command('broker')
		.description('make a NATS server configuration in which every actor may say and hear its own')
		.addHelpText('after', examples);
	broker
		.command('init')
		.description('write a configuration and a file of credentials for each actor')
		.option('--out <folder>', 'where it goes', 'broker')
		.option('--clients <n>', 'clients c0, c1 and so on', wholeNumber, 3)
		.option('--add <role:id>', 'one more actor; may be repeated', (value, all: string[]) => [...all, value], [])
		.option('--run <id>', 'the only run they may take part in; default every run')
		.option('--listen <host:port>', 'where the server listens', '127.0.0.1:4222')
		.option('--tls-cert <file>', 'certificate of the server')
		.option('--tls-key <file>', 'its key')
		.option('--json', 'print one JSON object', false)
		.addHelpText('after', examples)
		.action(async (flags: InitFlags) => (await import('../broker-files.ts')).initBroker(flags));
	broker
		.command('add-client')
		.description('add a client, or another actor, to a broker that is there')
		.argument('<id>')
		.option('--folder <folder>', 'of the broker', 'broker')
		.addOption(new Option('--role <role>', 'what it is').choices(brokerRoles).default('client'))
		.option('--run <id>', 'the only run it may take part in; default every run')
		.option('--json', 'print one JSON object', false)
		.addHelpText('after', examples)
		.action(async (id: string, flags: AddFlags) => (await import('../broker-files.ts')).addToBroker(id, flags));
}
