/**
The key of noise for privacy in real time. It stays in its process and is written nowhere: a run's seed is known to all its actors,
and noise that others can draw again protects nothing.
*/
import {randomBytes} from 'node:crypto';
import type {NoiseKey} from '../compute/spec.ts';

/** 128 random bits. */
export const freshNoiseKey = (): NoiseKey => randomBytes(16).toString('hex');
