/**
The bus over a NATS server: reconnects for ever, holds what is published meanwhile, and cuts frames to the limit of the
server it is connected to at that moment. The only place where a connection is made.
*/
import {isIP} from 'node:net';
import {type ConnectionOptions, connect, type Msg, type NatsConnection, NatsError, type TlsOptions} from 'nats';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {narrowed} from '../../protocols/permissions.ts';
import type {Bus, Frame, Unsubscribe} from '../../protocols/ports.ts';
import {serversOf, withoutSecrets} from './addresses.ts';
import {chunked} from './chunked.ts';
import type {BrokerCredentials} from './credentials.ts';
import {Inbox} from './inbox.ts';
import {keepIn} from './keep.ts';
import {frameOf, headerRoomBytes, natsHeadersOf} from './nats-headers.ts';
import {Outbox} from './outbox.ts';
import {type BusProblem, deliverSafely, frameTooLarge, reportTo} from './problems.ts';

/** Where and how to connect. */
export type NatsOptions = {
	/** `nats://host:port` or `tls://host:port`, or several of one cluster with commas between; may carry user and password. */
	readonly url: string;
	/** What the server calls this connection in its lists. */
	readonly name: string;
	readonly creds?: BrokerCredentials | undefined;
	readonly user?: string;
	readonly pass?: string;
	/** Files of a private certificate authority or a client certificate. */
	readonly tls?: TlsOptions;
	/** Where replies of the server to this connection go; set it when permissions are private; default `_INBOX`. */
	readonly inboxPrefix?: string;
	/** How long the first connection may take; default 5,000. */
	readonly connectTimeoutMs?: number;
	/** Longest wait between two attempts to reconnect; default 5,000. */
	readonly reconnectDelayMsMax?: number;
	/** What may wait while the server is away, in bytes; default 64 MiB. */
	readonly outboxBytesMax?: number;
	/** Longest whole frame, in bytes; default 256 MiB. */
	readonly frameBytesMax?: number;
	/** Called for refused permissions, lost frames and exceptions of subscribers; default: a line to stderr. */
	readonly onProblem?: BusProblem;
	/** Called once when the server is lost and once when it is back; default: a line to stderr. */
	readonly onNotice?: (text: string) => void;
};

/** A bus with what only NATS has. Frames longer than the server's limit are chunked. */
export interface NatsBus extends Bus {
	keep(frame: Frame, id: string): Promise<void>;
	/** The address, without user and password. */
	readonly url: string;
	readonly isConnected: boolean;
	/** The largest body the connected server takes in one message, in bytes. */
	readonly wireLimitBytes: number;
	/** The connection, for JetStream; for files of this folder. */
	readonly connection: NatsConnection;
}

/** Connects; throws `broker-unreachable` with the address and what to do. */
export async function connectNats(options: NatsOptions): Promise<NatsBus> {
	const retry = new Backoff(options.reconnectDelayMsMax ?? 5000);
	try {
		return new Nats(await connect(connectionOptions(options, retry)), options, retry);
	} catch (thrown) {
		throw unreachable(options, thrown);
	}
}

/** Doubling waits with jitter, so that a thousand clients do not come back in the same instant. */
class Backoff {
	attempts = 0;
	private readonly delayMsMax: number;

	constructor(delayMsMax: number) {
		this.delayMsMax = delayMsMax;
	}

	delayMs(): number {
		const most = Math.min(this.delayMsMax, 50 * 2 ** Math.min(this.attempts, 20));
		return most * (0.5 + Math.random() / 2);
	}
}

function connectionOptions(options: NatsOptions, retry: Backoff): ConnectionOptions {
	const {url, name, creds, user, pass, tls, inboxPrefix, connectTimeoutMs = 5000} = options;
	return {
		servers: serversOf(url),
		name,
		timeout: connectTimeoutMs,
		reconnect: true,
		maxReconnectAttempts: -1,
		reconnectDelayHandler: () => retry.delayMs(),
		ignoreAuthErrorAbort: true,
		pingInterval: 10_000,
		...(user !== undefined && {user}),
		...(pass !== undefined && {pass}),
		...(creds && {authenticator: creds.authenticator}),
		...tlsOf(url, tls),
		...(inboxPrefix !== undefined && {inboxPrefix}),
	};
}

