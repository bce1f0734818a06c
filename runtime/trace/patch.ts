/**
What changed between two plain values, as operations of RFC 6902 (JSON Patch): objects key by key, everything else whole.
Pure; values that are the same object are not looked into, so that a small change of a big context costs little.
*/

/** `replace` and `add` set a member, `remove` takes it away; `path` is a JSON pointer, empty for the whole value. */
export type Operation =
	| {readonly op: 'add' | 'replace'; readonly path: string; readonly value: unknown}
	| {readonly op: 'remove'; readonly path: string};

type PlainObject = Readonly<Record<string, unknown>>;

const isPlainObject = (value: unknown): value is PlainObject =>
	typeof value === 'object' && value !== null && !Array.isArray(value);

/** An actor may be called `constructor`. */
const own = (object: PlainObject, key: string): unknown => (Object.hasOwn(object, key) ? object[key] : undefined);

/** The operations that make `after` of `before`; a member that is `undefined` counts as absent. */
export function patchOf(before: unknown, after: unknown): Operation[] {
	const operations: Operation[] = [];
	collect(before, after, '', operations);
	return operations;
}

function collect(before: unknown, after: unknown, path: string, operations: Operation[]): void {
	if (before === after) return;
	if (!isPlainObject(before) || !isPlainObject(after)) {
		if (!isSame(before, after)) operations.push({op: 'replace', path, value: after});
		return;
	}
	for (const key of Object.keys(after)) {
		const [old, value] = [own(before, key), own(after, key)];
		if (old === value || value === undefined) continue;
		const at = `${path}/${escaped(key)}`;
		if (old === undefined) operations.push({op: 'add', path: at, value});
		else collect(old, value, at, operations);
	}
	for (const key of Object.keys(before)) {
		if (own(before, key) !== undefined && own(after, key) === undefined)
			operations.push({op: 'remove', path: `${path}/${escaped(key)}`});
	}
}

/** The value after the operations; `value` itself is not changed. */
export function applyPatch(value: unknown, operations: readonly Operation[]): unknown {
	return operations.reduce(
		(current, operation) => applied(current, operation.path.split('/').slice(1).map(unescaped), operation),
		value,
	);
}

function applied(value: unknown, [key, ...rest]: readonly string[], operation: Operation): unknown {
	if (key === undefined) return operation.op === 'remove' ? undefined : operation.value;
	const object = isPlainObject(value) ? value : {};
	const next = applied(own(object, key), rest, operation);
	if (next !== undefined) return {...object, [key]: next};
	const {[key]: _, ...others} = object;
	return others;
}

/** Whether two plain values say the same; NaN equals itself, a member that is `undefined` counts as absent. */
export function isSame(a: unknown, b: unknown): boolean {
	if (Object.is(a, b)) return true;
	if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
	if (Array.isArray(a) || Array.isArray(b)) {
		return (
			Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, index) => isSame(item, b[index]))
		);
	}
	const [left, right] = [a as PlainObject, b as PlainObject];
	return (
		Object.keys(left).every(key => isSame(own(left, key), own(right, key))) &&
		Object.keys(right).every(key => own(right, key) === undefined || own(left, key) !== undefined)
	);
}

const escaped = (key: string) => (/[~/]/.test(key) ? key.replaceAll('~', '~0').replaceAll('/', '~1') : key);
const unescaped = (key: string) => key.replaceAll('~1', '/').replaceAll('~0', '~');
