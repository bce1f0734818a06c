/**
Who may import what: words (protocols), decisions (actors), data (scenarios), the world (runtime).
A rule's comment completes the sentence "importing x is banned, use ...". The house test runs these.
*/
const rooms = (...names) => `^runtime/(${names.join('|')})(/|[.]ts$)`;
const npm = name => `^(node_modules/)?(@types/)?${name}(/|$)`;

/** Files of `room` may import the other rooms named, themselves, and what lies below everything. */
const room = (name, allowed, comment) => ({
	name: `runtime-${name}`,
	comment,
	severity: 'error',
	from: {path: rooms(name)},
	to: {path: '^(runtime|scenarios)/', pathNot: rooms(name, 'random', ...allowed)},
});

/** Files of these rooms may import any room but those above them. */
const below = (names, above, comment) => ({
	name: `runtime-${names[0]}-stays-below`,
	comment,
	severity: 'error',
	from: {path: rooms(...names)},
	to: {path: rooms(...above)},
});

const only = (name, packages, pathNot, comment) => ({
	name: `only-${name}`,
	comment,
	severity: 'error',
	from: {pathNot: ['^test/', ...pathNot]},
	to: {path: packages},
});

module.exports = {
	forbidden: [
		{
			name: 'no-cycles',
			comment: 'a third file that both import',
			severity: 'error',
			from: {},
			to: {circular: true},
		},
		{
			name: 'no-unresolvable',
			comment: 'a module that exists, with its .ts ending',
			severity: 'error',
			from: {},
			to: {couldNotResolve: true},
		},
		{
			name: 'nobody-imports-test',
			comment: 'code outside test/',
			severity: 'error',
			from: {pathNot: '^test/'},
			to: {path: '^test/'},
		},
		{
			name: 'no-development-packages',
			comment: 'a package of `dependencies`',
			severity: 'error',
			from: {pathNot: '^test/'},
			to: {dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'], pathNot: npm('@types/.+')},
		},
		{
			name: 'protocols-import-nothing-of-ours',
			comment: 'protocols only',
			severity: 'error',
			from: {path: '^protocols/'},
			to: {path: '^(actors|runtime|scenarios)/'},
		},
		{
			name: 'actors-are-pure',
			comment: 'protocols and xstate only',
			severity: 'error',
			from: {path: '^actors/'},
			to: {pathNot: ['^(actors|protocols)/', npm('xstate')]},
		},
		{
			name: 'scenarios-are-data',
			comment: 'protocols only',
			severity: 'error',
			from: {path: '^scenarios/'},
			to: {pathNot: '^(scenarios|protocols)/'},
		},
		room('tensor', [], 'protocols only, tensor is the lowest room'),
		room('model', ['tensor'], 'tensor, which lies below model'),
		room('weights', ['tensor', 'model'], 'tensor and model, which lie below weights'),
		room('loader', [], 'packages only, the loader runs before everything'),
		room(
			'compute',
			['loader', 'tensor', 'model', 'weights', 'data'],
			'tensor, model and weights, which lie below compute',
		),
		room('sim', ['model', 'compute'], 'model and compute, whose work it costs'),
		room('setup', [], 'protocols only, setup runs before everything'),
		room('bus', ['setup'], 'protocols and setup only'),
		room('trace', [], 'protocols only, trace lies below host'),
		room('report', ['trace', 'units'], 'trace and units only'),
		room('dashboard', ['trace'], 'trace only'),
		below(['host'], ['simulate', 'replay', 'attach', 'run', 'cli', 'report', 'dashboard'], 'a room below host'),
		below(['simulate', 'replay', 'attach'], ['run', 'cli'], 'a room below run'),
		below(['run'], ['cli'], 'a room below cli'),
		only('tensorflow', npm('@tensorflow'), ['^runtime/tensor/'], 'runtime/tensor'),
		only('nats', npm('(nats|@nats-io|nkeys[.]js)'), ['^runtime/bus/'], 'runtime/bus'),
		only('tsx', npm('(tsx|esbuild)'), ['^runtime/loader/'], 'runtime/loader'),
		only('msgpackr', npm('msgpackr'), ['^protocols/codec[.]ts$'], 'protocols/codec.ts'),
		{
			name: 'files-are-a-job',
			comment: 'the rooms whose job files are',
			severity: 'error',
			from: {path: ['^protocols/', rooms('tensor', 'model', 'compute', 'sim', 'host', 'simulate', 'random')]},
			to: {path: '^(node:)?fs(/promises)?$', dependencyTypes: ['core']},
		},
	],
	options: {
		doNotFollow: {path: 'node_modules'},
		exclude: {path: '^test/golden/'},
		tsPreCompilationDeps: true,
		tsConfig: {fileName: 'tsconfig.json'},
		enhancedResolveOptions: {exportsFields: ['exports'], conditionNames: ['import', 'node', 'types', 'default']},
	},
};
