import { expect, it } from 'vitest';
import { inCommandWords } from '../../src/cli/command-words.js';
import { ConfigError } from '../../src/errors.js';
import { TOKEN_HINT } from '../../src/hub/token.js';
import { wayOn } from '../../src/train/compare-runs.js';

const told = (hint: string) => inCommandWords(new ConfigError('x', { hint })).hint;

it('says what to do in words of the command line', () => {
  expect(told(TOKEN_HINT)).toMatch(/in HF_TOKEN, or by `hf auth login`\.$/);
  expect(told(wayOn([{ of: 'adapter', text: '' }]))).not.toMatch(/loadAdapter|resumeFromCheckpoint/);
  expect(told('Wait.')).toBe('Wait.');
});
