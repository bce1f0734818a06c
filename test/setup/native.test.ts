import {mkdirSync, writeFileSync} from 'node:fs';
import {hostname} from 'node:os';
import path from 'node:path';
import test from 'ava';
import {proveBinding} from '../../runtime/setup/binding.ts';
import {brokerVersion, findBroker} from '../../runtime/setup/find-broker.ts';
import {inspectMachine} from '../../runtime/setup/inspect.ts';
import {defaultModel, resolveModel} from '../../runtime/setup/model.ts';
import {verifyPackagedModel} from '../../runtime/setup/packaged-model.ts';
import {resolveBackend} from '../../runtime/setup/resolve.ts';
import {ensureSetup} from '../../runtime/setup/setup.ts';
import {setEnvironment, temporaryFolder} from './world.ts';

const abi = `node-${process.versions.modules}`;

function write(file: string, content: unknown = ''): string {
	mkdirSync(path.dirname(file), {recursive: true});
	writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content), {mode: 0o755});
	return file;
}

/** A cache as a finished setup leaves it, of empty files. */
function finishedCache(t: Parameters<typeof temporaryFolder>[0]): string {
	const cache = temporaryFolder(t);
	const native = path.join(cache, 'tensorflow-cpu-2.21.0');
	write(path.join(native, 'source.json'), {from: 'tensorflow-cpu 2.21.0 (x.whl)', cudaFolders: []});
	write(path.join(native, 'bindings', abi, 'binding.json'), {tensorflowVersion: '2.21.0', compiler: 'g++'});
	write(path.join(cache, 'bin', 'nats-server'));
	write(path.join(cache, 'models', 'smollm2-135m', 'SmolLM2-135M-Instruct.Q4_1.gguf'));
	setEnvironment(t, {CUTLAYER_CACHE: cache, HOME: cache, PATH: ''});
	return cache;
}

/** The tests below that name a wheel are of Linux on x64, where a cache holds that one. */
const isLinuxX64 = process.platform === 'linux' && process.arch === 'x64';

test.serial('what setup made ready on this machine computes, answers and is byte for byte what was meant', async t => {
	const backend = resolveBackend();
	if (backend.bindingPath) t.regex(await proveBinding(backend.bindingPath, backend.environment), /^2\./);
	else t.regex(backend.reason, /cutlayer setup/);
	const broker = findBroker();
	t.regex((broker && (await brokerVersion(broker.binary))) ?? 'none: run `cutlayer setup`', /^v2\./);
	const model = resolveModel(defaultModel);
	t.truthy(model, 'run `cutlayer setup`');
	await t.notThrowsAsync(verifyPackagedModel(model!.path));
});

test.serial('a damaged model is told by its hash', async t => {
	const file = write(path.join(temporaryFolder(t), 'model.gguf'), 'GGUF');
	await t.throwsAsync(verifyPackagedModel(file), {
		code: 'download-failed',
		message: /delete it and run `cutlayer setup`/,
	});
});

test.serial("a binding that does not load is told with the loader's words", async t => {
	const file = write(path.join(temporaryFolder(t), 'tfjs_binding.node'), 'not a library');
	await t.throwsAsync(proveBinding(file, {}), {
		code: 'backend-missing',
		message: /does not compute here: Error: .*(file too short|invalid ELF|not a mach-o)/i,
	});
});

test.serial('a finished setup is found without a program, a lock or a network', async t => {
	if (!isLinuxX64) return t.pass();
	const cache = finishedCache(t);
	write(path.join(cache, 'setup.lock'), {pid: process.pid, host: hostname()}); // held for ever: asking for it would hang
	const items = await ensureSetup();
	t.deepEqual(
		items.map(({part, state, path: place}) => [part, state, path.relative(cache, place ?? '')]),
		[
			['backend', 'present', `tensorflow-cpu-2.21.0/bindings/${abi}/tfjs_binding.node`],
			['broker', 'present', 'bin/nats-server'],
			['model', 'present', 'models/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf'],
		],
	);
});

test.serial('without Python every missing part says so and what happens instead', async t => {
	const cache = temporaryFolder(t);
	setEnvironment(t, {CUTLAYER_CACHE: cache, HOME: cache, PATH: ''});
	const items = await ensureSetup();
	t.deepEqual(
		items.map(({part, state, isRequired}) => [part, state, isRequired]),
		[
			['backend', 'missing', false],
			['broker', 'missing', false],
			['model', 'missing', true],
		],
	);
	for (const {text} of items) t.regex(text, /python3 on PATH, found none: install .* Without it, runs /s);
	t.deepEqual(
		(await ensureSetup({wants: {backend: 'tensorflow', broker: false, model: false}})).map(
			({isRequired}) => isRequired,
		),
		[true],
	);
	t.deepEqual(await ensureSetup({wants: {backend: 'wasm', broker: false, model: false}}), []);
});

