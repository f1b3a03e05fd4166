import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import { LAYER_PROJECTIONS, LoraConfig, type LoraConfigOptions } from '../../src/lora/lora-config.js';
import { PEFT_FIELDS } from '../../src/lora/peft-fields.js';
import { selectTargetModules } from '../../src/lora/target-modules.js';
import { linearShapes } from './fake-engine.js';

const names = linearShapes(3).map(([name]) => name);
const select = (options: LoraConfigOptions): readonly string[] =>
  selectTargetModules(names, new LoraConfig(options)).matched;

describe('LoraConfig', () => {
  it('has the defaults of PEFT', () => {
    const config = new LoraConfig();
    expect(config).toMatchObject({ r: 8, alpha: 8, dropout: 0, useRslora: false, bias: 'none', initLoraWeights: true });
    expect(config.targetModules).toEqual(LAYER_PROJECTIONS);
    expect(config.forModule('any')).toEqual({ r: 8, alpha: 8, scale: 1 });
  });

  it('knows what others call its options', () => {
    const wrong = { rank: 8, lora_alpha: 16, loraDropout: 0.1, __proto__: null } as LoraConfigOptions;
    for (const name of ['r', 'alpha', 'dropout']) {
      expect(() => new LoraConfig(wrong)).toThrow(`did you mean \`${name}\`?`);
    }
  });

  it('lists every fault, with the nearest name of an unknown option', () => {
    const options = { r: 0, lora_alpha: 3, targetModule: ['q_proj'], dropout: 1, bias: 'all', rankPattern: { '(': 2 } };
    let error: unknown;
    try {
      new LoraConfig(options as unknown as LoraConfigOptions);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(ConfigError);
    const { message } = error as ConfigError;
    for (const part of ['`r`', '`dropout`', '`bias`', 'did you mean `targetModules`', 'lora_alpha']) {
      expect(message).toContain(part);
    }
    expect(() => new LoraConfig({ rankPattern: { '(': 2 } })).toThrow(/rankPattern.*not a regular expression/);
    expect(() => new LoraConfig({ targetModules: '*.q_proj' })).toThrow(/targetModules.*not a regular expression/);
  });

  it('refuses a choice of layers that PEFT would refuse', () => {
    expect(() => new LoraConfig({ targetModules: 'all-linear', layersToTransform: 1 })).toThrow(/layersToTransform/);
    expect(() => new LoraConfig({ layersPattern: 'layers' })).toThrow(/needs layersToTransform/);
  });

  it('scales by alpha / r or alpha / √r, with the first pattern that matches the end of the name', () => {
    const config = new LoraConfig({
      r: 4,
      alpha: 8,
      rankPattern: { q_proj: 16, 'self_attn.q_proj': 2, 'layers\\.[01]\\.mlp\\.(up|gate)_proj': 1 },
      alphaPattern: { '^model.language_model.*v_proj': 6 },
    });
    const language = 'model.language_model.layers.1';
    expect(config.forModule(`${language}.self_attn.q_proj`)).toEqual({ r: 16, alpha: 8, scale: 0.5 });
    expect(config.forModule(`${language}.mlp.up_proj`).r).toBe(1);
    expect(config.forModule('model.language_model.layers.2.mlp.up_proj').r).toBe(4);
    expect(config.forModule(`${language}.self_attn.v_proj`).alpha).toBe(6);
    expect(config.forModule('model.vision_tower.transformer.layers.1.attention.v_proj').alpha).toBe(8);
    // The end of a name, but only from a dot on.
    expect(config.forModule('x.xq_proj').r).toBe(4);
    expect(config.with({ useRslora: true }).forModule('x.q_proj').scale).toBe(2);
  });

  it('can be read back with many full names excluded beside one tower', () => {
    const excludeModules = Array.from({ length: 150 }, (_, i) => `model.language_model.layers.${i}.self_attn.q_proj`);
    const config = new LoraConfig({ excludeModules, towers: 'language' });
    expect(() => LoraConfig.fromPeft(config.toPeft())).not.toThrow();
  });

  it('survives the way to adapter_config.json and back', () => {
    const side = fc.constantFrom('both', 'language', 'vision');
    const ending = fc.constantFrom(...LAYER_PROJECTIONS, 'linear_1', 'self_attn.q_proj');
    const list = fc.uniqueArray(ending, { minLength: 1, maxLength: 5 });
    const rule = fc.oneof(list, fc.constantFrom('.*\\.layers\\.[02]\\..*', '.*(q|up)_proj'));
    const options = fc.record(
      {
        r: fc.integer({ min: 1, max: 256 }),
        alpha: fc.integer({ min: 1, max: 512 }),
        dropout: fc.constantFrom(0, 0.05, 0.5),
        useRslora: fc.boolean(),
        targetModules: fc.oneof(rule, fc.constant('all-linear')),
        excludeModules: rule,
        towers: side,
        rankPattern: fc.dictionary(ending, fc.integer({ min: 1, max: 9 })),
        alphaPattern: fc.dictionary(ending, fc.integer({ min: 1, max: 9 })),
        initLoraWeights: fc.constantFrom<true | 'gaussian'>(true, 'gaussian'),
        taskType: fc.constantFrom('CAUSAL_LM', null),
      },
      { requiredKeys: [] },
    );
    const outcome = (config: LoraConfig): unknown => {
      try {
        return selectTargetModules(names, config).matched.map((name) => [name, config.forModule(name)]);
      } catch (error) {
        return (error as Error).name;
      }
    };
    fc.assert(
      fc.property(options, (given) => {
        const config = new LoraConfig(given as LoraConfigOptions);
        const json = JSON.parse(JSON.stringify(config.toPeft('base')));
        const back = LoraConfig.fromPeft(json);
        expect(outcome(back)).toEqual(outcome(config));
        expect(back).toMatchObject({ dropout: config.dropout, initLoraWeights: config.initLoraWeights });
        expect(back.taskType).toBe(config.taskType);
        expect(json.base_model_name_or_path).toBe('base');
      }),
      { numRuns: 300 },
    );
  });
});

describe('LoraConfig.fromPeft', () => {
  const peft = { peft_type: 'LORA', r: 4, lora_alpha: 16, target_modules: ['q_proj'] };

  it('reads over what changes nothing, and takes the defaults for missing keys', () => {
    const config = LoraConfig.fromPeft({
      ...peft,
      ...{
        some_future_key: {},
        other_future_key: false,
        third: null,
        fourth: [],
        modules_to_save: [],
        loftq_config: {},
      },
      ...{ eva_config: { rho: 2 }, corda_config: { corda_method: 'ipm' }, lora_ga_config: { direction: 'ArB2r' } },
      ...{ runtime_config: { ephemeral_gpu_offload: true }, inference_mode: true, revision: 'main', peft_version: '9' },
      ...{ auto_mapping: { base_model_class: 'X', unsloth_fixed: true }, qalora_group_size: 32, megatron_core: 'm' },
      ...{ transformers_version: '5', _name_or_path: 'x', ensure_weight_tying: true, init_lora_weights: 'mica' },
    });
    expect(config).toMatchObject({ r: 4, alpha: 16, dropout: 0, taskType: null, towers: 'both' });
  });

  it('refuses an unknown setting that may change the result, by its name', () => {
    expect(() => LoraConfig.fromPeft({ ...peft, some_future_key: { a: 1 } })).toThrow(
      /some_future_key: \{"a":1\} is unknown, and may change what the adapter computes/,
    );
    expect(() => LoraConfig.fromPeft({ ...peft, use_dorra: true })).toThrow(/did you mean use_dora\?/);
    const many = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${i}`, true]));
    expect(() => LoraConfig.fromPeft({ ...peft, ...many })).toThrow(/and 80 more unknown settings/);
  });

  it('places every field of PEFT 0.21', () => {
    // Of PeftConfigMixin, PeftConfig and LoraConfig, but for runtime_config, which is never saved.
    const fields = `task_type peft_type auto_mapping peft_version base_model_name_or_path revision inference_mode r
      target_modules exclude_modules lora_alpha lora_dropout fan_in_fan_out bias use_rslora modules_to_save
      init_lora_weights layers_to_transform layers_pattern rank_pattern alpha_pattern megatron_config megatron_core
      trainable_token_indices loftq_config eva_config corda_config lora_ga_config use_dora velora_config
      alora_invocation_tokens use_qalora qalora_group_size monteclora_config layer_replication lora_bias
      target_parameters use_bdlora arrow_config kasa_config ensure_weight_tying`.split(/\s+/);
    expect(Object.keys(PEFT_FIELDS)).toEqual([...fields].sort());
    expect(Object.keys(new LoraConfig().toPeft())).toEqual([...fields].sort());
    // Each that is refused is refused as soon as it is set, and none of the others is.
    for (const [key, { use }] of Object.entries(PEFT_FIELDS)) {
      if (use === 'read') continue;
      const set = (): unknown => LoraConfig.fromPeft({ ...peft, [key]: { some: 1 } });
      if (use === 'ignored') expect(set).not.toThrow();
      else expect(set).toThrow(`${key}: {"some":1} is not supported: ${use.refused}`);
    }
  });

  it.each([
    'alora_invocation_tokens',
    'arrow_config',
    'kasa_config',
    'monteclora_config',
    'use_bdlora',
    'velora_config',
  ])('takes an empty %s for set, as PEFT does', (key) => {
    expect(() => LoraConfig.fromPeft({ ...peft, [key]: {} })).toThrow(key);
    expect(() => LoraConfig.fromPeft({ ...peft, [key]: null })).not.toThrow();
  });

  it.each([
    [{ peft_type: 'IA3' }, /peft_type: "IA3", expected "LORA": adapters of this kind compute something else/],
    [{ peft_type: 'lora' }, /did you mean "LORA"/],
    [{ peft_type: undefined }, /peft_type: nothing, expected "LORA": this is no file of PEFT/],
    [{ init_lora_weights: 'pissa_niter_16' }, /path_initial_model_for_weight_conversion/],
    [{ init_lora_weights: 'corda' }, /changes the base weights/],
    [{ init_lora_weights: 'loftq' }, /changes the base weights/],
    [{ init_lora_weights: 'lora_ga' }, /changes the base weights/],
    [{ init_lora_weights: 'newest' }, /"newest" is not known/],
    [{ init_lora_weights: 3 }, /init_lora_weights: 3 is not known/],
    [{ ensure_weight_tying: true, target_modules: ['q_proj', 'lm_head'] }, /one adapter serves the embedding/],
    [{ target_modules: [] }, /target_modules is empty/],
    [{ target_modules: null }, /target_modules is empty/],
    [{ target_modules: undefined }, /target_modules is missing/],
    [{ task_type: 'CAUSAL_LLM' }, /`task_type`: expected one of .* did you mean "CAUSAL_LM"\?/],
    [{ target_modules: '.*', layers_pattern: '' }, /`layers_pattern`: needs target_modules to be a list/],
    [{ target_modules: '.*', layers_to_transform: [] }, /`layers_to_transform`: needs target_modules to be a list/],
    [{ layers_pattern: ['layers'] }, /`layers_pattern`: needs layers_to_transform/],
    [{ layers_to_transform: [0, -1] }, /`layers_to_transform.1`: expected at least 0, got -1/],
    [{ layers_to_transform: true }, /`layers_to_transform`: expected a whole number or a list, got true/],
    [{ target_modules: '(?i', r: '16' }, /`r`: expected a whole number, got the string "16"/],
    [
      { target_modules: '.*(q_proj' },
      /`target_modules`: "\.\*\(q_proj" is not a regular expression of Python: missing \)/,
    ],
    [{ rank_pattern: { 'a(?i)': 2 } }, /`rank_pattern`: .* are not at the start/],
    [{ alpha_pattern: { q_proj: 'x' } }, /`alpha_pattern.q_proj`: expected a number, got the string "x"/],
    [{ lora_alpha: null }, /`lora_alpha`: expected a number, got null/],
    [{ lora_dropout: 1 }, /`lora_dropout`: expected less than 1, got 1/],
    [{ exclude_modules: 5 }, /`exclude_modules`: expected a list of module names.*, got 5/],
  ])('says what is wrong with %j', (wrong, message) => {
    expect(() => LoraConfig.fromPeft({ ...peft, ...wrong })).toThrow(message);
  });

  it.each([
    { lora_alpha: 1e308 },
    { lora_alpha: 1e39 },
    { lora_alpha: Number.POSITIVE_INFINITY },
    { lora_alpha: Number.NaN },
    { lora_alpha: 1e-320 },
    { lora_alpha: 0 },
    { lora_alpha: -16 },
    { lora_alpha: 1e9, r: 1 },
    { lora_alpha: 1e9, use_rslora: true },
    { alpha_pattern: { q_proj: 1e300 } },
    { alpha_pattern: { q_proj: 0 } },
    { lora_alpha: 4e6, rank_pattern: { q_proj: 1 } },
    { lora_dropout: Number.NaN },
    { r: 0 },
    { r: 1e300 },
  ])('refuses the scale of %j', (wrong) => {
    const [, key] = /^\{"(\w+)/.exec(JSON.stringify(wrong))!;
    expect(() => LoraConfig.fromPeft({ ...peft, ...wrong })).toThrow(`\`${key}`);
    expect(() =>
      LoraConfig.fromPeft({ ...peft, lora_alpha: 4096, r: 1, alpha_pattern: { q_proj: 0.001 } }),
    ).not.toThrow();
  });

  it.each([
    ['use_dora', true],
    ['bias', 'all'],
    ['modules_to_save', ['lm_head']],
    ['layer_replication', [[0, 2]]],
    ['fan_in_fan_out', true],
    ['target_parameters', ['x']],
    ['trainable_token_indices', [1]],
    ['lora_bias', true],
    ['alora_invocation_tokens', [3]],
    ['use_qalora', true],
    ['init_lora_weights', 'pissa'],
    ['init_lora_weights', 'olora'],
    ['peft_type', 'LOHA'],
  ])('refuses %s: %j by name', (key, value) => {
    expect(() => LoraConfig.fromPeft({ ...peft, [key]: value })).toThrow(key);
  });

  it('names all unsupported settings at once, and a missing target', () => {
    const bad = { ...peft, use_dora: true, lora_bias: true, target_modules: null };
    expect(() => LoraConfig.fromPeft(bad)).toThrow(/lora_bias[\s\S]*use_dora[\s\S]*target_modules/);
    expect(() => LoraConfig.fromPeft([])).toThrow(ConfigError);
  });
});

