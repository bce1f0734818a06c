/**
Blocks that the main server holds beside some clients, where clients have unlike cuts: asked for when a round has closed, averaged
with the clients' and taken over with the next one. What both servers say and remember of it. Pure.
*/
import type {AggregationMember} from '../protocols/aggregation.ts';
import type {HandledBody, Incoming, Outgoing} from '../protocols/events.ts';
import {entryOf} from '../protocols/table.ts';
import type {TensorHandle} from '../protocols/tensor.ts';
import {uploadsByRound} from './counted-uploads.ts';
import type {FedServerContext} from './fed-server-context.ts';
import type {MainServerContext, SharingContext} from './main-server-context.ts';
import {type CutMember, planShared} from './policies/mixed-cuts.ts';

/** What a main server starts with, and keeps where cuts are alike. */
export const noSharing: SharingContext = {adoption: null, adopting: null, sharedAsked: null, isRoundClosed: false};

/** With a global adapter come the shared blocks. */
export const adoptionOf = ({agreement}: MainServerContext, tensors: TensorHandle) =>
	agreement.cuts ? {adoption: tensors} : {};

export const sharedBlocks = ({fedServerId}: MainServerContext, round: number, tensors: TensorHandle): Outgoing => ({
	verb: 'shared-blocks',
	to: fedServerId,
	body: {round, tensors},
});

/** The fed server asks the main server for its copy. */
export const sharedBlocksAsked = ({context: {sharing, round}}: {readonly context: FedServerContext}): Outgoing => ({
	verb: 'shared-blocks-asked',
	to: sharing!.mainServerId,
	body: {round},
});

export const isAskedFor = ({sharing, round}: FedServerContext, {from, body}: Incoming<'shared-blocks'>): boolean =>
	from === sharing?.mainServerId && body.round === round;

/** The cut of whoever uploads, where cuts are unlike. */
export const cutOfUpload = (
	{sharing, roster}: FedServerContext,
	{from}: {readonly from: string; readonly body: HandledBody<'upload'>},
): {readonly cut?: number} => (sharing ? {cut: entryOf(roster, from)?.cut ?? 0} : {});

/** What the main server's copies count with, beside the members of an aggregation. */
export function sharedWeights({sharing, counting}: FedServerContext, members: readonly AggregationMember[]) {
	if (!sharing) return {};
	const uploadOf = uploadsByRound(counting);
	const cutOf = (member: AggregationMember) => uploadOf(member)?.cut ?? 0;
	const cutMembers: CutMember[] = members.map(member => ({weight: member.weight, cut: cutOf(member)}));
	return {shared: planShared(sharing.cuts, cutMembers)};
}
