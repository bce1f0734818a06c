/**
The loader hook, run in Node's loader thread: an import of a bundled package goes to its bundle, and TypeScript is always a module,
also in a folder whose package.json does not say so. A function is not named once more each time it is made: it would be most of what a
small one costs. All else goes on as it would.
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

const naming = '__name=(target,value)=>__defProp(target,"name",{value,configurable:true})';
const unnamed = '__name=target=>target'.padEnd(naming.length);

/** What stands behind keeps its place, so that the positions of errors stay right. */
export async function load(url, context, next) {
	const loaded = await next(url, context);
	if (loaded.source == null || !new URL(url).pathname.endsWith('.ts')) return loaded;
	return {...loaded, source: loaded.source.toString().replace(naming, unnamed)};
}
