/**
Walks the structure of a msgpack body before anything is built from it: a lie about a length or a depth is found without
allocating for it. Only what JSON can say passes, and extensions as far as the caller allows them.
*/
import {type FrameProblem, type FrameProblemCode, problemOf} from './envelope.ts';

/** Bounds on one body. */
export type FrameLimits = {
	/** Longest body in bytes; default 256 MiB. */
	readonly bodyBytesMax: number;
	/** Deepest nesting of maps and arrays; default 16. */
	readonly depthMax: number;
	/** Most values (each map, array, string, number ... is one); default 1,000,000. */
	readonly valuesMax: number;
	/** Whether tensors with NaN or infinity are refused; default true. */
	readonly finiteOnly: boolean;
};

export const defaultFrameLimits: FrameLimits = {
	bodyBytesMax: 256 * 2 ** 20,
	depthMax: 16,
	valuesMax: 1_000_000,
	finiteOnly: true,
};

/** An extension value in a body: its type, where its payload lies, and the path to it. */
export type Extension = {
	readonly type: number;
	/** Where its header begins. */
	readonly headerAt: number;
	readonly payloadAt: number;
	readonly length: number;
	/** The path of the value, such as `tensors.loraA`. */
	readonly field: () => string;
};

type Visit = (extension: Extension) => FrameProblem | undefined;

const textDecoder = new TextDecoder();

/** Checks the one msgpack value a body holds; calls `visit` for each extension in order of its place. */
export function scanBody(body: Uint8Array, limits: FrameLimits, visit: Visit): FrameProblem | undefined {
	const scan = new Scan(body, limits, visit);
	if (!scan.value(0)) return scan.problem;
	if (scan.at === body.length) return undefined;
	return problemOf(
		'malformed',
		'body',
		`${body.length - scan.at} bytes after the end of the value`,
		'one msgpack value',
		'send one value a frame',
	);
}

class Scan {
	at = 0;
	problem: FrameProblem | undefined;
	private values = 0;
	/** For each level the offset of the current key, or -1 minus the current index. */
	private readonly path: number[] = [];
	private readonly view: DataView;
	private readonly body: Uint8Array;
	private readonly limits: FrameLimits;
	private readonly visit: Visit;

	constructor(body: Uint8Array, limits: FrameLimits, visit: Visit) {
		this.body = body;
		this.limits = limits;
		this.visit = visit;
		this.view = new DataView(body.buffer, body.byteOffset, body.byteLength);
	}

	/** Steps over one value; false when `problem` says why it cannot. */
	value(depth: number): boolean {
		if (++this.values > this.limits.valuesMax) {
			return this.fail(
				'too-large',
				`more than ${this.limits.valuesMax} values`,
				`at most ${this.limits.valuesMax} values`,
				'split the message',
			);
		}
		if (this.at >= this.body.length) return this.failTruncated();
		const token = this.body[this.at++]!;
		if (token < 0x80 || token >= 0xe0) return true;
		if (token < 0x90) return this.map(token & 0x0f, depth);
		if (token < 0xa0) return this.array(token & 0x0f, depth);
		if (token < 0xc0) return this.skip(token & 0x1f);
		return this.token(token, depth);
	}

	private token(token: number, depth: number): boolean {
		if (token === 0xc0 || token === 0xc2 || token === 0xc3) return true;
		if (token >= 0xca && token <= 0xd3) return this.skip(numberBytes[token - 0xca]!);
		if (token >= 0xd4 && token <= 0xd8) return this.extension(1 << (token - 0xd4), this.at - 1);
		if (token >= 0xc7 && token <= 0xc9) {
			const headerAt = this.at - 1;
			const length = this.length(1 << (token - 0xc7));
			return length !== undefined && this.extension(length, headerAt);
		}
		if (token >= 0xd9 && token <= 0xdb) {
			const length = this.length(1 << (token - 0xd9));
			return length !== undefined && this.skip(length);
		}
		if (token >= 0xdc && token <= 0xdf) {
			const length = this.length(token % 2 === 0 ? 2 : 4);
			if (length === undefined) return false;
			return token < 0xde ? this.array(length, depth) : this.map(length, depth);
		}
		const found = token === 0xc1 ? 'the unused msgpack token 0xc1' : 'bare bytes';
		return this.fail('malformed', found, 'a JSON value or a tensor', 'send bytes as a tensor');
	}

