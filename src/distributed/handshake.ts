/**
 * How a rank and the hub make sure of each other, without sending the secret that both have. The hub greets with the mark
 * of its job and a challenge; the rank says nothing before it has seen the mark, so that foreign programs which listen on
 * one of the ports get no byte. Then each proves the secret by an HMAC over both challenges and its own text.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** Of the protocol's first version. */
const MAGIC = Buffer.from('MTGROUP1');
const MARK_BYTES = 16;
const CHALLENGE_BYTES = 32;
const PROOF_BYTES = 32;
const MAX_TEXT_BYTES = 16 * 1024;
const GREETING_BYTES = MAGIC.length + MARK_BYTES + CHALLENGE_BYTES;

/** Sets a job's hub apart from that of another job; no secret. */
export function jobMark(masterPort: number, jobId: string): Buffer {
  return createHash('sha256').update(`ministral-tune job\0${masterPort}\0${jobId}`).digest().subarray(0, MARK_BYTES);
}

export function keyOf(secret: string): Buffer {
  return createHash('sha256').update(`ministral-tune secret\0${secret}`).digest();
}

export function newChallenge(): Buffer {
  return randomBytes(CHALLENGE_BYTES);
}

export function greeting(mark: Uint8Array, challenge: Uint8Array): Buffer {
  return Buffer.concat([MAGIC, mark, challenge]);
}

/** @returns undefined for foreign bytes, of which the first may be enough; else what is there so far */
export function parseGreeting(bytes: Buffer): { mark: Buffer; challenge: Buffer } | 'more' | undefined {
  if (!startsLike(bytes)) return undefined;
  if (bytes.length < GREETING_BYTES) return 'more';
  const at = MAGIC.length + MARK_BYTES;
  return { mark: bytes.subarray(MAGIC.length, at), challenge: bytes.subarray(at, GREETING_BYTES) };
}

/** What both sides prove their text with. */
export interface Session {
  readonly key: Uint8Array;
  readonly mark: Uint8Array;
  /** Of the hub. */
  readonly asked: Uint8Array;
  /** Of the rank. */
  readonly own: Uint8Array;
}

function proof(session: Session, side: 'rank' | 'hub', text: Uint8Array): Buffer {
  const { key, mark, asked, own } = session;
  return createHmac('sha256', key).update(side).update(mark).update(asked).update(own).update(text).digest();
}

/** The rank's answer to a greeting. */
export function introduction(session: Session, value: unknown): Buffer {
  const text = Buffer.from(JSON.stringify(value));
  return Buffer.concat([MAGIC, session.own, proof(session, 'rank', text), lengthOf(text), text]);
}

/** The hub's answer to that. */
export function reply(session: Session, value: unknown): Buffer {
  const text = Buffer.from(JSON.stringify(value));
  return Buffer.concat([proof(session, 'hub', text), lengthOf(text), text]);
}

/** What came, if it is whole. `unproven`: by somebody without the secret. `rest`: what follows it. */
type Proven = { readonly value: unknown; readonly rest: Buffer } | 'unproven';

/** @param bytes all that came after the greeting was sent */
export function parseIntroduction(
  bytes: Buffer,
  session: Omit<Session, 'own'>,
): { readonly session: Session; readonly proven: Proven } | 'more' | 'foreign' {
  if (!startsLike(bytes)) return 'foreign';
  const at = MAGIC.length + CHALLENGE_BYTES;
  if (bytes.length < at) return 'more';
  const whole = { ...session, own: Buffer.from(bytes.subarray(MAGIC.length, at)) };
  const proven = parseProven(bytes.subarray(at), whole, 'rank');
  return typeof proven === 'object' || proven === 'unproven' ? { session: whole, proven } : proven;
}

export function parseReply(bytes: Buffer, session: Session): Proven | 'more' | 'foreign' {
  return parseProven(bytes, session, 'hub');
}

function parseProven(bytes: Buffer, session: Session, side: 'rank' | 'hub'): Proven | 'more' | 'foreign' {
  const begin = PROOF_BYTES + 4;
  if (bytes.length < begin) return 'more';
  const length = bytes.readUInt32BE(PROOF_BYTES);
  if (length > MAX_TEXT_BYTES) return 'foreign';
  if (bytes.length < begin + length) return 'more';
  const text = bytes.subarray(begin, begin + length);
  if (!timingSafeEqual(bytes.subarray(0, PROOF_BYTES), proof(session, side, text))) return 'unproven';
  try {
    return { value: JSON.parse(text.toString()), rest: bytes.subarray(begin + length) };
  } catch {
    return 'foreign';
  }
}

function startsLike(bytes: Buffer): boolean {
  const length = Math.min(bytes.length, MAGIC.length);
  return bytes.subarray(0, length).equals(MAGIC.subarray(0, length));
}

function lengthOf(text: Uint8Array): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(text.length);
  return bytes;
}
