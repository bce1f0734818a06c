/**
Waits for the end of a run that is watched from elsewhere: it is over, it or its broker is gone, or Ctrl-C.
*/
import {decodeFrame} from '../../protocols/codec.ts';
import {CutlayerError} from '../../protocols/errors.ts';
import {patternOf} from '../../protocols/subjects.ts';
import {watchRun} from '../attach/watch-run.ts';
import type {Access} from './broker-access.ts';

/** Ctrl-C sets exit code 130. Throws `run-failed` when the run is gone. */
export async function untilOver({bus, speaker}: Access, run: string, brokerLeaseMs?: number): Promise<void> {
	let problem = `Run ${run} is gone: it does not answer any more; see its own output`;
	const ending = await new Promise<'over' | 'gone' | 'interrupted'>(resolve => {
		const onGone = (why = problem) => {
			problem = why;
			resolve('gone');
		};
		const stop = watchRun({bus, speaker, run, brokerLeaseMs, onGone});
		const end = (how: 'over' | 'interrupted') => {
			stop();
			resolve(how);
		};
		process.once('SIGINT', () => end('interrupted')).once('SIGTERM', () => end('interrupted'));
		bus.subscribe(patternOf({run, kind: 'fed-server', verb: 'run-finished'}), frame => {
			if (decodeFrame(frame).ok) end('over');
		});
	});
	if (ending === 'gone') throw new CutlayerError('run-failed', problem);
	if (ending === 'interrupted') process.exitCode = 130;
}
