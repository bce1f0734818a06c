import test from 'ava';
import type {ModelConfig} from '../../runtime/model/config.ts';
import {passFlops, totalOf} from '../../runtime/model/flops.ts';
import type {Projection} from '../../runtime/model/lora.ts';
import {goldenJson} from '../_helpers/golden.ts';
import {gpt2Small} from '../_helpers/gpt2-small.ts';

type Row = {cut: number; client_fwd: number; server_fwd: number; client_fwd_bwd?: number; server_fwd_bwd?: number};
const golden = goldenJson<{T: number; models: Record<string, Record<string, Row[]>>}>('flops/flops.json');

const shared = {context: 1024, normEps: 1e-5, isHeadTied: true};
const configs: Record<string, ModelConfig> = {
	'gpt2-small': gpt2Small,
	'smollm2-135m': {
		...shared,
		family: 'llama',
		blocks: 30,
		hidden: 576,
		heads: 9,
		kvHeads: 3,
		headDim: 64,
		ffn: 1536,
		vocabulary: 49152,
		ropeTheta: 1e5,
		hasQkvBias: false,
	},
};
const targetsOf: Record<string, Projection[] | undefined> = {none: undefined, qv: ['q', 'v'], fused: ['qkv']};

for (const [name, config] of Object.entries(configs)) {
	for (const [kind, targets] of Object.entries(targetsOf)) {
		const rows = golden.models[name]![kind];
		if (!rows) continue;
		test(`FLOPs of ${name} with adapter ${kind} equal an independent count at every cut`, t => {
			const lora = targets && {rank: 4, targets};
			for (const row of rows) {
				const shape = {lengths: [golden.T]};
				const client = passFlops(config, {from: 0, to: row.cut, hasEmbedding: true, hasHead: false}, shape, lora);
				const server = passFlops(
					config,
					{from: row.cut, to: config.blocks, hasEmbedding: false, hasHead: true},
					shape,
					lora,
				);
				t.is(totalOf(client.forward) / golden.T, row.client_fwd, `client forward, cut ${row.cut}`);
				t.is(totalOf(server.forward) / golden.T, row.server_fwd, `server forward, cut ${row.cut}`);
				if (!lora) continue;
				const both = (pass: typeof client) => (totalOf(pass.forward) + totalOf(pass.backward)) / golden.T;
				t.is(both(client), row.client_fwd_bwd!, `client both ways, cut ${row.cut}`);
				t.is(both(server), row.server_fwd_bwd!, `server both ways, cut ${row.cut}`);
			}
		});
	}
}

test('with few targets the LM head and the last MLP cost little, and nothing is counted below the lowest adapter', t => {
	const config = configs['gpt2-small']!;
	const tail = {from: 3, to: 12, hasEmbedding: false, hasHead: true};
	const all = passFlops(config, tail, {lengths: [64, 64]}, {rank: 4, targets: ['q', 'v']});
	const few = passFlops(config, tail, {lengths: [64, 64], targets: 16}, {rank: 4, targets: ['q', 'v']});
	t.is(few.forward.head, all.forward.head / 8);
	t.true(few.forward.blocks < all.forward.blocks);
	const head = {from: 0, to: 1, hasEmbedding: true, hasHead: false};
	t.is(passFlops(config, head, {lengths: [64]}, {rank: 4, targets: ['down']}).backward.blocks, 0);
});
