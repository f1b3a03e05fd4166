import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { writeTinyCheckpoint } from '../../src/demo/tiny-checkpoint.js';
import { type CpuEngine, createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import type { Engine } from '../../src/engine/engine.js';
import { ConfigError, EngineError } from '../../src/errors.js';
import { numberToE4m3 } from '../../src/formats/float8.js';
import { bfloat16ToFloat32, float32ToBfloat16 } from '../../src/formats/half-precision.js';
import { dequantizedSource, quantizedSource } from '../../src/formats/held-source.js';
import { ShardedCheckpoint, writeSafetensors } from '../../src/formats/safetensors.js';
import type { HeldFormat, WeightSource } from '../../src/formats/weight-source.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { mergeAdapter } from '../../src/lora/merge-adapter.js';
import { type LoadOptions, loadModel } from '../../src/model/load.js';
import { toMemoryName } from '../../src/model/tensor-names.js';
import { bnbTensors, type Stored } from '../formats/bnb-files.js';

let root: string;
let plain: string;
let folder: string;
let cpu: CpuEngine;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'quantization-'));
  plain = join(root, 'plain');
  cpu = createCpuEngine({ threads: 1 });
  await writeTinyCheckpoint({ outputDir: plain, seed: 5, corpus: ['one two three', 'four'] });
});
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'variant-'));
  await cp(plain, folder, { recursive: true });
});
afterEach(() => rm(folder, { recursive: true, force: true }));
afterAll(async () => {
  await cpu.dispose();
  await rm(root, { recursive: true, force: true });
});

/** The engine `cpu`, which notes what it is given to load, and computes with the values of formats that it holds. */
function engineWith(heldFormats: readonly HeldFormat['format'][]): {
  engine: Engine;
  sources: Map<string, WeightSource>;
} {
  const sources = new Map<string, WeightSource>();
  const loadWeight = async (source: WeightSource) => {
    sources.set(source.name, source);
    return cpu.loadWeight(dequantizedSource(await quantizedSource(source)));
  };
  const given: Record<PropertyKey, unknown> = { heldFormats, loadWeight };
  const engine = new Proxy<Engine>(cpu, {
    get: (target, key) => {
      if (key in given) return given[key];
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { engine, sources };
}

/** Loads, and gives what each weight (by its name in memory) was to be held as, the notices and the values. */
async function load(
  options: Omit<LoadOptions, 'engine'>,
  formats: readonly HeldFormat['format'][] = ['nf4', 'f8_e4m3'],
) {
  const { engine, sources } = engineWith(formats);
  const notices: string[] = [];
  const model = await loadModel(folder, { ...options, engine, onNotice: (line) => notices.push(line) });
  const held = new Map([...sources].map(([name, { dtype, hold }]) => [name, hold?.format ?? dtype]));
  const values = new Map<string, Float32Array>();
  for (const { weight } of model.linearModules) values.set(weight.name, await engine.readWeight(weight));
  const { baseModel, quantization, trainingSettings } = model;
  await model.dispose();
  const of = (format: string): string[] => [...held].flatMap(([name, one]) => (one === format ? name : [])).sort();
  return { of, sources, notices, values, baseModel, quantization, trainingSettings };
}

const isDecoderLinear = (name: string): boolean => /language_model\.(model\.)?layers\..*_proj\.weight$/.test(name);

async function plainTensors(): Promise<Map<string, { shape: readonly number[]; values: Float32Array }>> {
  const checkpoint = await ShardedCheckpoint.open(plain);
  const tensors = new Map<string, { shape: readonly number[]; values: Float32Array }>();
  for (const { name, shape } of checkpoint.tensors.values()) {
    tensors.set(name, { shape, values: await checkpoint.readFloat32(name) });
  }
  await checkpoint.close();
  return tensors;
}

async function decoderLinears(): Promise<string[]> {
  return [...(await plainTensors()).keys()].map(toMemoryName).filter(isDecoderLinear).sort();
}

/** The plain checkpoint with these changes, all in bfloat16 but for what `quantize` makes of a matrix. */
async function rewrite(
  quantize: (name: string, shape: [number, number], values: Float32Array) => Stored[] | undefined,
) {
  const tensors: Stored[] = [];
  for (const [name, { shape, values }] of await plainTensors()) {
    const found = shape.length === 2 ? quantize(name, [shape[0]!, shape[1]!], values) : undefined;
    tensors.push(...(found ?? [{ name, dtype: 'BF16' as const, shape, data: float32ToBfloat16(values) }]));
  }
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
}

async function configure(changes: Record<string, unknown>): Promise<void> {
  const path = join(folder, 'config.json');
  await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), ...changes }));
}

