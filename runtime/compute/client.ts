/**
A client's arithmetic: the head forward to the cut, back from it, or whole steps where it holds the whole model. Each pass is that of
a cohort of one.
*/
import type {PassResult} from '../../protocols/ports.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import type {SplitModel} from '../model/split.ts';
import {type Applied, adopt, backward, type ClientState, forgetAll, forward, localStep} from './client-cohort.ts';
import {restoreStash, savedStash} from './client-stash.ts';
import {tailStep} from './client-tail.ts';
import type {Passes} from './passes.ts';
import type {ActorSpec} from './spec.ts';
import {type SavedTrainer, Trainer} from './trainer.ts';
import {packedAdapter} from './wire.ts';

type Spec = Extract<ActorSpec, {kind: 'client'}>;

export class ClientCompute implements Passes {
	readonly state: ClientState;

	/** `tail`: the model's end, where the client holds it. */
	constructor(
		id: string,
		spec: Spec,
		{model, tail}: {readonly model: SplitModel; readonly tail?: SplitModel | undefined},
		initial: NamedTensors,
	) {
		const trainer = new Trainer(spec, model.config, initial);
		this.state = {id, spec, model, tail, trainer, kept: new Map(), stashed: new Map(), tailGradients: undefined};
	}

	forward(input: unknown, tensors: NamedTensors): PassResult {
		return forward([{state: this.state, input, tensors}])[0]!;
	}

	tailStep(input: unknown, tensors: NamedTensors): PassResult {
		return tailStep({state: this.state, input, tensors});
	}

	backward(input: unknown, tensors: NamedTensors): PassResult {
		return backward([{state: this.state, input, tensors}])[0]!;
	}

	localStep(input: unknown, tensors: NamedTensors): PassResult {
		return localStep([{state: this.state, input, tensors}])[0]!;
	}

	/** The last gradient of the adapter once more, for a step that the others took without this client. */
	reuse(input: unknown): PassResult {
		return {output: this.state.trainer.trainAgain(input as Applied), tensors: {}};
	}

	readAdapter(_input: unknown, tensors: NamedTensors): PassResult {
		const {trainer, spec} = this.state;
		adopt(this.state, tensors);
		return {output: {}, tensors: packedAdapter(trainer.read(), spec.wireAdapter)};
	}

	save(): PassResult {
		const {output, tensors} = this.state.trainer.save();
		return {output, tensors: {...tensors, ...savedStash(this.state)}};
	}

	restore(input: unknown, tensors: NamedTensors): PassResult {
		this.state.trainer.restore(input as SavedTrainer, tensors);
		restoreStash(this.state, tensors);
		return {output: {}, tensors: {}};
	}

	close(): PassResult {
		forgetAll(this.state);
		return {output: {}, tensors: {}};
	}
}
