/** The targets of a saved adapter: PEFT matches them against all modules, norms and containers among them. */
import type { LoraConfig } from './lora-config.js';
import { isAllLinear, isTarget, type PeftRules, withPatterns } from './peft-rules.js';

/** The keys of an `adapter_config.json` that choose modules. */
interface PeftTargets {
  readonly target_modules: string | readonly string[];
  readonly exclude_modules: string | readonly string[] | null;
  readonly layers_to_transform: number | readonly number[] | null;
  readonly layers_pattern: string | readonly string[] | null;
}

/**
 * The shortest rules by which PEFT chooses exactly `matched` of `all`: the configuration's own, endings, or full names.
 * @param matched adapted layers, by the names that PEFT sees (those in memory)
 * @param all every linear layer of the model, adapted or not; the modules beside them are known
 */
export function peftTargets(config: LoraConfig, matched: readonly string[], all: readonly string[]): PeftTargets {
  const own = config.toPeft() as unknown as PeftTargets;
  const endings = [...new Set(matched.map((name) => name.split('.').at(-1)!))].sort();
  const none = { exclude_modules: null, layers_to_transform: null, layers_pattern: null };
  // Servers want names, not "all-linear".
  const isAny = isAllLinear(own.target_modules);
  const plain = { excludeModules: undefined, layersToTransform: undefined, layersPattern: undefined };
  const candidates: PeftTargets[] = [
    isAny ? { ...own, target_modules: endings } : own,
    ...(['both', 'language', 'vision'] as const).map((towers) => {
      return config.with({ ...plain, targetModules: endings, towers }).toPeft() as unknown as PeftTargets;
    }),
  ].map(({ target_modules, exclude_modules, layers_to_transform, layers_pattern }) => {
    return { target_modules, exclude_modules, layers_to_transform, layers_pattern };
  });
  const modules = moduleNames(all);
  const wanted = new Set(matched);
  const fits = (targets: PeftTargets): boolean => {
    const rules: PeftRules = {
      targetModules: targets.target_modules,
      excludeModules: targets.exclude_modules ?? undefined,
      layersToTransform: targets.layers_to_transform ?? undefined,
      layersPattern: targets.layers_pattern ?? undefined,
    };
    return modules.every((name) => isTarget(rules, name) === wanted.has(name));
  };
  const found = candidates.find((targets) => {
    try {
      return withPatterns('targetModules, excludeModules or layersPattern', () => fits(targets));
    } catch {
      // Rules that cannot be judged are not written: a trained adapter is saved by names then.
      return false;
    }
  });
  if (!found) return { ...none, target_modules: [...matched] };
  // Names that chose nothing here would be looked for in vain, or found in another model.
  if (typeof found.target_modules === 'string') return found;
  return withoutUnused(found, modules, fits);
}

function withoutUnused(
  targets: PeftTargets,
  all: readonly string[],
  fits: (targets: PeftTargets) => boolean,
): PeftTargets {
  const used = (targets.target_modules as readonly string[]).filter((target) =>
    all.some((name) => name === target || name.endsWith(`.${target}`)),
  );
  const fewer = { ...targets, target_modules: used };
  return used.length > 0 && fits(fewer) ? fewer : targets;
}

/** Modules beside the linear layers of transformers' Mistral3ForConditionalGeneration. */
const OTHER_MODULES = [
  'lm_head',
  'model.language_model.embed_tokens',
  'model.language_model.norm',
  'model.language_model.rotary_emb',
  'model.vision_tower.patch_conv',
  'model.vision_tower.ln_pre',
  'model.vision_tower.patch_positional_embedding',
  'model.multi_modal_projector.norm',
  'model.multi_modal_projector.act',
];

/** [of a layer's parent, what else it holds] */
const OTHER_PARTS: readonly (readonly [RegExp, readonly string[]])[] = [
  [/^model\.language_model\.layers\.\d+$/, ['input_layernorm', 'post_attention_layernorm']],
  [/^model\.vision_tower\.transformer\.layers\.\d+$/, ['attention_norm', 'ffn_norm']],
  [/\.(mlp|feed_forward)$/, ['act_fn']],
];

/** The names of all modules that PEFT finds in the model, from those of its linear layers in memory. */
export function moduleNames(linears: readonly string[]): string[] {
  const names = new Set([...linears, ...OTHER_MODULES]);
  for (const name of [...names]) {
    for (let end = name.lastIndexOf('.'); end > 0; end = name.lastIndexOf('.', end - 1)) names.add(name.slice(0, end));
  }
  for (const name of [...names]) {
    for (const [pattern, parts] of OTHER_PARTS) {
      if (pattern.test(name)) for (const part of parts) names.add(`${name}.${part}`);
    }
  }
  return [...names];
}
