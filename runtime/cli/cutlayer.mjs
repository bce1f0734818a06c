#!/usr/bin/env node
/**
The command: registers TypeScript, then hands over.
*/
await import('../loader/register.mjs');
const {main} = await import('./main.ts');
await main(process.argv);