const rounded = (values: Float32Array): Float32Array => bfloat16ToFloat32(float32ToBfloat16(values));
const bnb = { quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'nf4' };

async function writeBnb(isQuantized = isDecoderLinear): Promise<void> {
  await rewrite((name, shape, values) =>
    isQuantized(name) ? [...bnbTensors(name, shape, rounded(values)).values()] : undefined,
  );
  await configure({ quantization_config: bnb });
}

async function writeFp8(): Promise<void> {
  await rewrite((name, shape, values) => {
    if (!isDecoderLinear(name)) return undefined;
    const codes = Uint8Array.from(values, (value) => numberToE4m3(value / 0.01));
    return [
      { name, dtype: 'F8_E4M3', shape, data: codes },
      { name: `${name}_scale_inv`, dtype: 'F32', shape: [], data: Float32Array.of(0.01) },
    ];
  });
  await configure({ quantization_config: { quant_method: 'fp8', weight_block_size: null } });
}

describe('the option quantization', () => {
  it("holds the decoder's linear layers of a plain checkpoint, and says what it comes to", async () => {
    const { of, sources, notices, quantization } = await load({ quantization: 'nf4' });
    const linears = await decoderLinears();
    expect(of('nf4')).toEqual(linears);
    expect(sources.get(linears[0]!)!.hold).toEqual({ format: 'nf4', blockSize: 64, doubleQuantization: true });
    expect(notices).toEqual([
      expect.stringMatching(
        /: 14 of \d+ matrices are held as nf4 with double quantisation: \d+\.\d\d KiB instead of \d+\.\d\d KiB in 16 bits$/,
      ),
    ]);
    expect(quantization).toBe('nf4 with double quantisation, 14 matrices');
  });

  it('takes its settings from an object', async () => {
    const options = { method: 'nf4', blockSize: 32, doubleQuantization: false } as const;
    const { sources, quantization } = await load({ quantization: options });
    const [name] = await decoderLinears();
    expect(sources.get(name!)!.hold).toEqual({ format: 'nf4', blockSize: 32, doubleQuantization: false });
    expect(quantization).toBe('nf4 in blocks of 32, 14 matrices');
  });

  it('holds 8 bits with a scale a row', async () => {
    const { of, notices, quantization } = await load({ quantization: 'fp8' });
    expect(of('f8_e4m3')).toEqual(await decoderLinears());
    expect(notices[0]).toMatch(/14 of \d+ matrices are held as e4m3:/);
    expect(quantization).toBe('e4m3, 14 matrices');
  });

  it('leaves out what skipModules names, in either spelling, in place of the default', async () => {
    const linears = await decoderLinears();
    const skip = (skipModules: string[]) => load({ quantization: { method: 'nf4', skipModules } });
    const towers = ['vision_tower', 'multi_modal_projector', 'lm_head'];
    expect((await skip(towers.slice(0, 2))).of('nf4')).toEqual(['lm_head.weight', ...linears]);
    expect((await skip([...towers, 'o_proj'])).of('nf4')).toEqual(linears.filter((name) => !name.includes('o_proj')));
    for (const layer of ['model.language_model.layers.0', 'language_model.model.layers.0', 'layers.0']) {
      const { of } = await skip([...towers, layer]);
      expect(of('nf4')).toEqual(linears.filter((name) => !name.includes('layers.0.')));
    }
    const { of } = await skip(['language_model', 'lm_head']);
    expect(of('nf4').every((name) => /vision_tower|projector/.test(name))).toBe(true);
    expect(of('nf4').length).toBeGreaterThan(10);
    expect(of('nf4')).not.toContain('model.vision_tower.patch_conv.weight');
    await expect(skip(['o_projj'])).rejects.toThrow(
      /skipModules`: no linear layer is called "o_projj"; did you mean "o_proj"/,
    );
  });

  it('takes weights of another format out of their stack', async () => {
    const skipModules = ['vision_tower', 'multi_modal_projector', 'k_proj'];
    const { sources } = await load({ quantization: { method: 'nf4', skipModules } });
    const stackOf = (part: string) => sources.get(`model.language_model.layers.0.${part}.weight`)!.stack;
    expect(['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'].map(stackOf)).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(stackOf('mlp.up_proj')).toMatchObject({ name: expect.stringContaining('gate_proj+up_proj') });
    const plainly = await load({});
    expect(plainly.sources.get('model.language_model.layers.0.self_attn.k_proj.weight')!.stack).toBeDefined();
  });

  it('changes nothing where it is not given, and says nothing', async () => {
    const { of, notices, quantization, trainingSettings } = await load({});
    expect([of('nf4'), of('f8_e4m3'), notices, quantization]).toEqual([[], [], [], undefined]);
    expect(trainingSettings).not.toHaveProperty('quantization');
    expect((await load({ quantization: 'none' })).notices).toEqual([]);
  });

  it('is part of what a resume compares; the digests of the base are not touched by it', async () => {
    const { baseModel } = await load({});
    for (const quantization of ['nf4', 'fp8'] as const) {
      const found = await load({ quantization });
      expect(found.baseModel).toEqual(baseModel);
      expect(found.trainingSettings['quantization']).toMatch(/14 matrices/);
    }
  });

  it.each([
    ['nf5', /`quantization`: expected one of "nf4", "fp8", "none" .*got "nf5"; did you mean "nf4"/],
    [4, /expected one of "nf4", "fp8", "none" or an object with a `method`, got 4/],
    [{ method: 'int8' }, /`method`: expected one of "nf4", "fp8", "none", got the string "int8"/],
    [{}, /`method`: is missing/],
    [{ method: 'nf4', blockSize: 48 }, /`blockSize`: expected a power of two from 32 to 4096, got 48/],
    [{ method: 'nf4', bnb_4bit_use_double_quant: true }, /unknown option .*did you mean `doubleQuantization`/],
    [{ method: 'nf4', llm_int8_skip_modules: [] }, /did you mean `skipModules`/],
    [{ method: 'fp8', doubleQuantization: true }, /method "fp8" has no `doubleQuantization`/],
    [{ method: 'none', skipModules: ['lm_head'] }, /method "none" has no `skipModules`/],
    ['int8', /got "int8"; did you mean "fp8"\?/],
    ['fp4', /got "fp4"; did you mean "nf4"\?/],
    ['BitsAndBytes', /got "BitsAndBytes"; did you mean "nf4"\?/],
    [{ method: 'nf4', load_in_8bit: true }, /unknown option `load_in_8bit`; did you mean `method`\?/],
  ])('refuses %j', async (quantization, message) => {
    const attempt = load({ quantization: quantization as never });
    await expect(attempt).rejects.toThrow(message);
    await expect(attempt).rejects.toBeInstanceOf(ConfigError);
  });

  it('refuses modules that do not exist, and to skip all of them', async () => {
    const attempt = load({ quantization: { method: 'nf4', skipModules: ['.*'] } });
    await expect(attempt).rejects.toThrow(/no linear layer is called "\.\*"\n\s+hint: .*no patterns/);
    await expect(load({ quantization: { method: 'fp8', skipModules: ['model', 'lm_head'] } })).rejects.toThrow(
      /`quantization\.skipModules` leaves no matrix to be held in fp8/,
    );
  });

  it("is named where transformers' arguments are given", async () => {
    await expect(load({ load_in_4bit: true } as object)).rejects.toThrow(/`load_in_4bit`; did you mean `quantization`/);
  });

  it('is refused by an engine that does not hold the format', async () => {
    const attempt = load({ quantization: 'nf4' }, ['f8_e4m3']);
    await expect(attempt).rejects.toThrow(/the cpu engine does not hold matrices in nf4; below 16 bits it holds fp8/);
    await expect(attempt).rejects.toBeInstanceOf(EngineError);
    await expect(load({ quantization: 'fp8' }, [])).rejects.toThrow(
      /does not hold matrices in fp8; below 16 bits it holds none/,
    );
  });
});

describe('a 4-bit checkpoint', () => {
  it('is held as it is stored, tensor by tensor, with the values of the same model quantised here', async () => {
    await rewrite(() => undefined);
    const quantized = await load({ quantization: 'nf4' });
    await writeBnb();
    const { of, notices, values, quantization } = await load({});
    expect(of('nf4')).toEqual(await decoderLinears());
    expect(notices).toEqual([expect.stringMatching(/14 of \d+ matrices are held as nf4, as stored: /)]);
    expect(quantization).toBeUndefined();
    for (const [name, expected] of quantized.values) expect([name, values.get(name)]).toEqual([name, expected]);
    expect((await load({ quantization: 'nf4' })).of('nf4')).toEqual(of('nf4'));
    await writeBnb((name) => /vision_tower.*feed_forward|mlp\.up_proj/.test(name));
    const mixed = (await load({})).of('nf4');
    expect(mixed.every((name) => /feed_forward|up_proj/.test(name))).toBe(true);
    expect(mixed.length).toBeGreaterThan(2);
  });

  it('has an embedding in 16 bits, whatever it is stored in', async () => {
    await writeBnb((name) => name.includes('embed_tokens'));
    const { of, sources, notices } = await load({});
    expect(of('nf4')).toEqual([]);
    expect(sources.get('model.language_model.embed_tokens.weight')).toMatchObject({ dtype: 'bf16' });
    expect(notices).toEqual([]);
  });

  it('becomes bfloat16 where 16 bits are asked for, or the engine does not hold it', async () => {
    await writeBnb();
    const held = await load({});
    const asked = await load({ quantization: 'none' });
    for (const found of [asked, await load({}, [])]) {
      expect(found.of('nf4')).toEqual([]);
      expect(found.notices).toEqual([expect.stringMatching(/14 NF4 matrices are dequantised to bfloat16/)]);
      expect(found.notices[0]?.includes('the cpu engine does not hold 4 bits')).toBe(found !== asked);
      expect(found.values).toEqual(held.values);
      expect(found.baseModel).toEqual(held.baseModel);
    }
  });

  it('is another base than the one it was made from', async () => {
    await rewrite(() => undefined);
    const { baseModel } = await load({});
    await writeBnb();
    const found = await load({});
    expect(found.baseModel).toMatchObject({ vision: baseModel!['vision'], config: baseModel!['config'] });
    expect(found.baseModel!['language']).not.toBe(baseModel!['language']);
  });

  it('contradicts other settings of the option', async () => {
    await writeBnb();
    await expect(load({ quantization: 'fp8' })).rejects.toThrow(/is "fp8", but the checkpoint is stored in 4 bits/);
    await expect(load({ quantization: { method: 'nf4', blockSize: 128 } })).rejects.toThrow(
      /`blockSize` of `quantization`: the checkpoint is already quantised to 4 bits/,
    );
  });

  it('is refused with every faulty weight in one error', async () => {
    await rewrite((name, shape, values) => {
      if (!isDecoderLinear(name)) return undefined;
      const tensors = bnbTensors(name, shape, values);
      if (name.includes('0.mlp.up_proj')) tensors.delete('.absmax');
      if (name.includes('1.mlp.up_proj')) tensors.delete('.quant_state.bitsandbytes__nf4');
      return [...tensors.values()];
    });
    const attempt = load({});
    await expect(attempt).rejects.toThrow(/2 tensors are wrong:[\s\S]*without ".*absmax"[\s\S]*without ".*nf4"/);
    await expect(attempt).rejects.toMatchObject({
      hint: expect.stringContaining('the model in bfloat16 with the option'),
    });
    const model = await loadModel(plain, { engine: cpu });
    const adapter = applyLora(model, { r: 2, targetModules: ['q_proj'] });
    const merge = { adapter, checkpointDir: folder, outputDir: `${folder}-merged`, onWarning: () => {} };
    await expect(mergeAdapter(merge)).rejects.toThrow(/up_proj.weight" is stored (as U8|in 4 bits) without/);
    await model.dispose();
    await writeBnb();
    const more = {
      name: 'language_model.model.norm.weight.absmax',
      dtype: 'F32' as const,
      shape: [1],
      data: new Float32Array(1),
    };
    const checkpoint = await ShardedCheckpoint.open(folder);
    const kept: Stored[] = [];
    for (const { name, dtype, shape, byteLength } of checkpoint.tensors.values()) {
      const data = new Uint8Array(byteLength);
      await checkpoint.fileOf(name).readBytes(name, data);
      kept.push({ name, dtype, shape, data });
    }
    await checkpoint.close();
    await writeSafetensors(join(folder, 'model.safetensors'), [...kept, more]);
    await expect(load({})).rejects.toThrow(/1 stored tensors belong to nothing [\s\S]*norm.weight.absmax/);
  });

  it('is merged as bfloat16, without its states and quantization_config', async () => {
    await writeBnb();
    const { values } = await load({});
    const { engine } = engineWith(['nf4']);
    const model = await loadModel(folder, { engine, onNotice: () => {} });
    const adapter = applyLora(model, { r: 2, targetModules: ['q_proj'] });
    const merged = `${folder}-merged`;
    const { tensors } = await mergeAdapter({ adapter, checkpointDir: folder, outputDir: merged, onWarning: () => {} });
    await model.dispose();
    const config = JSON.parse(await readFile(join(merged, 'config.json'), 'utf8')) as object;
    expect(config).not.toHaveProperty('quantization_config');
    const checkpoint = await ShardedCheckpoint.open(merged);
    expect(checkpoint.tensors.size).toBe((await plainTensors()).size);
    expect(tensors).toBe(checkpoint.tensors.size);
    for (const { name, dtype, shape } of checkpoint.tensors.values()) {
      const expected = values.get(toMemoryName(name));
      if (!expected) continue;
      expect([name, dtype, shape.length]).toEqual([name, 'BF16', 2]);
      // B is zero, so the merged values are those of the base.
      expect(await checkpoint.readFloat32(name)).toEqual(expected);
    }
    await checkpoint.close();
    await rm(merged, { recursive: true });
  });
});

describe('an FP8 checkpoint', () => {
  it('is held in its 8 bits, with the values that it has widened', async () => {
    await writeFp8();
    const widened = await load({});
    expect(widened.notices).toEqual([
      expect.stringMatching(/14 FP8 matrices are dequantised to bfloat16 .*quantization: "fp8" keeps them in 8 bits/),
    ]);
    const { of, values, notices, quantization, sources } = await load({ quantization: 'fp8' });
    expect(of('f8_e4m3')).toEqual(await decoderLinears());
    expect([...sources.values()].filter(({ hold }) => hold).every(({ scale }) => scale !== undefined)).toBe(true);
    expect(values).toEqual(widened.values);
    expect(notices[0]).toMatch(/14 of \d+ matrices are held as e4m3/);
    expect(quantization).toBeUndefined();
  });

  it('is quantised to 4 bits from the values that it has widened', async () => {
    await writeFp8();
    const { of, values, quantization } = await load({ quantization: 'nf4' });
    expect(of('nf4')).toEqual(await decoderLinears());
    expect(quantization).toBe('nf4 with double quantisation, 14 matrices');
    const { values: widened } = await load({});
    const name = (await decoderLinears())[0]!;
    expect(values.get(name)).not.toEqual(widened.get(name));
  });
});
