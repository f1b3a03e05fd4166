import { describe, expect, it } from 'vitest';
import { KernelLoader } from '../../../src/engine/cuda/kernel-loading.js';

const CAPTURED = 77;
const [GRAPH, STREAM] = [5, 9];

/** A driver that captures as many nodes as it is told, of which every third is no kernel. */
class CapturingDriver {
  readonly calls: string[] = [];
  readonly loaded: number[] = [];
  nodes = 3;
  missing = '';

  createStream(): number {
    return STREAM;
  }

  call(name: string, _types: readonly string[], ...values: unknown[]): void {
    if (name === this.missing) throw new Error(`${name}: no such function`);
    this.calls.push(name);
    if (name === 'cuStreamEndCapture') (values[1] as BigUint64Array)[0] = BigInt(GRAPH);
    if (name === 'cuGraphGetNodes') {
      const [, nodes, count] = values as [unknown, BigUint64Array, BigUint64Array];
      for (let i = 0; i < this.nodes; i++) nodes[i] = BigInt(i + 1);
      count[0] = BigInt(this.nodes);
    }
    if (name === 'cuGraphNodeGetType') (values[1] as Int32Array)[0] = Number(values[0]) % 3 === 0 ? 2 : 0;
    if (name === 'cuGraphKernelNodeGetParams_v2') (values[1] as BigUint64Array)[0] = BigInt(100 + Number(values[0]));
    if (name === 'cuFuncLoad') this.loaded.push(values[0] as number);
    if (name === 'cuGraphDestroy') expect(Number(values[0])).toBe(GRAPH);
  }
}

describe('KernelLoader', () => {
  it('loads the kernels of what is queued while capturing, each once', () => {
    const driver = new CapturingDriver();
    const loader = new KernelLoader(driver);
    const streams: number[] = [];
    for (let i = 0; i < 2; i++) loader.load((stream) => streams.push(stream + driver.calls.length * CAPTURED));
    expect(driver.loaded).toEqual([101, 102]);
    expect(streams[0]).toBe(STREAM + CAPTURED);
    expect(driver.calls.filter((name) => name === 'cuGraphDestroy')).toHaveLength(2);
  });

  it('ends the capture where queueing fails, and does without from then on', () => {
    const driver = new CapturingDriver();
    const loader = new KernelLoader(driver);
    let queued = 0;
    loader.load(() => {
      queued++;
      throw new Error('status 15');
    });
    expect(driver.calls.at(-1)).toBe('cuStreamEndCapture');
    loader.load(() => queued++);
    expect(queued).toBe(1);
  });

  it('does nothing with a driver that cannot load kernels', () => {
    const driver = new CapturingDriver();
    driver.missing = 'cuFuncLoad';
    const loader = new KernelLoader(driver);
    expect(() => loader.load(() => {})).not.toThrow();
    expect(driver.calls.at(-1)).toBe('cuGraphDestroy');
    loader.dispose();
    expect(driver.calls.at(-1)).toBe('cuStreamDestroy_v2');
  });
});
