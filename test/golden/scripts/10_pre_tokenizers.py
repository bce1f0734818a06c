"""Ids of the awkward strings with GPT-2's vocabulary behind the pre-tokenizers of Llama 3, Qwen2 and SmolLM.

Run: python 10_pre_tokenizers.py <folder with encoder.json and vocab.bpe> (tokenizers, Rust). Writes ../gpt2-bpe/pre_tokenizers.json.
The vocabulary is only a carrier: what is tested is how texts are split.
"""
import json, os, sys
import tokenizers
from tokenizers import Regex, Tokenizer, models, pre_tokenizers as pre
from awkward import STR

folder = sys.argv[1]
LLAMA = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = LLAMA.replace(r'\p{N}{1,3}', r'\p{N}')
bytes_only = pre.ByteLevel(add_prefix_space=False, use_regex=False)
STEPS = {
    'gpt-2': [pre.ByteLevel(add_prefix_space=False)],
    'smollm': [pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)],
    'llama-bpe': [pre.Split(Regex(LLAMA), 'isolated'), bytes_only],
    'qwen2': [pre.Split(Regex(QWEN), 'isolated'), bytes_only],
}
vocab = json.load(open(os.path.join(folder, 'encoder.json')))
merges = [tuple(l.split(' ')) for l in open(os.path.join(folder, 'vocab.bpe'), encoding='utf-8').read().split('\n')[1:] if l]
texts = [*STR, 'IT\u017f \u017fo', 'next\u0085line \u0085 x', 'a\r\n\r\n  b', '  \n\n  c', "x'LL y'Ve", '12345678 ½⅓ Ⅻ', '\t\tTabbed', '_under', '¿qué?']
out = {}
for name, steps in STEPS.items():
    t = Tokenizer(models.BPE(vocab, merges, ignore_merges=name == 'llama-bpe'))
    t.pre_tokenizer = pre.Sequence(steps)
    out[name] = [t.encode(x).ids for x in texts]
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'gpt2-bpe', 'pre_tokenizers.json')
with open(path, 'w') as f:
    json.dump({'tokenizers': tokenizers.__version__, 'texts': texts, **out}, f, ensure_ascii=True); f.write('\n')
