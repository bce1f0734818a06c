import {mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import {ensureModel, resolveModel} from '../../runtime/setup/model.ts';
import {ignoreProgress, type Progress} from '../../runtime/setup/progress.ts';
import {type HubFile, serveHub} from './hub-server.ts';
import {setEnvironment, temporaryFolder} from './world.ts';

const weights = Buffer.from(Array.from({length: 300_000}, (_, at) => (at * 7919) % 251));
const config: HubFile = {content: Buffer.from('{"model_type": "llama"}'), isSmall: true};
const tokenizer: HubFile = {content: Buffer.from('{}'), isSmall: true};
const small = {'config.json': config, 'tokenizer.json': tokenizer};

async function openHub(t: Parameters<typeof temporaryFolder>[0], files: Record<string, HubFile>) {
	const hub = await serveHub(t, 'org/tiny', files);
	const cache = temporaryFolder(t);
	setEnvironment(t, {CUTLAYER_CACHE: cache, HOME: cache, HF_ENDPOINT: `${hub.url}/`});
	return {...hub, cache, folder: path.join(cache, 'models', 'org--tiny')};
}

test.serial('a model of the hub is downloaded once, at one commit, with progress', async t => {
	const hub = await openHub(t, {...small, 'tokenizer_config.json': tokenizer, 'model.safetensors': {content: weights}});
	t.is(resolveModel('org/tiny'), undefined);
	const seen: Progress[] = [];
	const model = await ensureModel('org/tiny', progress => seen.push(progress));
	t.deepEqual(model, {kind: 'folder', path: hub.folder, from: 'the hub, in the cache'});
	t.deepEqual(readdirSync(hub.folder).sort(), [
		'config.json',
		'model.safetensors',
		'tokenizer.json',
		'tokenizer_config.json',
	]);
	t.deepEqual(readFileSync(path.join(hub.folder, 'model.safetensors')), weights);
	const last = {what: 'Downloading model.safetensors', bytesDone: weights.length, bytesTotal: weights.length};
	t.deepEqual(seen.at(-1), last);
	t.deepEqual(
		hub.requests.filter(({path: at}) => at.includes('/main/')).map(({path: at}) => at),
		['/org/tiny/resolve/main/config.json'],
	);
	const before = hub.requests.length;
	t.deepEqual(await ensureModel('org/tiny', ignoreProgress), model);
	t.is(hub.requests.length, before);
});

test.serial('a broken download goes on where it stopped, wherever that is', async t => {
	await fc.assert(
		fc.asyncProperty(fc.integer({min: 1, max: weights.length - 1}), async holdsAfterBytes => {
			const hub = await openHub(t, {...small, 'model.safetensors': {content: weights, holdsAfterBytes}});
			let writtenBytes = 0;
			await ensureModel('org/tiny', ({what, bytesDone = 0}) => {
				if (what !== 'Downloading model.safetensors' || bytesDone > holdsAfterBytes) return;
				writtenBytes = bytesDone;
				hub.breakOff();
			});
			t.deepEqual(readFileSync(path.join(hub.folder, 'model.safetensors')), weights);
			const gets = hub.requests.filter(({method, path: at}) => method === 'GET' && at === '/storage/model.safetensors');
			t.is(gets.length, 2);
			t.true(writtenBytes > 0);
			t.is(gets[1]?.range, `bytes=${writtenBytes}-`);
		}),
		{numRuns: 5},
	);
});

test.serial('what an earlier process got is used again', async t => {
	const hub = await openHub(t, {...small, 'model.safetensors': {content: weights, sha256: 'ab'.repeat(32)}});
	mkdirSync(`${hub.folder}.part`, {recursive: true});
	writeFileSync(path.join(`${hub.folder}.part`, 'model.safetensors.abababababababab.part'), weights.subarray(0, 1000));
	await t.throwsAsync(ensureModel('org/tiny', ignoreProgress), {message: /to have hash (ab){32}, found/});
	t.is(hub.requests.at(-1)?.range, 'bytes=1000-');
});

test.serial('content with another hash is refused and deleted, large or small', async t => {
	const large = await openHub(t, {...small, 'model.safetensors': {content: weights, sha256: '00'.repeat(32)}});
	await t.throwsAsync(ensureModel('org/tiny', ignoreProgress), {
		code: 'download-failed',
		message: /to have hash 0{64}, found/,
	});
	t.false(readdirSync(`${large.folder}.part`).some(name => name.startsWith('model.safetensors')));
	t.is(resolveModel('org/tiny'), undefined);
});

test.serial('a model in several files is whole when every file of its index is there', async t => {
	const index = {weight_map: {a: 'model-1.safetensors', b: 'model-2.safetensors', c: 'model-1.safetensors'}};
	const hub = await openHub(t, {
		...small,
		'model.safetensors.index.json': {content: Buffer.from(JSON.stringify(index)), isSmall: true},
		'model-1.safetensors': {content: weights},
		'model-2.safetensors': {content: weights.subarray(5)},
	});
	await ensureModel('org/tiny', ignoreProgress);
	t.deepEqual(readFileSync(path.join(hub.folder, 'model-2.safetensors')), weights.subarray(5));
});

test.serial('an index that points outside the folder is refused', async t => {
	const index = Buffer.from(JSON.stringify({weight_map: {a: '../../evil.safetensors'}}));
	await openHub(t, {...small, 'model.safetensors.index.json': {content: index, isSmall: true}});
	await t.throwsAsync(ensureModel('org/tiny', ignoreProgress), {code: 'weights-invalid', message: /evil/});
});

test.serial(
	'an unknown model, one without safetensors, a gated one and a silent hub each get their own words',
	async t => {
		const hub = await openHub(t, small);
		const failing = (name: string) => ensureModel(name, ignoreProgress);
		await t.throwsAsync(failing('org/absent'), {
			message: /^Expected config.json in the model org\/absent .*check the name/,
		});
		await t.throwsAsync(failing('org/tiny'), {
			message: /^Expected model.safetensors.index.json in the model org\/tiny/,
		});
		await t.throwsAsync(failing('gated/model'), {message: /status 401: set HF_TOKEN/});
		process.env.HF_ENDPOINT = 'http://127.0.0.1:9';
		await t.throwsAsync(failing('org/tiny'), {code: 'download-failed', message: /^Could not download .*HF_ENDPOINT/});
		process.env.HF_HUB_OFFLINE = '1';
		const before = hub.requests.length;
		await t.throwsAsync(failing('org/tiny'), {message: /HF_HUB_OFFLINE=1 forbids the network/});
		t.is(hub.requests.length, before);
	},
);

test.serial("paths and Hugging Face's cache are found without a network", t => {
	const home = temporaryFolder(t);
	setEnvironment(t, {CUTLAYER_CACHE: path.join(home, 'cache'), HOME: home, HF_ENDPOINT: 'http://127.0.0.1:9'});
	const write = (...names: string[]) => {
		mkdirSync(path.join(home, ...names.slice(0, -1)), {recursive: true});
		writeFileSync(path.join(home, ...names), '{}');
		return path.join(home, ...names.slice(0, -1));
	};
	const gguf = path.join(write('a', 'model.gguf'), 'model.gguf');
	t.deepEqual(resolveModel(gguf), {kind: 'gguf', path: gguf, from: 'its path'});
	write('folder', 'config.json');
	t.throws(() => resolveModel(path.join(home, 'folder')), {code: 'model-unsupported'});
	const folder = write('folder', 'model.safetensors');
	t.deepEqual(resolveModel(folder), {kind: 'folder', path: folder, from: 'its path'});

	const repository = ['.cache', 'huggingface', 'hub', 'models--org--tiny'];
	write(...repository, 'snapshots', 'old', 'config.json');
	t.is(resolveModel('org/tiny'), undefined);
	write(...repository, 'snapshots', 'new', 'config.json');
	const snapshot = write(...repository, 'snapshots', 'new', 'model.safetensors');
	t.deepEqual(resolveModel('org/tiny'), {kind: 'folder', path: snapshot, from: "Hugging Face's cache"});
	t.is(resolveModel('smollm2-135m'), undefined);
	for (const wrong of ['nonsense', './absent', '../a/b', 'a/b/c', ''])
		t.throws(() => resolveModel(wrong), {code: 'model-unsupported'});
});
