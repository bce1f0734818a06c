/**
Two of four clients are cut off from the servers for 2.5 seconds; a round closes with half of its uploads after 1.5 s.
Watch: the rounds in between close with 2 uploads, the first at its deadline, the next when the leases of c2 and c3 end, which
it names as gone; when the network is whole again both say hello and are in the next cohort.
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const partition: ScenarioFile = {
	name: 'partition',
	description: 'virtual time: half of the clients are cut off for a while, a quorum goes on; --clock virtual',
	cut: 2,
	clients: 4,
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 2, validationRows: 8},
	training: {steps: 18, stepsPerRound: 3, learningRate: 1e-3},
	update: {kind: 'sequential'},
	closing: {kind: 'quorum', fraction: 0.5, deadlineMs: 1500},
	faults: [{kind: 'partition', clients: ['c2', 'c3'], fromMs: 1000, toMs: 3500}],
	timing: {heartbeatMs: 300, leaseMs: 2000, answerTimeoutMs: 1000},
};

export default partition;
