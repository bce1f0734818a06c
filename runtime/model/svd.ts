/**
The singular value decomposition of a product of two thin matrices, by one-sided Jacobi rotations (Hestenes, 1958) in double.
The product itself, `[out, in]`, is never formed.
*/

/** `left[k] sigma[k] right[k]` summed over k is the product; sigma descending, vectors of unit length where sigma is above 0. */
export type Svd = {
	readonly left: readonly Float64Array[];
	readonly sigma: readonly number[];
	readonly right: readonly Float64Array[];
};

const sweepsMax = 60;
const orthogonalEnough = 1e-14;

/** The decomposition of `sum_k left[k] right[k]^T`, left columns of length out, right ones of length in; as many terms as columns. */
export function svdOfProduct(left: readonly Float64Array[], right: readonly Float64Array[]): Svd {
	// L = U S V^T, so L R^T = U (S V^T R^T): only the second factor, of few rows, is left to decompose.
	const outer = orthogonalise(left);
	const middle = outer.sigma.map((sigma, row) => combined(right, outer.rotation[row]!, sigma));
	const inner = orthogonalise(middle);
	const order = inner.sigma.map((_, index) => index).toSorted((a, b) => inner.sigma[b]! - inner.sigma[a]! || a - b);
	return {
		left: order.map(index => combined(outer.unit, inner.rotation[index]!, 1)),
		sigma: order.map(index => inner.sigma[index]!),
		right: order.map(index => inner.unit[index]!),
	};
}

/** `scale sum_k weights[k] vectors[k]`. */
function combined(vectors: readonly Float64Array[], weights: Float64Array, scale: number): Float64Array {
	const sum = new Float64Array(vectors[0]!.length);
	for (const [index, vector] of vectors.entries()) {
		const weight = scale * weights[index]!;
		for (let place = 0; place < sum.length; place++) sum[place]! += weight * vector[place]!;
	}
	return sum;
}

/** `columns = unit diag(sigma) rotation^T`: `rotation[k]` is the k-th column of the orthogonal matrix the columns were turned by. */
function orthogonalise(columns: readonly Float64Array[]) {
	const turned = columns.map(column => column.slice());
	const rotation = turned.map((_, index) => Float64Array.from(turned, (_column, row) => (row === index ? 1 : 0)));
	for (let sweep = 0, isDone = false; sweep < sweepsMax && !isDone; sweep++) isDone = sweepOnce(turned, rotation);
	const sigma = turned.map(column => Math.sqrt(dot(column, column)));
	// What is rounding beside the largest is nothing: its direction means nothing either.
	const floor = Math.max(0, ...sigma) * 1e-13;
	const clean = sigma.map(value => (value > floor ? value : 0));
	const unit = turned.map((column, index) => column.map(value => (clean[index]! > 0 ? value / clean[index]! : 0)));
	return {unit, sigma: clean, rotation};
}

/** Turns every pair of columns once; true when all were orthogonal already. */
function sweepOnce(columns: readonly Float64Array[], rotation: readonly Float64Array[]): boolean {
	let isDone = true;
	for (let p = 0; p < columns.length; p++) {
		for (let q = p + 1; q < columns.length; q++) {
			const [x, y] = [columns[p]!, columns[q]!];
			const [alpha, beta, gamma] = [dot(x, x), dot(y, y), dot(x, y)];
			if (gamma === 0 || Math.abs(gamma) <= orthogonalEnough * Math.sqrt(alpha * beta)) continue;
			isDone = false;
			const zeta = (beta - alpha) / (2 * gamma);
			const tangent = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.hypot(1, zeta));
			const cosine = 1 / Math.hypot(1, tangent);
			turn(x, y, cosine, cosine * tangent);
			turn(rotation[p]!, rotation[q]!, cosine, cosine * tangent);
		}
	}
	return isDone;
}

function turn(x: Float64Array, y: Float64Array, cosine: number, sine: number): void {
	for (let place = 0; place < x.length; place++) {
		const [a, b] = [x[place]!, y[place]!];
		x[place] = cosine * a - sine * b;
		y[place] = sine * a + cosine * b;
	}
}

function dot(x: Float64Array, y: Float64Array): number {
	let sum = 0;
	for (let place = 0; place < x.length; place++) sum += x[place]! * y[place]!;
	return sum;
}
