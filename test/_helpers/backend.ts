/**
The native backend for tests and benchmarks: the one that `setup` found or built.
*/
import {resolveBackend} from '../../runtime/setup/resolve.ts';
import {type Backend, openBackend} from '../../runtime/tensor/backend.ts';

let opened: Promise<Backend> | undefined;

/** Native TensorFlow in this process, opened once, with the variables that it reads when it loads. */
export function nativeBackend(): Promise<Backend> {
	opened ??= openNative();
	return opened;
}

/** The same, opened anew, where another backend took its place in between. */
export function openNative(): Promise<Backend> {
	const resolved = resolveBackend('tensorflow');
	for (const [name, value] of Object.entries(resolved.environment)) process.env[name] ??= value;
	return openBackend(resolved);
}
