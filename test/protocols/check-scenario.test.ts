import test from 'ava';
import {checkScenario, setPath} from '../../protocols/check-scenario.ts';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {openScenario, shippedScenarios} from '../../runtime/cli/scenario-files.ts';

const least = {name: 'a', data: {kind: 'restaurants'}};

test('a name and data are enough, everything else has its default', t => {
	t.like(checkScenario(least), {
		seed: 1,
		cut: 6,
		clients: 3,
		mainServer: true,
		lora: {rank: 4, alpha: 32, targets: ['q', 'v'], dropout: 0.1},
		training: {steps: 100, stepsPerRound: 10, learningRate: 2e-4, optimizer: {kind: 'adamw', weightDecay: 0.01}},
		update: {kind: 'parallel'},
		closing: {kind: 'all'},
		aggregation: {kind: 'fedavg'},
		wire: {activations: 'f32', gradients: 'f32', adapters: 'f32'},
	});
	t.is(checkScenario(least).training.serverLearningRate, undefined);
});

test('a checked scenario is checked to itself', t => {
	const checked = checkScenario(least);
	t.deepEqual(checkScenario(structuredClone(checked)), checked);
});

const wrong: [what: string, file: unknown, says: RegExp][] = [
	['a misspelt key', {...least, lora: {rnk: 4}}, /`lora\.rnk`.*did you mean `rank`\?/],
	['a key that is like none', {...least, lora: {zzzzzz: 4}}, /`lora\.zzzzzz`.*known here: rank, ranks, alpha/],
	['a missing section', {name: 'a'}, /expected the key `data`/],
	['a rank of 0', {...least, lora: {rank: 0}}, /`lora\.rank`.*>= 1.*got 0/],
	['a text for a number', {...least, clients: 'three'}, /`clients`.*integer.*got "three"/],
	[
		'a kind that does not exist',
		{...least, update: {kind: 'parallell'}},
		/`update\.?.*one of parallel, sequential.*parallell/,
	],
	['a wire format that does not exist', {...least, wire: {gradients: 'f8'}}, /`wire\.gradients`.*f32, bf16, f16, i8/],
	[
		'a negative Dirichlet alpha',
		{name: 'a', data: {kind: 'restaurants', partition: {kind: 'dirichlet', alpha: -1}}},
		/`data\.partition\.alpha`.*> 0.*got -1/,
	],
	['a quorum over the clients', {...least, closing: {kind: 'quorum', count: 4}}, /`closing\.count`.*3 clients.*got 4/],
	['a quorum of nothing', {...least, closing: {kind: 'quorum'}}, /`closing`.*either count or fraction/],
	['data without its path', {name: 'a', data: {kind: 'csv'}}, /`data\.path`.*needs a path/],
	['a name with spaces', {...least, name: 'A b'}, /`name`.*got "A b"/],
	['no object', 5, /expected an object/],
];
for (const [what, file, says] of wrong) {
	test(`${what} is refused with its path and what is allowed`, t => {
		t.throws(() => checkScenario(file), {code: 'scenario-invalid', message: says});
	});
}

test('an assignment sets numbers, words and whole sections, and makes the sections it needs', t => {
	const file = {name: 'a', data: {kind: 'restaurants'}} as ScenarioFile;
	for (const text of ['training.steps=20', 'model=my-model', 'data.partition={"kind":"length"}']) setPath(file, text);
	t.like(checkScenario(file), {training: {steps: 20}, model: 'my-model', data: {partition: {kind: 'length'}}});
	t.throws(() => setPath(file, 'training.steps'), {code: 'usage', message: /path=value.*training\.steps=20/});
	t.throws(() => setPath(file, '__proto__.polluted=1'), {code: 'usage'});
	t.is(({} as {polluted?: number}).polluted, undefined);
});

test('every shipped scenario is right and says what it is', async t => {
	const names = await shippedScenarios();
	t.true(names.length >= 7);
	for (const name of names) {
		const scenario = await openScenario(name);
		t.is(scenario.name, name);
		t.not(scenario.description, '');
	}
});