/**
A `tls://` address is never answered in plain. A certificate is checked against the address as it was given: by itself the library
checks one for an IP address as if it were for localhost.
*/
function tlsOf(url: string, tls: TlsOptions | undefined): Pick<ConnectionOptions, 'tls'> {
	if (!tls && !url.startsWith('tls://')) return {};
	const [server = '', ...others] = serversOf(url);
	const host = server
		.replace(/^[a-z]+:\/\//, '')
		.replace(/^[^@/]*@/, '')
		.replace(/:\d+$/, '')
		.replace(/^\[|\]$/g, '');
	// Of several servers it is not known here which answers: they need names.
	const isAddress = others.length === 0 && isIP(host) > 0;
	return {tls: {...tls, ...(isAddress && {host})} as TlsOptions};
}

type Delivery = {
	readonly message: Msg;
	readonly pattern: string;
	readonly deliver: (frame: Frame) => void;
	readonly isActive: () => boolean;
};

/** The connection as it is: no chunks, nothing held back. */
class Link implements Bus {
	private readonly connection: NatsConnection;
	private readonly onProblem: BusProblem;
	private readonly inbox = new Inbox<Delivery>(({message, pattern, deliver, isActive}) => {
		if (isActive()) deliverSafely(pattern, deliver, frameOf(message), this.onProblem);
	});
	private readonly creds: BrokerCredentials | undefined;
	private limitBytes = 0;

	constructor(connection: NatsConnection, onProblem: BusProblem, creds: BrokerCredentials | undefined) {
		this.connection = connection;
		this.creds = creds;
		this.onProblem = onProblem;
	}

	/** From INFO of the server connected now; the last known one while there is none. */
	get maxPayloadBytes(): number {
		const {info} = this.connection;
		if (info) this.limitBytes = info.max_payload - headerRoomBytes;
		return this.limitBytes;
	}

	publish(frame: Frame): void {
		try {
			this.connection.publish(frame.subject, frame.body, {headers: natsHeadersOf(frame)});
		} catch (thrown) {
			if (!(thrown instanceof NatsError) || thrown.code !== 'MAX_PAYLOAD_EXCEEDED') throw thrown;
			throw frameTooLarge(frame, frame.body.byteLength, this.maxPayloadBytes);
		}
	}

	subscribe(pattern: string, deliver: (frame: Frame) => void): Unsubscribe {
		let isActive = true;
		const callback = (error: NatsError | null, message: Msg) => {
			// A refused subscription is reported by the status of the connection.
			if (!error) this.inbox.push({message, pattern, deliver, isActive: () => isActive});
		};
		const patterns = this.creds ? narrowed(pattern, this.creds.kind) : [pattern];
		const subscriptions = patterns.map(one => this.connection.subscribe(one, {callback}));
		return () => {
			isActive = false;
			if (this.connection.isClosed()) return;
			for (const subscription of subscriptions) subscription.unsubscribe();
		};
	}

	flush(): Promise<void> {
		return this.connection.flush();
	}

	close(): Promise<void> {
		this.inbox.clear();
		return this.connection.close();
	}
}

class Nats implements NatsBus {
	readonly url: string;
	readonly connection: NatsConnection;
	isConnected = true;
	private readonly link: Link;
	private readonly whole: Bus;
	private readonly outbox: Outbox;
	private readonly retry: Backoff;
	private readonly onProblem: BusProblem;
	private readonly onNotice: (text: string) => void;
	private readonly waiting: (() => void)[] = [];
	private isClosing = false;
	private hasReported = false;
	private dropped = 0;

	constructor(connection: NatsConnection, options: NatsOptions, retry: Backoff) {
		const {onProblem = reportTo('the NATS bus'), onNotice, frameBytesMax, outboxBytesMax = 64 * 2 ** 20} = options;
		this.url = withoutSecrets(options.url);
		this.connection = connection;
		this.retry = retry;
		this.onProblem = onProblem;
		this.onNotice = onNotice ?? (text => process.stderr.write(`${text}\n`));
		this.outbox = new Outbox(outboxBytesMax);
		this.link = new Link(connection, onProblem, options.creds);
		this.whole = chunked(this.link, {onProblem, ...(frameBytesMax !== undefined && {frameBytesMax})});
		void this.watch();
	}

	get maxPayloadBytes(): number {
		return this.whole.maxPayloadBytes;
	}

	get wireLimitBytes(): number {
		return this.link.maxPayloadBytes;
	}

	publish(frame: Frame): void {
		if (this.isConnected) {
			this.whole.publish(frame);
			return;
		}
		if (frame.body.byteLength > this.maxPayloadBytes)
			throw frameTooLarge(frame, frame.body.byteLength, this.maxPayloadBytes);
		if (this.outbox.add(frame)) return;
		this.dropped++;
		if (this.dropped > 1) return;
		this.report(
			'broker-limit',
			`The ${this.outbox.bytes} bytes held for ${this.url} are at their bound: frames are dropped till it is back, and their senders will retry`,
		);
	}

	keep(frame: Frame, id: string): Promise<void> {
		if (frame.body.byteLength > this.wireLimitBytes)
			return Promise.reject(frameTooLarge(frame, frame.body.byteLength, this.wireLimitBytes));
		return keepIn({bus: this, jetstream: this.connection.jetstream()}, frame, {id});
	}

	subscribe(pattern: string, deliver: (frame: Frame) => void): Unsubscribe {
		return this.whole.subscribe(pattern, deliver);
	}

	async flush(): Promise<void> {
		for (;;) {
			await this.connected();
			try {
				await this.whole.flush();
				return;
			} catch (thrown) {
				// Lost in the middle: what was held back goes out after the reconnect, so ask again then.
				if (this.connection.isClosed()) throw unreachable(this, thrown);
			}
		}
	}

	async close(): Promise<void> {
		if (this.isClosing) return;
		this.isClosing = true;
		if (this.isConnected) await this.whole.flush().catch(() => undefined);
		await this.whole.close();
		this.wake();
	}

	private connected(): Promise<void> {
		if (this.connection.isClosed()) return Promise.reject(new Error(`The bus to ${this.url} is closed`));
		if (this.isConnected) return Promise.resolve();
		return new Promise((resolve, reject) => {
			this.waiting.push(() => (this.isClosing ? reject(new Error(`The bus to ${this.url} is closed`)) : resolve()));
		});
	}

	private async watch(): Promise<void> {
		for await (const status of this.connection.status()) {
			if (status.type === 'disconnect') this.lost();
			else if (status.type === 'reconnecting') this.retry.attempts++;
			else if (status.type === 'reconnect') this.found();
			else if (status.type === 'error') this.failed(String(status.data), status.permissionContext);
		}
		if (this.isClosing) return;
		this.isConnected = false;
		this.report('broker-unreachable', `The connection to ${this.url} ended for good; start the actor again`);
	}

	private lost(): void {
		if (!this.isConnected || this.isClosing) return;
		this.isConnected = false;
		this.hasReported = false;
		this.onNotice(`Lost the broker at ${this.url}: holding frames back and trying again until it answers`);
	}

	private found(): void {
		this.retry.attempts = 0;
		this.isConnected = true;
		for (const frame of this.outbox.takeAll()) this.whole.publish(frame);
		const loss = this.dropped > 0 ? `; ${this.dropped} frames were dropped meanwhile` : '';
		this.dropped = 0;
		this.onNotice(`Back at the broker at ${this.url}${loss}`);
		this.wake();
	}

	private failed(code: string, context: {operation: string; subject: string} | undefined): void {
		if (context) {
			const verb = context.operation === 'publish' ? 'publish to' : 'subscribe to';
			this.report(
				'broker-limit',
				`The broker at ${this.url} did not let this connection ${verb} ${context.subject}; give its user that permission or use the credentials made for this id`,
			);
		} else if (!this.hasReported) {
			this.hasReported = true;
			this.report('broker-unreachable', `The broker at ${this.url} answered with ${code}; check the credentials`);
		}
	}

	private report(code: 'broker-limit' | 'broker-unreachable', text: string): void {
		this.onProblem(new CutlayerError(code, text));
	}

	private wake(): void {
		for (const resolve of this.waiting.splice(0)) resolve();
	}
}

const tlsFix = (code: string): string =>
	/altnames/i.test(code)
		? 'name the broker as its certificate does, or make one for this address'
		: 'use a tls:// address, and name the file of its certificate authority in NODE_EXTRA_CA_CERTS';

function unreachable({url}: {readonly url: string}, thrown: unknown): CutlayerError {
	const code = thrown instanceof NatsError ? thrown.code : errorText(thrown);
	// The library's word for a server that is asked for more than it has.
	if (code === 'SERVER_OPT_NA')
		return new CutlayerError(
			'broker-unreachable',
			`Expected a NATS broker at ${withoutSecrets(url)}, found one, which has no certificate; give it one, or use a nats:// address`,
			{cause: thrown},
		);
	const isRefused = /AUTH|CREDS|PERMISSION/i.test(code);
	const fix = isRefused
		? 'check the user, password or credentials file'
		: /TLS|certificate/i.test(code)
			? tlsFix(code)
			: 'start a nats-server there, or check host, port and firewall';
	return new CutlayerError(
		'broker-unreachable',
		`Expected a NATS broker at ${withoutSecrets(url)}, found ${code}; ${fix}`,
		{cause: thrown},
	);
}
