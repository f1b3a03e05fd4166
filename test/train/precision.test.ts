import { describe, expect, it } from 'vitest';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { ConfigError } from '../../src/errors.js';
import { requirePrecision } from '../../src/train/precision.js';
import { linearModel, linearTrainer } from './linear-model.js';

describe('precision', () => {
  it('is refused where the engine has not got it, with what would serve', async () => {
    const engine = createCpuEngine({ threads: 1 });
    expect(() => requirePrecision(engine, 'bf16')).not.toThrow();
    expect(() => requirePrecision(engine, 'fp8')).toThrow(ConfigError);
    await engine.dispose();
    const some = { name: 'cuda', description: 'a card', precisions: ['fp8-backward'] } as never;
    expect(() => requirePrecision(some, 'fp8-backward')).not.toThrow();
    expect(() => requirePrecision(some, 'fp8')).toThrow('`precision` is "fp8"');
    try {
      requirePrecision(some, 'fp8');
    } catch (error) {
      expect((error as ConfigError).hint).toContain('"bf16", "fp8-backward"');
    }
    expect(() => linearTrainer(linearModel(), { precision: 'fp8' })).toThrow(ConfigError);
  });
});
