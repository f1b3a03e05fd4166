/** The frozen tensors of a model, by their names in transformers' memory and their shapes, loaded into an engine. */
import type { Engine, TrainingBytes } from '../../engine/engine.js';
import type { Weight } from '../../engine/tensor.js';
import type { StackPlace, WeightUsage } from '../../formats/weight-source.js';
import type { LinearModule } from '../linear-module.js';
import type { ModelConfig } from '../model-config.js';
import { BaseDigest, type WeightDigests } from './base-digest.js';
import { loadWeights, type WantedWeight, type WeightProvider } from './load-weights.js';

/** Projections of an attention layer: H query heads and K key/value heads of size D, on a width of C. */
export interface AttentionModules {
  /** `q_proj` [H·D, C] */
  readonly q: LinearModule;
  /** `k_proj` [K·D, C]; K is H in the vision tower. */
  readonly k: LinearModule;
  /** `v_proj` [K·D, C] */
  readonly v: LinearModule;
  /** `o_proj` [C, H·D] */
  readonly o: LinearModule;
}

/** A pre-norm layer of either tower: C its width, I that of its MLP. */
export interface LayerModules {
  /** [C] `input_layernorm`, in the vision tower `attention_norm`. */
  readonly attentionNorm: Weight;
  /** `self_attn`, in the vision tower `attention`. */
  readonly attention: AttentionModules;
  /** [C] `post_attention_layernorm`, in the vision tower `ffn_norm`. */
  readonly mlpNorm: Weight;
  /** `gate_proj` [I, C], of `mlp`, in the vision tower `feed_forward`. */
  readonly gate: LinearModule;
  /** `up_proj` [I, C] */
  readonly up: LinearModule;
  /** `down_proj` [C, I] */
  readonly down: LinearModule;
}

/** The linear layers of a layer, in order. */
export function modulesOf({ attention, gate, up, down }: LayerModules): LinearModule[] {
  return [attention.q, attention.k, attention.v, attention.o, gate, up, down];
}

/** The weights of a model: C is the width of the decoder, W that of the vision tower, V the vocabulary. */
export interface ModelModules {
  /** [W, 3·patch²], the convolution as a matrix. */
  readonly patchConv: Weight;
  /** [W] `ln_pre`: norm of the embedded patches. */
  readonly lnPre: Weight;
  /** All of the checkpoint, of which the first `visionFeatureLayer` are run. */
  readonly visionLayers: readonly LayerModules[];
  /** [W] `multi_modal_projector.norm` */
  readonly projectorNorm: Weight;
  /** `patch_merger.merging_layer` [W, W·merge²] */
  readonly mergingLayer: LinearModule;
  /** `linear_1` [C, W] */
  readonly linear1: LinearModule;
  /** `linear_2` [C, C] */
  readonly linear2: LinearModule;
  /** [V, C] */
  readonly embedTokens: Weight;
  /** Of the decoder, in order. */
  readonly textLayers: readonly LayerModules[];
  /** [C], after the last layer. */
  readonly norm: Weight;
  /** [V, C]; the embedding itself where tied. */
  readonly lmHead: Weight;
  /** True if the checkpoint holds no lm_head and its config.json allows that. */
  readonly tied: boolean;
  /** Every linear layer but lm_head, in the order of transformers' named_modules. */
  readonly linear: readonly LinearModule[];
}

type Take = (wanted: WantedWeight) => Weight;

/** Puts modules together from the weights that `take` gives. */
class Assembler {
  readonly linear: LinearModule[] = [];
  /** Of the weights that are taken from now on. */
  usage: WeightUsage | undefined;
  /** Of the weights that are taken from now on: what runs together has one number. */
  stage = 0;
  readonly #take: Take;

  constructor(take: Take) {
    this.#take = take;
  }

  /** @param view shape that the engine sees, with the same number of elements */
  weight(name: string, shape: readonly number[], view: readonly number[] = shape, stack?: StackPlace): Weight {
    return this.#take({ name, shape, view, stack, usage: this.usage, stage: this.stage });
  }

  linearModule(
    name: string,
    out: number,
    input: number,
    options: { bias?: boolean; stack?: StackPlace } = {},
  ): LinearModule {
    const shape = [out, input];
    const module: LinearModule = {
      name,
      index: this.linear.length,
      weight: this.weight(`${name}.weight`, shape, shape, options.stack),
      bias: options.bias ? this.weight(`${name}.bias`, [out]) : undefined,
      lora: undefined,
    };
    this.linear.push(module);
    return module;
  }

  /** Layers that read the same input, in order: name → out. */
  stackedModules(prefix: string, widths: Readonly<Record<string, number>>, input: number): LinearModule[] {
    const parts = Object.entries(widths);
    const rows = parts.reduce((sum, [, out]) => sum + out, 0);
    const modules: LinearModule[] = [];
    let row = 0;
    for (const [name, out] of parts) {
      const stack = { name: `${prefix}.${parts.map(([part]) => part).join('+')}`, row, rows };
      modules.push(this.linearModule(`${prefix}.${name}`, out, input, { stack }));
      row += out;
    }
    return modules;
  }
}

/** The tensors of a model by their names in memory, in its order. @param tied whether the embedding is the head as well */
export function wantedWeights(config: ModelConfig, tied: boolean): WantedWeight[] {
  const wanted: WantedWeight[] = [];
  assemble(config, tied, (one) => {
    wanted.push(one);
    return { name: one.name, shape: one.view, dtype: 'f32' };
  });
  return wanted;
}

