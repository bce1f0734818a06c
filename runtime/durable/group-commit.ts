/**
Holds what an actor says until a checkpoint of a state that contains it is durable. While one checkpoint is written more may come:
the next one holds all of it, so that steps share the wait for the disk or the broker. It decides nothing about training.
*/
import type {Frame, PassResult} from '../../protocols/ports.ts';
import type {HeldMessage, Outlet} from '../host/outlet.ts';

export type GroupCommitOptions = {
	/** Whether a checkpoint of this moment can be gone on from. */
	readonly isRepeatable: () => boolean;
	/** Takes the state of this moment and makes it durable; called once at a time. Rejects when it never will. */
	readonly write: () => Promise<void>;
	readonly publish: (frame: Frame) => void;
	readonly passed: (result: PassResult) => void;
	/** All that was held has left. */
	readonly onEmpty: () => void;
	/** Nothing will leave any more. */
	readonly onEnd: (reason: unknown) => void;
};

export class GroupCommit implements Outlet {
	readonly #options: GroupCommitOptions;
	readonly #held: HeldMessage[] = [];
	readonly #frames: Frame[] = [];
	#isWriting = false;
	#isEnded = false;

	constructor(options: GroupCommitOptions) {
		this.#options = options;
	}

	get held(): readonly HeldMessage[] {
		return this.#held;
	}

	get isEmpty(): boolean {
		return this.#isEnded || (this.#held.length === 0 && !this.#isWriting);
	}

	hold(message: HeldMessage, frame: Frame): void {
		this.#held.push(message);
		this.#frames.push(frame);
	}

	passed(result: PassResult): void {
		this.#options.passed(result);
	}

	settled(): void {
		if (this.#isWriting || this.#isEnded || this.#held.length === 0 || !this.#options.isRepeatable()) return;
		this.#isWriting = true;
		void this.#commit();
	}

	/** Nothing that is held leaves any more. */
	end(): void {
		this.#isEnded = true;
	}

	async #commit(): Promise<void> {
		const count = this.#held.length;
		try {
			await this.#options.write();
		} catch (error) {
			this.#isEnded = true;
			this.#options.onEnd(error);
			return;
		}
		this.#isWriting = false;
		if (this.#isEnded) return;
		this.#held.splice(0, count);
		for (const frame of this.#frames.splice(0, count)) this.#options.publish(frame);
		if (this.#held.length > 0) this.settled();
		if (this.isEmpty) this.#options.onEmpty();
	}
}
