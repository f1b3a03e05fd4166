import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Engine } from '../../src/engine/engine.js';
import { ConfigError } from '../../src/errors.js';
import type { LoraAdapter } from '../../src/lora/apply-lora.js';
import {
  type GenerateOptions,
  generate,
  generateText,
  generateTokens,
  type StreamedToken,
  streamText,
} from '../../src/model/generate.js';
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
const prompts = (count: number) => world.collator.collatePrompts(makeExamples(count));

describe('answers held to choices', () => {
  const CHOICES = ['left hand', 'left', 'left foot', 'right foot', 'skull of a whale', 'skull of a cat', '手'];

  it('take the likeliest allowed token at each step, batched and alone, with the logits read or not', async () => {
    const { model, processor } = world;
    const { tokenizer } = processor;
    const answers = CHOICES.map((text) => [...tokenizer.encode(text), tokenizer.eosTokenId]);
    const options = { choices: CHOICES, tokenizer };
    const batch = await prompts(4);
    const expected: number[][] = [[], [], [], []];
    for await (const { sequence, id, logits, last } of generateTokens(model, batch, options)) {
      const ids = expected[sequence]!;
      const next = answers.filter((answer) => ids.every((token, i) => token === answer[i])).map((a) => a[ids.length]!);
      expect(id).toBe(next.reduce((best, token) => (logits[token]! > logits[best]! ? token : best)));
      ids.push(id);
      expect(last).toBe(id === tokenizer.eosTokenId);
    }
    const chosen = expected.map((ids) => answers.findIndex((answer) => answer.join() === ids.join()));
    expect(chosen).not.toContain(-1);
    expect(await generate(model, batch, options)).toEqual(expected);
    const texts = chosen.map((i) => CHOICES[i]);
    expect(await generateText(model, tokenizer, batch, { choices: CHOICES })).toEqual(texts);
    for (const [i, example] of makeExamples(4).entries()) {
      const alone = await world.collator.collatePrompts([example]);
      expect(await generate(model, alone, { ...options, sharePrefix: false })).toEqual([expected[i]]);
    }
  });

  it('are drawn alike whether logits are read or not, and all of them come', async () => {
    const { model, processor } = world;
    const { tokenizer } = processor;
    const one = await prompts(1);
    const seen = new Set<string>();
    for (let seed = 0; seed < 12; seed++) {
      const options = { choices: CHOICES, tokenizer, doSample: true, temperature: 30, topK: 0, seed };
      const ids: number[] = [];
      for await (const { id } of generateTokens(model, one, options)) ids.push(id);
      expect(await generate(model, one, options)).toEqual([ids]);
      seen.add(tokenizer.decode(ids, { skipSpecialTokens: true }));
    }
    expect(seen.size).toBeGreaterThan(2);
    for (const text of seen) expect(CHOICES).toContain(text);
  });

  it('may branch again behind tokens without an alternative', async () => {
    const { model, processor } = world;
    const { tokenizer } = processor;
    const choices = ['the skull of a whale', 'the skull of a hand', 'the skull of a right foot'];
    const batch = await prompts(3);
    const steps: number[][] = [[], [], []];
    for await (const { sequence, id } of generateTokens(model, batch, { choices, tokenizer }))
      steps[sequence]!.push(id);
    expect(await generate(model, batch, { choices, tokenizer })).toEqual(steps);
  });

  it('need passes for their branches only', async () => {
    const { model, processor } = world;
    const { tokenizer } = processor;
    let passes = 0;
    const rowLogits = model.rowLogits.bind(model);
    model.rowLogits = (...given) => {
      passes++;
      return rowLogits(...given);
    };
    try {
      const choices = ['skull of a whale', 'right foot'];
      await generate(model, await prompts(2), { choices, tokenizer });
      expect(passes).toBe(1);
    } finally {
      Reflect.deleteProperty(model, 'rowLogits');
    }
  });

  it('that cannot be told apart, or do not fit, are refused', async () => {
    const { model, processor } = world;
    const { tokenizer } = processor;
    const one = await prompts(1);
    const choose = (options: GenerateOptions) => generateText(model, tokenizer, one, options);
    await expect(choose({ choices: ['a', 'b', 'a'] })).rejects.toThrow('"a" is listed twice, at 0 and 2');
    await expect(choose({ choices: [] })).rejects.toThrow(ConfigError);
    await expect(choose({ choices: ['skull of a whale'], maxNewTokens: 2 })).rejects.toThrow(
      /more than `maxNewTokens` 2/,
    );
    await expect(choose({ choices: ['a'], stopStrings: ['b'] })).rejects.toThrow(/beside `choices`/);
    await expect(choose({ choices: ['a'], minNewTokens: 1 })).rejects.toThrow(/beside `choices`/);
    await expect(generate(model, one, { choices: ['a'] })).rejects.toThrow(/`choices` is about texts/);
  });
});