	private map(count: number, depth: number): boolean {
		if (!this.enter(count, 2, depth)) return false;
		for (let index = 0; index < count; index++) {
			this.path[depth] = this.at;
			if (!this.key() || !this.value(depth + 1)) return false;
		}
		this.path.length = depth;
		return true;
	}

	private array(count: number, depth: number): boolean {
		if (!this.enter(count, 1, depth)) return false;
		for (let index = 0; index < count; index++) {
			this.path[depth] = -1 - index;
			if (!this.value(depth + 1)) return false;
		}
		this.path.length = depth;
		return true;
	}

	private enter(count: number, bytesEach: number, depth: number): boolean {
		if (depth >= this.limits.depthMax) {
			return this.fail(
				'too-deep',
				`more than ${this.limits.depthMax} levels`,
				`at most ${this.limits.depthMax} levels`,
				'flatten the message',
			);
		}
		const left = this.body.length - this.at;
		if (count * bytesEach <= left) return true;
		return this.fail(
			'malformed',
			`${count} entries declared with ${left} bytes left`,
			'lengths that fit the body',
			'send the frame again',
		);
	}

	private key(): boolean {
		const token = this.body[this.at];
		if (token === undefined) return this.failTruncated();
		const isText = (token >= 0xa0 && token < 0xc0) || (token >= 0xd9 && token <= 0xdb);
		if (isText) return this.value(0);
		this.path.pop();
		return this.fail('malformed', 'a key that is no text', 'keys that are text', 'use text keys');
	}

	private extension(length: number, headerAt: number): boolean {
		const type = this.body[this.at++];
		if (type === undefined) return this.failTruncated();
		const payloadAt = this.at;
		if (!this.skip(length)) return false;
		this.problem = this.visit({type, headerAt, payloadAt, length, field: () => this.field()});
		return this.problem === undefined;
	}

	private length(bytes: number): number | undefined {
		if (this.at + bytes > this.body.length) {
			this.failTruncated();
			return undefined;
		}
		const at = this.at;
		this.at += bytes;
		if (bytes === 1) return this.view.getUint8(at);
		return bytes === 2 ? this.view.getUint16(at) : this.view.getUint32(at);
	}

	private skip(bytes: number): boolean {
		const left = this.body.length - this.at;
		if (bytes > left) {
			return this.fail(
				'malformed',
				`${bytes} bytes declared with ${left} left`,
				'lengths that fit the body',
				'send the frame again',
			);
		}
		this.at += bytes;
		return true;
	}

	private failTruncated(): false {
		return this.fail(
			'malformed',
			`a body that ends after ${this.body.length} bytes`,
			'a whole msgpack value',
			'send the frame again',
		);
	}

	private fail(code: FrameProblemCode, found: string, expected: string, fix: string): false {
		this.problem = problemOf(code, this.field(), found, expected, fix);
		return false;
	}

	private field(): string {
		let text = '';
		for (const step of this.path) {
			if (step < 0) text += `[${-1 - step}]`;
			else text += text === '' ? this.keyText(step) : `.${this.keyText(step)}`;
		}
		return text === '' ? 'body' : text;
	}

	private keyText(at: number): string {
		const token = this.body[at]!;
		const lengthBytes = token < 0xc0 ? 0 : 1 << (token - 0xd9);
		if (lengthBytes === 0) return textDecoder.decode(this.body.subarray(at + 1, at + 1 + (token & 0x1f)));
		const from = at + 1 + lengthBytes;
		return textDecoder.decode(this.body.subarray(from, Math.min(from + 64, this.body.length)));
	}
}

/** Bytes after the tokens 0xca (f32) to 0xd3 (i64). */
const numberBytes = [4, 8, 1, 2, 4, 8, 1, 2, 4, 8] as const;
