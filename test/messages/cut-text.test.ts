import { expect, it } from 'vitest';
import { cutText, startOf } from '../../src/messages/cut-text.js';

it('cuts a text and says so, but no character in two', () => {
  expect(cutText('abc', 3)).toBe('abc');
  expect(cutText('abcd', 3)).toBe('abc…');
  expect(cutText('ab😀d', 3)).toBe('ab…');
  expect(cutText('ab😀d', 4)).toBe('ab😀…');
  expect(cutText('', 0)).toBe('');
  expect(startOf('😀😀', 3)).toBe('😀');
  expect(startOf('ab', 5)).toBe('ab');
});
