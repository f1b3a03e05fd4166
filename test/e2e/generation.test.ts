import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Engine } from '../../src/engine/engine.js';
import { Tape } from '../../src/engine/tape.js';
import { OutOfMemoryError } from '../../src/errors.js';
import type { LoraAdapter } from '../../src/lora/apply-lora.js';
import { generate, generateText, generateTokens, streamText } from '../../src/model/generate.js';
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

const NEVER = [99_999];

describe('generation', () => {
  it('with the cache gives the tokens that a full pass over the whole text gives', async () => {
    const { model, engine, collator } = world;
    const prompts = await collator.collatePrompts(makeExamples(1));
    const [ids] = await generate(model, prompts, { maxNewTokens: 6, eosTokenIds: NEVER });
    const text = [...prompts.inputIds.data];
    for (const expected of ids!) {
      const shape = [1, text.length];
      const tape = new Tape(engine, { record: false });
      const packed = model.pack({
        ...prompts,
        inputIds: { data: Int32Array.from(text), shape },
        attentionMask: { data: new Int32Array(text.length).fill(1), shape },
      });
      const logits = await engine.read(
        model.logits(tape, model.hidden(tape, packed, {}), Int32Array.of(text.length - 1)),
      );
      tape.dispose();
      expect(logits.indexOf(Math.max(...logits))).toBe(expected);
      text.push(expected);
    }
  });

  it('of a ragged batch equals that of each prompt alone, and ended sequences stop', async () => {
    const { model, collator } = world;
    const examples = makeExamples(4);
    const alone: number[][] = [];
    for (const example of examples) {
      alone.push(
        (await generate(model, await collator.collatePrompts([example]), { maxNewTokens: 8, eosTokenIds: NEVER }))[0]!,
      );
    }
    const together = await generate(model, await collator.collatePrompts(examples), {
      maxNewTokens: 8,
      eosTokenIds: NEVER,
    });
    expect(together).toEqual(alone);
    const stop = alone[1]![2]!;
    const stopped = await generate(model, await collator.collatePrompts(examples, { paddingSide: 'right' }), {
      maxNewTokens: 8,
      eosTokenIds: [stop],
    });
    expect(stopped).toEqual(alone.map((ids) => (ids.includes(stop) ? ids.slice(0, ids.indexOf(stop) + 1) : ids)));
  });

  it('takes the likeliest token where the engine finds it, and reads logits where they are needed', async () => {
    const { model, collator } = world;
    const engine: Engine = world.engine;
    const prompts = await collator.collatePrompts(makeExamples(3));
    const options = { maxNewTokens: 5, eosTokenIds: NEVER };
    const expected = await generate(model, prompts, options);
    const { vocabSize } = model.config.text;
    let [found, poisoned] = [0, false];
    engine.rowMaxima = async (logits) => {
      found++;
      const all = await engine.read(logits);
      const rows = Array.from({ length: all.length / vocabSize }, (_, i) =>
        all.subarray(i * vocabSize, (i + 1) * vocabSize),
      );
      const indices = Int32Array.from(rows, (row) => row.indexOf(Math.max(...row)));
      const values = Float32Array.from(rows, (row, i) => (poisoned ? Number.NaN : row[indices[i]!]!));
      return { values, indices };
    };
    try {
      expect(await generate(model, prompts, options)).toEqual(expected);
      expect(found).toBe(5);
      const tokens: number[][] = [[], [], []];
      for await (const { sequence, id, logits } of generateTokens(model, prompts, options)) {
        expect(logits.indexOf(Math.max(...logits))).toBe(id);
        tokens[sequence]!.push(id);
      }
      expect(tokens).toEqual(expected);
      await generate(model, prompts, { ...options, doSample: true });
      await generate(model, prompts, { ...options, repetitionPenalty: 1.5 });
      expect(found).toBe(5);
      // The first two tokens may not end the answer: only their logits are looked at.
      await generate(model, prompts, { ...options, minNewTokens: 2 });
      expect(found).toBe(8);
      poisoned = true;
      await expect(generate(model, prompts, options)).rejects.toThrow(/NaN at token/);
    } finally {
      delete engine.rowMaxima;
    }
  });

  it('stops at the model’s own end and at that of the prompts’ template, unless told where', async () => {
    const { model, collator } = world;
    const prompts = await collator.collatePrompts(makeExamples(2));
    expect(prompts.stopTokenIds).toEqual([world.processor.tokenizer.eosTokenId]);
    const whole = await generate(model, prompts, { maxNewTokens: 8, eosTokenIds: NEVER });
    const stop = whole[0]![2]!;
    const cut = whole.map((ids) => (ids.includes(stop) ? ids.slice(0, ids.indexOf(stop) + 1) : ids));
    expect(await generate(model, { ...prompts, stopTokenIds: [stop] }, { maxNewTokens: 8 })).toEqual(cut);
    expect(cut[0]!.length).toBeLessThan(8);
    // The end is not part of the text, whatever kind of token it is.
    const { tokenizer } = world.processor;
    const texts = cut.map((ids) =>
      tokenizer.decode(ids.at(-1) === stop ? ids.slice(0, -1) : ids, { skipSpecialTokens: true }),
    );
    const stopped = { ...prompts, stopTokenIds: [stop] };
    expect(await generateText(model, tokenizer, stopped, { maxNewTokens: 8 })).toEqual(texts);
    let streamed = '';
    for await (const piece of streamText(model, tokenizer, stopped, { maxNewTokens: 8 })) streamed += piece;
    expect(streamed).toBe(texts[0]);
    const told = { maxNewTokens: 8, eosTokenIds: NEVER };
    expect(await generate(model, { ...prompts, stopTokenIds: [stop] }, told)).toEqual(whole);
  });

  it('halves the prompts of a pass that runs out of memory, down to one', async () => {
    const { model, engine, collator } = world;
    const text = { messages: [{ role: 'user' as const, content: 'Which of these is it: left hand?' }] };
    const prompts = await collator.collatePrompts([...makeExamples(3), text, ...makeExamples(2, 9)]);
    const sampled = { doSample: true, temperature: 3, seed: 4 };
    const draw = (options: object) => generate(model, prompts, { maxNewTokens: 5, eosTokenIds: NEVER, ...options });
    const settings = [{}, { sharePrefix: false }, sampled];
    const expected: number[][][] = [];
    for (const options of settings) expected.push(await draw(options));
    const before = engine.memory().bytesInUse;
    const rowLogits = model.rowLogits.bind(model);
    let [most, failures] = [0, 0];
    model.rowLogits = async (packed, ...rest) => {
      // The cache has been written to by then.
      const logits = await rowLogits(packed, ...rest);
      if (packed.ids.length <= most) return logits;
      failures++;
      throw new OutOfMemoryError('too large');
    };
    model.rowMaxima = () => undefined;
    try {
      const longest = Math.max(...model.pack(prompts).starts.map((start, i, all) => start - (all[i - 1] ?? 0)));
      for (most of [longest, 2 * longest]) {
        failures = 0;
        for (const [i, options] of settings.entries()) expect(await draw(options)).toEqual(expected[i]);
        expect(failures).toBeGreaterThan(settings.length - 1);
      }
      most = longest - 1;
      await expect(draw({})).rejects.toThrow('too large');
      expect(engine.memory().bytesInUse).toBe(before);
    } finally {
      Reflect.deleteProperty(model, 'rowLogits');
      Reflect.deleteProperty(model, 'rowMaxima');
    }
  });

  it('streams the text that it returns, and sampling repeats with its seed', async () => {
    const { model, collator, processor } = world;
    const prompts = await collator.collatePrompts(makeExamples(1));
    const options = { doSample: true, temperature: 1.5, minP: 0.1, maxNewTokens: 12, seed: 3 };
    let streamed = '';
    for await (const piece of streamText(model, processor.tokenizer, prompts, options)) streamed += piece;
    expect(await generateText(model, processor.tokenizer, prompts, options)).toEqual([streamed]);
  });

  it('stops when aborted and frees its cache', async () => {
    const { model, engine, collator } = world;
    const prompts = await collator.collatePrompts(makeExamples(2));
    const before = engine.memory().bytesInUse;
    const controller = new AbortController();
    const reason = new Error('enough');
    const run = async (): Promise<void> => {
      for await (const { sequence } of generateTokens(model, prompts, {
        maxNewTokens: 50,
        eosTokenIds: NEVER,
        signal: controller.signal,
      })) {
        if (sequence === 1) controller.abort(reason);
      }
    };
    await expect(run()).rejects.toBe(reason);
    expect(engine.memory().bytesInUse).toBe(before);
  });
});
