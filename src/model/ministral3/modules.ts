/**
 * The frozen parts of a Ministral 3 model: which tensors there are, their names in transformers' memory and their
 * shapes, loaded into an engine. The name lists of both towers stand here and nowhere else.
 */
import type { Engine } from '../../engine/engine.js';
import type { DType, StackPlace, Weight, WeightSource } from '../../engine/tensor.js';
import { CheckpointError } from '../../errors.js';
import type { LinearModule } from '../linear-module.js';
import type { Ministral3Config } from './config.js';

export interface AttentionModules {
  readonly q: LinearModule;
  readonly k: LinearModule;
  readonly v: LinearModule;
  readonly o: LinearModule;
}

export interface LayerModules {
  readonly attentionNorm: Weight;
  readonly attention: AttentionModules;
  readonly mlpNorm: Weight;
  readonly gate: LinearModule;
  readonly up: LinearModule;
  readonly down: LinearModule;
}

export interface Ministral3Modules {
  /** [hidden, 3·patch²] */
  readonly patchConv: Weight;
  readonly lnPre: Weight;
  readonly visionLayers: readonly LayerModules[];
  readonly projectorNorm: Weight;
  readonly mergingLayer: LinearModule;
  readonly linear1: LinearModule;
  readonly linear2: LinearModule;
  readonly embedTokens: Weight;
  readonly textLayers: readonly LayerModules[];
  readonly norm: Weight;
  /** The embedding itself where tied. */
  readonly lmHead: Weight;
  readonly tied: boolean;
  /** Every linear layer but lm_head, in the order of transformers' named_modules. */
  readonly linear: readonly LinearModule[];
}

/** Where the tensors come from; names are those of transformers' memory. */
export interface WeightProvider {
  has(name: string): boolean;
  source(name: string): WeightSource;
  /** For messages. */
  readonly description: string;
}

/** Loads tensor by tensor and collects what is missing or has another shape, to raise once. */
class Loader {
  readonly faults: string[] = [];
  readonly linear: LinearModule[] = [];
  readonly weights: Weight[] = [];
  readonly #engine: Engine;
  readonly #provider: WeightProvider;

  constructor(engine: Engine, provider: WeightProvider) {
    this.#engine = engine;
    this.#provider = provider;
  }

  /** @param view shape that the engine sees, with the same number of elements */
  async weight(
    name: string,
    shape: readonly number[],
    view: readonly number[] = shape,
    stack?: StackPlace,
  ): Promise<Weight> {
    const placeholder: Weight = { name, shape: view, dtype: 'f32' satisfies DType };
    if (!this.#provider.has(name)) {
      this.faults.push(`${name}: missing, expected [${shape.join(', ')}]`);
      return placeholder;
    }
    const source = this.#provider.source(name);
    if (source.shape.join() !== shape.join()) {
      this.faults.push(`${name}: shape [${source.shape.join(', ')}], expected [${shape.join(', ')}]`);
      return placeholder;
    }
    // After a fault nothing more is read: the error is certain.
    if (this.faults.length > 0) return placeholder;
    const read = (target: Uint8Array, offset?: number): Promise<void> => source.read(target, offset);
    const weight = await this.#engine.loadWeight({
      name,
      shape: view,
      dtype: source.dtype,
      byteLength: source.byteLength,
      stack,
      read,
    });
    this.weights.push(weight);
    return weight;
  }

  async linearModule(
    name: string,
    out: number,
    input: number,
    options: { bias?: boolean; stack?: StackPlace } = {},
  ): Promise<LinearModule> {
    const shape = [out, input];
    const module: LinearModule = {
      name,
      index: this.linear.length,
      weight: await this.weight(`${name}.weight`, shape, shape, options.stack),
      bias: options.bias ? await this.weight(`${name}.bias`, [out]) : undefined,
      lora: undefined,
    };
    this.linear.push(module);
    return module;
  }

  /** Layers that read the same input, in order: [name, out]. */
  async stackedModules(prefix: string, parts: readonly [string, number][], input: number): Promise<LinearModule[]> {
    const rows = parts.reduce((sum, [, out]) => sum + out, 0);
    const modules: LinearModule[] = [];
    let row = 0;
    for (const [name, out] of parts) {
      const stack = { name: `${prefix}.${parts.map(([part]) => part).join('+')}`, row, rows };
      modules.push(await this.linearModule(`${prefix}.${name}`, out, input, { stack }));
      row += out;
    }
    return modules;
  }
}

