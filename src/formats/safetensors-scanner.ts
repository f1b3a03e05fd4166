/**
 * Reads the JSON of a safetensors header byte by byte, as the strict subset that the format is: an object of names and
 * entries with a dtype, a shape and two offsets; other keys of an entry are skipped, as the official reader (serde) does.
 * A general parser would make objects of whatever a file of 100 MB
 * holds, up to thirty times its size, and keep the last of two equal keys; this one stops at the first byte that has no
 * place in a header.
 */
import { cutText } from '../messages/cut-text.js';

/** More tensors than any published file has; each takes some hundred bytes in memory. */
const MAX_TENSORS = 131_072;
const MAX_DIMENSIONS = 64;
const MAX_METADATA_BYTES = 16_777_216;
const MAX_METADATA_KEYS = 4096;
/** serde_json's own limit. */
const MAX_SKIPPED_DEPTH = 128;
/** Of a file's unknown keys together. */
const MAX_SKIPPED_BYTES = 16_777_216;
const MAX_WORD = 1024;
const WORD = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/;
const WORD_BYTES: ReadonlySet<number> = new Set(Buffer.from('truefalsn0123456789.+-E'));
const KNOWN_KEYS: readonly string[] = ['dtype', 'shape', 'data_offsets'];

/** An entry as in the file, its shape and offsets not yet checked against each other. */
export interface ScannedEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly offsets: readonly number[];
}

export interface ScannedHeader {
  readonly entries: readonly ScannedEntry[];
  readonly metadata: ReadonlyMap<string, string>;
}

/** @throws SyntaxError saying what was expected at which byte */
export function scanHeader(bytes: Uint8Array): ScannedHeader {
  return new Scanner(bytes).header();
}

const [QUOTE, BACKSLASH, COMMA, COLON, MINUS] = [0x22, 0x5c, 0x2c, 0x3a, 0x2d];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];
const [ZERO, NINE, LETTER_N] = [0x30, 0x39, 0x6e];

