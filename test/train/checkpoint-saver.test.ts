import { describe, expect, it } from 'vitest';
import { CheckpointError, EngineError } from '../../src/errors.js';
import { CheckpointSaver, type CheckpointSaverParts } from '../../src/train/checkpoint-saver.js';

describe('CheckpointSaver', () => {
  const restore = (fault: Error) => {
    const written: unknown[] = [];
    const engine = {
      writeOptimizerState: () => {
        throw fault;
      },
      writeParameters: (...given: unknown[]) => written.push(given),
    };
    const parts = { engine, checkpoints: { latest: { path: 'run/checkpoint-3', step: 3 } } };
    const saver = new CheckpointSaver(parts as unknown as CheckpointSaverParts);
    const act = () => saver.restore({ parameters: new Float32Array(1), optimizer: {} });
    return { act, written };
  };

  it('refuses an optimizer’s state that the engine does not take, by the checkpoint, before it writes parameters', async () => {
    const { act, written } = restore(new EngineError('expected m as Float32Array(3), got nothing'));
    await expect(act()).rejects.toThrow(CheckpointError);
    await expect(act()).rejects.toThrow(
      /run\/checkpoint-3: its optimizer's state does not fit: expected m as Float32Array\(3\)/,
    );
    expect(written).toEqual([]);
  });

  it('passes on what is no fault of the checkpoint', async () => {
    const fault = new RangeError('something else');
    await expect(restore(fault).act()).rejects.toThrow(fault);
  });
});
