import { describe, expect, it } from 'vitest';
import {
  adapterTensorName,
  indexByMemoryName,
  linearModuleName,
  modelPart,
  parseAdapterTensorName,
  toDiskName,
  toMemoryName,
} from '../../src/model/tensor-names.js';

const pairs = [
  ['language_model.model.layers.0.mlp.up_proj.weight', 'model.language_model.layers.0.mlp.up_proj.weight'],
  ['language_model.lm_head.weight', 'lm_head.weight'],
  ['vision_tower.ln_pre.weight', 'model.vision_tower.ln_pre.weight'],
  ['multi_modal_projector.linear_1.weight', 'model.multi_modal_projector.linear_1.weight'],
] as const;

describe('tensor names', () => {
  it.each(pairs)('know %s on disk as %s in memory', (disk, memory) => {
    expect([toMemoryName(disk), toMemoryName(memory)]).toEqual([memory, memory]);
    expect([toDiskName(disk), toDiskName(memory)]).toEqual([disk, disk]);
  });

  it('leave prefixes inside a name alone', () => {
    expect(toMemoryName('x.vision_tower.y')).toBe('x.vision_tower.y');
    expect(toMemoryName('language_model.other')).toBe('language_model.other');
  });

  it('find stored names, and refuse a tensor under both spellings', () => {
    expect(indexByMemoryName(pairs.map(([disk]) => disk)).get(pairs[2][1])).toBe(pairs[2][0]);
    expect(() => indexByMemoryName([...pairs[0]])).toThrow(/both spellings.*up_proj/);
  });

  it('tell linear layers from tables, norms and convolutions', () => {
    expect(linearModuleName(pairs[0][0], [4, 4])).toBe('model.language_model.layers.0.mlp.up_proj');
    expect(linearModuleName(pairs[1][0], [4, 4])).toBe('lm_head');
    expect(linearModuleName('language_model.model.embed_tokens.weight', [4, 4])).toBeUndefined();
    expect(linearModuleName('language_model.model.norm.weight', [4])).toBeUndefined();
    expect(linearModuleName('vision_tower.patch_conv.weight', [4, 3, 2, 2])).toBeUndefined();
    expect(linearModuleName('language_model.model.layers.0.mlp.up_proj.weight_scale_inv', [])).toBeUndefined();
  });

  it('know the parts of the model', () => {
    expect(pairs.map(([, memory]) => modelPart(memory))).toEqual(['language', 'other', 'vision', 'projector']);
  });

  it('take adapter keys apart in both spellings', () => {
    const module = 'model.language_model.layers.3.self_attn.q_proj';
    expect(parseAdapterTensorName(adapterTensorName(module, 'B'))).toMatchObject({ module, factor: 'B', old: false });
    const old = 'base_model.model.language_model.model.layers.3.self_attn.q_proj.lora_A.weight';
    expect(parseAdapterTensorName(old)).toMatchObject({ module, factor: 'A', old: true });
    for (const adapterName of ['default', 'my-adapter_2']) {
      const inMemory = `base_model.model.${module}.lora_A.${adapterName}.weight`;
      expect(parseAdapterTensorName(inMemory)).toEqual({ module, factor: 'A', old: false, adapterName });
    }
    expect(parseAdapterTensorName(old)!.adapterName).toBeUndefined();
    for (const key of [`${module}.weight`, `base_model.model.${module}.lora_magnitude_vector`, 'lora_A.weight']) {
      expect(parseAdapterTensorName(key)).toBeUndefined();
    }
  });
});
