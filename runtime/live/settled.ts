/**
Waits in real time until nothing is left to do at once: for whoever lets another time pass.
*/

/** Calls between two turns of the event loop. */
const callsMax = 64;

let calls = 0;

/**
Resolves when every promise that could go on has gone on: Node.js calls a tick's callback when no promise is left to go on.
That is some thirty times cheaper than a turn of the event loop, which every 64th call takes so that files, threads and signals
have their turn too.
*/
export const settled = (): Promise<void> =>
	new Promise(resolve => (++calls % callsMax === 0 ? setImmediate(resolve) : process.nextTick(resolve)));