/**
 * @param trainingBytes of modules without weights; see `Engine.placeWeights`
 * @param digest takes in what is read; false where values do not count
 * @throws CheckpointError naming every tensor that is missing or misshapen
 */
export async function loadModules(
  engine: Engine,
  config: ModelConfig,
  provider: WeightProvider,
  trainingBytes?: (modules: ModelModules) => TrainingBytes,
  digest: BaseDigest | false = new BaseDigest(),
): Promise<{ readonly modules: ModelModules; readonly digests: WeightDigests | undefined }> {
  // transformers ties by its flag, but keeps an lm_head that the checkpoint holds: so presence decides.
  const tied = !provider.has('lm_head.weight') && config.mayTieEmbeddings;
  // Once to learn what is wanted, so that faults show before anything is read; then with the weights.
  const wanted: WantedWeight[] = [];
  const planned = assemble(config, tied, (one) => {
    wanted.push(one);
    return { name: one.name, shape: one.view, dtype: 'f32' };
  });
  // Only an engine that places weights asks what training takes.
  const estimate = engine.placeWeights && trainingBytes?.(planned);
  const weights = await loadWeights(engine, provider, wanted, digest || undefined, estimate);
  const modules = assemble(config, tied, ({ name }) => weights.get(name)!);
  return { modules, digests: digest ? digest.digests(tied) : undefined };
}

function assemble(config: ModelConfig, tied: boolean, take: Take): ModelModules {
  const { text, vision } = config;
  const load = new Assembler(take);
  const layer = (
    prefix: string,
    names: { attentionNorm: string; attention: string; mlpNorm: string; mlp: string },
    { hiddenSize: hidden, intermediateSize: inner }: { hiddenSize: number; intermediateSize: number },
    query: number,
    keyValue: number,
  ): LayerModules => {
    const attention = `${prefix}.${names.attention}`;
    const mlp = `${prefix}.${names.mlp}`;
    const attentionNorm = load.weight(`${prefix}.${names.attentionNorm}.weight`, [hidden]);
    const [q, k, v] = load.stackedModules(attention, { q_proj: query, k_proj: keyValue, v_proj: keyValue }, hidden);
    const o = load.linearModule(`${attention}.o_proj`, hidden, query);
    const mlpNorm = load.weight(`${prefix}.${names.mlpNorm}.weight`, [hidden]);
    const [gate, up] = load.stackedModules(mlp, { gate_proj: inner, up_proj: inner }, hidden);
    const down = load.linearModule(`${mlp}.down_proj`, hidden, inner);
    return { attentionNorm, attention: { q: q!, k: k!, v: v!, o }, mlpNorm, gate: gate!, up: up!, down };
  };
  const tower = 'model.vision_tower';
  const patchLength = 3 * vision.patchSize ** 2;
  const patchConv = load.weight(
    `${tower}.patch_conv.weight`,
    [vision.hiddenSize, 3, vision.patchSize, vision.patchSize],
    [vision.hiddenSize, patchLength],
  );
  const lnPre = load.weight(`${tower}.ln_pre.weight`, [vision.hiddenSize]);
  const visionLayers = Array.from({ length: vision.layers }, (_, i) => {
    load.stage++;
    const names = { attentionNorm: 'attention_norm', attention: 'attention', mlpNorm: 'ffn_norm', mlp: 'feed_forward' };
    return layer(`${tower}.transformer.layers.${i}`, names, vision, vision.hiddenSize, vision.hiddenSize);
  });
  load.stage++;
  const projector = 'model.multi_modal_projector';
  const projectorNorm = load.weight(`${projector}.norm.weight`, [vision.hiddenSize]);
  const merged = vision.hiddenSize * config.spatialMergeSize ** 2;
  const mergingLayer = load.linearModule(`${projector}.patch_merger.merging_layer`, vision.hiddenSize, merged);
  const bias = config.projectorBias;
  const linear1 = load.linearModule(`${projector}.linear_1`, text.hiddenSize, vision.hiddenSize, { bias });
  const linear2 = load.linearModule(`${projector}.linear_2`, text.hiddenSize, text.hiddenSize, { bias });
  const decoder = 'model.language_model';
  // A tied embedding is the output head as well.
  load.usage = tied ? undefined : 'lookup';
  const projected = load.stage;
  load.stage = 0;
  const embedTokens = load.weight(`${decoder}.embed_tokens.weight`, [text.vocabSize, text.hiddenSize]);
  load.stage = projected;
  const norms = { attentionNorm: 'input_layernorm', mlpNorm: 'post_attention_layernorm' };
  const textLayers = Array.from({ length: text.layers }, (_, i) => {
    load.usage = { layer: i };
    load.stage++;
    const names = { ...norms, attention: 'self_attn', mlp: 'mlp' };
    return layer(`${decoder}.layers.${i}`, names, text, text.heads * text.headDim, text.kvHeads * text.headDim);
  });
  load.usage = undefined;
  load.stage++;
  const norm = load.weight(`${decoder}.norm.weight`, [text.hiddenSize]);
  const lmHead = tied ? embedTokens : load.weight('lm_head.weight', [text.vocabSize, text.hiddenSize]);
  return {
    patchConv,
    lnPre,
    visionLayers,
    projectorNorm,
    mergingLayer,
    linear1,
    linear2,
    embedTokens,
    textLayers,
    norm,
    lmHead,
    tied,
    linear: load.linear,
  };
}
