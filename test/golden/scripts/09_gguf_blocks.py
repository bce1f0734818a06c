"""A GGUF file with one tensor of every block format and what the gguf package's numpy code decodes them to.

Run: python 09_gguf_blocks.py (gguf 0.19.0, numpy, safetensors). Writes ../gguf/{blocks.gguf,blocks.safetensors,names.json}.
The blocks are random bytes with finite scales, so that every bit of every field counts.
"""
import json, os
import numpy as np
import gguf
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize
from safetensors.numpy import save_file

OUT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', 'gguf'))
os.makedirs(OUT, exist_ok=True)
rng = np.random.default_rng(20240709)
ROWS, COLUMNS = 3, 512
# byte offsets of the f16 fields inside a block: scales that must be finite
F16_FIELDS = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q4_K: [0, 2], T.Q6_K: [208]}


def random_blocks(kind):
    values, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (ROWS * COLUMNS // values, size), dtype=np.uint8)
    for at in F16_FIELDS[kind]:
        scales = rng.normal(0, 0.05, len(blocks)).astype(np.float16)
        scales[0] = np.float16(6e-8)  # a subnormal scale
        blocks[:, at:at + 2] = scales.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(ROWS, -1)


writer = gguf.GGUFWriter(os.path.join(OUT, 'blocks.gguf'), 'llama')
writer.add_string('test.text', 'naïve — 日本語')
writer.add_array('test.numbers', [1, 2, 3])
expected = {}
for kind in F16_FIELDS:
    raw = random_blocks(kind)
    name = kind.name.lower()
    writer.add_tensor(name, raw, raw_dtype=kind)
    expected[name] = dequantize(raw, kind).astype(np.float32)
    assert expected[name].shape == (ROWS, COLUMNS), expected[name].shape
plain = rng.normal(0, 1, (ROWS, COLUMNS)).astype(np.float32)
writer.add_tensor('f32', plain)
writer.add_tensor('f16', plain.astype(np.float16))
bf16 = gguf.quants.quantize(plain, T.BF16)
writer.add_tensor('bf16', bf16, raw_dtype=T.BF16)
expected |= {'f32': plain, 'f16': plain.astype(np.float16).astype(np.float32), 'bf16': dequantize(bf16, T.BF16)}
# every half-precision bit pattern that is a number: their count and sum of squares are enough to check a table
halves = np.arange(65536, dtype=np.uint32).astype(np.uint16).view(np.float16)
halves = halves[np.isfinite(halves)]
sums = {'halves_f64_sum_of_squares': float(np.sum(halves.astype(np.float64) ** 2)), 'halves': int(halves.size)}
writer.write_header_to_file(); writer.write_kv_data_to_file(); writer.write_tensors_to_file(); writer.close()
save_file(expected, os.path.join(OUT, 'blocks.safetensors'))

HF = {
    'gpt2': (gguf.MODEL_ARCH.GPT2, ['transformer.wte', 'transformer.wpe', 'transformer.ln_f', 'lm_head'],
             ['ln_1', 'attn.c_attn', 'attn.c_proj', 'ln_2', 'mlp.c_fc', 'mlp.c_proj'], 'transformer.h.{}.'),
    'llama': (gguf.MODEL_ARCH.LLAMA, ['model.embed_tokens', 'model.norm', 'lm_head'],
              ['input_layernorm', 'self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj', 'self_attn.o_proj',
               'post_attention_layernorm', 'mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj'], 'model.layers.{}.'),
}
HF['qwen2'] = (gguf.MODEL_ARCH.QWEN2, *HF['llama'][1:])
names = {}
for model, (arch, outer, inner, stem) in HF.items():
    table = gguf.get_tensor_name_map(arch, 2)
    names[model] = {n: table.get_name(n) for n in outer + [stem.format(b) + n for b in (0, 1) for n in inner]}
    assert all(names[model].values()), names[model]
with open(os.path.join(OUT, 'names.json'), 'w') as f:
    json.dump({'gguf': '0.19.0', **sums, 'names': names}, f, indent=1); f.write('\n')
