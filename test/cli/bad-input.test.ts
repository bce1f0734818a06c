/**
What a run is refused for before it begins: each time an exit code, one sentence that names what is wrong, and a disk on which
nothing has changed.
*/
import {chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {f32View, type NamedTensors, tensorOf} from '../../protocols/tensor.ts';
import {readSafetensors, writeSafetensors} from '../../runtime/weights/safetensors.ts';
import {callCutlayer} from '../_helpers/call-cutlayer.ts';
import {goldenModel, inFolder, makeTinyModel, tinyScenario} from '../_helpers/tiny-model.ts';

type Place = {
	readonly folder: string;
	/** Path of a file in the folder. */
	at(name: string): string;
};

type Case = {
	/** Makes one thing wrong; answers the arguments of `cutlayer run`, by default those of the tiny scenario. */
	readonly make?: (place: Place) => Promise<readonly string[] | undefined> | readonly string[] | undefined;
	readonly says: RegExp;
	/** Default 2, wrong use. */
	readonly code?: 1 | 2;
	/** Default memory: what does not need a broker starts none. */
	readonly bus?: 'nats' | 'memory';
};

const scenarioOf = (folder: string) => tinyScenario(folder, {training: {steps: 2, stepsPerRound: 1}});
const listed = (folder: string) => readdirSync(folder, {recursive: true}).sort();

/** Runs one case in a folder with a whole model and scenario, where `run` must not appear. */
async function refuse(t: ExecutionContext, {make, says, code = 2, bus = 'memory'}: Case): Promise<void> {
	t.timeout(300_000);
	await inFolder(async folder => {
		makeTinyModel(folder);
		const at = (name: string) => path.join(folder, name);
		writeFileSync(at('tiny.json'), JSON.stringify(scenarioOf(folder)));
		const args = (await make?.({folder, at})) ?? [at('tiny.json')];
		const before = listed(folder);
		const out = args.includes('--out') || args.includes('--resume') ? [] : ['--out', at('run')];
		const ended = await callCutlayer(['run', ...args, '--backend', 'wasm', '--bus', bus, ...out]);
		t.is(ended.code, code, ended.stderr);
		t.is(ended.stdout, '');
		const lines = ended.stderr.trimEnd().split('\n');
		const sentence = lines.at(-1)!;
		t.regex(sentence, says);
		t.regex(sentence, /^cutlayer: /);
		t.notRegex(ended.stderr, /^\s+at /m, 'no stack is shown for what a user can mend');
		t.deepEqual(listed(folder), before, 'nothing is left');
	});
}

const check = (title: string, given: Case) => test.serial(title, t => refuse(t, given));

const scenarioFile = (name: string, text: string, says: RegExp): Case => ({
	make: ({at}) => {
		writeFileSync(at(name), text);
		return [at(name)];
	},
	says,
});
const set = (assignment: string, says: RegExp): Case => ({
	make: ({at}) => [at('tiny.json'), '--set', assignment],
	says,
});

check('a scenario file that does not exist is named', {
	make: ({at}) => [at('none.ts')],
	says: /Cannot read the scenario \S+none\.ts: .*(ENOENT|Cannot find)/,
});
check(
	'a scenario file that throws is named with what it threw',
	scenarioFile('boom.ts', "throw new Error('boom');\n", /Cannot read the scenario \S+boom\.ts: boom$/),
);
check(
	'a scenario file without a default export is refused',
	scenarioFile('other.ts', 'export const scenario = {};\n', /other\.ts.*expected an object.*got undefined/),
);
check('a scenario file that is no JSON is refused', scenarioFile('torn.json', '{"name":', /torn\.json: .*JSON/));
check(
	'a scenario file of a kind nobody knows is refused',
	scenarioFile('tiny.yaml', 'name: x\n', /tiny\.yaml: .*yaml/),
);
check('an unknown scenario name is answered with the nearest one', {
	make: () => ['quikstart'],
	says: /No scenario `quikstart`: did you mean `quickstart`\? Shipped are .*e2e/,
});
check('no scenario at all is answered with those there are', {
	make: () => [],
	says: /Expected a scenario: a path or one of .*quickstart/,
});
check(
	'a misspelt key is answered with the nearest one',
	set('lora.rnak=3', /`lora\.rnak` in scenario \S+: unknown key; did you mean `rank`\?/),
);
check(
	'a rank of 0 is refused with its bounds',
	set('lora.rank=0', /`lora\.rank` in .*expected an integer >= 1.*got 0/),
);
check(
	'a cut outside the model is refused with the number of its blocks',
	set('cut=99', /`cut` in .*expected 0 to 4.*got 99; lower the cut/),
);
check(
	'a rank that is no number is refused',
	set('lora.rank=four', /`lora\.rank` in .*expected an integer.*got "?four/),
);
check(
	'--set without a value is refused with an example',
	set('training.steps', /Expected --set path=value, got `training\.steps`; write for example/),
);
check('no steps at all are refused', {
	make: ({at}) => [at('tiny.json'), '--steps', '0'],
	says: /`training\.steps` in .*expected an integer >= 1.*got 0/,
});

check('a model path that is not there is named', {
	...set('model=/no/such/model', /Expected a model folder .*found `\/no\/such\/model`/),
});
const replaceWeights = (place: Place, bytes: Uint8Array) => {
	rmSync(place.at('model.safetensors'));
	writeFileSync(place.at('model.safetensors'), bytes);
	return undefined;
};
const goldenWeights = path.join(goldenModel, 'model.safetensors');

check('torn weights are refused with what is missing', {
	make: place => {
		replaceWeights(place, readFileSync(goldenWeights));
		truncateSync(place.at('model.safetensors'), 100_000);
		return undefined;
	},
	says: /model\.safetensors.*up to byte/,
});
check('a weight file whose header lies about its size is refused', {
	make: place => {
		const bytes = Buffer.from(readFileSync(goldenWeights));
		bytes.writeBigUInt64LE(2n ** 50n);
		return replaceWeights(place, bytes);
	},
	says: /model\.safetensors.*header.*1125899906842624/,
});
check('a weight file that is no such file is refused', {
	make: place => replaceWeights(place, Buffer.from('hello')),
	says: /model\.safetensors/,
});
const changeWeights = (change: (tensors: Record<string, NamedTensors[string]>) => void) => async (place: Place) => {
	const {tensors} = await readSafetensors(goldenWeights);
	const changed = {...tensors};
	change(changed);
	rmSync(place.at('model.safetensors'));
	await writeSafetensors(place.at('model.safetensors'), changed);
	return undefined;
};
check('a weight of another shape is refused with both shapes', {
	make: changeWeights(tensors => {
		tensors['model.layers.1.mlp.up_proj.weight'] = tensorOf(new Float32Array(64 * 161), [161, 64]);
	}),
	says: /`model\.layers\.1\.mlp\.up_proj\.weight` of shape \[161,64\].*asks for \[160,64\]/,
});
check('a weight that is not a number is refused by name and place, and the command ends', {
	make: changeWeights(tensors => {
		const name = 'model.layers.0.mlp.up_proj.weight';
		const values = f32View(tensors[name]!).slice();
		values[77] = Number.NaN;
		tensors[name] = tensorOf(values, tensors[name]!.shape);
	}),
	says: /has NaN in `?model\.layers\.0\.mlp\.up_proj\.weight`? at position 77/,
});
check('an architecture that is not known is refused with those that are', {
	make: ({at}) => {
		const config = JSON.parse(readFileSync(at('config.json'), 'utf8')) as object;
		rmSync(at('config.json'));
		writeFileSync(at('config.json'), JSON.stringify({...config, model_type: 'mamba'}));
		return undefined;
	},
	says: /"mamba" is not supported\. Supported are gpt2, llama/,
});
check('a tokenizer file that is none is refused', {
	make: ({at}) => {
		writeFileSync(at('tokenizer.json'), '{"model":{"type":"Pigeon"}}');
		return undefined;
	},
	says: /tokenizer\.json.*Pigeon/,
});

const csv = (bytes: string | Uint8Array, says: RegExp): Case => ({
	make: ({at}) => {
		writeFileSync(at('rows.csv'), bytes);
		return [at('tiny.json'), '--set', 'data.kind=csv', '--set', `data.path=${at('rows.csv')}`];
	},
	says,
});
check(
	'a CSV file without the columns is refused with those it has',
	csv('a,b\n1,2\n', /rows\.csv has the columns a, b; expected `mr` and `ref`/),
);
check('an empty data file is refused', csv('', /rows\.csv is empty/));
check(
	'a data file that is not UTF-8 is refused with the place',
	csv(Buffer.from([...Buffer.from('mr,ref\nx,'), 0xff, 0xfe, 10]), /rows\.csv.*UTF-8.*\d/),
);
check(
	'a data file of fewer rows than are set apart is refused',
	csv('mr,ref\nx,y\n', /leaves no rows to train on.*lower data\.validationRows/),
);
check('a data file that does not exist is named', {
	make: ({at}) => [at('tiny.json'), '--set', 'data.kind=csv', '--set', `data.path=${at('none.csv')}`],
	says: /none\.csv/,
});

check('an --out that holds a run is refused, and stays as it was', {
	make: ({at}) => {
		mkdirSync(at('old'));
		writeFileSync(at('old/metrics.jsonl'), '');
		return [at('tiny.json'), '--out', at('old')];
	},
	says: /old already holds a run \(its metrics\.jsonl is there\); give another --out, or go on with it by --resume/,
});
check('an --out below a file is refused', {
	make: ({at}) => [at('tiny.json'), '--out', at('tiny.json/run')],
	says: /Cannot make the run folder .*tiny\.json is a file; give another --out/,
	code: 1,
});
check('an --out where nothing can be made is refused', {
	make: ({at}) => [at('tiny.json'), '--out', '/proc/cutlayer-run'],
	says: /Cannot make the run folder \/proc\/cutlayer-run: .*; give another --out/,
	code: 1,
});
check('--resume of a folder that is no run is refused', {
	make: ({folder}) => ['--resume', folder],
	says: /Expected `run` and `scenario` in \S+config\.json, which a run writes there.*; give the folder of a run/,
});
check('--resume of a folder that does not exist is refused', {
	make: ({at}) => ['--resume', at('none')],
	says: /Cannot read the run at .*none.config\.json: .*; is this the folder of a run\?/,
});
check('--resume of a run without a checkpoint is refused', {
	make: ({folder, at}) => {
		mkdirSync(at('old'));
		writeFileSync(at('old/config.json'), JSON.stringify({run: 'old', scenario: scenarioOf(folder)}));
		return ['--resume', at('old')];
	},
	says: /No usable checkpoint in .*old.checkpoints \(none was written\); start the run anew/,
});

check('a broker that nobody reaches at --nats is named', {
	make: ({at}) => [at('tiny.json'), '--nats', 'nats://127.0.0.1:1'],
	says: /127\.0\.0\.1:1\b/,
	code: 1,
	bus: 'nats',
});
check('a --nats that is no address is refused', {
	make: ({at}) => [at('tiny.json'), '--nats', 'http://[::'],
	says: /http:\/\/\[::/,
	code: 1,
	bus: 'nats',
});
check('--nats and --processes beside --bus memory are refused', {
	make: ({at}) => [at('tiny.json'), '--processes'],
	says: /Expected --bus nats with --processes, found --bus memory/,
});
test.serial('a nats-server that dies at its start is named with its last words', async t => {
	const before = process.env.NATS_SERVER_BIN;
	t.teardown(() => {
		if (before === undefined) delete process.env.NATS_SERVER_BIN;
		else process.env.NATS_SERVER_BIN = before;
	});
	await refuse(t, {
		make: ({at}) => {
			writeFileSync(at('nats-server'), '#!/bin/sh\necho boom: no such luck >&2\nexit 3\n');
			chmodSync(at('nats-server'), 0o755);
			process.env.NATS_SERVER_BIN = at('nats-server');
			return undefined;
		},
		says: /Expected \S+nats-server to start, found: it ended with 3, last line: boom: no such luck; run `cutlayer doctor`/,
		code: 1,
		bus: 'nats',
	});
});