describe('hostile adapter configurations', () => {
  const base = { peft_type: 'LORA', target_modules: ['q_proj'] };
  const endless = '(?:[a-z_.0-9]+)+!';

  it.each<[string, LoraConfigOptions]>([
    ['targetModules', { targetModules: endless }],
    ['excludeModules', { excludeModules: endless }],
    ['layersPattern', { layersToTransform: 1, layersPattern: '(?:[a-z_.0-9]+)+!' }],
  ])('have no patterns without end in %s', (_, options) => {
    const start = process.cpuUsage();
    expect(() => select(options)).toThrow(/takes too long to match the names of layers/);
    expect(process.cpuUsage(start).user / 1e6).toBeLessThan(2);
  });

  it('have none in the patterns of ranks either', () => {
    const config = LoraConfig.fromPeft({ ...base, rank_pattern: { [endless]: 4 } });
    expect(() => config.forModule(names[0]!)).toThrow(/rankPattern or alphaPattern takes too long/);
  });

  it('ask for no more than a model has', () => {
    const many = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`m${i}`, 2]));
    for (const wrong of [
      { r: 1e9 },
      { r: 2.5 },
      { r: -1 },
      { r: '8' },
      { lora_alpha: null, r: {} },
      { lora_alpha: 'x' },
      { rank_pattern: many },
      { alpha_pattern: many },
      { rank_pattern: { q_proj: 1e9 } },
      { target_modules: Object.keys(many) },
      { target_modules: 'x'.repeat(5000) },
      { target_modules: [3] },
      { layers_to_transform: Object.keys(many).map(Number) },
    ]) {
      expect(() => LoraConfig.fromPeft({ ...base, ...wrong })).toThrow(ConfigError);
    }
  });

  it('are quoted in few words', () => {
    let deep: unknown = [];
    for (let i = 0; i < 50_000; i++) deep = [deep];
    for (const json of [
      deep,
      'x'.repeat(1e6),
      { ...base, bias: deep },
      { ...base, modules_to_save: ['x'.repeat(1e6)] },
    ]) {
      let message = '';
      try {
        LoraConfig.fromPeft(json);
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError);
        message = (error as ConfigError).message;
      }
      expect(message).not.toBe('');
      expect(message.length).toBeLessThan(1000);
    }
    const far = Array.from({ length: 4000 }, (_, i) => `no-such-layer-${i}`.padEnd(250, 'x'));
    expect(() => select({ targetModules: far })).toThrow(/and 3980 more/);
  });
});

