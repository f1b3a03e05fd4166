import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VlmBatch } from '../../src/data/types.js';
import { Tape } from '../../src/engine/tape.js';
import { ConfigError, DataError, OutOfMemoryError } from '../../src/errors.js';
import type { LoraAdapter } from '../../src/lora/apply-lora.js';
import { scoreLabels } from '../../src/model/score-labels.js';
import { makeAdapter, makeExamples, makeTinyWorld, type TinyWorld } from './tiny-model.js';

let world: TinyWorld;
let adapter: LoraAdapter;
beforeAll(async () => {
  world = await makeTinyWorld();
  adapter = makeAdapter(world.model);
});
afterAll(async () => {
  adapter.dispose();
  await world.dispose();
});

/** Of several lengths; common beginnings, one inside another, other scripts. */
const LABELS = ['left hand', 'left', 'left foot', 'right foot', 'skull', 'skull of a whale', '手', 'x'];

/** ln p of the tokens behind the prompt, from the logits of the whole text. */
async function scoreAlone(prompts: VlmBatch, tokens: readonly number[]): Promise<number> {
  const { model, engine } = world;
  const ids = [...prompts.inputIds.data, ...tokens];
  const shape = [1, ids.length];
  const packed = model.pack({
    ...prompts,
    inputIds: { data: Int32Array.from(ids), shape },
    attentionMask: { data: new Int32Array(ids.length).fill(1), shape },
  });
  const tape = new Tape(engine, { record: false });
  const rows = Int32Array.from(tokens, (_, i) => ids.length - tokens.length - 1 + i);
  const logits = await engine.read(model.logits(tape, model.hidden(tape, packed, {}), rows));
  tape.dispose();
  const size = logits.length / rows.length;
  return tokens.reduce((sum, token, i) => {
    const scores = logits.subarray(i * size, (i + 1) * size);
    const total = scores.reduce((all, score) => all + Math.exp(score), 0);
    return sum + scores[token]! - Math.log(total);
  }, 0);
}

