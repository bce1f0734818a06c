/**
How fast the simulated machines and their links are: named profiles with the source of each number, drawn for each client from
keyed random streams. Pure.

edge-lab: a Jetson Orin Nano 8 GB (1,024 CUDA cores at 625 MHz, two operations a cycle: 1.28e12 FLOPs/s in f32 by NVIDIA's data
sheet) of which a third is reached, on Wi-Fi with 20 Mbit/s up, 100 Mbit/s down and 10 ms; the servers are an A100 (19.5e12
FLOPs/s in f32 by its data sheet, a third reached) on 1 Gbit/s and 1 ms. The third is an assumption, as usual for f32 training.
lognormal-0.6: those speeds times exp(0.6 z), z standard normal, for computation and, drawn apart, for the link: the spread that
FedScale (Lai et al., ICML 2022) reports for phones.
two-speed: every fifth client (20 %) ten times slower in computing.
pareto-1: each pass waits in addition for a Pareto(shape 1, scale 100 ms) time of at most 30 s: the heavy tail of shared clusters.
diurnal: in each hour of its day a client is here with a chance that falls from 0.8 at midnight, when the run begins, to 0.2 at
noon: the swing of 4 to 1 within a day that Bonawitz et al. report of phones (MLSys 2019). It says goodbye when it leaves.
flaky: in each round a client drops out with a chance of 5 % and is back ten seconds later; Bonawitz et al. saw 6 to 10 %.
trace:<csv>: who was here at which share of edge-lab's speed, by time, as a file says.
ideal: no time passes at all.
*/
import type {FleetProfile, Timeline} from '../../protocols/fleet.ts';
import {randomStream} from '../random.ts';

/** A machine and its link. Bandwidths count the encoded frame; `Number.POSITIVE_INFINITY` takes no time. */
export type Device = {
	readonly flopsPerSecond: number;
	/** Added to each pass, ms. */
	readonly overheadMs: number;
	readonly upMbps: number;
	readonly downMbps: number;
	/** One way, ms. */
	readonly latencyMs: number;
	/** Scale of a Pareto(1) wait before each pass, ms, at most 30 s; 0 = none. */
	readonly paretoMs: number;
	/** Its share of that speed over time; default all of it. */
	readonly timeline?: Timeline | undefined;
};

export const idealDevice: Device = {
	flopsPerSecond: Number.POSITIVE_INFINITY,
	overheadMs: 0,
	upMbps: Number.POSITIVE_INFINITY,
	downMbps: Number.POSITIVE_INFINITY,
	latencyMs: 0,
	paretoMs: 0,
};

const jetson: Device = {
	flopsPerSecond: 1.28e12 / 3,
	overheadMs: 5,
	upMbps: 20,
	downMbps: 100,
	latencyMs: 10,
	paretoMs: 0,
};

const server: Device = {
	flopsPerSecond: 19.5e12 / 3,
	overheadMs: 1,
	upMbps: 1000,
	downMbps: 1000,
	latencyMs: 1,
	paretoMs: 0,
};

/** The device of the client at a place of the fleet; the same for the same seed, whoever else takes part. */
export function clientDevice(profile: FleetProfile, seed: number, index: number): Device {
	if (profile === 'ideal') return idealDevice;
	if (profile === 'lognormal-0.6') return scattered(seed, index);
	if (profile === 'pareto-1') return {...jetson, paretoMs: 100};
	if (profile === 'two-speed' && index % 5 === 4) return {...jetson, flopsPerSecond: jetson.flopsPerSecond / 10};
	return jetson;
}

export const serverDevice = (profile: FleetProfile): Device => (profile === 'ideal' ? idealDevice : server);

function scattered(seed: number, index: number): Device {
	const stream = randomStream(seed, index, 'device');
	const [speed, link] = [Math.exp(0.6 * stream.normal()), Math.exp(0.6 * stream.normal())];
	return {
		...jetson,
		flopsPerSecond: jetson.flopsPerSecond * speed,
		upMbps: jetson.upMbps * link,
		downMbps: jetson.downMbps * link,
	};
}