/** @throws CheckpointError naming every tensor that is missing or misshapen */
export async function loadModules(
  engine: Engine,
  config: Ministral3Config,
  provider: WeightProvider,
): Promise<Ministral3Modules> {
  const { text, vision } = config;
  const load = new Loader(engine, provider);
  const layer = async (
    prefix: string,
    names: { attentionNorm: string; attention: string; mlpNorm: string; mlp: string },
    shape: { hiddenSize: number; intermediateSize: number; queryWidth: number; kvWidth: number },
  ): Promise<LayerModules> => {
    const { hiddenSize: hidden, intermediateSize: inner } = shape;
    const attention = `${prefix}.${names.attention}`;
    const mlp = `${prefix}.${names.mlp}`;
    const attentionNorm = await load.weight(`${prefix}.${names.attentionNorm}.weight`, [hidden]);
    const projections: [string, number][] = [
      ['q_proj', shape.queryWidth],
      ['k_proj', shape.kvWidth],
      ['v_proj', shape.kvWidth],
    ];
    const [q, k, v] = await load.stackedModules(attention, projections, hidden);
    const o = await load.linearModule(`${attention}.o_proj`, hidden, shape.queryWidth);
    const mlpNorm = await load.weight(`${prefix}.${names.mlpNorm}.weight`, [hidden]);
    const gates: [string, number][] = [
      ['gate_proj', inner],
      ['up_proj', inner],
    ];
    const [gate, up] = await load.stackedModules(mlp, gates, hidden);
    const down = await load.linearModule(`${mlp}.down_proj`, hidden, inner);
    return { attentionNorm, attention: { q: q!, k: k!, v: v!, o }, mlpNorm, gate: gate!, up: up!, down };
  };
  try {
    const tower = 'model.vision_tower';
    const patchLength = 3 * vision.patchSize ** 2;
    const patchConv = await load.weight(
      `${tower}.patch_conv.weight`,
      [vision.hiddenSize, 3, vision.patchSize, vision.patchSize],
      [vision.hiddenSize, patchLength],
    );
    const lnPre = await load.weight(`${tower}.ln_pre.weight`, [vision.hiddenSize]);
    const visionLayers: LayerModules[] = [];
    for (let i = 0; i < vision.layers; i++) {
      const names = {
        attentionNorm: 'attention_norm',
        attention: 'attention',
        mlpNorm: 'ffn_norm',
        mlp: 'feed_forward',
      };
      const shape = { ...vision, queryWidth: vision.hiddenSize, kvWidth: vision.hiddenSize };
      visionLayers.push(await layer(`${tower}.transformer.layers.${i}`, names, shape));
    }
    const projector = 'model.multi_modal_projector';
    const projectorNorm = await load.weight(`${projector}.norm.weight`, [vision.hiddenSize]);
    const merged = vision.hiddenSize * config.spatialMergeSize ** 2;
    const mergingLayer = await load.linearModule(`${projector}.patch_merger.merging_layer`, vision.hiddenSize, merged);
    const linear1 = await load.linearModule(`${projector}.linear_1`, text.hiddenSize, vision.hiddenSize, {
      bias: config.projectorBias,
    });
    const linear2 = await load.linearModule(`${projector}.linear_2`, text.hiddenSize, text.hiddenSize, {
      bias: config.projectorBias,
    });
    const decoder = 'model.language_model';
    const embedTokens = await load.weight(`${decoder}.embed_tokens.weight`, [text.vocabSize, text.hiddenSize]);
    const textLayers: LayerModules[] = [];
    for (let i = 0; i < text.layers; i++) {
      const names = {
        attentionNorm: 'input_layernorm',
        attention: 'self_attn',
        mlpNorm: 'post_attention_layernorm',
        mlp: 'mlp',
      };
      const shape = { ...text, queryWidth: text.heads * text.headDim, kvWidth: text.kvHeads * text.headDim };
      textLayers.push(await layer(`${decoder}.layers.${i}`, names, shape));
    }
    const norm = await load.weight(`${decoder}.norm.weight`, [text.hiddenSize]);
    // transformers ties by its flag, but keeps an lm_head that the checkpoint holds: so presence decides.
    const tied = !provider.has('lm_head.weight') && config.mayTieEmbeddings;
    const lmHead = tied ? embedTokens : await load.weight('lm_head.weight', [text.vocabSize, text.hiddenSize]);
    if (load.faults.length > 0) throw badCheckpoint(provider.description, load.faults);
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
  } catch (error) {
    for (const weight of load.weights) engine.releaseWeight(weight);
    throw error;
  }
}

function badCheckpoint(description: string, faults: readonly string[]): CheckpointError {
  const shown = faults.slice(0, 12);
  const rest = faults.length - shown.length;
  return new CheckpointError(
    `${description} does not fit its config.json, ${faults.length} tensors are wrong:\n  - ${shown.join('\n  - ')}${rest > 0 ? `\n  - and ${rest} more` : ''}`,
    { details: { faults }, hint: 'check that config.json and the safetensors files belong to the same checkpoint' },
  );
}
