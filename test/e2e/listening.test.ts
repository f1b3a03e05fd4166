/** What happens while a computation of the embedded engine pauses: here it does so after every operation. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { VlmBatch } from '../../src/data/types.js';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { EngineError } from '../../src/errors.js';
import { deleteAdapter, setAdapter } from '../../src/lora/adapter-slots.js';
import { applyLora, type LoraAdapter } from '../../src/lora/apply-lora.js';
import { type GeneratedToken, generate, generateTokens, streamText } from '../../src/model/generate.js';
import { loadModel } from '../../src/model/load.js';
import type { VisionLanguageModel } from '../../src/model/network/vision-language-model.js';
import { evaluateLoss } from '../../src/train/evaluate-loss.js';
import { countLabels } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { makeAdapter, makeExamples, makeTinyWorld, type TinyWorld } from './tiny-model.js';

const loop = vi.hoisted(() => ({ pauses: true, turns: 0 }));
vi.mock('../../src/async/event-loop.js', async (original) => {
  const own = await original<typeof import('../../src/async/event-loop.js')>();
  return {
    ...own,
    isTurnDue: () => loop.pauses,
    eventLoopTurn: async () => {
      loop.turns++;
      await own.eventLoopTurn();
    },
  };
});

let world: TinyWorld;
let model: VisionLanguageModel;
let adapter: LoraAdapter;
let batch: VlmBatch;
let prompts: VlmBatch;
let otherPrompts: VlmBatch;

beforeAll(async () => {
  world = await makeTinyWorld();
  model = world.model;
  const examples = makeExamples(4);
  batch = await world.collator.collate(examples);
  const asked = examples.map(({ messages }) => ({ messages: messages.slice(0, 1) }));
  prompts = await world.collator.collatePrompts(asked.slice(0, 2));
  otherPrompts = await world.collator.collatePrompts(asked.slice(2, 3));
});
afterAll(() => world.dispose());
beforeEach(() => {
  loop.pauses = true;
  loop.turns = 0;
  adapter = makeAdapter(model, 0.1);
});
afterEach(() => adapter.dispose());

const options = { maxNewTokens: 4, eosTokenIds: [1_000_000] };
const bytes = () => world.engine.memory().bytesInUse;

/** Ends when a computation has paused so many times more. */
async function afterPauses(count: number): Promise<void> {
  const until = loop.turns + count;
  while (loop.turns < until) await new Promise((resolve) => setImmediate(resolve));
}

async function gradients(gradientCheckpointing: boolean, signal?: AbortSignal): Promise<Float32Array> {
  const loss = await accumulateGradients(model, [batch], {
    labelCount: countLabels(batch),
    dropoutSeeds: [7],
    gradientCheckpointing,
    signal,
  });
  const value = await loss();
  const set = model.trainable;
  const all = Float32Array.of(value, ...(await model.engine.readGradients(set)));
  model.engine.zeroGradients(set);
  return all;
}

const evaluate = (signal?: AbortSignal) => evaluateLoss(model, batch, signal && { signal });

/** Each as it is alone and without pauses. */
const works: Record<string, (signal?: AbortSignal) => Promise<unknown>> = {
  generate: (signal) => generate(model, prompts, { ...options, ...(signal && { signal }) }),
  'generate, sampled': (signal) =>
    generate(model, prompts, { ...options, doSample: true, seed: 5, ...(signal && { signal }) }),
  evaluateLoss: evaluate,
  lastLogits: (signal) => model.lastLogits(prompts, signal && { signal }),
  'gradients, kept': (signal) => gradients(false, signal),
  'gradients, recomputed': (signal) => gradients(true, signal),
};
const names = Object.keys(works);

async function alone(name: string): Promise<unknown> {
  loop.pauses = false;
  const result = await works[name]!();
  loop.pauses = true;
  return result;
}

