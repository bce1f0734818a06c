/**
Registers TypeScript for this thread and a short way to the packages of many small modules. Imported before anything else:
`node --import=./runtime/loader/register.mjs file.ts`.
*/
import {register} from 'node:module';
import {register as registerTypeScript} from 'tsx/esm/api';
import {bundlePackages, bundlesFolder} from './packages.mjs';

registerTypeScript();
register('./hooks.mjs', {parentURL: import.meta.url, data: await bundlePackages(bundlesFolder())});
