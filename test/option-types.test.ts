import { describe, expectTypeOf, it } from 'vitest';
import type { Given, Mismatch, WithDefaults } from '../src/config.js';
import { applyLora } from '../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS, LoraConfig, type LoraConfigOptions } from '../src/lora/lora-config.js';
import type { LoraHost } from '../src/lora/lora-host.js';
import type { SftConfig, SftConfigInput } from '../src/train/sft-config.js';

interface Written {
  r?: number | undefined;
  names?: readonly string[] | undefined;
  word: 'a' | (string & {});
}

describe('the types of options', () => {
  it('tell each way in which schema and interface may differ', () => {
    type Checked = { r?: number | undefined; names?: readonly string[] | undefined; word: string };
    expectTypeOf<Mismatch<Checked, Written>>().toEqualTypeOf<never>();
    // A name that one lacks, another type, a list that may not be read-only, undefined, a need, and what checks nothing.
    expectTypeOf<Mismatch<Checked & { more?: 1 }, Written>>().toEqualTypeOf<'more'>();
    expectTypeOf<Mismatch<Omit<Checked, 'r'>, Written>>().toEqualTypeOf<'r'>();
    expectTypeOf<Mismatch<Omit<Checked, 'r'> & { r?: string | undefined }, Written>>().toEqualTypeOf<'r'>();
    expectTypeOf<
      Mismatch<Omit<Checked, 'names'> & { names?: string[] | undefined }, Written>
    >().toEqualTypeOf<'names'>();
    expectTypeOf<Mismatch<Omit<Checked, 'r'> & { r?: number }, Written>>().toEqualTypeOf<'r'>();
    expectTypeOf<Mismatch<Omit<Checked, 'r'> & { r: number | undefined }, Written>>().toEqualTypeOf<'r'>();
    // biome-ignore lint/suspicious/noExplicitAny: a schema that checks nothing gives it
    expectTypeOf<Mismatch<Omit<Checked, 'r'> & { r?: any }, Written>>().toEqualTypeOf<'r'>();
    expectTypeOf<Mismatch<Given<Checked>, Given<Omit<Written, 'r'> & { r?: number }>>>().toEqualTypeOf<never>();
  });

  it('have defaults filled in but where there is none', () => {
    expectTypeOf<WithDefaults<Omit<Written, 'word'>, 'names'>>().toMatchTypeOf<{
      r: number;
      names?: readonly string[] | undefined;
    }>();
    expectTypeOf<SftConfig['learningRate']>().toEqualTypeOf<number>();
    expectTypeOf<SftConfig['evalSteps']>().toEqualTypeOf<number | undefined>();
    // As `modelCard.config` and others take it.
    expectTypeOf<SftConfig>().toMatchTypeOf<Record<string, unknown>>();
  });

  it('of a schedule go by its name', () => {
    const polynomial: SftConfigInput = { lrSchedulerType: 'polynomial', lrSchedulerKwargs: { power: 2 } };
    // @ts-expect-error a straight line has no settings
    const linear: SftConfigInput = { lrSchedulerType: 'linear', lrSchedulerKwargs: { power: 2 } };
    // @ts-expect-error nor has the default
    const none: SftConfigInput = { lrSchedulerKwargs: { power: 2 } };
    expectTypeOf([polynomial, linear, none]).toEqualTypeOf<SftConfigInput[]>();
  });

  it('of an adapter take the lists that the package exports, undefined, and a LoraConfig in place of them', () => {
    const options: LoraConfigOptions = { targetModules: LAYER_PROJECTIONS, r: undefined };
    const config: LoraConfigOptions = new LoraConfig(options);
    expectTypeOf(applyLora).toBeCallableWith({} as LoraHost, config);
  });
});
