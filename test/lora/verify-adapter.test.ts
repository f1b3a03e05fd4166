import { describe, expect, it } from 'vitest';
import type { VlmBatch } from '../../src/data/types.js';
import { CheckpointError, ConfigError } from '../../src/errors.js';
import { saveAdapter } from '../../src/lora/adapter-file.js';
import { activeAdapter, adaptersOf, deleteAdapter, setAdapter } from '../../src/lora/adapter-slots.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import type { LoraConfigOptions } from '../../src/lora/lora-config.js';
import { verifyAdapter } from '../../src/lora/verify-adapter.js';
import { folder, trained, useAdapterFolder } from './adapter-folder.js';
import { fakeModel } from './fake-engine.js';

useAdapterFolder();

const OPTIONS: LoraConfigOptions = { r: 2, targetModules: ['q_proj'], towers: 'language' };
const batch = {
  inputIds: { data: new Int32Array(1), shape: [1, 1] },
  attentionMask: {},
  sampleIds: [],
} as unknown as VlmBatch;

/** A model whose logits are a constant without an adapter, and what `answer` says with the n-th that it meets. */
function probed(answer: (call: number) => number) {
  const model = fakeModel();
  let adaptedCalls = 0;
  return Object.assign(model, {
    lastLogits: async () => {
      const isAdapted = model.linearModules.some(({ lora }) => lora);
      return Float32Array.of(1, isAdapted ? answer(adaptedCalls++) : 1);
    },
  });
}

describe('verifyAdapter', () => {
  it('measures what the files change, and leaves the model as it was', async () => {
    await saveAdapter(trained(OPTIONS), folder);
    const model = probed(() => 4);
    expect(await verifyAdapter(model, folder, batch)).toEqual({ modules: 2, maxChange: 3, maxDeviation: undefined });
    expect(model.linearModules.some(({ lora }) => lora)).toBe(false);
    expect(model.engine.values.size).toBe(0);
    const adapter = trained(OPTIONS, model);
    const before = model.linearModules.map(({ lora }) => lora);
    expect(await verifyAdapter(model, folder, batch)).toEqual({ modules: 2, maxChange: 3, maxDeviation: 0 });
    expect(model.linearModules.map(({ lora }) => lora)).toEqual(before);
    expect([adapter.isActive, adapter.isEnabled]).toEqual([true, true]);
  });

  it('lets files differ by a hundredth of the effect, and not by more', async () => {
    await saveAdapter(trained(OPTIONS), folder);
    const model = probed((call) => (call === 0 ? 4 : 5));
    trained(OPTIONS, model);
    await expect(verifyAdapter(model, folder, batch)).rejects.toMatchObject({
      message: expect.stringContaining(
        `${folder}: the adapter of 2 layers does not do what the adapter on the model does: logits differ by up to 1.00, where its whole effect is 4.00`,
      ),
      hint: expect.stringContaining('Are these the files of the active adapter?'),
      details: { directory: folder, modules: 2, maxChange: 4, maxDeviation: 1 },
    });
    const near = probed((call) => (call === 0 ? 101 : 100));
    trained(OPTIONS, near);
    await expect(verifyAdapter(near, folder, batch)).rejects.toThrow(CheckpointError);
    const nearer = probed((call) => (call === 0 ? 102 : 101));
    trained(OPTIONS, nearer);
    expect((await verifyAdapter(nearer, folder, batch)).maxDeviation).toBe(1);
  });

  it('refuses files that change nothing, or make no numbers', async () => {
    await saveAdapter(trained(OPTIONS), folder);
    const dead = verifyAdapter(
      probed(() => 1),
      folder,
      batch,
    );
    await expect(dead).rejects.toThrow(/changes no logit: it has not been trained, or every B is zero$/);
    const broken = verifyAdapter(
      probed(() => Number.NaN),
      folder,
      batch,
    );
    await expect(broken).rejects.toThrow(/produces logits that are not finite: its training has diverged$/);
    await expect(
      verifyAdapter(
        probed(() => Infinity),
        folder,
        batch,
      ),
    ).rejects.toThrow(/not finite/);
  });

  it('says which argument is wrong', async () => {
    const model = probed(() => 4);
    await expect(verifyAdapter(undefined as never, folder, batch)).rejects.toThrow(/^verifyAdapter: expected a model/);
    await expect(verifyAdapter(model, 5 as never, batch)).rejects.toThrow(/verifyAdapter: `directory`/);
    await expect(verifyAdapter(model, folder, 5 as never)).rejects.toThrow(
      /verifyAdapter: `batch`[\s\S]*verifyAdapter\(model, directory, await collator\.collate\(samples\)\)/,
    );
  });
});

