/** What ranks and the hub on rank 0 say to each other; structured data with at most one block of bytes. */

/** An error of another process, as far as it travels. */
export interface Fault {
  readonly name: string;
  /** Of a TuneError. */
  readonly code?: string | undefined;
  /** One line or several, without the hint. */
  readonly message: string;
  readonly hint?: string | undefined;
}

/** Why the group has failed. */
export interface Failure {
  /** The rank that caused it. */
  readonly rank?: number | undefined;
  readonly message: string;
  readonly hint?: string | undefined;
  readonly fault?: Fault | undefined;
  /** Ranks that are known to have ended, or to give no sign of life. */
  readonly gone: readonly number[];
}

/** Of a body with several: the rank that it goes to or comes from, and its bytes. They follow one another in order. */
export type Piece = readonly [rank: number, bytes: number];

/** Each piece of a body with its rank, without a copy. */
export function piecesOf(
  list: readonly Piece[],
  body: Uint8Array,
): { readonly rank: number; readonly bytes: Uint8Array }[] {
  let at = 0;
  return list.map(([rank, bytes]) => {
    at += bytes;
    return { rank, bytes: body.subarray(at - bytes, at) };
  });
}

/** How many answers a call has. */
export function answersTo({ to }: Pick<FromRank & { type: 'call' }, 'to'>, worldSize: number): number {
  return to ? 1 : worldSize;
}

/** From a rank to the hub. */
export type FromRank =
  /**
   * A collective call: `sequence` counts those of a rank from 0. The body is the value; with `to` it is pieces, each for the
   * rank that is named.
   */
  | {
      readonly type: 'call';
      readonly sequence: number;
      readonly what: string;
      readonly to?: readonly Piece[] | undefined;
      readonly body: Uint8Array;
    }
  /** The others count on this rank, or do not any more. */
  | { readonly type: 'begin'; readonly what: string }
  | { readonly type: 'end' }
  | { readonly type: 'fail'; readonly fault: Fault }
  /** In order, or as its program ends: with the error that nobody caught, or the exit code. */
  | { readonly type: 'leave'; readonly fault?: Fault | undefined; readonly exitCode?: number | undefined };

/** From the hub to a rank. */
export type ToRank =
  /** The value of one rank; a call has its answer when those of all ranks have come. */
  | { readonly type: 'part'; readonly sequence: number; readonly rank: number; readonly body: Uint8Array }
  /** The answer to a call with `to`: all pieces for this rank. */
  | {
      readonly type: 'pieces';
      readonly sequence: number;
      readonly from: readonly Piece[];
      readonly body: Uint8Array;
    }
  | { readonly type: 'failure'; readonly failure: Failure }
  /** A rank has ended, in order or not. */
  | { readonly type: 'gone'; readonly rank: number }
  /** Whether the others count on rank 0: with its hub they lose their ears. */
  | { readonly type: 'main'; readonly isBusy: string | undefined };

/** Who a rank is, for the others. */
export interface RankIdentity {
  readonly rank: number;
  readonly localRank: number;
  readonly worldSize: number;
  readonly version: string;
  readonly host: string;
  readonly pid: number;
  /** Ranks with the same one run on one machine, and count its GPUs from 0 together. */
  readonly machine: string;
}

/** `rank 1 (process 1234 on host "gpu-2")` */
export function describeRank(rank: number, identity: RankIdentity | undefined): string {
  if (!identity) return `rank ${rank}`;
  return `rank ${rank} (process ${identity.pid} on host "${identity.host.slice(0, 80)}")`;
}

/** `rank 1`, `ranks 1, 2 and 3`, and how many more there are. */
export function listRanks(ranks: readonly number[]): string {
  const most = 16;
  const shown = ranks.slice(0, most).join(', ');
  const more = ranks.length > most ? ` and ${ranks.length - most} more` : '';
  return `${ranks.length === 1 ? 'rank' : 'ranks'} ${shown}${more}`;
}

/** JSON that keeps what JSON does not: NaN, infinities and the sign of zero; nothing at all is no bytes. */
export function encodeValue(value: unknown): Uint8Array {
  if (value === undefined) return new Uint8Array();
  // Bytes of their own, and not of Buffer's pool: they are moved to another thread.
  return new TextEncoder().encode(
    JSON.stringify(value, (_, inner: unknown) =>
      typeof inner === 'number' && (!Number.isFinite(inner) || Object.is(inner, -0))
        ? { [NUMBER]: Object.is(inner, -0) ? '-0' : String(inner) }
        : inner,
    ) ?? '',
  );
}

export function decodeValue(bytes: Uint8Array): unknown {
  if (bytes.length === 0) return undefined;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
  return JSON.parse(text, (_, inner: unknown) => {
    const number = typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>)[NUMBER] : undefined;
    return typeof number === 'string' ? Number(number) : inner;
  });
}

/** Of an object that stands for a number. */
const NUMBER = '$number';
