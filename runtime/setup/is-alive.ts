/**
Whether a process of this machine still runs.
*/

/** Another user's process runs too, although it may not be signalled. */
export function isAlive(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === 'EPERM';
	}
}
