/**
The head of a record: what its bytes tell of actor, time, message and words without building the record. It steps over the rest,
so that looking for some records in a long trace costs a fraction of reading it. Pure.
*/

/** The same of any format of this major version; texts are as in the record. */
export type RecordHead = {
	readonly kind: string;
	readonly n: number;
	/** Milliseconds of run time; 0 in the header. */
	readonly t: number;
	readonly actor: string | undefined;
	/** An input's event: its type and who sent it. */
	readonly type: string | undefined;
	readonly from: string | undefined;
	/** The message that came, and the record in this stream that caused it. */
	readonly message: string | undefined;
	readonly by: number | undefined;
	/** The round that an input, or else the first of its commands that says one, is about. */
	readonly round: number | undefined;
	/** What came, then what was sent or begun. */
	readonly verbs: readonly string[];
	/** The ids of messages that left. */
	readonly sent: readonly string[];
};

/** Texts that come again and again are made once. */
const textsMax = 4096;
const textBytesMax = 32;
type Text = {readonly bytes: Uint8Array; readonly text: string};

const bytesOf = (...keys: string[]): readonly Uint8Array[] => keys.map(key => new TextEncoder().encode(key));
const recordKeys = bytesOf('kind', 'n', 't', 'actor', 'by', 'message', 'event', 'commands');
const [messageKey, eventKey, commandsKey] = [5, 6, 7];
const eventKeys = bytesOf('type', 'from', 'body');
const commandKeys = bytesOf('send', 'pass', 'id', 'body', 'input');
const bodyKeys = bytesOf('round');

/** Reads heads one after the other; throws a plain error for bytes that are no record. */
export class HeadScan {
	readonly #texts: (Text | undefined)[] = Array(textsMax).fill(undefined);
	#bytes: Buffer = Buffer.alloc(0);
	#at = 0;
	#end = 0;
	/** By the place of their key. */
	readonly #values: unknown[] = Array(recordKeys.length);
	#verbs: string[] = [];
	#sent: string[] = [];
	#round: number | undefined;
	#type: unknown;
	#from: unknown;

	/** The head of the record that is the msgpack map from `start` to `end`. */
	read(bytes: Buffer, start: number, end: number): RecordHead {
		this.#bytes = bytes;
		this.#at = start;
		this.#end = end;
		this.#verbs = [];
		this.#sent = [];
		this.#round = undefined;
		this.#type = undefined;
		this.#from = undefined;
		const head = this.#record();
		if (this.#at !== end) throw new Error(`${end - this.#at} bytes after the end of the value`);
		return head;
	}

	#record(): RecordHead {
		const values = this.#values.fill(undefined);
		for (let left = this.#members(); left > 0; left--) {
			const key = this.#keyOf(recordKeys);
			if (key < 0) this.#skip();
			else if (key === eventKey) this.#event();
			else if (key === commandsKey) this.#commands();
			else values[key] = key === messageKey ? this.#unique() : this.#scalar();
		}
		const [kind, n, t, actor, by, message] = values;
		if (typeof kind !== 'string' || typeof n !== 'number') throw new Error('no record');
		const [isInput, type] = [kind === 'input', textOr(this.#type)];
		const first = isInput ? type : kind;
		return {
			kind,
			n,
			t: typeof t === 'number' ? t : 0,
			actor: textOr(actor),
			type,
			from: textOr(this.#from),
			message: textOr(message),
			by: typeof by === 'number' ? by : undefined,
			round: isInput ? this.#round : undefined,
			verbs: first === undefined ? this.#verbs : [first, ...this.#verbs],
			sent: this.#sent,
		};
	}

	#event(): void {
		for (let left = this.#members(); left > 0; left--) {
			switch (this.#keyOf(eventKeys)) {
				case 0:
					this.#type = this.#scalar();
					break;
				case 1:
					this.#from = this.#scalar();
					break;
				case 2:
					this.#body();
					break;
				default:
					this.#skip();
			}
		}
	}

	#commands(): void {
		for (let left = this.#items(); left > 0; left--) {
			for (let members = this.#members(); members > 0; members--) {
				switch (this.#keyOf(commandKeys)) {
					case 0:
					case 1:
						push(this.#scalar(), this.#verbs);
						break;
					case 2:
						push(this.#unique(), this.#sent);
						break;
					case 3:
					case 4:
						this.#body();
						break;
					default:
						this.#skip();
				}
			}
		}
	}

	/** Takes the round a body names, unless an earlier one did. */
	#body(): void {
		const byte = this.#bytes[this.#at]!;
		const isMap = (byte >= 0x80 && byte < 0x90) || byte === 0xde || byte === 0xdf;
		if (!isMap || this.#round !== undefined) {
			this.#skip();
			return;
		}
		for (let left = this.#members(); left > 0; left--) {
			const round = this.#keyOf(bodyKeys) < 0 ? this.#skip() : this.#scalar();
			if (typeof round === 'number') this.#round = round;
		}
	}

	/** How many members the map that begins here has. */
	#members(): number {
		const byte = this.#bytes[this.#at++]!;
		if (byte >= 0x80 && byte < 0x90) return byte & 15;
		if (byte === 0xde) return this.#count(2);
		if (byte === 0xdf) return this.#count(4);
		throw new Error(`byte ${byte} where a map begins`);
	}

	#items(): number {
		const byte = this.#bytes[this.#at++]!;
		if (byte >= 0x90 && byte < 0xa0) return byte & 15;
		if (byte === 0xdc) return this.#count(2);
		if (byte === 0xdd) return this.#count(4);
		throw new Error(`byte ${byte} where an array begins`);
	}

