/**
The state chart of an xstate machine as tables: in each configuration of active states what may answer an event, and what taking it
exits, does and enters. Worked out once a machine and configuration, by the rules of SCXML as xstate applies them. It runs nothing.
*/
import type {AnyStateMachine, AnyStateNode} from 'xstate';
import {ChartWords, type Given, type Guard, type Step, Unsupported} from './chart-words.ts';

/** A transition that may be taken. */
export type Candidate = {
	readonly source: AnyStateNode;
	readonly target: AnyStateNode | undefined;
	readonly isReentering: boolean;
	readonly guard: Guard | undefined;
	/** For the text of an error. */
	readonly guardName: string;
	readonly steps: readonly Step[];
};

/** Who answers an event: the innermost states first, an outer one when none of those in it does. */
export type Selector = {readonly own: readonly Candidate[]; readonly inner: readonly Selector[]};

/** What taking transitions does, in order, and the configuration after it. */
export type Move = {
	readonly steps: readonly Step[];
	readonly to: Configuration;
	/** A state at the top that ends the machine is entered. */
	readonly end: End | undefined;
};

export type End = {
	readonly id: string;
	readonly output: (given: Given) => unknown;
	readonly exits: readonly Step[];
};

export type Value = string | {readonly [state: string]: Value};

/** The states that are active together. */
export class Configuration {
	readonly nodes: readonly AnyStateNode[];
	readonly value: Value;
	readonly tags: ReadonlySet<string>;
	/** For each innermost state the transitions that need no event, its own first. */
	readonly eventless: readonly (readonly Candidate[])[];
	readonly #tables: ChartTables;
	readonly #selectors = new Map<string, Selector | null>();
	readonly #moves = new Map<Candidate, Move>();

	constructor(tables: ChartTables, nodes: readonly AnyStateNode[]) {
		this.#tables = tables;
		this.nodes = nodes;
		this.value = stateValueOf(tables.root, nodes);
		this.tags = new Set(nodes.flatMap(({tags}) => tags));
		this.eventless = nodes
			.filter(isAtomic)
			.map(node => [node, ...ancestorsOf(node)].flatMap(at => tables.candidates(at, at.always ?? [])))
			.filter(candidates => candidates.length > 0);
	}

	/** Who may answer an event of this type; nothing when nobody does, whatever the context. */
	selector(type: string): Selector | null {
		let selector = this.#selectors.get(type);
		if (selector === undefined) {
			selector = this.#selectorAt(this.#tables.root, type);
			this.#selectors.set(type, selector);
		}
		return selector;
	}

	#selectorAt(node: AnyStateNode, type: string): Selector | null {
		const inner = this.#childrenOf(node).flatMap(child => this.#selectorAt(child, type) ?? []);
		const own = this.#tables.candidates(node, node.transitions.get(type) ?? []);
		return own.length > 0 || inner.length > 0 ? {own, inner} : null;
	}

	#childrenOf(parent: AnyStateNode): readonly AnyStateNode[] {
		return this.nodes.filter(node => node.parent === parent);
	}

	/** What taking these transitions does, of which none exits what another does. */
	move(taken: readonly Candidate[]): Move {
		const [first] = taken;
		if (taken.length > 1) return this.#tables.move(this, this.#withoutConflicts(taken));
		let move = this.#moves.get(first!);
		if (!move) {
			move = this.#tables.move(this, taken);
			this.#moves.set(first!, move);
		}
		return move;
	}

	/** Of two transitions that exit the same state the one from further inside is taken, or else the first. */
	#withoutConflicts(taken: readonly Candidate[]): readonly Candidate[] {
		const kept = new Set<Candidate>();
		for (const candidate of taken) {
			const exits = new Set(exitsOf(this.nodes, candidate));
			const rivals = [...kept].filter(other => exitsOf(this.nodes, other).some(node => exits.has(node)));
			if (!rivals.every(other => isInside(candidate.source, other.source))) continue;
			for (const other of rivals) kept.delete(other);
			kept.add(candidate);
		}
		return [...kept];
	}
}

