import {copyFile, readdir, readFile, truncate, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import {CutlayerError} from '../../protocols/errors.ts';
import {f32View, i32View, type NamedTensors, tensorOf} from '../../protocols/tensor.ts';
import {openSafetensors, readSafetensors, writeSafetensors} from '../../runtime/weights/safetensors.ts';
import {golden, temporaryFolder} from './folder.ts';

const invalid = (message: RegExp) => ({instanceOf: CutlayerError, code: 'weights-invalid', message});

/** Passes over an expected refusal, and no other error. */
function refused(error: unknown): undefined {
	if (!(error instanceof CutlayerError)) throw error;
}

/** A file with this header text and this many bytes of data. */
async function writeRaw(
	path: string,
	header: string,
	dataBytes: number,
	length = Buffer.byteLength(header),
): Promise<void> {
	const prefix = Buffer.alloc(8);
	prefix.writeBigUInt64LE(BigInt(length));
	await writeFile(path, Buffer.concat([prefix, Buffer.from(header), Buffer.alloc(dataBytes)]));
}

test('a batch file of integers reads as written by another implementation', async t => {
	const {tensors} = await readSafetensors(golden('tiny-gpt2/batch.safetensors'));
	t.deepEqual(tensors.input_ids?.shape, [3, 24]);
	t.is(
		i32View(tensors.attention_mask!).reduce((sum, value) => sum + value, 0),
		24 + 8 + 24,
	);
	t.is(i32View(tensors.labels!).filter(label => label !== -100).length, 40);
});

test('what is written reads back byte for byte, with its metadata', async t => {
	const folder = await temporaryFolder(t);
	const path = join(folder, 'x.safetensors');
	const tensors: NamedTensors = {
		b: tensorOf(Float32Array.of(1.5, -0, 3e38), [3]),
		a: tensorOf(Int32Array.of(-1, 2), [2, 1]),
		h: {dtype: 'bf16', shape: [1, 2], bytes: Uint8Array.of(0x80, 0x3f, 0x00, 0xc0)},
		f: {dtype: 'f16', shape: [2], bytes: Uint8Array.of(0x00, 0x3c, 0x00, 0xc0)},
		empty: tensorOf(new Float32Array(0), [0, 4]),
		scalar: tensorOf(Float32Array.of(7), []),
	};
	await writeSafetensors(path, tensors, {format: 'pt', note: 'é'});
	const read = await readSafetensors(path);
	t.deepEqual(read.tensors, {...tensors});
	t.deepEqual(read.metadata, {format: 'pt', note: 'é'});
	t.deepEqual(await readdir(folder), ['x.safetensors']);
	const file = await openSafetensors(path);
	t.deepEqual([...(await file.readF32('h'))], [1, -2]);
	t.deepEqual([...(await file.readF32('f'))], [1, -2]);
	await t.throwsAsync(file.readF32('a'), invalid(/dtype I32; expected F32/));
	await t.throwsAsync(file.read('zzz'), invalid(/no tensor `zzz`/));
	await file.close();
});

test('a write that fails leaves the old file and no temporary one', async t => {
	const folder = await temporaryFolder(t);
	await t.throwsAsync(writeSafetensors(join(folder, 'none', 'x.safetensors'), {}), {
		instanceOf: CutlayerError,
		code: 'disk',
	});
	const path = join(folder, 'x.safetensors');
	await writeSafetensors(path, {a: tensorOf(Float32Array.of(1), [1])});
	const before = await readFile(path);
	await t.throwsAsync(writeSafetensors(path, {a: {dtype: 'i8', shape: [1, 1], bytes: new Uint8Array(5)}}));
	t.deepEqual(await readFile(path), before);
	t.deepEqual(await readdir(folder), ['x.safetensors']);
});

test('64-bit integers narrow when they fit and are refused when not', async t => {
	const path = join(await temporaryFolder(t), 'x.safetensors');
	const header = '{"a":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}}';
	const write = (values: bigint[]) => {
		const prefix = Buffer.alloc(8);
		prefix.writeBigUInt64LE(BigInt(header.length));
		return writeFile(
			path,
			Buffer.concat([prefix, Buffer.from(header), Buffer.from(BigInt64Array.from(values).buffer)]),
		);
	};
	await write([-5n, 2_147_483_647n]);
	t.deepEqual([...i32View((await readSafetensors(path)).tensors.a!)], [-5, 2_147_483_647]);
	await write([0n, 2_147_483_648n]);
	await t.throwsAsync(readSafetensors(path), invalid(/beyond 32 bits/));
});

test('each lie of a header is refused in a sentence', async t => {
	const path = join(await temporaryFolder(t), 'x.safetensors');
	const entry = (from: number, to: number, shape = '[2]', dtype = 'F32') =>
		`{"dtype":"${dtype}","shape":${shape},"data_offsets":[${from},${to}]}`;
	const cases: [string, number, RegExp, number?][] = [
		['{}', 0, /says its header has 99999 bytes, but the file has 10/, 99_999],
		['{]', 0, /header that is not JSON/],
		['[1]', 0, /not a JSON object/],
		['{"__metadata__":{"a":1}}', 0, /__metadata__/],
		[`{"a":${entry(0, 8, '[2]', 'F8_E4M3')}}`, 8, /dtype F8_E4M3; supported are F32/],
		[`{"a":${entry(0, 8, '[2]', 'constructor')}}`, 8, /dtype constructor/],
		[`{"a":${entry(0, 8, '[-2]')}}`, 8, /whole numbers/],
		[`{"a":${entry(0, 8, '[2.5]')}}`, 8, /whole numbers/],
		['{"a":{"dtype":"F32","shape":[2]}}', 8, /whole numbers/],
		['{"a":null}', 8, /dtype undefined/],
		[`{"a":${entry(0, 8, '[3]')}}`, 8, /8 bytes, but F32 of shape \[3\] needs 12/],
		[`{"a":${entry(8, 0, '[0]')}}`, 8, /-8 bytes/],
		[`{"a":${entry(0, 8)}}`, 7, /up to byte \d+, but the file has \d+/],
		[`{"a":${entry(0, 4e12, '[1000000000000]')}}`, 8, /up to byte/],
		[`{"a":${entry(0, 8)},"b":${entry(4, 12)}}`, 12, /`b` overlap/],
		[`{"a":${entry(0, 8)},"b":${entry(12, 20)}}`, 20, /4 bytes unused before tensor `b`/],
		[`{"a":${entry(0, 8)}}`, 9, /1 bytes after its last tensor/],
	];
	for (const [header, dataBytes, message, length] of cases) {
		await writeRaw(path, header, dataBytes, length);
		await t.throwsAsync(openSafetensors(path), invalid(message), header);
	}
	await writeFile(path, 'short');
	await t.throwsAsync(openSafetensors(path), invalid(/too few for a safetensors header/));
	await t.throwsAsync(openSafetensors(join(path, 'none')), invalid(/Cannot open/));
});

test('a torn file is refused wherever it is cut', async t => {
	const path = join(await temporaryFolder(t), 'x.safetensors');
	const source = golden('tiny-llama/lora.safetensors');
	const {length} = await readFile(source);
	for (const keep of [0, 7, 8, 20, 1000, 1528, 1529, 9000, length - 1]) {
		await copyFile(source, path);
		await truncate(path, keep);
		await t.throwsAsync(readSafetensors(path), invalid(/./), `cut at ${keep}`);
	}
});

test('a file with any one header byte changed reads the same values or is refused', async t => {
	const path = join(await temporaryFolder(t), 'x.safetensors');
	const bytes = await readFile(golden('tiny-llama/lora.safetensors'));
	const headerEnd = 8 + Number(bytes.readBigUInt64LE());
	const {tensors: original} = await readSafetensors(golden('tiny-llama/lora.safetensors'));
	const property = fc.asyncProperty(fc.nat(headerEnd - 1), fc.integer({min: 1, max: 255}), async (at, change) => {
		const mutated = Buffer.from(bytes);
		mutated[at]! ^= change;
		await writeFile(path, mutated);
		const file = await openSafetensors(path).catch(refused);
		for (const [name, {shape, bytes: expected}] of file ? Object.entries(original) : []) {
			const values = await file!.readF32(name).catch(refused);
			if (!values) continue;
			const isSame =
				Buffer.from(values.buffer).equals(expected) && String(file!.entries.get(name)?.shape) === String(shape);
			if (!isSame) throw new Error(`${name} reads differently`);
		}
		await file?.close();
	});
	await fc.assert(property, {numRuns: 400});
	t.pass();
});

test('f32 values of any bits survive writing and reading', async t => {
	const path = join(await temporaryFolder(t), 'x.safetensors');
	await fc.assert(
		fc.asyncProperty(fc.float32Array({maxLength: 64}), async values => {
			await writeSafetensors(path, {a: tensorOf(values, [values.length])});
			const read = f32View((await readSafetensors(path)).tensors.a!);
			return read.every((value, index) => Object.is(value, values[index]));
		}),
		{numRuns: 50},
	);
	t.pass();
});
