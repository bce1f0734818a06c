/**
The folder of a broker with users: its configuration, who they are, and a file of credentials for each.
*/
import {chmod, mkdir, readFile, rename, rm, writeFile} from 'node:fs/promises';
import {join, resolve} from 'node:path';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {actorOf, type BrokerRole} from '../../protocols/permissions.ts';
import {checkId} from '../../protocols/subjects.ts';
import {type BrokerUser, newUser, serverConfig, usersConfig} from '../bus/broker-config.ts';

export type InitFlags = {
	readonly out: string;
	readonly clients: number;
	readonly add: readonly string[];
	readonly run?: string;
	readonly listen: string;
	readonly tlsCert?: string;
	readonly tlsKey?: string;
	readonly json: boolean;
};

export type AddFlags = {readonly folder: string; readonly role: string; readonly run?: string; readonly json: boolean};

type Actor = {readonly role: BrokerRole; readonly id: string};

const files = {config: 'nats.conf', users: 'users.conf', list: 'users.json', creds: 'creds'} as const;

/** Who a run of so many clients needs, by the ids that runs give them. */
const usual = (clients: number): Actor[] => [
	{role: 'run', id: 'run'},
	{role: 'fed-server', id: 'fed'},
	{role: 'main-server', id: 'main'},
	...Array.from({length: clients}, (_, index) => ({role: 'client' as const, id: `c${index}`})),
	{role: 'evaluator', id: 'evaluator'},
	{role: 'observer', id: 'observer'},
	{role: 'conductor', id: 'ctl'},
];

/** Makes the folder. Throws `usage` when it is there, `disk` when it cannot be written. */
export async function initBroker(flags: InitFlags): Promise<void> {
	const folder = resolve(flags.out);
	if ((flags.tlsCert === undefined) !== (flags.tlsKey === undefined))
		throw new CutlayerError(
			'usage',
			'Expected --tls-cert and --tls-key together, found one of them; give both or none',
		);
	const tls = flags.tlsCert && flags.tlsKey ? {cert: resolve(flags.tlsCert), key: resolve(flags.tlsKey)} : undefined;
	const actors = [...usual(flags.clients), ...flags.add.map(actorOf)];
	await onDisk(folder, async () => {
		if ((await readText(join(folder, files.list))) !== undefined)
			throw new CutlayerError('usage', `${folder} holds a broker already; add to it with cutlayer broker add-client`);
		await mkdir(join(folder, files.creds), {recursive: true, mode: 0o700});
		await chmod(folder, 0o700);
		await replace(
			join(folder, files.config),
			serverConfig({listen: flags.listen, storeDir: join(folder, 'store'), tls}),
		);
	});
	const made = await add(folder, [], actors, flags.run);
	const text = [
		...made.map(({role, id, path}) => `${role.padEnd(12)} ${id.padEnd(12)} ${path}`),
		'',
		`Start it with: nats-server -c ${join(folder, files.config)}`,
		...(tls ? [] : ['It has no certificate: on a network give --tls-cert and --tls-key, and use tls:// addresses.']),
	];
	print(flags.json, {folder, users: made}, text);
}

/** Adds one actor, a client unless another role is given. Throws `usage` when it is there. */
export async function addToBroker(id: string, flags: AddFlags): Promise<void> {
	const folder = resolve(flags.folder);
	const text = await onDisk(folder, () => readText(join(folder, files.list)));
	if (text === undefined)
		throw new CutlayerError('usage', `Expected a broker in ${folder}, found none; make it with cutlayer broker init`);
	const users = JSON.parse(text) as BrokerUser[];
	const made = await add(folder, users, [actorOf(`${flags.role}:${checkId(id)}`)], flags.run);
	print(flags.json, {folder, users: made}, [
		...made.map(({path}) => path),
		'A server that runs takes it up with: nats-server --signal reload',
	]);
}

async function add(folder: string, before: readonly BrokerUser[], actors: readonly Actor[], run: string | undefined) {
	const users = [...before];
	const made: (Actor & {readonly path: string})[] = [];
	const secrets: (readonly [path: string, secret: string])[] = [];
	for (const {role, id} of actors) {
		const path = join(folder, files.creds, `${id}.nk`);
		if (users.some(user => user.id === id))
			throw new CutlayerError('usage', `Expected an id that is free in ${folder}, found ${id}; choose another`);
		const {user, secret} = newUser({role, id, ...(run !== undefined && {run: checkId(run, 'run id')})});
		users.push(user);
		secrets.push([path, secret]);
		made.push({role, id, path});
	}
	await onDisk(folder, async () => {
		for (const [path, secret] of secrets) await writeFile(path, secret, {mode: 0o600, flag: 'wx'});
		await replace(join(folder, files.users), usersConfig(users));
		await replace(join(folder, files.list), `${JSON.stringify(users, null, '\t')}\n`);
	});
	return made;
}

async function readText(path: string): Promise<string | undefined> {
	return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
		if (error.code === 'ENOENT') return undefined;
		throw error;
	});
}

/** Whole or not at all. */
async function replace(path: string, text: string): Promise<void> {
	await rm(`${path}.new`, {force: true});
	await writeFile(`${path}.new`, text, {mode: 0o600, flag: 'wx'});
	await rename(`${path}.new`, path);
}

async function onDisk<T>(folder: string, work: () => Promise<T>): Promise<T> {
	return work().catch((error: unknown) => {
		if (error instanceof CutlayerError) throw error;
		throw new CutlayerError('disk', `Cannot write the broker to ${folder}: ${errorText(error)}; give another folder`, {
			cause: error,
		});
	});
}

const print = (isJson: boolean, value: object, lines: readonly string[]): void => {
	process.stdout.write(isJson ? `${JSON.stringify(value)}\n` : `${lines.join('\n')}\n`);
};
