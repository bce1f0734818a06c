/**
What a changed scenario means for each actor: its arithmetic's specification and the values of its machine's input. Pure.
*/
import type {Scenario} from '../../protocols/scenario.ts';
import type {ActorSpec} from '../compute/spec.ts';
import type {ModelConfig} from '../model/config.ts';
import * as plan from './plan.ts';
import type {ActorRole} from './running-actor.ts';

export function specOf({kind, id}: ActorRole, scenario: Scenario, config: ModelConfig): ActorSpec {
	if (kind === 'client') return plan.clientSpec(scenario, config, id);
	if (kind === 'main-server') return plan.mainServerSpec(scenario, config);
	return kind === 'fed-server' ? plan.fedServerSpec(scenario, config) : plan.evaluatorSpec(scenario, config);
}

/** The values of an actor's input that are others under the scenario after. */
export function inputChanges(
	role: ActorRole,
	before: Scenario,
	after: Scenario,
	model: plan.RunModel,
): Readonly<Record<string, unknown>> {
	const [old, fresh] = [inputOf(role, before, model), inputOf(role, after, model)];
	const changed = Object.entries(fresh).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(old[key]));
	return Object.fromEntries(changed);
}

function inputOf({kind, id}: ActorRole, scenario: Scenario, model: plan.RunModel): Record<string, unknown> {
	const agreement = plan.agreementOf(scenario, model, kind === 'client' ? id : undefined);
	// Its shard and its life are what they are.
	if (kind === 'client') return plan.clientInput(scenario, agreement, {clientId: id, samples: 0, incarnation: 0});
	if (kind === 'main-server') return plan.mainServerInput(scenario, agreement, 0);
	return kind === 'fed-server' ? plan.fedServerInput(scenario, agreement, 0) : plan.evaluatorInput(scenario, id);
}
