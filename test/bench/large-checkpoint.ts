/**
 * One LoRA training step of a random 3B-shaped checkpoint (bfloat16, two shards, 7.7 GB) on one picture with the
 * embedded engine: what it takes in time and memory.
 *
 *   npm run bench:3b -- [--image FILE] [--dir DIR] [--keep]
 *
 * The checkpoint is written to DIR (default: a temporary folder) and removed at the end.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { decodeImage } from '../../src/data/decode-image.js';
import { ImageProcessor } from '../../src/data/image-processor.js';
import type { VlmBatch } from '../../src/data/types.js';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { type TensorToWrite, writeSafetensors } from '../../src/formats/safetensors.js';
import { sizeOf } from '../../src/formats/weight-source.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { loadModel } from '../../src/model/load.js';
import { countLabels } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';

const TEXT = { hidden: 3072, inner: 9216, layers: 26, heads: 32, kvHeads: 8, headDim: 128, vocab: 131072 };
const VISION = { hidden: 1024, inner: 4096, layers: 24, heads: 16 };

function tensorShapes(): [string, number[]][] {
  const { hidden, inner, heads, kvHeads, headDim } = TEXT;
  const layer = (
    prefix: string,
    names: string[],
    shapes: { q: number; kv: number; c: number; f: number },
  ): [string, number[]][] => {
    const [norm1, attention, norm2, mlp] = names;
    return [
      [`${prefix}.${norm1}.weight`, [shapes.c]],
      [`${prefix}.${attention}.q_proj.weight`, [shapes.q, shapes.c]],
      [`${prefix}.${attention}.k_proj.weight`, [shapes.kv, shapes.c]],
      [`${prefix}.${attention}.v_proj.weight`, [shapes.kv, shapes.c]],
      [`${prefix}.${attention}.o_proj.weight`, [shapes.c, shapes.q]],
      [`${prefix}.${norm2}.weight`, [shapes.c]],
      [`${prefix}.${mlp}.gate_proj.weight`, [shapes.f, shapes.c]],
      [`${prefix}.${mlp}.up_proj.weight`, [shapes.f, shapes.c]],
      [`${prefix}.${mlp}.down_proj.weight`, [shapes.c, shapes.f]],
    ];
  };
  const vision = { q: VISION.hidden, kv: VISION.hidden, c: VISION.hidden, f: VISION.inner };
  const text = { q: heads * headDim, kv: kvHeads * headDim, c: hidden, f: inner };
  return [
    ['vision_tower.patch_conv.weight', [VISION.hidden, 3, 14, 14]],
    ['vision_tower.ln_pre.weight', [VISION.hidden]],
    ...Array.from({ length: VISION.layers }, (_, i) =>
      layer(
        `vision_tower.transformer.layers.${i}`,
        ['attention_norm', 'attention', 'ffn_norm', 'feed_forward'],
        vision,
      ),
    ).flat(),
    ['multi_modal_projector.norm.weight', [VISION.hidden]],
    ['multi_modal_projector.patch_merger.merging_layer.weight', [VISION.hidden, 4 * VISION.hidden]],
    ['multi_modal_projector.linear_1.weight', [hidden, VISION.hidden]],
    ['multi_modal_projector.linear_2.weight', [hidden, hidden]],
    ['language_model.model.embed_tokens.weight', [TEXT.vocab, hidden]],
    ...Array.from({ length: TEXT.layers }, (_, i) =>
      layer(
        `language_model.model.layers.${i}`,
        ['input_layernorm', 'self_attn', 'post_attention_layernorm', 'mlp'],
        text,
      ),
    ).flat(),
    ['language_model.model.norm.weight', [hidden]],
  ];
}

/** bfloat16 numbers around ±0.02 (norms: 1) from a fast hash; repeated blocks, since only the shape matters. */
function* randomChunks(name: string, elements: number): Generator<Uint8Array> {
  const block = new Uint16Array(Math.min(elements, 1 << 22));
  let state = name.length * 2654435761;
  for (let i = 0; i < block.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    // 0x3ca4 is 0.02: the sign and the low mantissa bits vary. 0x3f80 is 1.
    block[i] =
      name.includes('norm') || name.includes('ln_pre') ? 0x3f80 : 0x3c80 | (state >>> 25) | ((state & 1) << 15);
  }
  for (let done = 0; done < elements; done += block.length) {
    yield new Uint8Array(block.buffer, 0, 2 * Math.min(block.length, elements - done));
  }
}