describe('texts', () => {
  it('end before a stop string, streamed or not, and ids at the token that completes it', async () => {
    const { model, processor } = world;
    const { tokenizer } = processor;
    const batch = await prompts(3);
    const free = { maxNewTokens: 12, eosTokenIds: NEVER };
    const texts = await generateText(model, tokenizer, batch, free);
    const ids = await generate(model, batch, free);
    const stop = [...texts[0]!].slice(3, 5).join('');
    const stopStrings = [stop, 'never comes'];
    const expected = texts.map((text) => (text.includes(stop) ? text.slice(0, text.indexOf(stop)) : text));
    expect(expected[0]!.length).toBeLessThan(texts[0]!.length);
    const pieces: StreamedToken[] = [];
    let waiting = false;
    const onToken = async (token: StreamedToken): Promise<void> => {
      expect(waiting).toBe(false);
      waiting = true;
      await new Promise(setImmediate);
      waiting = false;
      pieces.push(token);
    };
    expect(await generateText(model, tokenizer, batch, { ...free, stopStrings, onToken })).toEqual(expected);
    let streamed = '';
    for await (const piece of streamText(model, tokenizer, batch, { ...free, stopStrings })) streamed += piece;
    expect(streamed).toBe(expected[0]);
    const stopped = await generate(model, batch, { ...free, stopStrings, tokenizer });
    for (const [b, text] of expected.entries()) {
      const own = pieces.filter(({ sequence }) => sequence === b);
      expect(own.map((token) => token.text).join('')).toBe(text);
      expect(own.map(({ id }) => id)).toEqual(stopped[b]);
      expect(own.map(({ last }) => last)).toEqual(own.map((_, i) => i === own.length - 1));
      const isWithin = (count: number) => tokenizer.decode(ids[b]!.slice(0, count)).includes(stop);
      const length = Array.from({ length: 13 }, (_, n) => n).find(isWithin) ?? 12;
      expect(stopped[b]).toEqual(ids[b]!.slice(0, length));
    }
  });

  it('end at a control token that a stop string names', async () => {
    const { model, processor } = world;
    const { tokenizer } = processor;
    const engine: Engine = world.engine;
    const control = tokenizer.tokenToId('[INST]')!;
    const answer = [...tokenizer.encode('skull'), control];
    const one = await prompts(1);
    const free = { maxNewTokens: answer.length + 1, eosTokenIds: NEVER };
    const count = async (stopStrings: string[]): Promise<number> => {
      let at = 0;
      engine.rowMaxima = async () => ({
        values: Float32Array.of(1),
        indices: Int32Array.of(answer[at++ % answer.length]!),
      });
      return (await generate(model, one, { ...free, tokenizer, stopStrings }))[0]!.length;
    };
    try {
      expect(await count(['[INST]'])).toBe(answer.length);
      expect(await count(['[/INST]'])).toBe(answer.length + 1);
    } finally {
      delete engine.rowMaxima;
    }
  });

  it('of callbacks that throw end the generation and leave nothing behind', async () => {
    const { model, engine, processor } = world;
    const before = engine.memory().bytesInUse;
    const reason = new Error('seen enough');
    const onToken = (): void => {
      throw reason;
    };
    await expect(generateText(model, processor.tokenizer, await prompts(2), { onToken })).rejects.toBe(reason);
    expect(engine.memory().bytesInUse).toBe(before);
    await expect(generate(model, await prompts(1), { onToken })).rejects.toThrow(/`onToken` is about texts/);
    await expect(generateText(model, processor.tokenizer, await prompts(1), { onToken: 'x' as never })).rejects.toThrow(
      /onToken/,
    );
  });
});
