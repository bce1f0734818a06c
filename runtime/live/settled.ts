/**
Waits in real time until nothing is left to do at once: for whoever lets another time pass.
*/

/** Resolves when every promise that could go on has gone on. */
export const settled = (): Promise<void> => new Promise(resolve => setImmediate(resolve));
