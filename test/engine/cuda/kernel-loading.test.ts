import { describe, expect, it } from 'vitest';
import { KernelLoader } from '../../../src/engine/cuda/kernel-loading.js';

const STREAM = 9;
const GRAPH = 5;

class CapturingDriver {
  readonly calls: string[] = [];
  missing = '';

  createStream(): number {
    return STREAM;
  }

  call(name: string, _types: readonly string[], ...values: unknown[]): void {
    if (name === this.missing) throw new Error(`${name}: no such function`);
    this.calls.push(`${name} ${values[0]}`);
    if (name === 'cuStreamEndCapture') (values[1] as BigUint64Array)[0] = BigInt(GRAPH);
  }
}

describe('KernelLoader', () => {
  it('captures what is queued, on a stream of its own, and throws it away', () => {
    const driver = new CapturingDriver();
    new KernelLoader(driver).load((stream) => driver.calls.push(`queue ${stream}`));
    expect(driver.calls).toEqual(['cuStreamBeginCapture_v2 9', 'queue 9', 'cuStreamEndCapture 9', 'cuGraphDestroy 5']);
  });

  it('ends the capture where queueing fails, and does without from then on', () => {
    const driver = new CapturingDriver();
    const loader = new KernelLoader(driver);
    let queued = 0;
    loader.load(() => {
      queued++;
      throw new Error('status 15');
    });
    expect(driver.calls.at(-1)).toBe('cuGraphDestroy 5');
    loader.load(() => queued++);
    expect(queued).toBe(1);
  });

  it('does nothing with a driver that cannot capture', () => {
    const driver = new CapturingDriver();
    driver.missing = 'cuStreamBeginCapture_v2';
    const loader = new KernelLoader(driver);
    let queued = 0;
    for (let i = 0; i < 2; i++) loader.load(() => queued++);
    expect(queued).toBe(0);
    loader.dispose();
    expect(driver.calls).toEqual(['cuStreamDestroy_v2 9']);
  });
});
