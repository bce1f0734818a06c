/**
An event of a run as a line for people; events that say nothing new to them have none. Pure.
*/

export type ObservedEvent = {
	/** Since the run began. */
	readonly timeMs: number;
	readonly kind: string;
	readonly id: string;
	readonly verb: string;
	readonly to?: string;
	readonly bytes: number;
	readonly body: Readonly<Record<string, unknown>>;
};

type Row = Readonly<Record<string, number | string | boolean | null>>;

export function observedLine(event: ObservedEvent): string | undefined {
	const text = textOf(event);
	return text === undefined ? undefined : `${(event.timeMs / 1000).toFixed(1).padStart(8)} s  ${text}`;
}

function textOf({verb, id, body}: ObservedEvent): string | undefined {
	switch (verb) {
		case 'hello':
			return `${id} says hello`;
		case 'leave':
			return `${id} leaves: ${body.reason}`;
		case 'refused':
			return `${id} refuses ${body.verb}: ${body.field} is ${body.found}, expected ${body.expected}`;
		case 'round-opened': {
			const cohort = (body.cohort as {client: string}[]).map(({client}) => client);
			return `round ${body.round} opens  version ${body.adapterVersion}  ${cohort.length} clients: ${listed(cohort)}`;
		}
		case 'round-closing':
			return `round ${body.round} is at its deadline`;
		case 'roster-changed':
			return `without ${listed(body.left as string[])}: ${body.reason}`;
		case 'control':
			return `${id} asks for ${[body.command, body.actor, body.value].filter(Boolean).join(' ')}`;
		case 'run-finished':
			return `the run is over after ${body.rounds} rounds: ${body.reason}`;
		case 'report':
			return reportText(id, body.kind as string, body.row as Row);
		default:
			return undefined;
	}
}

function reportText(id: string, kind: string, row: Row): string | undefined {
	if (kind === 'step') return `${id}  round ${row.round} step ${row.step}  loss ${Number(row.loss).toFixed(4)}`;
	if (kind === 'round')
		return `round ${row.round} closes  ${row.uploads} of ${row.cohort} uploads${row.isVoid ? '  void' : ''}`;
	if (kind === 'eval') return `${id}  version ${row.adapterVersion}  validation loss ${Number(row.loss).toFixed(4)}`;
	if (kind === 'probe')
		return `${id}  cut ${row.cut}  recovered ${(100 * Number(row.recoveredCosine)).toFixed(1)} % of ${row.client}'s tokens`;
	return undefined;
}

const shownMax = 8;
const listed = (ids: readonly string[]): string =>
	ids.length > shownMax ? `${ids.slice(0, shownMax).join(' ')} ...` : ids.join(' ');
