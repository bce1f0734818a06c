/**
The loader hook, run in Node's loader thread: an import of a bundled package goes to its bundle, all else goes on as it would.
*/

/** @type {Record<string, string>} The bundle's URL by what is imported. */
let places = {};

export function initialize(/** @type {Record<string, string>} */ data) {
	places = data;
}

export function resolve(specifier, context, next) {
	const url = places[specifier];
	return url === undefined ? next(specifier, context) : {url, format: 'module', shortCircuit: true};
}
