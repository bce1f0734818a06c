import {readFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import {fileErrorText} from '../../protocols/errors.ts';

const problemOf = (path: string) =>
	readFile(path).then(
		() => 'none',
		error => fileErrorText(error),
	);

test('a file that cannot be read is explained without the names of system errors', async t => {
	t.is(await problemOf(join(import.meta.dirname, 'absent.csv')), 'there is nothing at this path; correct it');
	t.is(await problemOf(import.meta.dirname), 'it is a folder; name a file in it');
	t.regex(await problemOf(join(import.meta.filename, 'inner')), /a part of the path is a file/);
});

test('any other failure keeps its own words', t => {
	t.is(fileErrorText(new Error('the disk is on fire')), 'the disk is on fire');
});