class Scanner {
  readonly #bytes: Buffer;
  readonly #utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  readonly #numbersRead: number[] = [];
  #at = 0;
  #skipped = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  header(): ScannedHeader {
    const entries: ScannedEntry[] = [];
    const names = new Set<string>();
    let metadata: ReadonlyMap<string, string> | undefined;
    this.#object((name) => {
      if (name === '__metadata__') {
        if (metadata) throw this.#fault('the name "__metadata__" comes more than once');
        metadata = this.#metadata();
        return;
      }
      if (names.has(name)) throw this.#fault(`the name ${quoted(name)} comes more than once`);
      if (names.size === MAX_TENSORS) throw this.#fault(`there are more than ${MAX_TENSORS} tensors`);
      names.add(name);
      entries.push(this.#entry(name));
    });
    if (this.#peek() !== undefined) throw this.#expected('nothing after the object');
    return { entries, metadata: metadata ?? new Map() };
  }

  #metadata(): Map<string, string> {
    const start = this.#at;
    const metadata = new Map<string, string>();
    if (this.#peek() === LETTER_N) {
      // Optional for the official reader: null is none.
      if (this.#bytes.toString('latin1', this.#at, this.#at + 4) !== 'null') throw this.#expected('an object');
      this.#at += 4;
      return metadata;
    }
    this.#object((key) => {
      if (metadata.has(key)) throw this.#fault(`the key ${quoted(key)} of __metadata__ comes more than once`);
      metadata.set(
        key,
        this.#string(() => '`__metadata__` to be an object of strings'),
      );
      if (this.#at - start > MAX_METADATA_BYTES || metadata.size > MAX_METADATA_KEYS) {
        throw this.#fault('`__metadata__` is too long');
      }
    });
    return metadata;
  }

  #entry(name: string): ScannedEntry {
    let dtype: string | undefined;
    let shape: number[] | undefined;
    let offsets: number[] | undefined;
    this.#object((key) => {
      if (key === 'dtype' && dtype === undefined) dtype = this.#string(() => `the dtype of ${quoted(name)}`);
      else if (key === 'shape' && !shape) shape = this.#numbers(() => `the shape of ${quoted(name)}`);
      else if (key === 'data_offsets' && !offsets) offsets = this.#numbers(() => `data_offsets of ${quoted(name)}`);
      else if (KNOWN_KEYS.includes(key)) throw this.#fault(`${quoted(name)} has ${quoted(key)} again`);
      else this.#skipValue();
    });
    if (dtype === undefined || !shape || !offsets) {
      throw this.#fault(`${quoted(name)} lacks one of dtype, shape and data_offsets`);
    }
    return { name, dtype, shape, offsets };
  }

  /** Calls `member` for each key, with the scanner at its value. */
  #object(member: (key: string) => void): void {
    this.#take(OPEN_OBJECT, () => 'an object');
    if (this.#peek() === CLOSE_OBJECT) {
      this.#at++;
      return;
    }
    for (;;) {
      const key = this.#string(() => 'a name in quotes');
      this.#take(COLON, () => 'a colon');
      member(key);
      if (this.#peek() !== COMMA) break;
      this.#at++;
    }
    this.#take(CLOSE_OBJECT, () => 'a comma or the end of the object');
  }

  /** A value of an unknown key: any JSON, checked but not kept, as the official reader does. */
  #skipValue(): void {
    const start = this.#at;
    let depth = 0;
    /** Closing bytes of the containers that are open. */
    const closing: number[] = [];
    do {
      const byte = this.#peek();
      if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
        if (++depth > MAX_SKIPPED_DEPTH)
          throw this.#fault(`an unknown key nests more than ${MAX_SKIPPED_DEPTH} levels`);
        this.#at++;
        const close = byte === OPEN_LIST ? CLOSE_LIST : CLOSE_OBJECT;
        if (this.#peek() === close) {
          this.#at++;
          depth--;
        } else {
          closing.push(close);
          if (close === CLOSE_OBJECT) this.#skipKey();
          continue;
        }
      } else if (byte === QUOTE) this.#string(() => 'a string');
      else this.#skipWord();
      // Behind a value: the ends of containers, or the next member of one.
      while (depth > 0 && this.#peek() === closing.at(-1)) {
        closing.pop();
        this.#at++;
        depth--;
      }
      if (this.#skipped + this.#at - start > MAX_SKIPPED_BYTES) throw this.#fault('its unknown keys are too long');
      if (depth === 0) break;
      this.#take(COMMA, () => 'a comma or the end of a value');
      if (closing.at(-1) === CLOSE_OBJECT) this.#skipKey();
    } while (depth > 0);
    this.#skipped += this.#at - start;
  }

  #skipKey(): void {
    this.#string(() => 'a name in quotes');
    this.#take(COLON, () => 'a colon');
  }

  /** true, false, null or a number. */
  #skipWord(): void {
    const start = this.#at;
    while (WORD_BYTES.has(this.#bytes[this.#at]!)) this.#at++;
    const isShort = this.#at - start <= MAX_WORD;
    if (!isShort || !WORD.test(this.#bytes.toString('latin1', start, this.#at))) {
      this.#at = start;
      throw this.#expected('a JSON value');
    }
  }

  /** A list of whole numbers of at least 0. */
  #numbers(what: () => string): number[] {
    // A list that grows by itself has room for 17.
    let count = 0;
    const expected = (): string => `${what()} to be a list of whole numbers`;
    this.#take(OPEN_LIST, expected);
    if (this.#peek() === CLOSE_LIST) {
      this.#at++;
      return [];
    }
    for (;;) {
      if (count === MAX_DIMENSIONS) throw this.#expected(`at most ${MAX_DIMENSIONS} numbers`);
      this.#numbersRead[count++] = this.#number(expected);
      if (this.#peek() !== COMMA) break;
      this.#at++;
    }
    this.#take(CLOSE_LIST, expected);
    return this.#numbersRead.slice(0, count);
  }

  #number(expected: () => string): number {
    const start = this.#peek() === MINUS ? -1 : this.#at;
    let value = 0;
    let digits = 0;
    for (;;) {
      const byte = this.#bytes[this.#at]!;
      if (!(byte >= ZERO && byte <= NINE)) break;
      value = value * 10 + (byte - ZERO);
      digits++;
      this.#at++;
    }
    const hasZeroInFront = digits > 1 && this.#bytes[start] === ZERO;
    if (digits === 0 || hasZeroInFront || !Number.isSafeInteger(value)) throw this.#expected(expected());
    return value;
  }

  #string(expected: () => string): string {
    this.#take(QUOTE, expected);
    const start = this.#at;
    let isAscii = true;
    let hasEscapes = false;
    for (;;) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) throw this.#expected('the end of a name');
      if (byte === QUOTE) break;
      if (byte === BACKSLASH) {
        hasEscapes = true;
        this.#at++;
      } else if (byte < 0x20) throw this.#fault('a control character in a name');
      else if (byte >= 0x80) isAscii = false;
      this.#at++;
    }
    const end = this.#at++;
    // Nearly all are: and a view and a decoder for each of them would take more than the name.
    if (isAscii && !hasEscapes) return this.#bytes.toString('latin1', start, end);
    try {
      if (!hasEscapes) return this.#utf8.decode(this.#bytes.subarray(start, end));
      return JSON.parse(this.#utf8.decode(this.#bytes.subarray(start - 1, end + 1))) as string;
    } catch {
      throw this.#fault('a name that is no valid UTF-8 or has a bad escape');
    }
  }

  /** The next byte that is no white space, which is not taken; undefined at the end. */
  #peek(): number | undefined {
    for (;;) {
      const byte = this.#bytes[this.#at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte;
      this.#at++;
    }
  }

  #take(byte: number, expected: () => string): void {
    if (this.#peek() !== byte) throw this.#expected(expected());
    this.#at++;
  }

  #expected(what: string): SyntaxError {
    const byte = this.#bytes[this.#at];
    const found = byte === undefined ? 'the end of the header' : quoted(String.fromCharCode(byte));
    return this.#fault(`expected ${what}, found ${found}`);
  }

  #fault(why: string): SyntaxError {
    return new SyntaxError(`${why} (byte ${this.#at})`);
  }
}

function quoted(name: string): string {
  return JSON.stringify(cutText(name, 80));
}
