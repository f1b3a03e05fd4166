/** Untrusted JSON: bounded in size and depth, and free of prototype keys. */
import { readRegularFile } from './regular-file.js';

/** Configuration files take some kilobytes. */
export const MAX_CONFIG_BYTES = 1_048_576;

/** Deeper nesting serves nothing but to exhaust the stack of whoever walks through it. */
const MAX_DEPTH = 100;
/** A tokenizer.json has a list for each of its 270,000 merges; empty ones take 20 times their text. */
const MAX_CONTAINERS = 1_000_000;

interface ReadJsonOptions {
  /** Default {@link MAX_CONFIG_BYTES}. */
  readonly maxBytes?: number;
  /** Accept the key `__proto__`, which may be a token or a tensor: the reader keeps names in maps. Default false. */
  readonly anyKey?: boolean;
  /** Lists and objects in it. Default 1,000,000. */
  readonly maxContainers?: number;
}

/** JSON that this module refuses, as opposed to a syntax error of the parser. */
export class JsonFault extends SyntaxError {}

/** @throws Error with the reason: the file cannot be read, is too large, is no JSON, or nests too deeply */
export async function readJson(path: string, options: ReadJsonOptions = {}): Promise<unknown> {
  return parseJson(await readRegularFile(path, options.maxBytes ?? MAX_CONFIG_BYTES), options);
}

/** As {@link readJson}, of bytes in memory. @throws SyntaxError; of its own a JsonFault */
export function parseJson(bytes: Uint8Array, options: Omit<ReadJsonOptions, 'maxBytes'> = {}): unknown {
  checkNesting(bytes, options.maxContainers ?? MAX_CONTAINERS);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new JsonFault('it is not UTF-8');
  }
  if (text.startsWith('version https://git-lfs')) {
    throw new JsonFault('it is a pointer of Git LFS: fetch the file with `git lfs pull`');
  }
  const value: unknown = JSON.parse(text);
  // Escapes could hide the key; then the parsed value is searched.
  if (!options.anyKey && /__proto__|\\u00/i.test(text) && hasProtoKey(value)) {
    throw new JsonFault('it has a key __proto__');
  }
  return value;
}

/** Before the parser makes anything: it takes up to 30 times the text for brackets alone. */
function checkNesting(bytes: Uint8Array, maxContainers: number): void {
  let depth = 0;
  let containers = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === 0x22) {
      for (i++; i < bytes.length && bytes[i] !== 0x22; i++) if (bytes[i] === 0x5c) i++;
    } else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > MAX_DEPTH) throw new JsonFault(`it nests more than ${MAX_DEPTH} deep`);
      if (++containers > maxContainers) throw new JsonFault(`it has more than ${maxContainers} lists and objects`);
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
}

function hasProtoKey(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Object.hasOwn(value, '__proto__') || Object.values(value).some(hasProtoKey);
}
