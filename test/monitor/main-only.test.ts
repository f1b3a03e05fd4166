import { describe, expect, it } from 'vitest';
import { jsonLines } from '../../src/monitor/json-lines.js';
import { livePage } from '../../src/monitor/live-page.js';
import { tensorBoard } from '../../src/monitor/tensorboard.js';

describe('callbacks that write files or listen', () => {
  it('are those of rank 0 alone, as all ranks would write the same', () => {
    expect([jsonLines(), tensorBoard(), livePage()].map(({ isMainOnly }) => isMainOnly)).toEqual([true, true, true]);
  });
});
