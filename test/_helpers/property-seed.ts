/**
Makes fast-check draw the same cases on every run, so that a test that passed passes again. With CUTLAYER_TESTS=long the
seed is drawn anew, or given by CUTLAYER_SEED, and a failure prints it. Loaded by AVA before each test file.
*/
import fc from 'fast-check';

const fixedSeed = 20_240_700;
const asked = process.env.CUTLAYER_SEED;

if (asked || process.env.CUTLAYER_TESTS !== 'long') fc.configureGlobal({seed: Number(asked ?? fixedSeed)});
