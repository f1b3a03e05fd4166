/**
 * The window of a step over several ranks: each tells what it has read, and the micro-batches of slow ranks move to others,
 * so that all of them take about as long.
 */

import type { VlmBatch } from '../data/types.js';
import { type BatchParts, decodeBatches, encodeBatches, partsOfBatch } from './batch-bytes.js';
import type { RankExchange } from './rank-exchange.js';
import type { Window } from './sampler.js';
import type { SftConfig } from './sft-config.js';
import type { TrainableModel } from './trainable-model.js';
import { describeBatches, joinFacts, type MicroBatchFacts, type TrainingWindow } from './training-window.js';
import { dealByTime, timesOf } from './window-costs.js';

interface DealtFacts extends MicroBatchFacts {
  /** As `timesOf` has it; 0 for one without samples. */
  readonly cost: number;
  /** Undefined for one that has to stay. */
  readonly bytes?: number;
}

interface Told {
  readonly facts: DealtFacts[];
  readonly dataWait: number;
  /** Whether this rank can send micro-batches, and receive them. */
  readonly canMove: boolean;
  readonly hasRead: boolean;
}

/** A micro-batch with the rank that has read it, and the one that computes it. */
interface Dealt extends DealtFacts {
  readonly home: number;
  readonly owner: number;
}

/** A window as all ranks know it, with the batches of this one, and the longest that one of them has waited for data. */
interface JoinedWindow {
  readonly window: TrainingWindow;
  readonly dataWait: number;
}

/** What a rank has read of a window. */
export interface OwnShare {
  readonly batches: readonly OwnBatch[];
  /** Seconds for which it has waited for them. */
  readonly wait: number;
}

/**
 * @param step from 0
 * @param read undefined if this rank could not read its share
 * @param later leave it to the caller to end the run where that was agreed on
 * @returns undefined if a rank could not read its batches
 * @throws what ends the run
 */
export async function joinWindow(
  ranks: RankExchange,
  step: number,
  read: OwnShare | undefined,
  later = false,
): Promise<JoinedWindow | undefined> {
  const { group } = ranks;
  const what = `window ${step + 1}`;
  const canMove = canExchange(ranks);
  const batches = read?.batches ?? [];
  const facts = batches.map((batch) => batch.facts);
  const told = await ranks.gather<Told>(what, { facts, dataWait: read?.wait ?? 0, canMove, hasRead: !!read }, later);
  if (!told.every(({ hasRead }) => hasRead)) return undefined;
  const dealt = dealWindow(told);
  const moved = await exchange(ranks, what, dealt, new Map(batches.map((batch) => [batch.facts.place, batch])));
  const mine = dealt.filter(({ owner, sampleIds }) => owner === group.rank && sampleIds.length > 0);
  return {
    window: {
      ...joinFacts(dealt),
      batches: mine.map(({ place }) => moved.get(place)!),
      dropoutSlots: mine.map(({ place }) => place),
      idsByRank: told.map((_, rank) => dealt.flatMap(({ owner, sampleIds }) => (owner === rank ? sampleIds : []))),
    },
    dataWait: Math.max(...told.map((rank) => rank.dataWait)),
  };
}

function canExchange({ group }: RankExchange): boolean {
  return group.exchangeBytes !== undefined && group.worldSize > 1;
}

/** What a rank has of a micro-batch that it has read. */
interface OwnBatch {
  readonly batch: VlmBatch;
  /** Undefined if it has to stay. */
  readonly parts: BatchParts | undefined;
  readonly facts: DealtFacts;
}

/** @throws where a batch is not what it must be */
export function describeOwn(
  ranks: RankExchange,
  { model, config }: { readonly model: TrainableModel; readonly config: SftConfig },
  own: Window,
  collated: readonly VlmBatch[],
): OwnBatch[] {
  const canMove = canExchange(ranks);
  const described = describeBatches(own, collated);
  const full = collated.filter((_, b) => described[b]!.sampleIds.length > 0);
  const times = canMove ? timesOf(model, config, full) : [];
  return collated.map((batch, b) => {
    const at = full.indexOf(batch);
    const parts = canMove && at >= 0 ? partsOfBatch(batch) : undefined;
    const facts = { ...described[b]!, cost: times[at] ?? 0, ...(parts && { bytes: parts.bytes }) };
    return { batch, parts, facts };
  });
}

/** The same on all ranks. Gives micro-batches by their place. */
function dealWindow(told: readonly Told[]): Dealt[] {
  const all = told.flatMap(({ facts }, home) => facts.map((one) => ({ ...one, home })));
  all.sort((a, b) => a.place - b.place);
  const isMovable = told.every(({ canMove }) => canMove);
  const owners = isMovable ? dealByTime(all, told.length) : undefined;
  return all.map((one, i) => ({ ...one, owner: owners?.[i] ?? one.home }));
}

/**
 * Sends what moves to its owners.
 * @param own micro-batches that this rank has read, by their place
 * @returns those that it computes, by their place
 */
async function exchange(
  ranks: RankExchange,
  what: string,
  dealt: readonly Dealt[],
  own: ReadonlyMap<number, OwnBatch>,
): Promise<Map<number, VlmBatch>> {
  const { rank } = ranks.group;
  const kept = dealt.filter(({ home, owner }) => home === rank && owner === rank);
  const batches = new Map(kept.map(({ place }) => [place, own.get(place)!.batch]));
  const moved = dealt.filter(({ home, owner }) => home !== owner);
  if (moved.length === 0) return batches;
  const given = new Map<number, BatchParts[]>();
  for (const { home, owner, place } of moved) {
    // Node 20 has no Map.groupBy.
    if (home === rank) given.set(owner, [...(given.get(owner) ?? []), own.get(place)!.parts!]);
  }
  const sent = new Map([...given].map(([to, parts]) => [to, encodeBatches(parts)] as const));
  const got = await ranks.group.exchangeBytes!(`moves of ${what}`, sent);
  for (const [from, bytes] of got) {
    const places = moved.filter(({ home, owner }) => home === from && owner === rank).map(({ place }) => place);
    for (const [i, batch] of decodeBatches(bytes).entries()) batches.set(places[i]!, batch);
  }
  return batches;
}
