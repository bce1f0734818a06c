/**
What every command says of itself, and what a mistake on the command line is answered with.
*/
import test from 'ava';
import {callCutlayer} from '../_helpers/call-cutlayer.ts';

/** The commands a help text lists, without `help` itself. */
const commandsIn = (help: string): string[] =>
	[...help.slice(help.indexOf('Commands:')).matchAll(/^ {2}([a-z]+)/gm)]
		.map(match => match[1]!)
		.filter(name => name !== 'help');

test.serial('every command shows examples of itself with --help', async t => {
	const {stdout} = await callCutlayer(['--help']);
	const commands = commandsIn(stdout).map(name => [name]);
	t.true(commands.length >= 8, stdout);
	for (const sub of commandsIn((await callCutlayer(['trace', '--help'])).stdout)) commands.push(['trace', sub]);
	t.true(commands.some(([, sub]) => sub === 'diff'));
	for (const command of commands) {
		const {code, stdout: help, stderr} = await callCutlayer([...command, '--help']);
		t.is(code, 0, command.join(' '));
		t.is(stderr, '');
		const examples = help.slice(help.indexOf('\nExamples:\n'));
		t.regex(examples, new RegExp(`\\n {2}\\$ cutlayer ${command.join(' ')}\\b`), command.join(' '));
	}
});

const mistakes: readonly [args: string[], says: RegExp][] = [
	[['frobnicate'], /unknown command 'frobnicate'/],
	[['rnu'], /unknown command 'rnu'\n\(Did you mean run\?\)/],
	[['run', 'quickstart', '--stepz', '4'], /unknown option '--stepz'\n\(Did you mean --steps\?\)/],
	[
		['run', 'quickstart', '--steps', 'abc'],
		/'--steps <n>' argument 'abc' is invalid. expected a whole number from 0 on/,
	],
	[['run', 'quickstart', '--seed', '-1'], /'--seed <n>' argument '-1' is invalid. expected a whole number from 0 on/],
	[['run', 'quickstart', '--steps', '1.5'], /argument '1.5' is invalid/],
	[['run', 'quickstart', '--bus', 'pigeon'], /argument 'pigeon' is invalid. Allowed choices are nats, memory/],
	[['run', 'quickstart', '--out'], /option '--out <folder>' argument missing/],
	[['run', 'quickstart', 'e2e'], /too many arguments/],
	[['report'], /missing required argument 'run'/],
	[['trace', 'frobnicate'], /unknown command 'frobnicate'/],
	[['replay', 'runs/none', '--to', 'x'], /expected the number of a record/],
];

for (const [args, says] of mistakes) {
	test.serial(`cutlayer ${args.join(' ')} is wrong use, and says where help is`, async t => {
		const {code, stdout, stderr} = await callCutlayer(args);
		t.is(code, 2);
		t.is(stdout, '');
		t.regex(stderr, says);
		t.regex(stderr, /--help shows what is possible/);
	});
}
