/**
Takes part in a run whose other actors are elsewhere: the check at the door and the start, for `attach` and `up`.
*/
import {resolve} from 'node:path';
import {refusalOf} from '../../actors/agreement.ts';
import {CutlayerError} from '../../protocols/errors.ts';
import type {Agreement} from '../../protocols/messages.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import type {FoundRun} from '../attach/ask.ts';
import type {BrokerCredentials} from '../bus/credentials.ts';
import {type OwnRows, openOwnData} from '../run/own-data.ts';
import {agreementOf, type RunModel} from '../run/plan.ts';
import type {ActorRole} from '../run/running-actor.ts';
import type {GuestFlags} from './guest-flags.ts';
import {execute} from './run-scenario.ts';

export type Guest = {
	readonly role: ActorRole;
	readonly run: string;
	readonly scenario: Scenario;
	readonly incarnation: number;
	/** A client's own rows. */
	readonly rows?: OwnRows | undefined;
	/** What the run agreed on. */
	readonly agreement?: Agreement | undefined;
	readonly creds?: BrokerCredentials | undefined;
};

/** Takes part to the end. Throws what cannot start: with exit code 2 what the user can correct. */
export async function joinAs(guest: Guest, flags: GuestFlags): Promise<void> {
	const {role, run, scenario, incarnation, rows, agreement, creds} = guest;
	const {nats, backend, trace, json, quiet, brokerLeaseMs} = flags;
	const agreementHere = (model: RunModel) => agreementOf(scenario, model, role.kind === 'client' ? role.id : undefined);
	const part = {
		roles: [role],
		incarnation,
		brokerLeaseMs,
		...(rows && {
			openData: (tokenizer: Parameters<typeof openOwnData>[1]) => openOwnData(scenario, tokenizer, role.id, rows),
		}),
		...(agreement && {onModel: (model: RunModel) => checkDoor(run, agreement, agreementHere(model))}),
	};
	const folder = resolve(flags.out ?? `runs/${run}-${role.id}${incarnation > 0 ? `-${incarnation}` : ''}`);
	await execute(
		{scenario, run, folder, part},
		{set: [], bus: 'nats', nats, trace, json, quiet, ...(backend && {backend}), ...(creds && {creds})},
	);
}

/** Throws `usage` with both values and the fix. */
function checkDoor(run: string, expected: Agreement, found: Agreement): void {
	const refusal = refusalOf('hello', expected, found);
	if (!refusal) return;
	throw new CutlayerError(
		'usage',
		`Run ${run} expects ${refusal.field} ${refusal.expected}, found ${refusal.found} here; ${refusal.fix}`,
	);
}

/** The incarnation for an id. Throws `usage` when a living member has it. */
export function incarnationFor({run, members, left}: FoundRun, id: string, isReplacing: boolean): number {
	const living = members.find(({client}) => client === id);
	if (living && !isReplacing) {
		throw new CutlayerError(
			'usage',
			`Expected an id that is free in run ${run}, found ${id}, which is a member; choose another --id, or take its place with --replace`,
		);
	}
	const known = living ?? left.find(({client}) => client === id);
	return known ? known.incarnation + 1 : 0;
}
