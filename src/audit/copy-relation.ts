/** Who is a direct copy of whom in a group of samples, and which of them go. */
import type { AuditedSample, SampleGroup } from './audit-report.js';
import { DisjointSets, groupedBy } from './copy-groups.js';

/** A sample that was removed, and why. */
export interface RemovedSample extends AuditedSample {
  /** The sample that stays and of which it is a copy; of conflicting ones that all go, one with another label. */
  readonly copyOf: AuditedSample;
  /** `exact` or `near` copy, or one of copies with different labels. */
  readonly reason: 'exact' | 'near' | 'conflict';
}

/** Samples of one split that are copies, directly or through others of that split. */
export interface Component {
  /** In the order of the split. */
  readonly members: readonly AuditedSample[];
  /** Whether they have different labels. */
  readonly isConflict: boolean;
  /** Those that are direct copies of one that stays: the first stays. */
  copies(): RemovedSample[];
  /** All of them. */
  conflicting(): RemovedSample[];
}

/** Pairs of a group, looked up by sample. */
export class CopyRelation {
  readonly #samples: readonly AuditedSample[];
  /** [samples] The first exact copy of each, which may be itself. */
  readonly #exact: Int32Array;
  /** Near copies of such firsts. */
  readonly #near = new Map<number, number[]>();

  /** @param kind `exact` leaves near pairs out */
  constructor({ samples, pairs }: SampleGroup, kind: 'near' | 'exact') {
    this.#samples = samples;
    this.#exact = Int32Array.from(samples, (_, i) => i);
    for (const pair of pairs) if (pair.kind === 'exact') this.#exact[pair.b] = pair.a;
    for (const pair of pairs) {
      if (pair.kind === 'exact' || kind === 'exact') continue;
      for (const [one, other] of [
        [pair.a, pair.b],
        [pair.b, pair.a],
      ] as const) {
        this.#near.set(one, [...(this.#near.get(one) ?? []), other]);
      }
    }
  }

  /** Of the samples of one split, those with copies in it. */
  components(split: string): Component[] {
    const own = [...this.#samples.keys()].filter((i) => this.#samples[i]!.split === split);
    const firsts = new Set(own.map((i) => this.#exact[i]!));
    const sets = new DisjointSets(this.#samples.length);
    for (const first of firsts)
      for (const other of this.#near.get(first) ?? []) if (firsts.has(other)) sets.join(first, other);
    return [...groupedBy(own, (i) => sets.rootOf(this.#exact[i]!)).values()]
      .filter((members) => members.length > 1)
      .map((members) => this.#component(members));
  }

  #component(places: readonly number[]): Component {
    const members = places.map((i) => this.#samples[i]!);
    const labels = new Set(members.flatMap(({ label }) => label ?? []));
    return {
      members,
      isConflict: labels.size > 1,
      copies: () => this.#copies(places),
      conflicting: () =>
        members.map((member) => {
          const copyOf = members.find(({ label }) => label !== member.label) ?? members.find((one) => one !== member)!;
          return { ...member, copyOf, reason: 'conflict' };
        }),
    };
  }

  #copies(places: readonly number[]): RemovedSample[] {
    /** By the first exact copy: the sample that stays. */
    const kept = new Map<number, AuditedSample>();
    const removed: RemovedSample[] = [];
    for (const i of places) {
      const sample = this.#samples[i]!;
      const first = this.#exact[i]!;
      const exact = kept.get(first);
      const near = (this.#near.get(first) ?? []).map((other) => kept.get(other)).find((one) => one !== undefined);
      const copyOf = exact ?? near;
      if (copyOf) removed.push({ ...sample, copyOf, reason: exact ? 'exact' : 'near' });
      else kept.set(first, sample);
    }
    return removed;
  }
}
