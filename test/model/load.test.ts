import { cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { writeTinyCheckpoint } from '../../src/demo/tiny-checkpoint.js';
import { type CpuEngine, createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { TuneError } from '../../src/errors.js';
import { e4m3ToNumber } from '../../src/formats/float8.js';
import { float32ToBfloat16, roundToDtype } from '../../src/formats/half-precision.js';
import { ShardedCheckpoint, type TensorToWrite, writeSafetensors } from '../../src/formats/safetensors.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { mergeAdapter } from '../../src/lora/merge-adapter.js';
import { loadModel } from '../../src/model/load.js';
import { toMemoryName } from '../../src/model/tensor-names.js';

let root: string;
let plain: string;
let folder: string;
let engine: CpuEngine;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'load-'));
  plain = join(root, 'plain');
  engine = createCpuEngine({ threads: 1 });
  await writeTinyCheckpoint({ outputDir: plain, seed: 5, corpus: ['one two three', 'four'] });
});
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'variant-'));
  await cp(plain, folder, { recursive: true });
});
afterEach(() => rm(folder, { recursive: true, force: true }));
afterAll(async () => {
  await engine.dispose();
  await rm(root, { recursive: true, force: true });
});

type Stored = TensorToWrite & { readonly data: ArrayBufferView };
type Tensors = Map<string, Stored>;

/** Changes config.json. */
async function configure(changes: Record<string, unknown>): Promise<void> {
  const path = join(folder, 'config.json');
  await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), ...changes }));
}

/** The plain checkpoint's numbers, each tensor as float32. */
async function plainTensors(): Promise<Map<string, { shape: readonly number[]; values: Float32Array }>> {
  const checkpoint = await ShardedCheckpoint.open(plain);
  const tensors = new Map<string, { shape: readonly number[]; values: Float32Array }>();
  for (const { name, shape } of checkpoint.tensors.values()) {
    tensors.set(name, { shape, values: await checkpoint.readFloat32(name) });
  }
  await checkpoint.close();
  return tensors;
}

/** Replaces the file of the folder by two shards. */
async function writeShards(tensors: Tensors): Promise<void> {
  await rm(join(folder, 'model.safetensors'));
  const all = [...tensors.values()];
  const weightMap: Record<string, string> = {};
  for (const i of [0, 1]) {
    const file = `model-0000${i + 1}-of-00002.safetensors`;
    const part = all.filter((_, at) => at % 2 === i);
    await writeSafetensors(join(folder, file), part);
    for (const { name } of part) weightMap[name] = file;
  }
  await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
}

const NUMBERS = Float32Array.from({ length: 256 }, (_, code) => e4m3ToNumber(code));

function nearestCode(value: number): number {
  let best = 0;
  for (let code = 0; code < 256; code++) {
    if (Math.abs(NUMBERS[code]! - value) < Math.abs(NUMBERS[best]! - value)) best = code;
  }
  return best;
}

/**
 * The plain checkpoint with the decoder's linear layers in 8 bits and the rest in bfloat16, in two shards. Gives the
 * bfloat16 numbers of every tensor, by its name in memory.
 * @param block rows and columns with one factor; 0 for scalars
 */
async function writeFp8(block = 0): Promise<{ tensors: Tensors; expected: Map<string, Float32Array> }> {
  const tensors: Tensors = new Map();
  const expected = new Map<string, Float32Array>();
  const add = (name: string, dtype: TensorToWrite['dtype'], shape: readonly number[], data: ArrayBufferView): void => {
    tensors.set(name, { name, dtype, shape, data });
  };
  for (const [name, { shape, values }] of await plainTensors()) {
    if (!/language_model\.model\.layers\..*_proj\.weight$/.test(name)) {
      add(name, 'BF16', shape, float32ToBfloat16(values));
      expected.set(toMemoryName(name), roundToDtype(values.slice(), 'bf16'));
      continue;
    }
    const [rows, columns] = shape as [number, number];
    const [high, wide] = block > 0 ? [block, block] : [rows, columns];
    const across = Math.ceil(columns / wide);
    const factors = Float32Array.from({ length: Math.ceil(rows / high) * across }, (_, i) => 0.01 + i / 256);
    roundToDtype(factors, 'bf16');
    const factorOf = (i: number): number => {
      const [row, column] = [Math.floor(i / columns), i % columns];
      return factors[Math.floor(row / high) * across + Math.floor(column / wide)]!;
    };
    const codes = Uint8Array.from(values, (value, i) => nearestCode(value / factorOf(i)));
    add(name, 'F8_E4M3', shape, codes);
    if (block > 0) add(`${name}_scale_inv`, 'F32', [Math.ceil(rows / high), across], factors);
    else add(`${name}_scale_inv`, 'BF16', [], float32ToBfloat16(factors));
    add(name.replace(/weight$/, 'activation_scale'), 'BF16', [], float32ToBfloat16(Float32Array.of(0.5)));
    const numbers = Float32Array.from(codes, (code, i) => NUMBERS[code]! * factorOf(i));
    expected.set(toMemoryName(name), roundToDtype(numbers, 'bf16'));
  }
  await writeShards(tensors);
  const size = block > 0 ? [block, block] : null;
  await configure({ quantization_config: { quant_method: 'fp8', weight_block_size: size } });
  return { tensors, expected };
}

