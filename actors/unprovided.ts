/**
Placeholders for what a host must provide to a machine; using one is a programmer's mistake and says which.
*/
import {fromCallback} from 'xstate';
import type {PassInput} from '../protocols/events.ts';

/** An action the host must provide. */
export const unprovidedAction = (name: string) => (): never => {
	throw new Error(`The machine needs the action \`${name}\`: provide it with machine.provide()`);
};

/** A pass the host must provide. */
export const unprovidedPass = <Event extends {type: string}>(name: string) =>
	fromCallback<Event, PassInput>(() => {
		throw new Error(`The machine needs the pass \`${name}\`: provide it with machine.provide()`);
	});
