import { describe, expect, it } from 'vitest';
import { type ApplyLoraOptions, applyLora, type LoraAdapter } from '../../src/lora/apply-lora.js';
import { requireAdapter } from '../../src/lora/lora-adapter.js';
import type { LoraConfigOptions } from '../../src/lora/lora-config.js';
import { fakeModel } from './fake-engine.js';

const CONFIG: LoraConfigOptions = { r: 2, targetModules: ['q_proj'], towers: 'language' };
const adapted = (model: ReturnType<typeof fakeModel>) => model.linearModules.filter(({ lora }) => lora).length;

describe('an adapter', () => {
  it('is switched off and on without losing its values', async () => {
    const model = fakeModel();
    const adapter = applyLora(model, CONFIG);
    const before = await adapter.readValues();
    expect([adapter.isActive, adapter.isEnabled, adapted(model)]).toEqual([true, true, 2]);
    adapter.disable();
    adapter.disable();
    expect([adapter.isActive, adapter.isEnabled, adapted(model)]).toEqual([true, false, 0]);
    adapter.enable();
    expect([adapter.isEnabled, adapted(model)]).toEqual([true, 2]);
    expect(await adapter.readValues()).toEqual(before);
  });

  it('is off as long as work takes, also where it fails and where calls overlap', async () => {
    const model = fakeModel();
    const adapter = applyLora(model, CONFIG);
    const counts: number[] = [];
    const work = async () => {
      await Promise.resolve();
      counts.push(adapted(model));
      return 'done';
    };
    expect(await Promise.all([adapter.withDisabled(work), adapter.withDisabled(work)])).toEqual(['done', 'done']);
    await expect(adapter.withDisabled(() => Promise.reject(new Error('failed')))).rejects.toThrow('failed');
    expect([...counts, adapted(model), adapter.isEnabled]).toEqual([0, 0, 2, true]);
    adapter.disable();
    await adapter.withDisabled(() => undefined);
    expect(adapter.isEnabled).toBe(false);
    await expect(adapter.withDisabled('work' as never)).rejects.toThrow(
      /withDisabled: expected a function to run meanwhile, got "work"[\s\S]*model\.lastLogits/,
    );
  });

  it('is off the model for good when it is disposed of, which may be said twice', async () => {
    const model = fakeModel();
    const adapter = applyLora(model, CONFIG);
    const weights = model.linearModules.map(({ lora }) => lora).filter((lora) => lora !== undefined);
    adapter.dispose();
    adapter.dispose();
    expect([adapter.isDisposed, adapter.isEnabled, adapter.isActive, adapted(model)]).toEqual([true, false, false, 0]);
    expect(model.engine.values.size).toBe(0);
    expect(weights.map((lora) => (lora as { isReleased?: boolean }).isReleased)).toEqual([true, true]);
    const gone = (what: string) => `${what}: the adapter "default" is disposed of: its values are gone`;
    expect(() => adapter.disable()).toThrow(gone('disable'));
    expect(() => adapter.enable()).toThrow(/enable: .*[\s\S]*Save it before dispose/);
    await expect(adapter.readValues()).rejects.toThrow(gone('readValues'));
    await expect(adapter.withDisabled(() => 1)).rejects.toThrow(gone('withDisabled'));
    expect(() => requireAdapter(adapter, 'saveAdapter', 'saveAdapter(adapter, dir)')).toThrow(gone('saveAdapter'));
  });

  it('says in a line what it adapts', () => {
    expect(applyLora(fakeModel(), CONFIG).description).toBe(
      'LoRA on 2 linear layers (2 language: q_proj), 112 trainable parameters',
    );
    const both = applyLora(fakeModel({ layers: 1 }), { r: 2, targetModules: ['q_proj', 'up_proj'] });
    expect(both.description).toMatch(/^LoRA on 4 linear layers \(2 language, 2 vision.*: q_proj, up_proj\)/);
  });

  it('is told from its model and from anything else', () => {
    const check = (value: unknown) => () => requireAdapter(value, 'saveAdapter', 'saveAdapter(adapter, dir)');
    expect(check(applyLora(fakeModel(), CONFIG))()).toBeUndefined();
    expect(check(fakeModel())).toThrow(/returned, got the model[\s\S]*saveAdapter\(adapter, dir\); the weights of/);
    for (const other of [undefined, null, 5, {}]) {
      expect(check(other)).toThrow(/expected the adapter that applyLora or loadAdapter returned, got/);
      expect(check(other)).toThrow(/e\.g\. saveAdapter\(adapter, dir\)\./);
    }
  });
});

describe('several adapters on one model', () => {
  const put = (model: ReturnType<typeof fakeModel>, options: ApplyLoraOptions = {}): LoraAdapter =>
    applyLora(model, CONFIG, options);

  it('have a name each', () => {
    const model = fakeModel();
    put(model);
    expect(() => put(model)).toThrow(/the model has an adapter already, on 2 layers[\s\S]*adapterName: 'NAME'/);
    expect(() => put(model, { adapterName: 'default' })).toThrow(
      'the model has an adapter "default" already: "default" on 2 layers',
    );
    put(model, { adapterName: 'b', onWarning: () => undefined });
    expect(() => put(model)).toThrow('the model has an adapter already, "default" on 2 layers, "b" on 2 layers');
    try {
      put(model);
    } catch (error) {
      expect((error as { details: unknown }).details).toEqual({ adapters: ['default', 'b'] });
    }
  });

  it('that another tool put there are counted', () => {
    const model = fakeModel();
    (model.linearModules[0] as { lora: unknown }).lora = {};
    expect(() => put(model, { adapterName: 'a' })).toThrow('the model has an adapter already, on 1 layers');
  });

  it('wait for their turn, and say so', () => {
    const model = fakeModel();
    const first = put(model, { adapterName: 'a' });
    const lines: string[] = [];
    put(model, { adapterName: 'b', onWarning: (line) => lines.push(line) });
    first.dispose();
    put(model, { adapterName: 'c', onWarning: (line) => lines.push(line) });
    expect(lines).toEqual([
      'the adapter "b" is on the model but not active: "a" is; setAdapter(model, "b") switches to it',
      'the adapter "c" is on the model but not active: none is; setAdapter(model, "c") switches to it',
    ]);
  });

  it('have names that could be folders', () => {
    for (const adapterName of ['', 'a/b', 'a\\b', 'a\nb', 'x'.repeat(101)]) {
      expect(() => put(fakeModel(), { adapterName })).toThrow(/a name of at most 100 characters, without slashes/);
    }
    for (const adapterName of ['a', 'x'.repeat(100), 'é ü'])
      expect(put(fakeModel(), { adapterName }).name).toBe(adapterName);
  });
});

describe('patterns that no layer takes its value from', () => {
  it('are named', () => {
    const lines: string[] = [];
    const config = { ...CONFIG, rankPattern: { q_proj: 4, x_proj: 4, y_proj: 4 }, alphaPattern: { z_proj: 8 } };
    const adapter = applyLora(fakeModel(), config, { onWarning: (line) => lines.push(line) });
    expect(lines).toEqual([
      'rankPattern: no adapted layer takes its value from x_proj, y_proj',
      'alphaPattern: no adapted layer takes its value from z_proj',
    ]);
    expect(adapter.warnings).toEqual(expect.arrayContaining(lines));
  });
});
