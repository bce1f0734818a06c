/**
What selection policies know of a client, all of it recorded facts. Types only.
*/

/** What was recorded of a client's last upload. */
export type ClientStatistics = {
	/** Of its batches in that round, nats a token. */
	readonly lossMean: number;
	readonly lossSquareMean: number;
	/** From the opening of the round to the upload, ms; nothing where nobody measured. */
	readonly durationMs: number | null;
	readonly round: number;
};

/** A client as described to a policy; `samples` is |D_i|. */
export type Candidate = {
	readonly client: string;
	readonly samples: number;
	/** Uniform in [0, 1), keyed by (seed, round, client); 0 for a policy that draws nothing. */
	readonly draw?: number;
	/** Heard of lately, and not late with an earlier round. */
	readonly isAvailable?: boolean;
	readonly statistics?: ClientStatistics | undefined;
};

/** How many to choose, and for which round. */
export type Choice = {readonly round: number; readonly count: number};