const isAtomic = ({type}: AnyStateNode) => type === 'atomic' || type === 'final';

function ancestorsOf(node: AnyStateNode, upTo?: AnyStateNode): AnyStateNode[] {
	const ancestors: AnyStateNode[] = [];
	if (node === upTo) return ancestors;
	for (let at = node.parent; at && at !== upTo; at = at.parent) ancestors.push(at);
	return ancestors;
}

const isInside = (node: AnyStateNode, outer: AnyStateNode | undefined): boolean => {
	let at = node;
	while (at.parent && at.parent !== outer) at = at.parent;
	return at.parent === outer;
};

/** In the order in which the states became active. */
function stateValueOf(node: AnyStateNode, nodes: readonly AnyStateNode[]): Value {
	const children = nodes.filter(({parent}) => parent === node);
	const [first] = children;
	if (node.type === 'compound' && first && isAtomic(first)) return first.key;
	return Object.fromEntries(children.map(child => [child.key, stateValueOf(child, nodes)]));
}

/** The state in which the transition stays. */
function domainOf({source, target, isReentering}: Candidate): AnyStateNode | undefined {
	if (!isReentering && (target === source || isInside(target!, source))) return source;
	const common = ancestorsOf(target!).find(ancestor => isInside(source, ancestor));
	return common ?? (isReentering ? undefined : source.machine.root);
}

function exitsOf(nodes: readonly AnyStateNode[], candidate: Candidate): readonly AnyStateNode[] {
	if (!candidate.target) return [];
	const domain = domainOf(candidate);
	const isWhole = candidate.isReentering && candidate.source === domain;
	return nodes.filter(node => isInside(node, domain) || (isWhole && node === domain));
}

const valueGiven = (value: unknown, given: Given): unknown => (typeof value === 'function' ? value(given) : value);

const inOrder = (a: AnyStateNode, b: AnyStateNode) => a.order - b.order;

/** Adds what is entered with a state: its first states, all regions of a parallel one. */
function enterInside(node: AnyStateNode, entered: Set<AnyStateNode>): void {
	if (node.type === 'compound') {
		const initial = node.initial.target[0]!;
		entered.add(initial);
		enterInside(initial, entered);
	} else if (node.type === 'parallel') enterRegions(node, entered);
}

function enterRegions(node: AnyStateNode, entered: Set<AnyStateNode>): void {
	for (const child of Object.values(node.states)) {
		if ([...entered].some(one => isInside(one, child))) continue;
		entered.add(child);
		enterInside(child, entered);
	}
}

function enter(candidate: Candidate, entered: Set<AnyStateNode>): void {
	const {source, target, isReentering} = candidate;
	if (!target) return;
	const domain = domainOf(candidate);
	if (source !== target || source !== domain || isReentering) entered.add(target);
	enterInside(target, entered);
	const around = [...ancestorsOf(target, domain), ...(domain?.type === 'parallel' ? [domain] : [])];
	const limit = !source.parent && isReentering ? undefined : domain;
	for (const ancestor of around) {
		if (!limit || isInside(ancestor, limit)) entered.add(ancestor);
		if (ancestor.type === 'parallel') enterRegions(ancestor, entered);
	}
}

/** The tables of one machine; all its actors share them. */
export class ChartTables {
	readonly root: AnyStateNode;
	readonly words: ChartWords;
	readonly #configurations = new Map<string, Configuration>();
	readonly #candidates = new Map<object, Candidate>();

	/** Throws `Unsupported` for a machine with what tables do not know. */
	constructor(machine: AnyStateMachine) {
		this.root = machine.root as AnyStateNode;
		this.words = new ChartWords(machine);
		this.#check(this.root);
	}

