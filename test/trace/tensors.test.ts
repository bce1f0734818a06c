import {readdir, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import {tensorOf} from '../../protocols/tensor.ts';
import {digestOf, readTensor, TensorArchive} from '../../runtime/trace/tensors.ts';
import {recordRun, withFolder} from '../_helpers/recorded-run.ts';
import {recordsIn} from '../_helpers/traces.ts';

const tensor = (value: number) => tensorOf(new Float32Array(4).fill(value), [2, 2]);
const onNotice = () => undefined;

const put = (archive: TensorArchive, value: number): string => {
	const digest = digestOf(tensor(value));
	archive.put(digest, tensor(value));
	return digest;
};

const filesIn = async (folder: string) =>
	(await readdir(folder, {recursive: true, withFileTypes: true})).filter(entry => entry.isFile());

test('a trace of level full holds every tensor its records name, each once', t =>
	withFolder(async folder => {
		await recordRun({folder, level: 'full'});
		const digests = new Set<string>();
		for (const record of await recordsIn(folder)) {
			const named = 'tensors' in record ? Object.values(record.tensors ?? {}) : [];
			for (const tensors of named) for (const digest of Object.values(tensors)) digests.add(digest);
		}
		t.true(digests.size > 5);
		const archive = join(folder, 'trace', 'tensors');
		for (const digest of digests) t.is(digestOf((await readTensor(archive, digest))!), digest);
		t.is((await filesIn(archive)).length, new Set([...digests].map(digest => digest.slice(-32))).size);
	}));

test('a full store lets the tensors go that were named least recently', t =>
	withFolder(async folder => {
		const archive = await TensorArchive.open(folder, {bytesMax: 48, onNotice});
		const [one, two, three] = [put(archive, 1), put(archive, 2), put(archive, 3)];
		await archive.close();
		t.is(put(archive, 1), one);
		const four = put(archive, 4);
		await archive.close();
		const there = await Promise.all(
			[one, two, three, four].map(async digest => (await readTensor(folder, digest)) !== undefined),
		);
		t.deepEqual(there, [true, false, true, true]);
		t.is(archive.lost, 0);
	}));

test('tensors that find no room in the queue are counted and nothing waits for them', t =>
	withFolder(async folder => {
		const archive = await TensorArchive.open(folder, {queueBytesMax: 20, onNotice});
		for (let value = 0; value < 5; value++) put(archive, value);
		await archive.close();
		t.is(archive.lost, 4);
	}));

test('a tensor whose bytes were changed is refused', t =>
	withFolder(async folder => {
		const archive = await TensorArchive.open(folder, {onNotice});
		const digest = put(archive, 1);
		await archive.close();
		const [file] = await filesIn(folder);
		await writeFile(join(file!.parentPath, file!.name), new Uint8Array(16));
		await t.throwsAsync(readTensor(folder, digest), {message: /bytes were changed/});
	}));