	#count(bytes: 1 | 2 | 4): number {
		const count = this.#bytes.readUIntBE(this.#at, bytes);
		this.#at += bytes;
		return count;
	}

	/** Which of some short keys comes here, or -1; steps over it. */
	#keyOf(keys: readonly Uint8Array[]): number {
		const [bytes, at] = [this.#bytes, this.#at];
		const length = bytes[at]! - 0xa0;
		if (length < 0 || length > 31) {
			this.#skip();
			return -1;
		}
		this.#at = at + 1 + length;
		for (let index = 0; index < keys.length; index++) if (isAt(keys[index]!, bytes, at + 1, length)) return index;
		return -1;
	}

	/** A text that does not come again. */
	#unique(): unknown {
		const at = this.#at;
		const length = this.#bytes[at]! - 0xa0;
		if (length < 0 || length > 31) return this.#scalar();
		this.#at = at + 1 + length;
		return this.#bytes.toString('latin1', at + 1, this.#at);
	}

	/** A text or a number; anything else is stepped over. */
	#scalar(): unknown {
		const byte = this.#bytes[this.#at]!;
		if (byte < 0x80) {
			this.#at++;
			return byte;
		}
		if (byte >= 0xa0 && byte < 0xc0) {
			this.#at++;
			return this.#text(byte & 31);
		}
		return this.#longScalar(byte);
	}

	#longScalar(byte: number): unknown {
		const at = this.#at + 1;
		this.#skip();
		if (byte >= 0xe0) return byte - 256;
		switch (byte) {
			case 0xca:
				return this.#bytes.readFloatBE(at);
			case 0xcb:
				return this.#bytes.readDoubleBE(at);
			case 0xcc:
			case 0xcd:
			case 0xce:
				return this.#bytes.readUIntBE(at, this.#at - at);
			case 0xd0:
			case 0xd1:
			case 0xd2:
				return this.#bytes.readIntBE(at, this.#at - at);
			case 0xcf:
				return Number(this.#bytes.readBigUInt64BE(at));
			case 0xd3:
				return Number(this.#bytes.readBigInt64BE(at));
			case 0xd9:
				return this.#bytes.toString('utf8', at + 1, this.#at);
			case 0xda:
				return this.#bytes.toString('utf8', at + 2, this.#at);
			default:
				return undefined;
		}
	}

	#text(length: number): string {
		const [bytes, at] = [this.#bytes, this.#at];
		this.#at += length;
		if (length > textBytesMax || this.#at > this.#end) return bytes.toString('utf8', at, this.#at);
		let hash = length;
		for (let place = at; place < at + length; place++) hash = (Math.imul(hash, 31) + bytes[place]!) | 0;
		hash = (hash ^ (hash >>> 12)) & (textsMax - 1);
		const known = this.#texts[hash];
		if (known && isAt(known.bytes, bytes, at, length)) return known.text;
		const text = bytes.toString('utf8', at, at + length);
		this.#texts[hash] = {bytes: Uint8Array.prototype.slice.call(bytes, at, at + length), text};
		return text;
	}

	/** Steps over one value, however deep. */
	#skip(): undefined {
		const bytes = this.#bytes;
		let at = this.#at;
		for (let left = 1; left > 0; left--) {
			if (at >= this.#end) throw new Error('a value that goes on after the end');
			const byte = bytes[at++]!;
			if (byte < 0x80 || byte >= 0xe0) continue;
			if (byte >= 0xa0 && byte < 0xc0) at += byte & 31;
			else if (byte < 0x90) left += 2 * (byte & 15);
			else if (byte < 0xa0) left += byte & 15;
			else {
				const length = lengths[byte - 0xc0]!;
				const size = sizes[byte - 0xc0]!;
				if (length < 0) throw new Error(`byte ${byte}, which begins nothing`);
				const count = size === 0 ? 0 : bytes.readUIntBE(at, size);
				at += size + length;
				if (byte === 0xdc || byte === 0xdd) left += count;
				else if (byte === 0xde || byte === 0xdf) left += 2 * count;
				else at += count;
			}
		}
		this.#at = at;
	}
}

/** For the bytes from 0xc0 to 0xdf: how many bytes of a count follow, and how many besides what is counted; -1 for none. */
const sizes = [0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4];
const lengths = [0, -1, 0, 0, 0, 0, 0, 1, 1, 1, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 2, 3, 5, 9, 17, 0, 0, 0, 0, 0, 0, 0];

function isAt(expected: Uint8Array, bytes: Uint8Array, at: number, length: number): boolean {
	if (expected.length !== length) return false;
	for (let place = 0; place < length; place++) if (expected[place] !== bytes[at + place]) return false;
	return true;
}

function push(value: unknown, texts: string[]): void {
	if (typeof value === 'string') texts.push(value);
}

const textOr = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