describe('scoreLabels', () => {
  it('gives what each label has alone, for ragged prompts with images and without', async () => {
    const { model, collator, processor } = world;
    const { tokenizer } = processor;
    const text = { messages: [{ role: 'user' as const, content: 'Which of these is it: left hand?' }] };
    const examples = [...makeExamples(3), text];
    const expected: number[][] = [];
    for (const example of examples) {
      const prompts = await collator.collatePrompts([example]);
      const scores: number[] = [];
      for (const label of LABELS) {
        scores.push(await scoreAlone(prompts, [...tokenizer.encode(label), tokenizer.eosTokenId]));
      }
      expected.push(scores);
    }
    const lengths = LABELS.map((label) => tokenizer.encode(label).length + 1);
    expect(new Set(lengths).size).toBeGreaterThan(2);
    for (const paddingSide of ['left', 'right'] as const) {
      const prompts = await collator.collatePrompts(examples, { paddingSide });
      for (const sharePrefix of [true, false]) {
        const scores = await scoreLabels(model, tokenizer, prompts, LABELS, { sharePrefix });
        const normalized = await scoreLabels(model, tokenizer, prompts, LABELS, { sharePrefix, normalizeLength: true });
        for (const [b, row] of expected.entries()) {
          for (const [i, score] of row.entries()) {
            expect(Math.abs(scores[b]![i]! - score)).toBeLessThan(1e-4);
            expect(Math.abs(normalized[b]![i]! - score / lengths[i]!)).toBeLessThan(1e-4);
          }
        }
      }
    }
  });

  it('gives the same for one label at a time', async () => {
    const { model, collator, processor } = world;
    const prompts = await collator.collatePrompts(makeExamples(5));
    const together = await scoreLabels(model, processor.tokenizer, prompts, LABELS);
    for (const [i, label] of LABELS.entries()) {
      const alone = await scoreLabels(model, processor.tokenizer, prompts, [label]);
      for (const [b, [score]] of alone.entries()) expect(Math.abs(score! - together[b]![i]!)).toBeLessThan(1e-4);
    }
  });

  it('scores hundreds of labels in groups, each as alone', async () => {
    const { model, collator, processor } = world;
    const { tokenizer } = processor;
    const prompts = await collator.collatePrompts(makeExamples(2));
    const labels = Array.from({ length: 700 }, (_, i) => `class ${i}`);
    let passes = 0;
    const labelLosses = model.labelLosses.bind(model);
    model.labelLosses = (...given) => {
      passes++;
      return labelLosses(...given);
    };
    const scores = await scoreLabels(model, tokenizer, prompts, labels);
    Reflect.deleteProperty(model, 'labelLosses');
    expect(passes).toBeGreaterThan(2);
    const few = [3, 340, 699];
    const alone = await scoreLabels(
      model,
      tokenizer,
      prompts,
      few.map((i) => labels[i]!),
    );
    for (const [b, row] of scores.entries()) {
      expect(row).toHaveLength(700);
      for (const [k, i] of few.entries()) expect(Math.abs(row[i]! - alone[b]![k]!)).toBeLessThan(1e-4);
    }
    const [others] = await scoreLabels(model, tokenizer, prompts, ['class 3'], { eosTokenId: tokenizer.bosTokenId });
    expect(others![0]).not.toBe(scores[0]![3]);
  });

  it('halves a pass that runs out of memory, down to single labels of single prompts', async () => {
    const { model, collator, processor } = world;
    const { tokenizer } = processor;
    const prompts = await collator.collatePrompts(makeExamples(3));
    const labelLosses = model.labelLosses.bind(model);
    let [most, largest, failures] = [Infinity, 0, 0];
    model.labelLosses = async (packed, options) => {
      largest = Math.max(largest, packed.ids.length);
      if (packed.ids.length <= most) return labelLosses(packed, options);
      failures++;
      throw new OutOfMemoryError('too large');
    };
    try {
      const expected = await scoreLabels(model, tokenizer, prompts, LABELS);
      const lengths = model.pack(prompts).starts.map((start, i, all) => start - (all[i - 1] ?? 0));
      const room = 1 + Math.max(...LABELS.map((label) => tokenizer.encode(label).length));
      for (most of [largest - 1, Math.max(...lengths) + room]) {
        failures = 0;
        const scores = await scoreLabels(model, tokenizer, prompts, LABELS);
        expect(failures).toBeGreaterThan(0);
        for (const [b, row] of expected.entries()) {
          for (const [i, score] of row.entries()) expect(Math.abs(scores[b]![i]! - score)).toBeLessThan(1e-4);
        }
      }
      most = 0;
      await expect(scoreLabels(model, tokenizer, prompts, LABELS)).rejects.toThrow('too large');
    } finally {
      Reflect.deleteProperty(model, 'labelLosses');
    }
  });

  it('refuses labels that cannot be told apart, and calls that are wrong', async () => {
    const { model, collator, processor } = world;
    const { tokenizer } = processor;
    const prompts = await collator.collatePrompts(makeExamples(1));
    const score = (labels: unknown, options?: object) =>
      scoreLabels(model, tokenizer, prompts, labels as string[], options);
    await expect(score(['a', 'b', 'a'])).rejects.toThrow('scoreLabels: `labels`: "a" is listed twice, at 0 and 2');
    await expect(score([])).rejects.toThrow('expected a list of texts, got an empty list');
    await expect(score('a')).rejects.toThrow(ConfigError);
    await expect(score(['a', ''])).rejects.toThrow('expected texts, got an empty one at 1');
    await expect(score(['a', 5])).rejects.toThrow(/expected texts, got 5 at 1/);
    await expect(score(['a'], { normalise: true })).rejects.toThrow(/unknown option `normalise`/);
    await expect(score(['a', 'b'], { eosTokenId: tokenizer.encode('a')[0]! })).rejects.toThrow(/closes an answer/);
    await expect(score(['word '.repeat(6000)])).rejects.toThrow(DataError);
    await expect(scoreLabels(tokenizer as never, model as never, prompts, ['a'])).rejects.toThrow(/scoreLabels\(model/);
    const training = await collator.collate(makeExamples(1));
    await expect(scoreLabels(model, tokenizer, training, ['a'])).rejects.toThrow(/expected a batch of prompts/);
  });

  it('stops when aborted and leaves nothing behind', async () => {
    const { model, engine, collator, processor } = world;
    const prompts = await collator.collatePrompts(makeExamples(2));
    const before = engine.memory().bytesInUse;
    const reason = new Error('enough');
    const controller = new AbortController();
    const scoring = scoreLabels(model, processor.tokenizer, prompts, LABELS, { signal: controller.signal });
    setImmediate(() => controller.abort(reason));
    await expect(scoring).rejects.toBe(reason);
    expect(engine.memory().bytesInUse).toBe(before);
  });
});
