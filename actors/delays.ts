/**
Delays that are numbers whatever the context holds. Pure.
*/

/**
The delay itself. The pure `transition()` of xstate first builds an actor without input: there a delay that is undefined would
fire at once and for ever, so it becomes one that never comes.
*/
export const delayOf = (delayMs: number | undefined): number => delayMs ?? Number.MAX_SAFE_INTEGER;