async function writeCheckpoint(dir: string): Promise<number> {
  const shapes = tensorShapes();
  const cut = shapes.findIndex(([name]) => name.startsWith('language_model.model.layers.12.'));
  const weightMap: Record<string, string> = {};
  let bytes = 0;
  for (const [i, part] of [shapes.slice(0, cut), shapes.slice(cut)].entries()) {
    const file = `model-0000${i + 1}-of-00002.safetensors`;
    const tensors = part.map(([name, shape]): TensorToWrite => {
      weightMap[name] = file;
      bytes += 2 * sizeOf(shape);
      return { name, dtype: 'BF16', shape, chunks: () => randomChunks(name, sizeOf(shape)) };
    });
    await writeSafetensors(join(dir, file), tensors, { format: 'pt' });
  }
  await writeFile(
    join(dir, 'model.safetensors.index.json'),
    JSON.stringify({ metadata: { total_size: bytes }, weight_map: weightMap }),
  );
  const rope = {
    rope_type: 'yarn',
    rope_theta: 1e6,
    factor: 16,
    original_max_position_embeddings: 16384,
    mscale: 1,
    mscale_all_dim: 1,
  };
  await writeFile(
    join(dir, 'config.json'),
    JSON.stringify({
      model_type: 'mistral3',
      text_config: {
        model_type: 'ministral3',
        hidden_size: TEXT.hidden,
        intermediate_size: TEXT.inner,
        num_hidden_layers: TEXT.layers,
        num_attention_heads: TEXT.heads,
        num_key_value_heads: TEXT.kvHeads,
        head_dim: TEXT.headDim,
        vocab_size: TEXT.vocab,
        rope_parameters: { ...rope, llama_4_scaling_beta: 0.1 },
      },
      vision_config: {
        model_type: 'pixtral',
        hidden_size: VISION.hidden,
        intermediate_size: VISION.inner,
        num_hidden_layers: VISION.layers,
        num_attention_heads: VISION.heads,
        patch_size: 14,
        hidden_act: 'silu',
      },
    }),
  );
  return bytes;
}

/** One sample: a prompt of the workload's length around the picture, and a five-token answer. */
function makeBatch(pixels: { pixelValues: Float32Array; height: number; width: number }): VlmBatch {
  const { height, width } = pixels;
  const ids: number[] = [1, 3];
  for (let i = 0; i < 155; i++) ids.push(1000 + ((i * 7919) % 100000));
  for (let row = 0; row < height / 28; row++) {
    for (let column = 0; column < width / 28; column++) ids.push(10);
    ids.push(row + 1 < height / 28 ? 12 : 13);
  }
  const labels = ids.map(() => -100);
  for (const id of [4, 5000, 6000, 7000, 2]) {
    labels.push(id === 4 ? -100 : id);
    ids.push(id);
  }
  const shape = [1, ids.length];
  return {
    inputIds: { data: Int32Array.from(ids), shape },
    attentionMask: { data: new Int32Array(ids.length).fill(1), shape },
    labels: { data: Int32Array.from(labels), shape },
    pixelValues: { data: pixels.pixelValues, shape: [1, 3, height, width] },
    imageSizes: { data: Int32Array.of(height, width), shape: [1, 2] },
  };
}

const { values } = parseArgs({
  options: { image: { type: 'string' }, dir: { type: 'string' }, keep: { type: 'boolean' } },
});
const dir = values.dir ?? (await mkdtemp(join(tmpdir(), 'ministral-3b-')));
const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
const timed = async <T>(what: string, body: () => Promise<T>): Promise<T> => {
  const start = performance.now();
  const result = await body();
  console.log(
    `${what}: ${((performance.now() - start) / 1000).toFixed(1)} s, resident ${gibibytes(process.memoryUsage.rss())}`,
  );
  return result;
};
try {
  await timed('write checkpoint', async () =>
    console.log(`checkpoint of ${gibibytes(await writeCheckpoint(dir))} in two shards`),
  );
  const engine = createCpuEngine();
  const model = await timed('load', () => loadModel(dir, { engine }));
  const processor = new ImageProcessor({ longestEdge: 1540, patchSize: 14, spatialMergeSize: 2 });
  const image = values.image
    ? await decodeImage(values.image)
    : { width: 520, height: 620, data: Uint8Array.from({ length: 520 * 620 * 3 }, (_, i) => (i * 31) % 256) };
  const batch = makeBatch(await processor.process(image));
  const adapter = applyLora(model, {
    r: 16,
    alpha: 32,
    dropout: 0.05,
    targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
  });
  console.log(
    `${batch.inputIds.data.length} tokens, picture ${batch.imageSizes!.data.join('×')}, ${model.trainable.size} trainable numbers`,
  );
  const state = engine.createOptimizerState(model.trainable, 'adamw8bit');
  const loss = await timed('forward and backward', () =>
    accumulateGradients(model, [batch], {
      labelCount: countLabels(batch),
      dropoutSeeds: [1],
      gradientCheckpointing: true,
    }),
  );
  const norm = await timed('optimizer step', () =>
    engine.optimizerStep(model.trainable, state, {
      kind: 'adamw8bit',
      learningRate: 2e-4,
      beta1: 0.9,
      beta2: 0.999,
      eps: 1e-8,
      weightDecay: 0,
      maxGradNorm: 0.3,
    })(),
  );
  const usage = process.resourceUsage();
  console.log(
    `RESULT ${JSON.stringify({
      loss: await loss(),
      gradNorm: norm,
      tokens: batch.inputIds.data.length,
      peakResidentGiB: usage.maxRSS / 2 ** 20,
      enginePeakGiB: engine.memory().peakBytes / 2 ** 30,
    })}`,
  );
  adapter.dispose();
  model.dispose();
  await engine.dispose();
} finally {
  if (!values.keep) await rm(dir, { recursive: true, force: true });
}