describe('selectTargetModules', () => {
  it('matches endings in both towers, and keeps them apart with towers', () => {
    expect(select({})).toHaveLength(3 * 14);
    expect(select({ towers: 'language' })).toHaveLength(3 * 7);
    expect(select({ towers: 'vision' }).every((name) => name.includes('vision_tower'))).toBe(true);
    expect(select({ targetModules: ['self_attn.q_proj'] })).toHaveLength(3);
    expect(() => select({ targetModules: ['_proj'] })).toThrow(ConfigError);
  });

  it('takes a string for a regular expression for the whole name', () => {
    expect(select({ targetModules: '.*language_model.*\\.(q_proj|v_proj)' })).toHaveLength(6);
    expect(() => select({ targetModules: 'q_proj' })).toThrow(/regular expression for the whole name/);
    expect(select({ targetModules: '(?P<part>model)\\.language_model.*q_proj\\Z' })).toHaveLength(3);
  });

  it('takes "all-linear" for everything but the head', () => {
    const all = selectTargetModules([...names, 'lm_head'], new LoraConfig({ targetModules: 'all-linear' })).matched;
    expect(all).toEqual(names);
    expect(select({ targetModules: 'all-linear', towers: 'vision' })).toHaveLength(3 * 7 + 3);
  });

  it('excludes by the same rules, and chooses layers', () => {
    expect(select({ excludeModules: ['q_proj', 'layers.0.mlp.up_proj'] })).toHaveLength(42 - 6 - 1);
    expect(select({ excludeModules: '.*vision_tower.*' })).toHaveLength(21);
    expect(select({ targetModules: ['q_proj'], layersToTransform: [0, 2] })).toHaveLength(4);
    expect(select({ targetModules: ['q_proj'], layersToTransform: 1, layersPattern: 'language_model.layers' })).toEqual(
      ['model.language_model.layers.1.self_attn.q_proj'],
    );
  });

  it('explains why nothing matched', () => {
    const attempt = (): unknown => select({ targetModules: ['q_prj', 'gate_up'], towers: 'language' });
    expect(attempt).toThrow(/"q_prj" is near "q_proj"/);
    expect(attempt).toThrow(/Endings that exist: down_proj, gate_proj/);
    expect(attempt).toThrow(/towers "language"/);
    expect(() => select({ towers: 'language', targetModules: ['linear_1'] })).toThrow(ConfigError);
  });

  it('warns of rules without effect and of adapted towers', () => {
    const warnings = (options: LoraConfigOptions): string =>
      selectTargetModules(names, new LoraConfig(options)).warnings.join('\n');
    const advice = (options: LoraConfigOptions) => selectTargetModules(names, new LoraConfig(options)).advice;
    expect(warnings({ targetModules: ['q_proj', 'qkv_proj'], towers: 'language' })).toMatch(/called "qkv_proj"/);
    expect(warnings({ excludeModules: ['nothing'], towers: 'language' })).toMatch(/"nothing" excludes nothing/);
    expect(warnings({})).toBe('');
    expect(advice({})).toEqual([expect.stringMatching(/21 of the 42 .*vLLM/)]);
    expect(advice({ towers: 'language' })).toEqual([]);
  });
});
