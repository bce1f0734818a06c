/**
Who is in a run and where it stands, from what its fed server and clients say. It says nothing itself.
*/
import type {Body} from '../../protocols/messages.ts';
import type {Bus, Frame, Unsubscribe} from '../../protocols/ports.ts';
import {patternOf} from '../../protocols/subjects.ts';
import {type Heard, heard} from './voice.ts';

type Member = Body<'run-announced'>['members'][number];

export class Members {
	/** Incarnations by client. */
	readonly #present = new Map<string, number>();
	readonly #left = new Map<string, number>();
	readonly #asking = new Set<string>();
	readonly #unsubscribes: Unsubscribe[];
	#onChange: (() => void)[] = [];
	round = -1;
	isMainServerHere = false;
	isOver = false;

	constructor(bus: Bus, run: string) {
		const fedServer = {run, kind: 'fed-server'} as const;
		const client = {run, kind: 'client'} as const;
		const hear = (pattern: string, take: (frame: Frame) => void) =>
			bus.subscribe(pattern, frame => {
				take(frame);
				for (const wake of this.#onChange.splice(0)) wake();
			});
		this.#unsubscribes = [
			hear(patternOf({...client, verb: 'hello'}), frame => this.#ask(heard(frame, 'hello'))),
			hear(patternOf({...client, verb: 'leave'}), frame => this.#part([heard(frame, 'leave')?.subject.id])),
			// `welcome` names its receiver last.
			hear(`${patternOf({...fedServer, verb: 'welcome'})}.*`, frame => this.#welcome(heard(frame, 'welcome'))),
			hear(patternOf({...fedServer, verb: 'roster-changed'}), frame =>
				this.#part(heard(frame, 'roster-changed')?.body.left ?? []),
			),
			hear(patternOf({...fedServer, verb: 'round-opened'}), frame => {
				this.round = heard(frame, 'round-opened')?.body.round ?? this.round;
			}),
			hear(patternOf({...fedServer, verb: 'run-finished'}), frame => {
				this.isOver ||= heard(frame, 'run-finished') !== undefined;
			}),
		];
	}

	get present(): readonly Member[] {
		return membersOf(this.#present);
	}

	get left(): readonly Member[] {
		return membersOf(this.#left);
	}

	/** Resolves at the next change. */
	changed(): Promise<void> {
		return new Promise(resolve => this.#onChange.push(resolve));
	}

	close(): void {
		for (const unsubscribe of this.#unsubscribes) unsubscribe();
	}

	#ask(hello: Heard<'hello'> | undefined): void {
		if (hello) this.#asking.add(hello.subject.id);
	}

	#welcome(welcome: Heard<'welcome'> | undefined): void {
		const id = welcome?.subject.to;
		if (!welcome || id === undefined) return;
		// Only clients and the main server say hello.
		if (!this.#asking.has(id)) this.isMainServerHere = true;
		else {
			this.#present.set(id, welcome.body.incarnation);
			this.#left.delete(id);
		}
	}

	#part(ids: readonly (string | undefined)[]): void {
		for (const id of ids) {
			const incarnation = id === undefined ? undefined : this.#present.get(id);
			if (id === undefined || incarnation === undefined) continue;
			this.#present.delete(id);
			this.#left.set(id, incarnation);
		}
	}
}

const membersOf = (table: ReadonlyMap<string, number>): Member[] =>
	[...table].map(([client, incarnation]) => ({client, incarnation}));
