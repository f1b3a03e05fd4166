import { describe, expect, it, vi } from 'vitest';
import { AdapterWriter } from '../../src/train/checkpoint-adapter.js';

/** A model whose parameters are one text, and what happened to it. */
function parts(saveAdapter?: (directory: string) => Promise<void>, signal = new AbortController().signal) {
  const events: string[] = [];
  let held = 'latest';
  const model = {
    trainable: {},
    engine: {
      readParameters: async () => held,
      writeParameters: (_: unknown, parameters: string) => {
        held = parameters;
        events.push(`holds ${held}`);
      },
    },
    writeAdapter: async (folder: string, parameters: string, collator: string) => {
      events.push(`own ${folder} ${parameters} ${collator}`);
    },
  };
  const save =
    saveAdapter &&
    (async (folder: string) => {
      events.push(`save ${folder} of ${held}`);
      await saveAdapter(folder);
    });
  const writer = new AdapterWriter({ model, collator: 'collator', saveAdapter: save, signal } as never);
  const write = (parameters: string, isCurrent: boolean) => writer.write('F', parameters as never, isCurrent);
  return { events, writer, write };
}

describe('the adapter of a checkpoint', () => {
  it('is the model’s own where nothing else is given', async () => {
    const { events, write } = parts();
    await write('best', false);
    expect(events).toEqual(['own F best collator']);
  });

  it('is written by the user’s function first, from the values that the model holds', async () => {
    const { events, write } = parts(async () => undefined);
    await write('latest', true);
    expect(events).toEqual(['save F of latest', 'own F latest collator']);
  });

  it('of an earlier step is written while the model holds that step', async () => {
    const { events, write } = parts(async () => undefined);
    await write('best', false);
    expect(events).toEqual(['holds best', 'save F of best', 'holds latest', 'own F best collator']);
  });

  it('that cannot be written leaves the model with its own values', async () => {
    const { events, write } = parts(async () => Promise.reject(new Error('disk full')));
    await expect(write('best', false)).rejects.toThrow('disk full');
    expect(events).toEqual(['holds best', 'save F of best', 'holds latest']);
  });

  it('is not waited for when the run is to stop, and left out from then on', async () => {
    vi.useFakeTimers();
    try {
      const stop = new AbortController();
      const { events, writer, write } = parts(() => new Promise(() => undefined), stop.signal);
      const writing = write('latest', true);
      const failed = expect(writing).rejects.toThrow(
        '`saveAdapter` has not answered within 30 s after the run was to stop',
      );
      stop.abort();
      await vi.advanceTimersByTimeAsync(29_000);
      expect(writer.isSilent).toBe(false);
      await vi.advanceTimersByTimeAsync(1000);
      await failed;
      expect(writer.isSilent).toBe(true);
      await write('latest', true);
      await write('best', false);
      expect(events).toEqual(['save F of latest', 'own F latest collator', 'own F best collator']);
    } finally {
      vi.useRealTimers();
    }
  });
});
