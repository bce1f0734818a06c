/**
The privacy that Gaussian noise gives, counted by Renyi differential privacy (Mironov, 2017): the price of one release, which adds
up over releases, and what a sum of prices means as (epsilon, delta). Pure.
*/

/** Orders at which prices are kept: whole numbers, as the bound of sampling asks for. */
export const renyiOrders: readonly number[] = [
	...Array.from({length: 63}, (_, index) => index + 2),
	...[80, 96, 128, 192, 256],
];

/** `alpha / (2 sigma^2)`, the noise having `sigma` times the largest change that one member can make. */
export const gaussianRenyi = (alpha: number, sigma: number): number => alpha / (2 * sigma ** 2);

/**
The price at a whole order of noise over a sample drawn without replacement, of which each member is part with probability `share`
(Wang, Balle, Kasiviswanathan, AISTATS 2019, Theorem 9, for a mechanism without a bound on its pure epsilon). `sigma` is counted in
changes of one member for another.
*/
export function sampledRenyi(alpha: number, sigma: number, share: number): number {
	const whole = gaussianRenyi(alpha, sigma);
	if (share >= 1) return whole;
	const price = (order: number) => gaussianRenyi(order, sigma);
	let log = Math.log(Math.min(4 * Math.expm1(price(2)), 2 * Math.exp(price(2)))) + logTerm(alpha, 2, share);
	for (let order = 3; order <= alpha; order++)
		log = logSum(log, Math.log(2) + (order - 1) * price(order) + logTerm(alpha, order, share));
	return Math.min(whole, logSum(0, log) / (alpha - 1));
}

/** The log of `share^order` times the ways to choose so many of `alpha`. */
const logTerm = (alpha: number, order: number, share: number) => order * Math.log(share) + logChoose(alpha, order);

/** Exact enough: both are at most 256. */
function logChoose(n: number, k: number): number {
	let log = 0;
	for (let i = 1; i <= k; i++) log += Math.log((n - k + i) / i);
	return log;
}

const logSum = (a: number, b: number) => Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));

/**
The smallest epsilon that prices at `renyiOrders` mean for a delta, and the order it comes from (Canonne, Kamath, Steinke, 2020,
Proposition 12).
*/
export function epsilonOf(
	prices: readonly number[],
	delta: number,
): {readonly epsilon: number; readonly order: number} {
	let best = {epsilon: Number.POSITIVE_INFINITY, order: 0};
	for (const [index, order] of renyiOrders.entries()) {
		const epsilon = prices[index]! + Math.log1p(-1 / order) - Math.log(delta * order) / (order - 1);
		if (epsilon < best.epsilon) best = {epsilon: Math.max(0, epsilon), order};
	}
	return best;
}
