/** Which of a model's weights lie on which device: layers in order, so that a pass crosses each border once. Pure. */
import type { WeightSource } from '../../formats/weight-source.js';

/** Weights that are used together. */
interface Stage {
  readonly sources: readonly WeightSource[];
}

/** In the order in which a pass comes to them. */
export function stagesOf(sources: readonly WeightSource[]): Stage[] {
  const stages = new Map<number, WeightSource[]>();
  for (const source of sources) {
    const { stage = 0 } = source;
    const known = stages.get(stage);
    if (known) known.push(source);
    else stages.set(stage, [source]);
  }
  return [...stages].sort(([a], [b]) => a - b).map(([, own]) => ({ sources: own }));
}

/** Bytes that some stages need on a device: from one up to, and without, another. */
type Need = (from: number, to: number) => number;

/** Halvings in the search for the smallest share of memory. */
const STEPS = 40;

/**
 * Cuts the stages so that the fullest device is as empty as it can be, in proportion to what each has free.
 * @param rooms free bytes of each device
 * @returns for each device the first stage behind its own; the last is `count`
 */
export function cutStages(count: number, rooms: readonly number[], need: Need): number[] {
  const known = new Map<number, number>();
  const needed: Need = (from, to) => {
    if (to <= from) return 0;
    const key = from * (count + 1) + to;
    const bytes = known.get(key) ?? need(from, to);
    known.set(key, bytes);
    return bytes;
  };
  const room = rooms.map((bytes) => Math.max(1, bytes));
  let low = 0;
  let high = Math.min(...room.map((bytes) => needed(0, count) / bytes));
  let best = fill(count, room, high, needed)!;
  for (let i = 0; i < STEPS; i++) {
    const middle = (low + high) / 2;
    const found = fill(count, room, middle, needed);
    if (found) [best, high] = [found, middle];
    else low = middle;
  }
  return best;
}

/** Each device takes as many stages as fit into its share; undefined if some are left. */
function fill(count: number, rooms: readonly number[], share: number, need: Need): number[] | undefined {
  let at = 0;
  const ends = rooms.map((room) => {
    const from = at;
    let [most, least] = [count, from];
    while (least < most) {
      const middle = Math.ceil((least + most) / 2);
      if (need(from, middle) <= share * room) least = middle;
      else most = middle - 1;
    }
    at = least;
    return at;
  });
  return at === count ? ends : undefined;
}
