/**
A process for each actor of a run: started together, opened together, and ended together in every case.
*/
import type {Opened} from '../compute/thread.ts';
import {ActorProcess, type Preparation, threadsOf} from './actor-process.ts';
import {LastingProcess} from './lasting-process.ts';
import {rolesOf} from './plan.ts';
import type {ActorRole, OpenActor} from './running-actor.ts';

export type ProcessesOptions = Omit<Preparation, 'kind' | 'id'> & {
	/** Variables that the library reads when it loads. */
	readonly environment: Readonly<Record<string, string>>;
	readonly onNotice: (text: string) => void;
};

export type Processes = {
	readonly openActor: OpenActor;
	/** Rows seen so far in all processes that were longer than `data.tokensMax`. */
	readonly rowsCut: () => number;
	/** What the fed server's process opened; all are alike. */
	readonly opened: Opened;
	/** Process ids by actor. */
	readonly pids: () => Record<string, number | undefined>;
	close(): Promise<void>;
};

/** Starts them all and waits until each has opened its part of the model and its rows; when one cannot, all are ended. */
export async function openProcesses({environment, onNotice, ...preparation}: ProcessesOptions): Promise<Processes> {
	const {clients} = preparation.scenario;
	const processes = rolesOf(preparation.scenario).map(role => {
		const threads = {TF_NUM_INTRAOP_THREADS: String(threadsOf(role.kind, clients))};
		const options = {environment: {...threads, ...environment}, onNotice};
		const isLasting = preparation.durable !== undefined && role.kind !== 'evaluator';
		return isLasting ? new LastingProcess(role, options) : new ActorProcess(role, options);
	});
	const close = async () => {
		await Promise.all(processes.map(process => process.close()));
	};
	try {
		const all = await Promise.all(processes.map(process => process.prepare({...preparation, ...roleOf(process)})));
		return {
			openActor: request => processes.find(({id}) => id === request.id)!.open(request),
			rowsCut: () => processes.reduce((total, {rowsCut}) => total + rowsCut, 0),
			opened: all[0]!,
			pids: () => Object.fromEntries(processes.map(({id, pid}) => [id, pid])),
			close,
		};
	} catch (error) {
		await close();
		throw error;
	}
}

const roleOf = ({kind, id}: ActorRole) => ({kind, id});
