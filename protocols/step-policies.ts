/**
The main server's policies as a scenario names them: when it takes a step and over whose batches. Each has a line, its parameters
with defaults and its source; `cutlayer run --list policies` prints them from here.
*/
import Type, {type Static} from 'typebox';
import {quorumParts} from './quorum.ts';
import {choice, integer, policy, positive} from './schema-parts.ts';

export const updateSchema = Type.Union(
	[
		policy(
			'parallel',
			"one step over the batches of the whole cohort, each with its client's share",
			'SplitLoRA, arXiv 2407.00952',
			{},
		),
		policy('sequential', 'one step a batch, in order of arrival', 'SplitFed V2 (Thapa et al., AAAI 2022)', {}),
		policy(
			'replicas',
			"a copy of the adapter for each client, stepped with its batches alone, averaged at the round's end",
			'SplitFed V1 (Thapa et al., AAAI 2022)',
			{},
		),
		policy(
			'buffered',
			'one step over so many arrivals, whoever they are from, weighted by p / sqrt(1 + staleness)',
			'after FedBuff (Nguyen et al., AISTATS 2022)',
			{count: integer(1, 4, 'arrivals a step of the main server is over')},
		),
	],
	{default: {kind: 'parallel'}},
);
/** When the main server takes a step, and over whose batches. */
export type ServerUpdate = Static<typeof updateSchema>;

export const stepClosingSchema = Type.Union(
	[
		policy('all', 'a step waits for the whole cohort', 'SplitLoRA, arXiv 2407.00952', {}),
		policy('quorum', 'a step goes on at its deadline, or later with so many', 'Bonawitz et al., MLSys 2019', {
			...quorumParts('batches', 'the cohort as the round opened'),
			deadlineMs: positive(10_000, 'after the first batch of the step, while the main server is free'),
			missing: Type.Union(
				[
					choice('drop', 'who missed the step skips it and keeps the batch', 'Bonawitz et al., MLSys 2019'),
					choice(
						'reuse',
						'who missed the step applies the last gradient of its adapter again',
						'after LAG (Chen et al., NeurIPS 2018)',
					),
				],
				{default: 'drop', description: 'what a client does whose batch came too late'},
			),
		}),
	],
	{default: {kind: 'all'}},
);
/** Whom a step of the update `parallel` waits for. */
export type StepClosing = Static<typeof stepClosingSchema>;
