/**
Reads the metadata of a GGUF file into a model's shape. Whatever would change the arithmetic and is not supported is refused by name.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import type {ModelConfig} from '../model/config.ts';
import type {GgufFile, GgufMetadata} from './gguf.ts';
import {checkedConfig} from './hf-config.ts';

/**
The shape of a GPT-2, Llama or Qwen2 model. The vocabulary and whether the head is tied are read from the tensors.
Throws `model-unsupported` for another architecture or a feature that is not computed here, `weights-invalid` for missing sizes.
*/
export function configFromGguf({metadata, entries}: Pick<GgufFile, 'metadata' | 'entries'>): ModelConfig {
	const architecture = metadata['general.architecture'];
	if (architecture !== 'gpt2' && architecture !== 'llama' && architecture !== 'qwen2') {
		throw new CutlayerError(
			'model-unsupported',
			`The GGUF architecture ${JSON.stringify(architecture)} is not supported. Supported are gpt2, llama and qwen2`,
		);
	}
	const read = readerOf(metadata, architecture);
	if (entries.has('rope_freqs.weight')) throw unsupported('rope_freqs.weight', 'present', 'no rope scaling');
	const scaling = metadata[`${architecture}.rope.scaling.type`] ?? 'none';
	if (scaling !== 'none') throw unsupported(`${architecture}.rope.scaling.type`, scaling, 'none');
	if (read('expert_count', 0) !== 0) throw unsupported(`${architecture}.expert_count`, read('expert_count'), '0');
	const hidden = read('embedding_length');
	const heads = read('attention.head_count');
	const headDim = read('attention.key_length', Math.floor(hidden / heads));
	const isGpt2 = architecture === 'gpt2';
	const rotated = read('rope.dimension_count', headDim);
	if (!isGpt2 && rotated !== headDim)
		throw unsupported(`${architecture}.rope.dimension_count`, rotated, String(headDim));
	return checkedConfig({
		family: isGpt2 ? 'gpt2' : 'llama',
		blocks: read('block_count'),
		hidden,
		heads,
		kvHeads: read('attention.head_count_kv', heads),
		headDim,
		ffn: read('feed_forward_length'),
		vocabulary: entries.get('token_embd.weight')?.shape[0] ?? 0,
		context: read('context_length'),
		normEps: read(isGpt2 ? 'attention.layer_norm_epsilon' : 'attention.layer_norm_rms_epsilon'),
		ropeTheta: isGpt2 ? 0 : read('rope.freq_base', 10_000),
		isHeadTied: !entries.has('output.weight'),
		hasQkvBias: architecture !== 'llama',
	});
}

function readerOf(metadata: GgufMetadata, architecture: string) {
	return (key: string, fallback?: number): number => {
		const value = metadata[`${architecture}.${key}`] ?? fallback;
		if (typeof value === 'number' && Number.isFinite(value) && (value > 0 || value === fallback)) return value;
		throw new CutlayerError(
			'weights-invalid',
			`Expected \`${architecture}.${key}\` in the GGUF file to be a positive number, got ${JSON.stringify(value)}; convert the model again`,
		);
	};
}

const unsupported = (key: string, found: unknown, expected: string) =>
	new CutlayerError(
		'model-unsupported',
		`The GGUF file has \`${key}\` = ${String(found)}, which is not supported; expected ${expected}, choose another file`,
	);
