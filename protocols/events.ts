/**
What enters a machine and what leaves it: messages with their tensors replaced by handles. Plain JSON, nothing here acts.
*/
import type {Body, Verb} from './messages.ts';
import type {SenderKind} from './subjects.ts';
import type {TensorHandle} from './tensor.ts';

/** A body as a machine sees it. */
export type HandledBody<V extends Verb> =
	Body<V> extends {tensors: unknown} ? Omit<Body<V>, 'tensors'> & {readonly tensors: TensorHandle} : Body<V>;

/** A message that arrived: its verb is the event's type. */
export type Incoming<V extends Verb> = {
	[K in V]: {readonly type: K; readonly from: string; readonly fromKind: SenderKind; readonly body: HandledBody<K>};
}[V];

/** A message to send; without `to` it goes to all. The host keeps the tensors: sending does not give the handle away. */
export type Outgoing = {
	[V in Verb]: {readonly verb: V; readonly to?: string; readonly body: HandledBody<V>};
}[Verb];

/** What the host tells any machine. */
export type HostEvent =
	/** The machine was restored from a snapshot: waiting states re-enter, which repeats what they last sent. */
	| {readonly type: 'host.restored'}
	/** Stop at the next step boundary. */
	| {readonly type: 'host.pause'}
	| {readonly type: 'host.resume'}
	/** To the fed server: the round under way is the last one. */
	| {readonly type: 'host.finish'}
	/** From now on these values of its input are others: a policy, a time-out. */
	| {readonly type: 'host.changed'; readonly input: Readonly<Record<string, unknown>>}
	/** A pass threw; the text is for the user. */
	| {readonly type: 'pass.failed'; readonly pass: string; readonly error: string};

/** Work for the compute port: `tensors` are handles by name; inside the pass a tensor is called `<name>.<tensor>`. */
export type PassInput = {
	readonly [field: string]: unknown;
	readonly tensors?: Readonly<Record<string, TensorHandle>>;
};
