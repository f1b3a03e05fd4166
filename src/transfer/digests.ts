/** What the bytes of a file must add up to. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Crc } from '../files/crc.js';

/** From the strongest to the weakest. */
export const DIGEST_NAMES = ['sha256', 'sha1', 'gitSha1', 'md5', 'crc32c'] as const;

/** `gitSha1` is the name that git gives a file's content: SHA-1 over a header with the size, and the bytes. */
type DigestName = (typeof DIGEST_NAMES)[number];

/** Lower-case hexadecimal. */
export type FileDigests = Readonly<Partial<Record<DigestName, string | undefined>>>;

interface DigestCheck {
  readonly name: DigestName;
  readonly expected: string;
  readonly received: string;
}

/**
 * Reads a file and checks it against the strongest digest given, in flat memory.
 * @returns what was compared, or undefined if there is nothing to compare with
 */
export async function checkDigest(
  path: string,
  digests: FileDigests,
  signal?: AbortSignal,
): Promise<DigestCheck | undefined> {
  const name = DIGEST_NAMES.find((candidate) => digests[candidate] !== undefined);
  if (!name) return undefined;
  const hash = name === 'crc32c' ? new Crc(name) : createHash(name === 'gitSha1' ? 'sha1' : name);
  if (name === 'gitSha1') hash.update(Buffer.from(`blob ${(await stat(path)).size}\0`));
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    signal?.throwIfAborted();
    hash.update(chunk as Buffer);
  }
  const received = hash instanceof Crc ? hash.digest() : hash.digest('hex');
  return { name, expected: digests[name]!, received };
}

/** Whether two sets name the same digest with different values. */
export function digestsDiffer(a: FileDigests, b: FileDigests): boolean {
  return DIGEST_NAMES.some((name) => a[name] !== undefined && b[name] !== undefined && a[name] !== b[name]);
}

/**
 * Digests that Google Cloud Storage states in `x-goog-hash`: a comma list such as `crc32c=<base64>, md5=<base64>`,
 * either part of which may be absent. What cannot be read counts as absent.
 */
export function googleDigests(headers: Headers): FileDigests {
  const digests: Partial<Record<DigestName, string>> = {};
  for (const part of (headers.get('x-goog-hash') ?? '').split(',')) {
    const [, name, value] = /^\s*(crc32c|md5)\s*=\s*([A-Za-z0-9+/]+={0,2})\s*$/.exec(part) ?? [];
    if (name !== 'crc32c' && name !== 'md5') continue;
    const bytes = Buffer.from(value!, 'base64');
    if (bytes.length === (name === 'md5' ? 16 : 4)) digests[name] = bytes.toString('hex');
  }
  return digests;
}