describe('a computation that pauses', () => {
  it.each(names)('gives what it gives without pauses: %s', async (name) => {
    const expected = await alone(name);
    const before = bytes();
    loop.turns = 0;
    expect(await works[name]!()).toEqual(expected);
    // Both towers have two layers.
    expect(loop.turns).toBeGreaterThan(15);
    expect(bytes()).toBe(before);
  });

  it('gives the same beside all others at once', async () => {
    const some = names.filter((name) => name !== 'gradients, kept');
    const expected: unknown[] = [];
    for (const name of some) expected.push(await alone(name));
    const before = bytes();
    expect(await Promise.all(some.map((name) => works[name]!()))).toEqual(expected);
    expect(bytes()).toBe(before);
  });

  it.each(names)(
    'ends with the reason of an abort, frees its memory, and leaves the model as it was: %s',
    async (name) => {
      const expected = await alone(name);
      const before = bytes();
      for (const pauses of [1, 9, 14]) {
        const controller = new AbortController();
        const reason = new Error(`after ${pauses}`);
        const work = works[name]!(controller.signal);
        const failed = expect(work).rejects.toBe(reason);
        await afterPauses(pauses);
        controller.abort(reason);
        controller.abort(new Error('again'));
        const { turns } = loop;
        await failed;
        // The pause in which it was heard is the last.
        expect(loop.turns).toBeLessThanOrEqual(turns + 1);
        model.engine.zeroGradients(model.trainable);
        expect(bytes()).toBe(before);
      }
      expect(await works[name]!()).toEqual(expected);
    },
  );

  it.each(names)('does not begin when it is aborted before: %s', async (name) => {
    const before = bytes();
    const reason = new Error('never');
    await expect(works[name]!(AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(loop.turns).toBe(0);
    expect(bytes()).toBe(before);
  });

  it('hears an abort while it waits for another one, which goes on', async () => {
    const expected = await alone('evaluateLoss');
    const controller = new AbortController();
    const first = evaluate();
    const second = generate(model, prompts, { ...options, signal: controller.signal });
    const third = evaluate();
    const failed = expect(second).rejects.toThrow('enough');
    await afterPauses(2);
    controller.abort(new Error('enough'));
    await failed;
    expect(await Promise.all([first, third])).toEqual([expected, expected]);
  });

  it('hears AbortSignal.timeout', async () => {
    const endless = async (): Promise<void> => {
      const signal = AbortSignal.timeout(30);
      for (;;) await generate(model, prompts, { ...options, signal });
    };
    await expect(endless()).rejects.toMatchObject({ name: 'TimeoutError' });
  });
});

describe('while a computation pauses', () => {
  it.each([
    ['another adapter becomes active', () => setAdapter(model, 'other')],
    ['the adapter is switched off', () => adapter.disable()],
    ['another adapter is deleted', () => deleteAdapter(model, 'other')],
    ['another adapter is made', () => applyLora(model, { r: 2 }, { adapterName: 'third' })],
  ])('%s: it goes on with its own', async (_, change) => {
    const expected = await alone('generate');
    const losses = await alone('gradients, recomputed');
    const other = applyLora(model, { r: 2, alpha: 100 }, { adapterName: 'other' });
    model.engine.writeParameters(other.parameters, new Float32Array(other.parameters.size).fill(0.1));
    for (const [name, result] of [
      ['generate', expected],
      ['gradients, recomputed', losses],
    ] as const) {
      adapter.enable();
      setAdapter(model, 'default');
      const work = name === 'generate' ? works[name]!() : lossAndGradients();
      await afterPauses(7);
      change();
      expect(await work).toEqual(result);
      for (const key of ['third']) if (change.toString().includes('third')) deleteAdapter(model, key);
      if (change.toString().includes('deleteAdapter')) applyLora(model, { r: 2 }, { adapterName: 'other' });
    }
    deleteAdapter(model, 'other');
  });

  /** As `gradients`, read from the adapter that was trained. */
  async function lossAndGradients(): Promise<Float32Array> {
    const set = adapter.parameters;
    const loss = await accumulateGradients(model, [batch], {
      labelCount: countLabels(batch),
      dropoutSeeds: [7],
      gradientCheckpointing: true,
    });
    const all = Float32Array.of(await loss(), ...(await model.engine.readGradients(set)));
    model.engine.zeroGradients(set);
    return all;
  }

  it.each(['generate', 'evaluateLoss', 'gradients, recomputed'])('its adapter is deleted: %s says so', async (name) => {
    const own = applyLora(model, { r: 2 }, { adapterName: 'own' });
    const before = bytes();
    setAdapter(model, 'own');
    const failed = expect(works[name]!()).rejects.toThrow(/the adapter that a computation began with was deleted/);
    await afterPauses(3);
    const { size } = own.parameters;
    deleteAdapter(model, 'own');
    await failed;
    expect(bytes()).toBeLessThanOrEqual(before - 8 * size);
    setAdapter(model, 'default');
  });

  it.each(['model', 'engine'] as const)('the %s is disposed of: every one says so', async (what) => {
    const engine = createCpuEngine({ threads: 2 });
    const own = await loadModel(world.checkpoint, { engine });
    applyLora(own, { r: 2 });
    const works = [generate(own, prompts, options), evaluateLoss(own, batch), own.lastLogits(prompts)];
    const failed = works.map((work) => expect(work).rejects.toThrow(EngineError));
    const message = expect(works[0]).rejects.toThrow(/disposed/);
    await afterPauses(3);
    await (what === 'model' ? own : engine).dispose();
    await Promise.all([...failed, message]);
    await engine.dispose();
    await engine.dispose();
  });

  it('an adapter is made, and the window then fails: the adapter stays', async () => {
    const { operations } = model.engine;
    const fail = vi.spyOn(operations.crossEntropy, 'backward').mockImplementation(() => {
      throw new Error('broken');
    });
    const work = gradients(false);
    const failed = expect(work).rejects.toThrow('broken');
    await afterPauses(2);
    const other = applyLora(model, { r: 2 }, { adapterName: 'other' });
    await failed;
    fail.mockRestore();
    setAdapter(model, 'other');
    expect((await evaluateLoss(model, batch)).lossSum).toBeGreaterThan(0);
    other.dispose();
    setAdapter(model, 'default');
  });
});

describe('a reader of tokens', () => {
  it('that leaves the loop stops the generation and frees its memory', async () => {
    const before = bytes();
    for await (const token of generateTokens(model, prompts, options)) if (token.sequence === 1) break;
    expect(bytes()).toBe(before);
  });

  it('that never asks again: an abort frees the memory, and the next token is its reason', async () => {
    const before = bytes();
    const controller = new AbortController();
    const reason = new Error('enough');
    const tokens = generateTokens(model, prompts, { ...options, signal: controller.signal });
    const first = (await tokens.next()).value as GeneratedToken;
    expect(first.sequence).toBe(0);
    expect(bytes()).toBeGreaterThan(before);
    controller.abort(reason);
    expect(bytes()).toBe(before);
    await expect(tokens.next()).rejects.toBe(reason);
    expect((await tokens.next()).done).toBe(true);
  });

  it('of one text hears an abort in between, while another text goes on', async () => {
    const { tokenizer } = world.processor;
    const read = async (signal?: AbortSignal): Promise<string> => {
      let text = '';
      const given = { ...options, ...(signal && { signal }) };
      for await (const piece of streamText(model, tokenizer, otherPrompts, given)) text += piece;
      return text;
    };
    const expected = await read();
    const controller = new AbortController();
    const [stopped, whole] = [read(controller.signal), read()];
    const failed = expect(stopped).rejects.toThrow('enough');
    await afterPauses(20);
    controller.abort(new Error('enough'));
    await failed;
    expect(await whole).toBe(expected);
  });
});
