/**
The errors users see. A text names what was found, what was expected, where, and what to do about it.
*/

/** What went wrong, as a literal that programs can branch on. */
export type ErrorCode =
	| 'backend-missing'
	| 'broker-unreachable'
	| 'broker-limit'
	| 'checkpoint-unusable'
	| 'data-invalid'
	| 'disk'
	| 'download-failed'
	| 'frame-invalid'
	| 'interrupted'
	| 'model-unsupported'
	| 'run-failed'
	| 'scenario-invalid'
	| 'tokenizer-unsupported'
	| 'trace-invalid'
	| 'usage'
	| 'weights-invalid';

/** Codes that mean the user asked for something wrong: the command line exits 2 on these and 1 on the others. */
const wrongUse: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
	'data-invalid',
	'model-unsupported',
	'scenario-invalid',
	'tokenizer-unsupported',
	'trace-invalid',
	'checkpoint-unusable',
	'usage',
	'weights-invalid',
]);

/** An expected failure with a sentence for the user; a bug in the program is a plain `Error` instead. */
export class CutlayerError extends Error {
	readonly code: ErrorCode;

	constructor(code: ErrorCode, message: string, options?: {cause?: unknown}) {
		super(message, options);
		this.name = 'CutlayerError';
		this.code = code;
	}

	/** The exit code of the command line: 2 wrong use, 1 failed. */
	get exitCode(): 1 | 2 {
		return wrongUse.has(this.code) ? 2 : 1;
	}
}

/** The text of anything thrown. */
export const errorText = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

const fileFixes: Readonly<Record<string, string>> = {
	ENOENT: 'there is nothing at this path; correct it',
	EACCES: 'it may not be read; change its permissions',
	EPERM: 'it may not be read; change its permissions',
	EISDIR: 'it is a folder; name a file in it',
	ENOTDIR: 'a part of the path is a file; correct the path',
	EMFILE: 'this process has too many files open; raise `ulimit -n`',
};

/** What is wrong with a file that could not be opened or read, and the fix. */
export const fileErrorText = (thrown: unknown): string =>
	fileFixes[(thrown as NodeJS.ErrnoException | undefined)?.code ?? ''] ?? errorText(thrown);

/** A contradiction in a scenario: where it is, and what was found, what was expected and how to mend it. */
export type ScenarioProblem = {readonly path: string; readonly problem: string};
