/**
Who hears a subject on the simulated bus, found without asking every subscriber: patterns that end in a name are kept by the kind of
sender that they name and by that name, the others by kind and pattern, of which a fleet has few however large it is.
*/
import type {Frame} from '../../protocols/ports.ts';
import {subjectMatches} from '../../protocols/subjects.ts';

/** `place` orders the receivers of a frame. */
export type Place = {readonly place: number};

export type Subscription<Peer extends Place> = {
	readonly peer: Peer;
	readonly pattern: string;
	readonly deliver: (frame: Frame) => void;
	isActive: boolean;
};

/** A receiver with those of its subscriptions that match. */
export type Route<Peer extends Place> = {readonly peer: Peer; readonly subscriptions: readonly Subscription<Peer>[]};

/** Fewer receivers are found again rather than remembered. */
const rememberedMin = 16;

const lastToken = (subject: string) => subject.slice(subject.lastIndexOf('.') + 1);

const anyKind = '*';

/** The fourth token, which names the kind of the sender; `*` where a pattern leaves it open. */
function kindToken(text: string): string {
	let from = 0;
	for (let left = 3; left > 0; left--) {
		from = text.indexOf('.', from) + 1;
		if (from === 0) return anyKind;
	}
	const end = text.indexOf('.', from);
	const token = end === -1 ? text.slice(from) : text.slice(from, end);
	return token === '>' ? anyKind : token;
}

export class Routes<Peer extends Place> {
	readonly #byName = new Map<string, Set<Subscription<Peer>>>();
	readonly #byKind = new Map<string, Map<string, Set<Subscription<Peer>>>>();
	/** Broadcasts to many; emptied when a subscription changes. */
	readonly #remembered = new Map<string, readonly Route<Peer>[]>();

	add(subscription: Subscription<Peer>): void {
		const [index, key] = this.#homeOf(subscription.pattern);
		const others = index.get(key);
		if (others) others.add(subscription);
		else index.set(key, new Set([subscription]));
		this.#remembered.clear();
	}

	remove(subscription: Subscription<Peer>): void {
		subscription.isActive = false;
		const [index, key] = this.#homeOf(subscription.pattern);
		const others = index.get(key);
		others?.delete(subscription);
		if (others?.size === 0) index.delete(key);
		this.#remembered.clear();
	}

	/** Receivers in the order of their places. */
	find(subject: string): readonly Route<Peer>[] {
		const known = this.#remembered.get(subject);
		if (known) return known;
		const found = grouped(this.#matching(subject));
		if (found.length >= rememberedMin) this.#remembered.set(subject, found);
		return found;
	}

	#homeOf(pattern: string): readonly [Map<string, Set<Subscription<Peer>>>, string] {
		const last = lastToken(pattern);
		const kind = kindToken(pattern);
		if (last !== '*' && last !== '>') return [this.#byName, `${kind}.${last}`];
		let index = this.#byKind.get(kind);
		if (!index) {
			index = new Map();
			this.#byKind.set(kind, index);
		}
		return [index, pattern];
	}

	#matching(subject: string): Subscription<Peer>[] {
		const found: Subscription<Peer>[] = [];
		const [kind, last] = [kindToken(subject), lastToken(subject)];
		for (const home of [kind, anyKind]) {
			for (const one of this.#byName.get(`${home}.${last}`) ?? []) {
				if (subjectMatches(one.pattern, subject)) found.push(one);
			}
		}
		for (const home of [kind, anyKind]) {
			for (const [pattern, all] of this.#byKind.get(home) ?? []) {
				if (subjectMatches(pattern, subject)) for (const one of all) found.push(one);
			}
		}
		return found;
	}
}

function grouped<Peer extends Place>(subscriptions: Subscription<Peer>[]): Route<Peer>[] {
	subscriptions.sort((a, b) => a.peer.place - b.peer.place);
	const routes: {peer: Peer; subscriptions: Subscription<Peer>[]}[] = [];
	for (const one of subscriptions) {
		const last = routes.at(-1);
		if (last?.peer === one.peer) last.subscriptions.push(one);
		else routes.push({peer: one.peer, subscriptions: [one]});
	}
	return routes;
}
