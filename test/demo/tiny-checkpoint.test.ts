import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import { FRACTURE_CLASSES } from '../../src/demo/radiographs.js';
import { writeTinyCheckpoint } from '../../src/demo/tiny-checkpoint.js';
import { CONTROL_TOKENS, trainTinyTokenizer } from '../../src/demo/tiny-tokenizer.js';
import { SafetensorsFile } from '../../src/formats/safetensors.js';

const PROMPT = `Look at the bone and name its fracture.\nOne of: ${FRACTURE_CLASSES.join(', ')}\n- Only the name!`;
const CORPUS = [PROMPT, ...FRACTURE_CLASSES];

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tiny-checkpoint-'));
  await writeTinyCheckpoint({ outputDir: join(root, 'a'), seed: 3, corpus: CORPUS });
  await writeTinyCheckpoint({ outputDir: join(root, 'b'), seed: 3, corpus: CORPUS });
  await writeTinyCheckpoint({ outputDir: join(root, 'c'), seed: 4, corpus: CORPUS });
});
afterAll(() => rm(root, { recursive: true, force: true }));

const hash = async (...path: string[]) =>
  createHash('sha256')
    .update(await readFile(join(root, ...path)))
    .digest('hex');
const config = async () => JSON.parse(await readFile(join(root, 'a', 'config.json'), 'utf8'));

describe('trainTinyTokenizer', () => {
  it('makes every word of the corpus one token, and each class name few', () => {
    const tokenizer = new MinistralTokenizer(trainTinyTokenizer(CORPUS));
    for (const name of FRACTURE_CLASSES) expect(tokenizer.encode(name)).toHaveLength(2);
    expect(new Set(FRACTURE_CLASSES.map((name) => tokenizer.encode(name)[0])).size).toBe(10);
  });

  it('gives back any text, in the corpus or not', () => {
    const tokenizer = new MinistralTokenizer(trainTinyTokenizer(CORPUS));
    for (const text of [PROMPT, 'naïve 骨折 🦴', 'x\r\n\r\ty  z', '', '12345', '[INST]no markup[/INST]']) {
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    }
  });

  it('keeps the control tokens at their published ids, and away from the merges', () => {
    const json = trainTinyTokenizer(['[INST] [INST] [INST]', ...CORPUS]);
    const { vocab, merges } = json.model as { vocab: Record<string, number>; merges: [string, string][] };
    expect(CONTROL_TOKENS.map((token) => vocab[token])).toEqual(CONTROL_TOKENS.map((_, id) => id));
    for (const [left, right] of merges) {
      expect(vocab[left + right]).toBeGreaterThanOrEqual(CONTROL_TOKENS.length);
      expect(vocab[left]).toBeDefined();
      expect(vocab[right]).toBeDefined();
    }
    const ids = Object.values(vocab).sort((a, b) => a - b);
    expect(ids).toEqual(ids.map((_, id) => id));
  });

  it('stops at the vocabulary size', () => {
    const { vocab } = trainTinyTokenizer(CORPUS, 300).model as { vocab: Record<string, number> };
    expect(Object.keys(vocab)).toHaveLength(300);
  });
});

describe('writeTinyCheckpoint', () => {
  it('writes the published layout and leaves nothing temporary', async () => {
    expect((await readdir(join(root, 'a'))).sort()).toEqual([
      'chat_template.jinja',
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'processor_config.json',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
  });

  it('gives the same bytes for the same seed, other weights for another', async () => {
    for (const file of await readdir(join(root, 'a'))) expect(await hash('b', file)).toBe(await hash('a', file));
    expect(await hash('c', 'model.safetensors')).not.toBe(await hash('a', 'model.safetensors'));
    expect(await hash('c', 'tokenizer.json')).toBe(await hash('a', 'tokenizer.json'));
  });

  it('has the shapes that its config speaks of, and a vocabulary of the right size', async () => {
    const { text_config: text, vision_config: vision, spatial_merge_size: merge } = await config();
    const tokenizer = await MinistralTokenizer.fromFolder(join(root, 'a'));
    expect(text.vocab_size).toBe(tokenizer.vocabSize);
    const file = await SafetensorsFile.open(join(root, 'a', 'model.safetensors'));
    const shape = (name: string) => file.tensors.get(`${name}.weight`)?.shape;
    expect(file.tensors.size).toBe(3 + 9 * text.num_hidden_layers + 2 + 9 * vision.num_hidden_layers + 4);
    expect(shape('language_model.model.embed_tokens')).toEqual([text.vocab_size, text.hidden_size]);
    expect(shape('language_model.lm_head')).toEqual([text.vocab_size, text.hidden_size]);
    for (let i = 0; i < text.num_hidden_layers; i++) {
      const layer = `language_model.model.layers.${i}`;
      const [q, kv] = [text.num_attention_heads * text.head_dim, text.num_key_value_heads * text.head_dim];
      expect(shape(`${layer}.self_attn.q_proj`)).toEqual([q, text.hidden_size]);
      expect(shape(`${layer}.self_attn.v_proj`)).toEqual([kv, text.hidden_size]);
      expect(shape(`${layer}.self_attn.o_proj`)).toEqual([text.hidden_size, q]);
      expect(shape(`${layer}.mlp.down_proj`)).toEqual([text.hidden_size, text.intermediate_size]);
    }
    for (let i = 0; i < vision.num_hidden_layers; i++) {
      const layer = `vision_tower.transformer.layers.${i}`;
      expect(shape(`${layer}.attention.k_proj`)).toEqual([vision.hidden_size, vision.hidden_size]);
      expect(shape(`${layer}.feed_forward.gate_proj`)).toEqual([vision.intermediate_size, vision.hidden_size]);
    }
    expect(shape('multi_modal_projector.patch_merger.merging_layer')).toEqual([
      vision.hidden_size,
      vision.hidden_size * merge ** 2,
    ]);
    expect(shape('multi_modal_projector.linear_1')).toEqual([text.hidden_size, vision.hidden_size]);
    await file.close();
  });

  it('draws weights of the deviation it promises: unit gain in linear layers, ones in norms', async () => {
    const file = await SafetensorsFile.open(join(root, 'a', 'model.safetensors'));
    const read = async (name: string) => [...((await file.readArray(`${name}.weight`)) as Float32Array)];
    const deviation = (values: number[]) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    const gate = await read('vision_tower.transformer.layers.1.feed_forward.gate_proj');
    expect(deviation(gate) * Math.sqrt((await config()).vision_config.hidden_size)).toBeCloseTo(1, 1);
    expect(new Set(await read('vision_tower.ln_pre'))).toEqual(new Set([1]));
    await file.close();
  });
});
