import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import { LoraConfig, type LoraConfigOptions } from '../../src/lora/lora-config.js';
import { hasPatterns, matchingPattern, withPatterns } from '../../src/lora/peft-rules.js';

const made = (options: LoraConfigOptions) => () => new LoraConfig(options);
const read = (settings: object) => () =>
  LoraConfig.fromPeft({ peft_type: 'LORA', r: 8, lora_alpha: 8, target_modules: ['q_proj'], ...settings });

describe('the scale of an adapter', () => {
  it('may have its limits', () => {
    expect(made({ r: 1, alpha: 1e6 })().alpha).toBe(1e6);
    expect(made({ r: 1, alpha: 1e-9 })().alpha).toBe(1e-9);
    expect(made({ r: 4, alpha: 2e6, useRslora: true })().useRslora).toBe(true);
  });

  it('is refused where nothing could be learned, with its formula', () => {
    expect(made({ r: 1, alpha: 1.1e6 })).toThrow(
      'alpha`: 1100000 with r 1 makes the scale alpha / r = 1100000, expected 1e-9 to 1000000: the adapter would overflow or do nothing',
    );
    expect(made({ r: 4, alpha: 2.2e6, useRslora: true })).toThrow('makes the scale alpha / √r = 1100000');
    expect(made({ r: 8, alpha: 8, rankPattern: { q_proj: 1 }, alphaPattern: { v_proj: 1e7 } })).toThrow(
      'alphaPattern`: "v_proj": 10000000 with r 8 makes the scale alpha / r = 1250000',
    );
    expect(made({ r: 8, alpha: 2e6, rankPattern: { q_proj: 1 } })).toThrow('alpha`: 2000000 with r 1 makes');
  });

  it('is not reported beside what is wrong in itself', () => {
    for (const options of [{ r: 0 }, { alpha: 0 }, { alpha: -1 }]) {
      expect(made(options)).toThrow(ConfigError);
      expect(made(options)).not.toThrow(/makes the scale/);
    }
  });
});

