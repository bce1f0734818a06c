/**
Loads TensorFlow.js for Node with a native binding that may lie anywhere. Writes nothing in node_modules.
*/
import {createRequire} from 'node:module';
import type * as Tf from '@tensorflow/tfjs';

const require = createRequire(import.meta.url);

/** The package works without a GPU; without one it computes on the CPU. */
const packageName = '@tensorflow/tfjs-node-gpu';

/**
TensorFlow.js on the native library; the binding is the one at `bindingPath`, else the one the package finds beside itself.
Throws what loading throws when there is none or it does not load.
*/
export function loadNativeTensorflow(bindingPath?: string): typeof Tf {
	restoreUtilities();
	if (bindingPath === undefined) return require(packageName) as typeof Tf;
	const finder = finderModule();
	const original = finder.exports;
	finder.exports = {...original, find: () => bindingPath};
	try {
		return require(packageName) as typeof Tf;
	} finally {
		finder.exports = original;
	}
}

/** The loaded module by which the package asks where its binding is. */
function finderModule(): {exports: object} {
	const requireOfPackage = createRequire(require.resolve(packageName));
	requireOfPackage('@mapbox/node-pre-gyp');
	return requireOfPackage.cache[requireOfPackage.resolve('@mapbox/node-pre-gyp')]!;
}

/** The package calls functions of `node:util` that newer versions of Node no longer have. */
function restoreUtilities(): void {
	const utilities = require('node:util') as Record<string, unknown>;
	const {types} = utilities as {types: {isDate(value: unknown): boolean; isRegExp(value: unknown): boolean}};
	const old: Record<string, (value: unknown) => boolean> = {
		isArray: Array.isArray,
		isBoolean: value => typeof value === 'boolean',
		isDate: types.isDate,
		isFunction: value => typeof value === 'function',
		isNull: value => value === null,
		isNullOrUndefined: value => value === null || value === undefined,
		isNumber: value => typeof value === 'number',
		isObject: value => typeof value === 'object' && value !== null,
		isRegExp: types.isRegExp,
		isString: value => typeof value === 'string',
		isUndefined: value => value === undefined,
	};
	for (const [name, is] of Object.entries(old)) utilities[name] ??= is;
}
