import test from 'ava';

test('the loader leaves out the naming of functions, and errors keep their places', t => {
	const named = () => new Error('here');
	t.is(named.name, '', 'the transform names functions in a way that the loader does not know');
	t.regex(named().stack ?? '', /naming\.test\.ts:4:22/);
	class Named {}
	t.is(Named.name, 'Named');
});