describe('patterns of a configuration', () => {
  it('are bounded in number and length', () => {
    const rules = (count: number, width = 1) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`${i}`.padStart(width, 'x'), 4]));
    expect(Object.keys(made({ rankPattern: rules(4096, 64) })().rankPattern)).toHaveLength(4096);
    expect(made({ rankPattern: rules(4097) })).toThrow(/rankPattern/);
    expect(made({ alphaPattern: { ...rules(4095, 64), ['y'.repeat(65)]: 4 } })).toThrow(
      /alphaPattern`: expected patterns of at most 262144 characters in all/,
    );
  });

  it('are not read where nothing chooses layers by them', () => {
    expect(made({ layersToTransform: [], layersPattern: '(' })().layersPattern).toBe('(');
    expect(made({ layersToTransform: [1], layersPattern: '(' })).toThrow(/layersPattern.*is not a regular expression/);
    expect(made({ layersToTransform: 0, layersPattern: ['a', '('] })).toThrow(/is not a regular expression of Python/);
  });

  it('need a watchdog, names do not', () => {
    const rules = {
      targetModules: ['q_proj'],
      excludeModules: undefined,
      layersToTransform: undefined,
      layersPattern: undefined,
    };
    expect(hasPatterns(rules)).toBe(false);
    expect(hasPatterns({ ...rules, targetModules: 'all-linear' })).toBe(false);
    expect(hasPatterns({ ...rules, targetModules: 'ALL-LINEAR' })).toBe(false);
    expect(hasPatterns({ ...rules, excludeModules: ['k_proj'], layersPattern: [] })).toBe(false);
    expect(hasPatterns({ ...rules, layersPattern: '' })).toBe(false);
    expect(hasPatterns({ ...rules, targetModules: '.*q_proj' })).toBe(true);
    expect(hasPatterns({ ...rules, excludeModules: '.*k_proj' })).toBe(true);
    expect(hasPatterns({ ...rules, layersPattern: 'layers' })).toBe(true);
    expect(hasPatterns({ ...rules, layersPattern: ['layers'] })).toBe(true);
  });

  it('that cannot be matched are named by their option, with what to do', () => {
    const failing = (error: unknown) => () =>
      withPatterns('rankPattern', () => {
        throw error;
      });
    expect(failing(new RangeError('Maximum call stack size exceeded'))).toThrow(
      /^a regular expression of rankPattern has too many parts to match the names of layers\n {2}hint: Use a list of names/,
    );
    expect(failing(new SyntaxError('no group'))).toThrow(
      /rankPattern cannot be used: no group[\s\S]*Use a list of names/,
    );
    const own = new ConfigError('own');
    expect(failing(own)).toThrow(own);
    expect(withPatterns('rankPattern', () => 5)).toBe(5);
  });

  it('match whole parts of names from the end, and dots as Python does', () => {
    expect(matchingPattern(['k_proj', 'q_proj'], 'layers.0.q_proj')).toBe('q_proj');
    expect(matchingPattern(['proj'], 'layers.0.q_proj')).toBeUndefined();
    expect(matchingPattern(['0.q_proj'], 'layers.0xq_proj')).toBe('0.q_proj');
    expect(matchingPattern(['0\\.q_proj'], 'layers.0xq_proj')).toBeUndefined();
    expect(matchingPattern(['0.q_proj'], 'layers.0.q_proj')).toBe('0.q_proj');
    expect(matchingPattern(['a.q'], 'x.abq')).toBe('a.q');
    expect(matchingPattern(['a.q'], 'x.a_q')).toBe('a.q');
    expect(matchingPattern(['a\\.q'], 'x.a_q')).toBeUndefined();
    expect(matchingPattern(['a\\.q'], 'a.q')).toBe('a\\.q');
    expect(matchingPattern(['longer.than.this'], 'this')).toBeUndefined();
    expect(matchingPattern(['none', '.*_proj'], 'layers.0.q_proj')).toBe('.*_proj');
    expect(matchingPattern(['.*_proj', 'q_proj'], 'layers.0.q_proj')).toBe('.*_proj');
    expect(matchingPattern([], 'q_proj')).toBeUndefined();
  });
});

describe('an adapter_config.json', () => {
  it('is an object', () => {
    for (const json of [null, [], 'text', 5]) {
      expect(() => LoraConfig.fromPeft(json)).toThrow(/^adapter_config\.json: expected a JSON object, got/);
    }
  });

  it('is refused with every setting that is not supported, and what to do', () => {
    try {
      read({ bias: 'all', use_dora: true })();
      expect.unreachable();
    } catch (error) {
      const { message, details, hint } = error as ConfigError;
      expect(message).toMatch(
        /^adapter_config\.json: this adapter is not a plain LoRA adapter:\n {2}- bias: "all", only/,
      );
      expect(hint).toBe('Train it without these settings, or merge it into its base model with PEFT.');
      expect((details.faults as string[]).length).toBe(2);
    }
  });

  it('is written as PEFT writes one of its defaults', () => {
    expect(new LoraConfig({ targetModules: ['q_proj'] }).toPeft()).toMatchObject({
      ...{ auto_mapping: null, ensure_weight_tying: false, fan_in_fan_out: false, inference_mode: true },
      ...{ lora_bias: false, loftq_config: {}, megatron_core: 'megatron.core', peft_type: 'LORA' },
      ...{ peft_version: '0.21.0', qalora_group_size: 16, use_dora: false, use_qalora: false, bias: 'none' },
    });
  });

  it('may hold what others write of no consequence, and no layer that shares its weights with another', () => {
    expect(
      read({ merge_weights: true, lora_dtype: 'x', lorap_lr_ratio: 2, lorap_emb_lr: 1, torch_dtype: 'y' }),
    ).not.toThrow();
    for (const target of ['lm_head', 'model.embed_tokens', 'language_model.lm_head']) {
      const tied = { target_modules: ['q_proj', target], ensure_weight_tying: true };
      expect(read(tied)).toThrow('ensure_weight_tying: true is not supported: one adapter serves the embedding and');
      expect(read({ ...tied, ensure_weight_tying: false })).not.toThrow();
    }
    expect(read({ target_modules: ['q_proj', 5], ensure_weight_tying: true })).toThrow(/target_modules/);
  });

  it('of another method is told so, or asked for a slip', () => {
    expect(read({ peft_type: undefined })).toThrow(/got|nothing, expected "LORA": this is no file of PEFT/);
    expect(read({ peft_type: 5 })).toThrow(/peft_type: 5, expected "LORA"(\n|$)/);
    expect(read({ peft_type: 'LoRAA' })).toThrow('peft_type: "LoRAA", expected "LORA"; did you mean "LORA"?');
    expect(read({ peft_type: 'zzzzzzzz' })).toThrow(/peft_type: "zzzzzzzz", expected "LORA"(\n|$)/);
    expect(read({ peft_type: 'ia3' })).toThrow('adapters of this kind compute something else than LoRA');
  });

  it('with a setting that nobody knows is refused, with the nearest name', () => {
    expect(read({ use_dorra: true })).toThrow(
      'use_dorra: true is unknown, and may change what the adapter computes; did you mean use_dora? (take it out of the file',
    );
    expect(read({ zzzzzzzzzz: 1 })).toThrow('may change what the adapter computes (take it out of the file if it only');
    expect(read({ zzzzzzzzzz: [] })).not.toThrow();
  });

  it('ties weights only where both ends are adapted', () => {
    const tied = /ensure_weight_tying: true is not supported: one adapter serves the embedding and the output head/;
    expect(read({ ensure_weight_tying: true })).not.toThrow();
    for (const target of ['lm_head', 'model.lm_head', 'model.embed_tokens']) {
      expect(read({ ensure_weight_tying: true, target_modules: [target] })).toThrow(tied);
    }
    expect(read({ ensure_weight_tying: true, target_modules: '.*lm_head' })).toThrow(tied);
    expect(read({ ensure_weight_tying: true, target_modules: ['lm_head_norm'] })).not.toThrow(tied);
  });

  it('excludes the other tower in its own words', () => {
    const config = made({ towers: 'language' })();
    const again = LoraConfig.fromPeft(config.toPeft());
    expect([again.towers, again.excludeModules]).toEqual(['language', undefined]);
    expect(LoraConfig.fromPeft(made({ towers: 'vision' })().toPeft()).towers).toBe('vision');
    const both = made({ towers: 'language', excludeModules: '(?ix)k_proj # keys' })().toPeft()
      .exclude_modules as string;
    expect(both.startsWith('(?:(?ix:k_proj # keys\n))|(?:(?:.*\\.)?(?:vision_tower')).toBe(true);
    const plain = made({ towers: 'language', excludeModules: 'k(?:i)_proj' })().toPeft().exclude_modules as string;
    expect(plain.startsWith('(?:k(?:i)_proj)|(?:')).toBe(true);
    const flag = made({ towers: 'language', excludeModules: '(?i)k_proj' })().toPeft().exclude_modules as string;
    expect(flag.startsWith('(?:(?i:k_proj))|(?:')).toBe(true);
  });
});
