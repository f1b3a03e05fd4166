import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import { LoraConfig } from '../../src/lora/lora-config.js';
import { isTarget, matchingPattern } from '../../src/lora/peft-rules.js';
import { moduleNames, peftTargets } from '../../src/lora/peft-targets.js';
import { selectTargetModules } from '../../src/lora/target-modules.js';

interface Fixture {
  readonly names: readonly string[];
  readonly choices: readonly (readonly [Readonly<Record<string, unknown>>, readonly number[] | null])[];
  readonly patterns: readonly (readonly [readonly string[], readonly number[] | null])[];
}

const fixture = JSON.parse(
  readFileSync(new URL('../fixtures/peft-rules/peft-rules.json', import.meta.url), 'utf8'),
) as Fixture;
const { names } = fixture;
const isLinear = (name: string): boolean => /(_proj|linear_[12]|merging_layer)$/.test(name);
const linears = names.filter(isLinear);

describe('rules of PEFT', () => {
  it('choose the modules that PEFT chooses, or are refused where PEFT refuses them', () => {
    const wrong: string[] = [];
    for (const [settings, chosen] of fixture.choices) {
      let found: readonly number[] | null;
      try {
        const config = LoraConfig.fromPeft({ peft_type: 'LORA', ...settings });
        found = names.flatMap((name, i) => (isTarget(config, name) ? [i] : []));
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        found = null;
      }
      if (JSON.stringify(found) !== JSON.stringify(chosen)) {
        wrong.push(`${JSON.stringify(settings)}: ${found?.length} instead of ${chosen?.length}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(fixture.choices.length).toBeGreaterThan(600);
  });

  it('let the entry of a pattern count that counts in PEFT', () => {
    const wrong: string[] = [];
    for (const [keys, rows] of fixture.patterns) {
      const rankPattern = Object.fromEntries(keys.map((key) => [key, 4]));
      let found: readonly number[] | null;
      try {
        // An empty key is refused before it is looked at.
        if (!keys.includes('')) new LoraConfig({ rankPattern });
        found = names.map((name) => keys.indexOf(matchingPattern(keys, name) ?? '\n'));
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        found = null;
      }
      if (JSON.stringify(found) !== JSON.stringify(rows)) wrong.push(keys.join(', '));
    }
    expect(wrong).toEqual([]);
  });

  it('know every module beside the linear layers', () => {
    expect(new Set(moduleNames(linears))).toEqual(new Set(names));
    expect(new Set(moduleNames(names))).toEqual(new Set(names));
  });
});

describe('peftTargets', () => {
  const saved = (options: ConstructorParameters<typeof LoraConfig>[0]) => {
    const config = new LoraConfig(options);
    const { matched } = selectTargetModules(linears, config);
    const targets = peftTargets(config, matched, linears);
    const read = LoraConfig.fromPeft({ peft_type: 'LORA', ...targets });
    // What PEFT does with the file, over all modules.
    const rules = {
      targetModules: targets.target_modules,
      excludeModules: targets.exclude_modules ?? undefined,
      layersToTransform: targets.layers_to_transform ?? undefined,
      layersPattern: targets.layers_pattern ?? undefined,
    };
    expect(names.filter((name) => isTarget(rules, name))).toEqual(names.filter((name) => matched.includes(name)));
    expect(selectTargetModules(linears, read).matched).toEqual(matched);
    return targets;
  };

  it('keeps rules by which PEFT chooses the same', () => {
    const none = { exclude_modules: null, layers_to_transform: null, layers_pattern: null };
    expect(saved({ targetModules: ['q_proj', 'v_proj'] })).toEqual({ ...none, target_modules: ['q_proj', 'v_proj'] });
    expect(saved({ targetModules: '.*language_model.*(q|v)_proj' }).target_modules).toBe(
      '.*language_model.*(q|v)_proj',
    );
    expect(saved({ targetModules: ['q_proj'], layersToTransform: [0, 7], layersPattern: 'layers' })).toEqual({
      ...none,
      target_modules: ['q_proj'],
      layers_to_transform: [0, 7],
      layers_pattern: 'layers',
    });
    expect(saved({ targetModules: ['q_proj', 'up_proj'], excludeModules: ['layers.0.mlp.up_proj'] })).toMatchObject({
      exclude_modules: ['layers.0.mlp.up_proj'],
    });
    expect(saved({ towers: 'language' }).exclude_modules).toMatch(/vision_tower/);
  });

  it('writes endings for "all-linear", and leaves out names that chose nothing', () => {
    expect(saved({ targetModules: 'all-linear' }).target_modules).toHaveLength(10);
    expect(saved({ targetModules: 'all-linear', towers: 'vision' }).exclude_modules).toMatch(/language_model/);
    expect(saved({ targetModules: ['q_proj', 'qkv'] }).target_modules).toEqual(['q_proj']);
  });

  it('keeps flags and comments of an exclusion to itself where a tower is excluded too', () => {
    const excluded = (excludeModules: string) =>
      saved({ targetModules: ['q_proj', 'v_proj'], towers: 'language', excludeModules }).exclude_modules as string;
    expect(excluded('(?i).*Q_PROJ')).toMatch(/^\(\?:\(\?i:\.\*Q_PROJ\)\)\|/);
    expect(excluded('(?x) .* q_proj # not these')).toContain('# not these\n)');
    expect(excluded('(?i)(?s).*V_PROJ')).toContain('(?i:(?s:');
    expect(excluded('.*q_proj|.*nothing')).toContain('(?:.*q_proj|.*nothing)|');
  });

  it('does not let PEFT choose more: norms, containers, the output head', () => {
    expect(saved({ targetModules: '.*language_model.*' })).toMatchObject({
      target_modules: ['down_proj', 'gate_proj', 'k_proj', 'o_proj', 'q_proj', 'up_proj', 'v_proj'],
      exclude_modules: expect.stringContaining('vision_tower'),
    });
    expect(saved({ targetModules: '.*' }).target_modules).toHaveLength(10);
    expect(saved({ targetModules: ['q_proj', 'lm_head'] }).target_modules).toEqual(['q_proj']);
    expect(saved({ targetModules: ['0', 'k_proj'] }).target_modules).toEqual(['k_proj']);
    const some = saved({ targetModules: '.*\\.layers\\.1\\..*', towers: 'language' });
    expect(some.target_modules).toHaveLength(7);
    expect(some.target_modules).toContain('model.language_model.layers.1.mlp.up_proj');
    expect(some.exclude_modules).toBeNull();
  });
});

describe('rules that choose no layer', () => {
  const fault = (options: object): ConfigError => {
    try {
      selectTargetModules(linears, new LoraConfig(options));
    } catch (error) {
      return error as ConfigError;
    }
    throw new Error('some layer was chosen');
  };
  const none = `match none of the model's ${linears.length} linear layers`;

  it('are shown with all that narrows them', () => {
    expect(fault({ targetModules: ['zzz'] }).summary).toBe(`targetModules "zzz" ${none}`);
    expect(fault({ targetModules: ['q_prj', 'zzz', 'up_prog'] }).summary).toBe(
      `targetModules "q_prj", "zzz", "up_prog" ${none}; "q_prj" is near "q_proj", "up_prog" is near "up_proj"`,
    );
    expect(fault({ targetModules: ['q_proj'], excludeModules: ['q_proj'] }).summary).toBe(
      `targetModules "q_proj", with excludeModules "q_proj", ${none}`,
    );
    expect(fault({ targetModules: 'zzz', excludeModules: 'yyy', towers: 'vision' }).summary).toBe(
      'targetModules "zzz", with excludeModules "yyy" and towers "vision", (a regular expression for the whole name) ' +
        none,
    );
    for (const [layersToTransform, shown] of [
      [[97, 99], '97,99'],
      [99, '99'],
    ]) {
      expect(fault({ targetModules: ['q_proj'], layersToTransform }).summary).toBe(
        `targetModules "q_proj", with layersToTransform [${shown}], ${none}`,
      );
    }
    expect(fault({ targetModules: 'all-linear', excludeModules: '.*' }).summary).toBe(
      `targetModules "all-linear", with excludeModules ".*", ${none}`,
    );
  });

  it('are answered with the names that exist', () => {
    const { hint, details } = fault({ targetModules: ['zzz'] });
    const endings = [...new Set(linears.map((name) => name.slice(name.lastIndexOf('.') + 1)))].sort();
    expect(hint).toBe(`Endings that exist: ${endings.join(', ')}; a full name: ${linears[0]}.`);
    expect(details).toEqual({ targetModules: ['zzz'], endings });
    expect(() => selectTargetModules([], new LoraConfig({ targetModules: ['q_proj'] }))).toThrow(
      /the model's 0 linear layers[\s\S]*a full name: \(the model has none\)\./,
    );
    const many = Array.from({ length: 30 }, (_, i) => `q_pro${i}`);
    expect(fault({ targetModules: many }).summary.match(/is near/g)).toHaveLength(20);
  });

  it('are warned of where they exclude nothing, and layers of the towers come with advice', () => {
    const chosen = (options: object) => selectTargetModules(linears, new LoraConfig(options));
    const excludes = (names: string[]) =>
      chosen({ targetModules: ['q_proj', 'k_proj'], excludeModules: names }).warnings;
    expect(excludes(['zzz'])).toEqual(['excludeModules: "zzz" excludes nothing']);
    expect(excludes(['k_proj'])).toEqual([]);
    expect(chosen({ targetModules: ['linear_1'] }).advice).toEqual([
      expect.stringMatching(/^1 of the 1 adapted layers belong to .* towers: "language" leaves these layers out$/),
    ]);
    expect(chosen({ targetModules: ['q_proj'], towers: 'language' }).advice).toEqual([]);
  });
});

describe('output head and embeddings', () => {
  const warningsOf = (targetModules: string | string[]): readonly string[] =>
    selectTargetModules(linears, new LoraConfig({ targetModules, towers: 'language' })).warnings;
  const cannot =
    'targetModules: output head and embeddings cannot be adapted here: the adapter is trained and saved without';

  it('are left out with a warning where a rule chooses them', () => {
    expect(warningsOf(['q_proj', 'lm_head', 'x_proj'])).toEqual([
      'targetModules: no linear layer is called "x_proj"',
      `${cannot} lm_head`,
    ]);
    expect(warningsOf('.*')).toEqual([`${cannot} lm_head, embed_tokens`]);
  });

  it('are not meant by "all-linear"', () => {
    expect(warningsOf('all-linear')).toEqual([]);
  });
});
