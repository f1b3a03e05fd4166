import { expect, it } from 'vitest';
import { infer } from '../../src/engine/computation.js';
import { linearModel } from '../train/linear-model.js';

it('computes for others only once the device waits for no other rank', async () => {
  const { engine } = linearModel();
  const log: string[] = [];
  let free = (): void => {};
  engine.whenFree = () => {
    log.push('asked');
    return new Promise((resolve) => {
      free = resolve;
    });
  };
  const read = infer(engine, {}, function* () {
    log.push('computes');
    yield 0;
    return engine.fromArray(Float32Array.of(7), [1]);
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(log).toEqual(['asked']);
  free();
  expect([...(await read)]).toEqual([7]);
  expect(log).toEqual(['asked', 'computes']);
});
