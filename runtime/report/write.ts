/**
Writes the report of a run folder. It reads what the run left and changes nothing of it.
*/
import {writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {pageOf} from './page.ts';
import {readRecordedRun} from './read.ts';

/**
Writes the report of a run and returns its path; `out` is `report.html` in the folder unless given.
Throws `usage` when the folder holds no run, `data-invalid` when its files are damaged, `disk` when it cannot be written.
*/
export async function writeReport(folder: string, out = join(folder, 'report.html')): Promise<string> {
	const page = pageOf(await readRecordedRun(folder));
	try {
		await writeFile(out, page);
	} catch (error) {
		throw new CutlayerError('disk', `Cannot write the report ${out}: ${errorText(error)}; give another --out`, {
			cause: error,
		});
	}
	return out;
}