describe('loadModel', () => {
  it.each([0, 24])('dequantises an FP8 checkpoint to bfloat16, and says so (blocks of %i)', async (block) => {
    const { expected } = await writeFp8(block);
    const lines: string[] = [];
    const model = await loadModel(folder, { engine, onNotice: (line) => lines.push(line) });
    expect(lines).toEqual([expect.stringMatching(/: 14 FP8 matrices are dequantised to bfloat16/)]);
    for (const { weight } of model.linearModules) {
      expect([weight.name, weight.dtype]).toEqual([weight.name, 'bf16']);
      expect(await engine.readWeight(weight)).toEqual(expected.get(weight.name));
    }
    model.dispose();
  });

  it('refuses FP8 weights whose scale is missing, misshapen or of another format, all at once', async () => {
    const { tensors } = await writeFp8();
    const scale = (part: string): string =>
      [...tensors.keys()].find((name) => name.includes(`0.${part}.weight_scale`))!;
    const factors = float32ToBfloat16(Float32Array.of(1, 1));
    tensors.delete(scale('self_attn.q_proj'));
    tensors.set(scale('self_attn.k_proj'), {
      ...{ name: scale('self_attn.k_proj'), dtype: 'BF16', shape: [2, 1], data: factors },
    });
    tensors.set(scale('self_attn.v_proj'), {
      ...{ name: scale('self_attn.v_proj'), dtype: 'I32', shape: [], data: new Int32Array(1) },
    });
    await writeFile(join(folder, 'model.safetensors'), '');
    await writeShards(tensors);
    const attempt = loadModel(folder, { engine, onNotice: () => {} });
    await expect(attempt).rejects.toThrow(/3 tensors are wrong/);
    await expect(attempt).rejects.toThrow(/q_proj.weight" is stored as F8_E4M3 .* without ".*weight_scale_inv"/);
    await expect(attempt).rejects.toThrow(/k_proj.weight_scale_inv" \[2, 1\], expected one number/);
    await expect(attempt).rejects.toThrow(/v_proj.weight_scale_inv" as I32, expected F32, BF16 or F16/);
  });

  it('names the weight that holds a code of no number, and keeps nothing', async () => {
    const { tensors } = await writeFp8();
    const [name, tensor] = [...tensors].find(([key]) => key.endsWith('1.mlp.up_proj.weight'))!;
    (tensor.data as Uint8Array)[77] = 0xff;
    await writeFile(join(folder, 'model.safetensors'), '');
    await writeShards(tensors);
    const before = engine.memory().bytesInUse;
    await expect(loadModel(folder, { engine, onNotice: () => {} })).rejects.toThrow(
      `${toMemoryName(name)}: its 8-bit floats hold the code 0x7f or 0xff`,
    );
    expect(engine.memory().bytesInUse).toBe(before);
  });

  it('refuses other quantisations and a folder in the layout of Mistral alone', async () => {
    await configure({ quantization_config: { quant_method: 'gptq' } });
    await expect(loadModel(folder, { engine })).rejects.toThrow(
      /quant_method: expected "fp8" or "bitsandbytes", got "gptq"/,
    );
    await configure({ quantization_config: { quant_method: 'fp8', weight_block_size: [128] } });
    await expect(loadModel(folder, { engine })).rejects.toThrow(/weight_block_size: expected null or two/);
    await configure({ quantization_config: undefined });
    const weights = join(folder, 'model.safetensors');
    const rejected = (message: RegExp) => expect(loadModel(folder, { engine })).rejects.toThrow(message);
    for (const [name, message] of [
      ['model-00001-of-00002.safetensors', /the shards but not their index/],
      ['pytorch_model.bin', /pytorch_model.bin is a Python pickle/],
      ['model-q4.gguf', /GGUF files are not read/],
    ] as const) {
      await rename(weights, join(folder, name));
      await rejected(message);
      await rename(join(folder, name), weights);
    }
    await rm(join(folder, 'config.json'));
    await writeFile(join(folder, 'params.json'), '{}');
    await expect(loadModel(folder, { engine })).rejects.toThrow(/Mistral-native[\s\S]*download config.json/);
  });

  it('ties the output head where the checkpoint has none and its config does not forbid it', async () => {
    const tensors: Tensors = new Map();
    for (const [name, { shape, values }] of await plainTensors()) {
      if (!name.endsWith('lm_head.weight')) tensors.set(name, { name, dtype: 'F32', shape, data: values });
    }
    await writeShards(tensors);
    await expect(loadModel(folder, { engine })).rejects.toThrow(/lm_head.weight: missing/);
    await configure({ tie_word_embeddings: true });
    const before = engine.memory().bytesInUse;
    const model = await loadModel(folder, { engine });
    expect(model.modules.tied).toBe(true);
    expect(model.modules.lmHead).toBe(model.modules.embedTokens);
    model.dispose();
    expect(engine.memory().bytesInUse).toBe(before);
  });
});

describe('tensors that config.json has no place for', () => {
  const load = (): Promise<unknown> => loadModel(folder, { engine });
  const withTensors = async (extra: readonly Stored[]): Promise<void> => {
    const tensors: Tensors = new Map();
    for (const [name, { shape, values }] of await plainTensors()) {
      tensors.set(name, { name, dtype: 'F32', shape, data: values });
    }
    for (const tensor of extra) tensors.set(tensor.name, tensor);
    await writeShards(tensors);
  };
  const vector = (name: string): Stored => ({ name, dtype: 'F32', shape: [2], data: Float32Array.of(1, 2) });

  it.each([
    ['text_config', 'model.language_model', 9],
    ['vision_config', 'model.vision_tower.transformer', 9],
  ])('are an error where %s has fewer layers than the file', async (part, tower, count) => {
    const json = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as Record<string, object>;
    await configure({ [part]: { ...json[part], num_hidden_layers: 1 } });
    const before = engine.memory().bytesInUse;
    const error = (await load().catch((caught: unknown) => caught)) as TuneError;
    expect(error).toBeInstanceOf(TuneError);
    expect(error.message).toMatch(
      new RegExp(
        `${count} stored tensors belong to nothing that it describes, in layer 1 of ${tower}:[\\s\\S]*hint: .*num_hidden_layers`,
      ),
    );
    expect(error.details.unread).toHaveLength(count);
    expect(engine.memory().bytesInUse).toBe(before);
  });

  it('are an error wherever they come from: biases, other towers, scales of weights that are not in 8 bits', async () => {
    const names = [
      'language_model.model.layers.0.self_attn.q_proj.bias',
      'multi_modal_projector.linear_1.bias',
      'audio_tower.layers.0.fc1.weight',
      'language_model.model.layers.1.mlp.up_proj.weight_scale_inv',
    ];
    await withTensors(names.map(vector));
    const error = (await load().catch((caught: unknown) => caught)) as TuneError;
    expect(error.message).toMatch(/4 stored tensors belong to nothing/);
    expect(error.details.unread).toEqual(expect.arrayContaining(names.map(toMemoryName)));
  });

  it('are named in a few lines, however many they are, beside those that are missing', async () => {
    const names = Array.from({ length: 500 }, (_, i) => `model.layers.${i}.mlp.up_proj.weight`);
    await withTensors(names.map(vector));
    const json = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as { text_config: object };
    await configure({ text_config: { ...json.text_config, num_hidden_layers: 3 } });
    const { message } = (await load().catch((caught: unknown) => caught)) as TuneError;
    expect(message).toMatch(
      /9 tensors are wrong:[\s\S]*layers\.2[\s\S]*missing[\s\S]*500 stored tensors[\s\S]*and 488 more/,
    );
    expect(message).toMatch(/hint: names such as model.layers.0 are those of a text-only model/);
    expect(message.length).toBeLessThan(4000);
  });

  it('may be tables that are computed anyway', async () => {
    await withTensors(
      [
        'language_model.model.layers.0.self_attn.rotary_emb.inv_freq',
        'vision_tower.patch_positional_embedding.inv_freq',
      ].map(vector),
    );
    await (await loadModel(folder, { engine })).dispose();
  });
});

describe('a folder that is no model', () => {
  it.each<[string, (dir: string) => Promise<unknown>, RegExp]>([
    ['nothing', async () => undefined, /is not a folder\n.*hint: .*a name on the Hub/],
    ['an empty one', (dir) => mkdir(dir), /holds no config.json, so it is no model: it is empty/],
    [
      'an adapter',
      async (dir) => {
        await mkdir(dir);
        await writeFile(join(dir, 'adapter_config.json'), '{}');
      },
      /it holds an adapter \(adapter_config.json\)[\s\S]*fromPretrained\(folder\)[\s\S]*loadAdapter/,
    ],
    [
      'an image folder',
      async (dir) => {
        await mkdir(join(dir, 'cats'), { recursive: true });
        await writeFile(join(dir, 'cats', '1.JPG'), '');
      },
      /it holds images \(1 found\)[\s\S]*ImageFolder\.fromFolder/,
    ],
    [
      'an image folder with splits',
      async (dir) => {
        await mkdir(join(dir, 'train', 'cats'), { recursive: true });
        await writeFile(join(dir, 'train', 'cats', '1.png'), '');
      },
      /it holds folders of images/,
    ],
    [
      'the folder above',
      async (dir) => cp(plain, join(dir, 'snapshots', 'abc'), { recursive: true }),
      /subfolders: snapshots.abc\n.*give the subfolder/,
    ],
    [
      'GGUF files',
      async (dir) => {
        await mkdir(dir);
        await writeFile(join(dir, 'model.gguf'), '');
      },
      /GGUF files, which are not read/,
    ],
  ])('is named: %s', async (_, make, message) => {
    const dir = join(folder, 'other');
    await make(dir);
    await expect(loadModel(dir, { engine })).rejects.toThrow(message);
    await expect(loadModel(dir, { engine })).rejects.toThrow(TuneError);
  });
});

describe('an engine by its name', () => {
  it('goes with the model that it was made for', async () => {
    const model = await loadModel(plain, { engine: 'cpu' });
    expect([model.engine.name, model.ownsEngine, model.nameOrPath]).toEqual(['cpu', true, plain]);
    const dispose = vi.spyOn(model.engine, 'dispose');
    await model.dispose();
    await model.dispose();
    expect([model.isDisposed, dispose.mock.calls.length]).toEqual([true, 1]);
  });

  it('that is not one is told with those that are', async () => {
    for (const name of ['gpu', '', 5, null, {}]) {
      await expect(loadModel(plain, { engine: name as never })).rejects.toThrow(
        /`engine` must be an engine or one of auto, cpu, cuda, tfjs, webgpu, got /,
      );
    }
    await expect(loadModel(plain, { engin: 'cpu' } as never)).rejects.toThrow(/did you mean `engine`/);
  });

  it('of the caller stays when the model goes, and a model that is disposed of says so', async () => {
    const model = await loadModel(plain, { engine });
    await model.dispose();
    await model.dispose();
    engine.release(engine.zeros([1]));
    expect(() => model.createCache([1])).toThrow(
      /the model .*plain is disposed of: its weights are gone[\s\S]*load the model again/,
    );
    expect(() => model.pack({} as never)).toThrow(/is disposed of/);
    expect(() => model.trainable).toThrow(/is disposed of/);
  });
});

describe('a hostile config.json', () => {
  const text = (changes: Record<string, unknown>) => async (): Promise<void> => {
    const json = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as { text_config: object };
    await configure({ text_config: { ...json.text_config, ...changes } });
  };
  const whole = (content: string) => (): Promise<void> => writeFile(join(folder, 'config.json'), content);

  it.each<[string, () => Promise<void>, RegExp]>([
    [
      'a thousand million layers',
      text({ num_hidden_layers: 1e9 }),
      /num_hidden_layers: expected a whole number from 1/,
    ],
    ['layers beyond the file', text({ num_hidden_layers: 1000 }), /tensors are wrong[\s\S]*and \d+ more/],
    ['a huge width', text({ hidden_size: 2 ** 40 }), /hidden_size: expected a whole number/],
    ['a huge vocabulary', text({ vocab_size: 1e15 }), /vocab_size/],
    ['numbers in text', text({ num_attention_heads: '4' }), /num_attention_heads: expected .* got "4"/],
    ['half a head', text({ num_key_value_heads: 0.5 }), /num_key_value_heads/],
    ['an object for a number', text({ rms_norm_eps: { a: [[[[[1]]]]] } }), /rms_norm_eps: .*got \{"a":\[\[\[…/],
    ['a patch of a kilometre', () => configure({ vision_config: { patch_size: 1e6 } }), /patch_size/],
    [
      'quantisation that is text',
      () => configure({ quantization_config: 'fp8' }),
      /quantization_config: expected an obj/,
    ],
    ['a list', whole('[]'), /expected an object, got \[\]/],
    ['deep nesting', whole(`{"a":${'['.repeat(5000)}${']'.repeat(5000)}}`), /nests more than 100 deep/],
    ['two megabytes', whole(`{"a":"${'x'.repeat(2e6)}"}`), /bytes, at most 1048576 are read/],
    ['__proto__', whole('{"__proto__": {"model_type": "mistral3"}}'), /__proto__/],
    ['nothing', whole(''), /not JSON/],
  ])('is refused for %s', async (_, change, message) => {
    await change();
    const start = process.cpuUsage();
    const error = await loadModel(folder, { engine }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(TuneError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message.length).toBeLessThan(4000);
    expect(process.cpuUsage(start).user / 1e6).toBeLessThan(1);
  });
});

describe('mergeAdapter', () => {
  it('makes a bfloat16 checkpoint of an FP8 one', async () => {
    const { expected } = await writeFp8();
    const model = await loadModel(folder, { engine, onNotice: () => {} });
    const adapter = applyLora(model, { r: 2, targetModules: ['q_proj'] });
    const values = Float32Array.from({ length: adapter.parameters.size }, (_, i) => ((i * 7) % 11) / 50);
    engine.writeParameters(adapter.parameters, values);
    const outputDir = join(root, 'merged');
    const result = await mergeAdapter({ checkpointDir: folder, adapter, outputDir });
    adapter.dispose();
    model.dispose();
    expect(JSON.parse(await readFile(join(outputDir, 'config.json'), 'utf8'))).not.toHaveProperty(
      'quantization_config',
    );
    const merged = await ShardedCheckpoint.open(outputDir);
    expect(new Set([...merged.tensors.values()].map(({ dtype }) => dtype))).toEqual(new Set(['BF16']));
    expect([...merged.tensors.keys()].filter((name) => /scale/.test(name))).toEqual([]);
    expect(merged.tensors.size).toBe(result.tensors);
    let changed = 0;
    for (const name of merged.tensors.keys()) {
      const before = expected.get(toMemoryName(name))!;
      const after = await merged.readFloat32(name);
      if (after.every((value, i) => value === before[i])) continue;
      changed++;
      expect(name).toMatch(/q_proj/);
    }
    expect(changed).toBe(result.mergedModules);
    await merged.close();
    const notices: string[] = [];
    const again = await loadModel(outputDir, { engine, onNotice: (line) => notices.push(line) });
    expect(notices).toEqual([]);
    again.dispose();
  });
});

describe('the tokens that end an answer', () => {
  it.each([[[]], [['2']], [[-1]], [[1.5]]])('cannot be %j', async (ids) => {
    await writeFile(join(folder, 'generation_config.json'), JSON.stringify({ eos_token_id: ids }));
    await expect(loadModel(folder, { engine })).rejects.toThrow(/generation_config\.json: eos_token_id is /);
    await rm(join(folder, 'generation_config.json'));
    const { text_config } = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
    await configure({ text_config: { ...text_config, eos_token_id: ids } });
    await expect(loadModel(folder, { engine })).rejects.toThrow(/eos_token_id.*a token id or a list of them/);
  });
});
