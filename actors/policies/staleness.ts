/**
How much an upload counts that began from an older global adapter. Pure.
*/
import type {StalenessFunction} from '../../protocols/policies.ts';

/** s(tau) of FedAsync (Xie et al., 2019, arXiv 1903.03934), in (0, 1]; tau counts aggregations, from 0 on. */
export function stalenessWeight(how: StalenessFunction, tau: number): number {
	if (how.kind === 'constant') return 1;
	if (how.kind === 'polynomial') return (tau + 1) ** -how.a;
	return tau <= how.b ? 1 : 1 / (how.a * (tau - how.b) + 1);
}

/** What a late upload counts that is carried into the next aggregation: `1 / sqrt(1 + tau)`. */
export const carriedWeight = (tau: number): number => stalenessWeight({kind: 'polynomial', a: 0.5}, tau);
