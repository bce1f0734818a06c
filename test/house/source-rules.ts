/**
The rules a file keeps by itself: how it opens, how long it is, which names it may not use where.
*/
import ts from 'typescript';
import {banned, type Source} from './sources.ts';

const linesMax = 500;

/** Where an actor's behaviour is decided, time and chance come from outside. */
const timeless = /^(protocols|actors|scenarios|runtime\/(sim|trace|replay|compute))\//;

const inTimeless: Readonly<Record<string, string>> = {
	Date: 'the clock port',
	performance: 'the clock port',
	setTimeout: 'the clock port',
	setInterval: 'the clock port',
	setImmediate: 'the clock port',
	'Math.random': 'a keyed stream of runtime/random.ts',
	randomUUID: 'an id derived from what it names',
};

const actorMakers = /^(runtime\/host(\/|\.ts$)|test\/)/;

/** Every rule that `source` breaks, as sentences. */
export function breaches(source: Source): string[] {
	return [...shape(source), ...names(source)];
}

/** A test file needs no opening: its titles say what it is. */
function shape({file, text}: Source): string[] {
	const found: string[] = [];
	if (!file.endsWith('.test.ts') && !/^(#!.*\n)?\/\*\*/.test(text)) {
		found.push(banned(file, 1, 'a file that does not say what it is', 'an opening comment /** ... */'));
	}
	const lines = text.split('\n').length - 1;
	if (lines > linesMax)
		found.push(banned(file, linesMax + 1, `a file of ${lines} lines`, `files of at most ${linesMax}`));
	return found;
}

function names({file, text}: Source): string[] {
	const tree = ts.createSourceFile(file, text, ts.ScriptTarget.ES2023, true);
	const found: string[] = [];
	const visit = (node: ts.Node): void => {
		const breach = ts.isIdentifier(node) ? breachOf(file, node) : undefined;
		if (breach) {
			const line = tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1;
			found.push(banned(file, line, breach.what, breach.instead));
		}
		ts.forEachChild(node, visit);
	};
	visit(tree);
	return found;
}

function breachOf(file: string, name: ts.Identifier): {what: string; instead: string} | undefined {
	const used = usedName(name);
	if (used === undefined) return undefined;
	const instead = timeless.test(file) ? inTimeless[used] : undefined;
	if (instead) return {what: used, instead};
	if (used === 'createActor' && !actorMakers.test(file))
		return {what: used, instead: 'the host, which makes every actor'};
	if (
		file.startsWith('test/') &&
		file !== 'test/_helpers/optional.ts' &&
		/^test\b.*\.(skip|todo|failing|only)$/.test(used)
	) {
		return {what: used, instead: 'a test that runs and passes'};
	}
	return undefined;
}

/** What an identifier refers to: a global or import by its name, a member as `object.member`; undefined for names being declared. */
function usedName(name: ts.Identifier): string | undefined {
	const {parent} = name;
	if (ts.isPropertyAccessExpression(parent) && parent.name === name) {
		const object = parent.expression.getText();
		return object === 'globalThis' || object === 'crypto' ? name.text : `${object}.${name.text}`;
	}
	if (ts.isImportSpecifier(parent)) return (parent.propertyName ?? parent.name).text;
	const isDeclared = 'name' in parent && parent.name === name && !ts.isShorthandPropertyAssignment(parent);
	return isDeclared ? undefined : name.text;
}
