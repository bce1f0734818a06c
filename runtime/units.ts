/**
Numbers as people read them.
*/

/** Bytes with three digits: `1.23 MB`. */
export function bytesText(bytes: number): string {
	const units = ['B', 'kB', 'MB', 'GB', 'TB'];
	let unit = 0;
	while (bytes >= 1000 && unit < units.length - 1) {
		bytes /= 1000;
		unit++;
	}
	return `${unit === 0 ? bytes : bytes.toPrecision(3)} ${units[unit]}`;
}

/** Seconds as `42 s`, `3 min 20 s` or `2 h 5 min`. */
export function durationText(seconds: number): string {
	const whole = Math.round(seconds);
	if (whole < 60) return `${whole} s`;
	if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
	return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A measured time: seconds with three digits below a minute, which may be all that tells two runs apart. */
export const secondsText = (seconds: number): string =>
	seconds < 60 ? `${seconds.toPrecision(3)} s` : durationText(seconds);
