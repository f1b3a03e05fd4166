import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import { roundToDtype } from '../../src/formats/half-precision.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { adapterData } from '../../src/lora/read-adapter.js';
import { fakeModel, someNumbers } from './fake-engine.js';

const key = (module: string, factor: 'A' | 'B'): string => `base_model.model.${module}.lora_${factor}.weight`;

describe('applyLora', () => {
  it('makes A and B of the right shapes under PEFT names, and hangs them into the layers', async () => {
    const model = fakeModel();
    const adapter = applyLora(model, { r: 3, alpha: 6, dropout: 0.1, rankPattern: { 'mlp.down_proj': 5 } });
    expect(adapter.modules).toHaveLength(28);
    for (const { module, a, b, r, alpha } of adapter.modules) {
      const [out, inner] = module.weight.shape;
      expect([a.name, b.name]).toEqual([key(module.name, 'A'), key(module.name, 'B')]);
      expect(a.shape).toEqual([r, inner]);
      expect(b.shape).toEqual([out, r]);
      expect(r).toBe(module.name.endsWith('mlp.down_proj') ? 5 : 3);
      expect(module.lora).toEqual({ a, b, scale: alpha / r, dropout: 0.1 });
    }
    expect(adapter.parameters.size).toBe(adapter.modules.reduce((n, { a, b }) => n + a.size + b.size, 0));
    expect(adapter.description).toContain('28 linear layers (14 language, 14 vision');
    const untouched = model.linearModules.filter(({ name }) => name.includes('projector'));
    expect(untouched.map(({ lora }) => lora)).toEqual([undefined, undefined, undefined]);
  });

  it('starts A uniform in ±1/√in and B at zero, so that the product is zero', async () => {
    const model = fakeModel({ layers: 6 });
    const adapter = applyLora(model, { r: 64, targetModules: 'all-linear' });
    const values = await adapter.readValues();
    let [count, sum, squares] = [0, 0, 0];
    for (const { module, a, b } of adapter.modules) {
      expect(values.get(b.name)!.every((value) => value === 0)).toBe(true);
      const inner = module.weight.shape[1]!;
      expect(values.get(a.name)!.every((value) => Math.abs(value) <= 1 / Math.sqrt(inner))).toBe(true);
      for (const value of values.get(a.name)!) {
        // In units of the bound: uniform in ±1, mean 0, variance 1/3.
        const unit = value * Math.sqrt(inner);
        count++;
        sum += unit;
        squares += unit * unit;
      }
    }
    const sigma = Math.sqrt(1 / 3 / count);
    expect(Math.abs(sum / count)).toBeLessThan(5 * sigma);
    expect(Math.abs(squares / count - 1 / 3)).toBeLessThan(5 * Math.sqrt(4 / 45 / count));
  });

  it('draws normal numbers of deviation 1/r with "gaussian"', async () => {
    const adapter = applyLora(fakeModel({ layers: 6 }), { r: 16, initLoraWeights: 'gaussian' });
    const values = await adapter.readValues();
    const all = adapter.modules.flatMap(({ a }) => [...values.get(a.name)!]);
    const variance = all.reduce((sum, value) => sum + value * value, 0) / all.length;
    expect(Math.abs(variance * 256 - 1)).toBeLessThan(5 * Math.sqrt(2 / all.length));
    const outside = all.filter((value) => Math.abs(value) > 2 / 16).length / all.length;
    expect(Math.abs(outside - 0.0455)).toBeLessThan(0.01);
  });

  it('rounds A to the dtype of the weight that it sits on', async () => {
    for (const dtype of ['bf16', 'f16'] as const) {
      const rounded = await applyLora(fakeModel({ dtype }), { r: 4 }).readValues();
      const exact = await applyLora(fakeModel(), { r: 4 }).readValues();
      let changed = 0;
      for (const [name, values] of exact) {
        expect(rounded.get(name)).toEqual(roundToDtype(values.slice(), dtype));
        changed += values.filter((value, i) => value !== rounded.get(name)![i]).length;
      }
      expect(changed).toBeGreaterThan(100);
    }
  });

  it('is determined by seed and name, whatever else is adapted', async () => {
    const start = async (seed: number, targetModules: string[]): Promise<Map<string, Float32Array>> =>
      applyLora(fakeModel(), { r: 4, targetModules }, { seed }).readValues();
    const one = await start(1, ['q_proj', 'v_proj']);
    const again = await start(1, ['v_proj', 'up_proj']);
    const other = await start(2, ['q_proj', 'v_proj']);
    const [first, second] = [0, 1].map((layer) => key(`model.language_model.layers.${layer}.self_attn.v_proj`, 'A'));
    expect(again.get(first!)).toEqual(one.get(first!));
    expect(other.get(first!)).not.toEqual(one.get(first!));
    expect(one.get(second!)).not.toEqual(one.get(first!));
  });

  it('takes given values, and refuses ones that do not fit', async () => {
    const config = { r: 2, targetModules: ['linear_1'] };
    const module = 'model.multi_modal_projector.linear_1';
    const [a, b] = [someNumbers(20, 1), someNumbers(24, 2)];
    const values = new Map([
      [key(module, 'B'), b],
      [key(module, 'A'), a],
    ]);
    const adapter = applyLora(fakeModel(), config, { values });
    expect((await adapterData(adapter)).modules).toEqual([{ name: module, r: 2, scale: 4, a, b }]);
    const short = new Map(values).set(key(module, 'A'), a.subarray(1));
    expect(() => applyLora(fakeModel(), config, { values: short })).toThrow(/needs 20 values, got 19/);
    const extra = new Map(values).set('x', a);
    expect(() => applyLora(fakeModel(), config, { values: extra })).toThrow(/does not make: x/);
    const partial = new Map([[key(module, 'A'), a]]);
    expect(() => applyLora(fakeModel(), config, { values: partial })).toThrow(/got none/);
  });

  it('refuses a second adapter until the first is taken off', () => {
    const model = fakeModel();
    const adapter = applyLora(model, { targetModules: ['q_proj'] });
    expect(() => applyLora(model, { targetModules: ['v_proj'] })).toThrow(/has an adapter already, on 4 layers/);
    adapter.dispose();
    adapter.dispose();
    expect(model.linearModules.every(({ lora }) => lora === undefined)).toBe(true);
    expect(model.engine.values.size).toBe(0);
    expect(applyLora(model, { targetModules: ['v_proj'] }).modules).toHaveLength(4);
  });

  it('says nothing of the default, both towers, but keeps what matters for serving among its warnings', () => {
    const lines: string[] = [];
    const adapter = applyLora(fakeModel(), {}, { onWarning: (line) => lines.push(line) });
    expect(lines).toEqual([]);
    expect(adapter.warnings).toEqual([
      expect.stringMatching(/merge .* vLLM ignores such layers of Mistral 3, even with/),
    ]);
  });

  it('hands each warning to the listener, and without one to the process, once', async () => {
    const options = { towers: 'language', rankPattern: { [`x${process.pid}`]: 3 } } as const;
    const lines: string[] = [];
    const adapter = applyLora(fakeModel(), options, { onWarning: (line) => lines.push(line) });
    expect(lines).toEqual(adapter.warnings);
    expect(lines).toHaveLength(1);
    const seen: Error[] = [];
    const onWarning = (warning: Error): unknown => warning.message === lines[0] && seen.push(warning);
    process.on('warning', onWarning);
    for (let i = 0; i < 3; i++) applyLora(fakeModel(), options);
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', onWarning);
    expect(seen.map(({ name }) => name)).toEqual(['LoraWarning']);
  });

  it.each<[string | string[], number]>([
    [['q_proj', 'lm_head'], 1],
    ['.*(q_proj|lm_head)', 1],
    ['.*(q_proj|embed_tokens)', 1],
    [['q_proj'], 0],
    ['all-linear', 0],
  ])('says where a rule chooses what cannot be adapted: %j', (targetModules, count) => {
    const { warnings } = applyLora(fakeModel(), { targetModules }, { onWarning: () => undefined });
    const said = warnings.filter((line) => /cannot be adapted here/.test(line));
    expect(said).toHaveLength(count);
    expect(warnings.filter((line) => /is called/.test(line))).toEqual([]);
  });

  it('refuses options that it does not know or cannot use', () => {
    const apply = (options: object) => () => applyLora(fakeModel(), {}, options);
    expect(apply({ sed: 1 })).toThrow(/applyLora: unknown option `sed`; did you mean `seed`/);
    expect(apply({ values: {} })).toThrow(/`values`: expected a Map/);
    expect(apply({ adapterName: '' })).toThrow(/`adapterName`: expected a name/);
    expect(apply({ onWarning: 5 })).toThrow(/`onWarning`: expected a function/);
  });

  it('makes nothing when nothing matches, and warns of patterns without effect', () => {
    const model = fakeModel();
    expect(() => applyLora(model, { targetModules: ['qproj'] })).toThrow(ConfigError);
    expect(model.engine.values.size).toBe(0);
    const { warnings } = applyLora(model, {
      towers: 'language',
      rankPattern: { xq: 3, q_proj: 2 },
      alphaPattern: { z: 1 },
    });
    expect(warnings).toEqual([
      expect.stringMatching(/^rankPattern.* xq$/),
      expect.stringMatching(/^alphaPattern.* z$/),
    ]);
  });
});