test.serial('without a compiler the libraries stay and the compiler is asked for', async t => {
	if (!isLinuxX64) return t.pass();
	const cache = temporaryFolder(t);
	write(path.join(cache, 'tensorflow-cpu-2.21.0', 'source.json'), {from: 'a wheel', cudaFolders: []});
	setEnvironment(t, {CUTLAYER_CACHE: cache, HOME: cache, PATH: ''});
	const [item] = await ensureSetup({wants: {broker: false, model: false}});
	t.is(item?.state, 'missing');
	t.regex(item?.text ?? '', /^Expected a C\+\+ compiler on PATH, found none of g\+\+, clang\+\+, c\+\+: install one/);
});

test.serial('the backend is native where it is set up, and what was asked for elsewhere', t => {
	const cache = finishedCache(t);
	process.env.TF_ENABLE_ONEDNN_OPTS = '1';
	if (isLinuxX64) {
		const native = resolveBackend();
		t.is(native.bindingPath, path.join(cache, 'tensorflow-cpu-2.21.0', 'bindings', abi, 'tfjs_binding.node'));
		t.is(native.environment.TF_ENABLE_ONEDNN_OPTS, '1');
		t.is(native.reason, 'TensorFlow 2.21.0 from tensorflow-cpu 2.21.0 (x.whl)');
		t.deepEqual(resolveBackend('tensorflow'), native);
	}
	t.is(resolveBackend('wasm').kind, 'wasm');
	t.is(resolveBackend('cpu').kind, 'cpu');
});

test.serial('a library of the user is taken from TENSORFLOW_LIB, with its headers, and compiled for apart', t => {
	finishedCache(t);
	const folder = temporaryFolder(t);
	process.env.TENSORFLOW_LIB = folder;
	t.throws(() => resolveBackend(), {
		code: 'backend-missing',
		message: /^Expected libtensorflow_cc or libtensorflow .* found none/,
	});
	write(path.join(folder, 'lib', 'libtensorflow.so.2'));
	t.throws(() => resolveBackend(), {code: 'backend-missing', message: /include\/tensorflow\/c\/c_api.h/});
	write(path.join(folder, 'include', 'tensorflow', 'c', 'c_api.h'));
	t.is(resolveBackend().kind, 'wasm');
	t.throws(() => resolveBackend('tensorflow'), {
		code: 'backend-missing',
		message: /no binding for TENSORFLOW_LIB yet: run `cutlayer setup`/,
	});
});

test.serial('CUDA libraries come first on LD_LIBRARY_PATH', t => {
	if (!isLinuxX64) return t.pass();
	const cache = temporaryFolder(t);
	const native = path.join(cache, 'tensorflow-cuda-2.21.0');
	write(path.join(native, 'source.json'), {
		from: 'tensorflow 2.21.0',
		cudaFolders: ['cuda/nvidia/cublas/lib', 'cuda/nvidia/cudnn/lib'],
	});
	write(path.join(native, 'bindings', abi, 'binding.json'), {tensorflowVersion: '2.21.0', compiler: 'g++'});
	setEnvironment(t, {CUTLAYER_CACHE: cache, HOME: cache, LD_LIBRARY_PATH: '/mine'});
	const libraries = ['cublas', 'cudnn'].map(name => path.join(native, 'cuda', 'nvidia', name, 'lib'));
	t.is(resolveBackend().environment.LD_LIBRARY_PATH, [...libraries, '/mine'].join(':'));
});

test.serial('an inspection names what is used, and what is missing with its remedy', async t => {
	const cache = temporaryFolder(t);
	setEnvironment(t, {CUTLAYER_CACHE: cache, HOME: cache, PATH: ''});
	const without = await inspectMachine({backend: 'wasm'});
	t.false(without.canStart);
	t.deepEqual(without.problems, [
		{text: 'No nats-server was found, runs use the memory bus: run `cutlayer setup`', stopsRuns: false},
		{text: 'The model smollm2-135m is not on this machine: run `cutlayer setup --model smollm2-135m`', stopsRuns: true},
	]);
	write(path.join(cache, 'models', 'smollm2-135m', 'SmolLM2-135M-Instruct.Q4_1.gguf'));
	write(path.join(cache, 'bin', 'nats-server'), '#!/bin/sh\necho nats-server: v2.15.1\n');
	const withAll = await inspectMachine({backend: 'wasm'});
	t.true(withAll.canStart);
	t.deepEqual(withAll.problems, []);
	t.is(withAll.broker?.version, 'v2.15.1');
	t.is(withAll.backend?.kind, 'wasm');
	t.true(withAll.machine.cores > 0 && withAll.machine.memoryBytes > 1e8 && withAll.cache.freeBytes > 0);
});
