import { homedir } from 'node:os';
import { win32 } from 'node:path';
import { expect, it, vi } from 'vitest';
import { expandHome, hubCacheFolder, hubHome } from '../../src/hub/environment.js';

vi.mock('node:path', async (importOriginal) => ({
  ...(await importOriginal<typeof import('node:path')>()).win32,
}));

it('on Windows too the home folder is found, however its slashes lean', () => {
  const home = win32.join(homedir(), '.cache', 'huggingface');
  expect(hubHome({})).toBe(home);
  expect(hubCacheFolder(undefined, {})).toBe(win32.resolve(home, 'hub'));
  expect(expandHome('~\\hf', 'C:\\Users\\me')).toBe('C:\\Users\\me\\hf');
  expect(expandHome('~/hf', 'C:\\Users\\me')).toBe('C:\\Users\\me\\hf');
});
