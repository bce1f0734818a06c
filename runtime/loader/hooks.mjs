/**
The loader hook, run in Node's loader thread: an import of a bundled package goes to its bundle, and TypeScript is always a module,
also in a folder whose package.json does not say so. All else goes on as it would.
*/

/** @type {Record<string, string>} The bundle's URL by what is imported. */
let places = {};

export function initialize(/** @type {Record<string, string>} */ data) {
	places = data;
}

export async function resolve(specifier, context, next) {
	const url = places[specifier];
	if (url !== undefined) return {url, format: 'module', shortCircuit: true};
	const found = await next(specifier, context);
	return new URL(found.url).pathname.endsWith('.ts') ? {...found, format: 'module'} : found;
}
