/**
Starts the compute thread: TypeScript is registered again here, because a thread does not inherit it.
*/
await import('../loader/register.mjs');
await import('./thread-main.ts');
