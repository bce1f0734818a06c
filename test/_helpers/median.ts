/**
The middle of some numbers.
*/

/** The median; of an even count the mean of the two in the middle. */
export function medianOf(numbers: readonly number[]): number {
	const sorted = [...numbers].sort((a, b) => a - b);
	const last = sorted.length - 1;
	return (sorted[Math.floor(last / 2)]! + sorted[Math.ceil(last / 2)]!) / 2;
}