describe('the adapters of a model', () => {
  it('are active one at a time, by name', () => {
    const model = fakeModel();
    expect([activeAdapter(model), adaptersOf(model).size]).toEqual([undefined, 0]);
    const first = applyLora(model, OPTIONS, { adapterName: 'first' });
    const second = applyLora(model, { ...OPTIONS, r: 4 }, { adapterName: 'second', onWarning: () => undefined });
    const ranks = () => model.linearModules.flatMap(({ lora }) => lora?.a.shape[0] ?? []);
    expect([activeAdapter(model), ranks(), [...adaptersOf(model).keys()]]).toEqual([
      first,
      [2, 2],
      ['first', 'second'],
    ]);
    second.disable();
    expect(setAdapter(model, 'second')).toBe(second);
    expect([activeAdapter(model), second.isEnabled, ranks()]).toEqual([second, true, [4, 4]]);
    deleteAdapter(model, 'first');
    expect([first.isDisposed, ranks()]).toEqual([true, [4, 4]]);
    deleteAdapter(model, 'second');
    expect([activeAdapter(model), ranks(), adaptersOf(model).size]).toEqual([undefined, [], 0]);
  });

  it('that do not exist are answered with those that do', () => {
    const model = fakeModel();
    expect(() => setAdapter(model, 'a')).toThrow(
      /^setAdapter: the model has no adapter "a"; it has none\n {2}hint: loadAdapter\(/,
    );
    applyLora(model, OPTIONS, { adapterName: 'fracture' });
    applyLora(model, OPTIONS, { adapterName: 'other', onWarning: () => undefined });
    expect(() => setAdapter(model, 'fractur')).toThrow(
      /no adapter "fractur"; it has "fracture", "other"\n {2}hint: Did you mean "fracture"\?/,
    );
    expect(() => deleteAdapter(model, 'zzzzzz')).toThrow(/^deleteAdapter: [\s\S]*adapterName: 'NAME' \}\) adds one/);
    expect(() => setAdapter(model, 5 as never)).toThrow(ConfigError);
    expect(() => setAdapter(model, 5 as never)).toThrow(/no adapter 5; it has "fracture", "other"/);
    expect(() => activeAdapter({} as never)).toThrow(/^activeAdapter: expected a model/);
    expect(() => adaptersOf({} as never)).toThrow(/^adaptersOf: expected a model/);
    expect(() => setAdapter({} as never, 'a')).toThrow(/^setAdapter: expected a model/);
    expect(() => deleteAdapter({} as never, 'a')).toThrow(/^deleteAdapter: expected a model/);
  });

  it('are made known to a model that trains', () => {
    const known: unknown[] = [];
    const model = Object.assign(fakeModel(), {
      setTrainable: (set: unknown, write: unknown) => known.push([set, typeof write]),
    });
    const adapter = applyLora(model, OPTIONS);
    adapter.disable();
    adapter.disable();
    adapter.enable();
    adapter.dispose();
    expect(known).toEqual([
      [adapter.parameters, 'function'],
      [undefined, 'undefined'],
      [adapter.parameters, 'function'],
      [undefined, 'undefined'],
    ]);
  });
});
