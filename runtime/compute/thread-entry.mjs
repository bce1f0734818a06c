/**
Starts the compute thread: TypeScript is registered again here, because a thread does not inherit it.
*/
import {register} from 'tsx/esm/api';

register();
await import('./thread-main.ts');