	/** Everything in the chart is looked at once, so that what is not known is found before an actor runs. */
	#check(node: AnyStateNode): void {
		const isKnown = node.type !== 'history' && (node.type !== 'final' || node.parent === this.root);
		if (!isKnown) throw new Unsupported(`a state ${node.id} of type ${node.type}`);
		if (node.config.onDone || (node.parent && node.output !== undefined))
			throw new Unsupported(`what ${node.id} gives at its end`);
		if (node.type === 'compound' && node.initial.actions.length > 0)
			throw new Unsupported(`first actions of ${node.id}`);
		this.words.entryOf(node);
		this.words.exitOf(node);
		for (const [type, transitions] of node.transitions) {
			if (type.includes('*')) throw new Unsupported(`the event ${type}`);
			this.candidates(node, transitions);
		}
		this.candidates(node, node.always ?? []);
		for (const child of Object.values(node.states)) this.#check(child);
	}

	/** The configuration of these nodes, in the order in which they became active. */
	configuration(nodes: readonly AnyStateNode[]): Configuration {
		const key = nodes.map(({order}) => order).join(' ');
		let known = this.#configurations.get(key);
		if (!known) {
			known = new Configuration(this, nodes);
			this.#configurations.set(key, known);
		}
		return known;
	}

	/** What an actor does first. */
	get start(): Move {
		const entered = new Set([this.root]);
		enterInside(this.root, entered);
		return this.#moved([], [], [...entered].sort(inOrder), [this.root]);
	}

	candidates(source: AnyStateNode, transitions: AnyStateNode['always'] & object): readonly Candidate[] {
		return transitions.map(transition => {
			let candidate = this.#candidates.get(transition);
			if (!candidate) {
				const {target, reenter, guard, actions} = transition;
				if (target && target.length > 1) throw new Unsupported(`several targets in ${source.id}`);
				candidate = {
					source,
					target: target?.[0] as AnyStateNode | undefined,
					isReentering: reenter,
					guard: this.words.guard(guard),
					guardName: typeof guard === 'string' ? `'${guard}' ` : '',
					steps: this.words.steps(actions),
				};
				this.#candidates.set(transition, candidate);
			}
			return candidate;
		});
	}

	move({nodes}: Configuration, taken: readonly Candidate[]): Move {
		const exited = new Set(taken.flatMap(candidate => exitsOf(nodes, candidate)));
		const entered = new Set<AnyStateNode>();
		for (const candidate of taken) enter(candidate, entered);
		return this.#moved(
			[...exited].sort(inOrder).reverse(),
			taken.flatMap(({steps}) => steps),
			[...entered].sort(inOrder),
			nodes,
		);
	}

	#moved(
		exits: readonly AnyStateNode[],
		steps: readonly Step[],
		entries: readonly AnyStateNode[],
		before: readonly AnyStateNode[],
	): Move {
		const active = new Set(before);
		for (const node of exits) active.delete(node);
		for (const node of entries) active.add(node);
		const isSame = active.size === before.length && before.every(node => active.has(node));
		const to = this.configuration(isSame ? before : [...active]);
		const last = entries.find(({type}) => type === 'final');
		const exitsAtEnd = [...active].sort(inOrder).reverse();
		return {
			steps: [
				...exits.flatMap(node => [...this.words.exitOf(node), ...this.words.stopsOf(node)]),
				...steps,
				...entries.flatMap(node => this.words.entryOf(node)),
			],
			to,
			end: last && {
				id: last.id,
				output: given => valueGiven(this.root.output, given),
				exits: exitsAtEnd.flatMap(node => this.words.exitOf(node)),
			},
		};
	}
}

const charts = new WeakMap<AnyStateMachine, ChartTables | null>();

/** The tables of a machine, made once; nothing for a machine that has what they do not know. */
export function chartOf(machine: AnyStateMachine): ChartTables | undefined {
	let chart = charts.get(machine);
	if (chart === undefined) {
		chart = made(machine);
		charts.set(machine, chart);
	}
	return chart ?? undefined;
}

function made(machine: AnyStateMachine): ChartTables | null {
	try {
		return new ChartTables(machine);
	} catch (error) {
		if (error instanceof Unsupported) return null;
		throw error;
	}
}
