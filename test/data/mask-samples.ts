/** Mask views of samples that no collator made. */
import type { MaskedSample, MaskToken, MaskView } from '../../src/data/mask-view.js';

export type Given = Partial<MaskToken> & Pick<MaskToken, 'text'>;

export const sampleOf = (given: readonly Given[], more: Partial<MaskedSample> = {}): MaskedSample => {
  const tokens = given.map((token, position): MaskToken => {
    const isLearned = token.isLearned ?? false;
    return { position, id: 7, kind: 'text', label: isLearned ? 7 : -100, isShared: false, ...token, isLearned };
  });
  const labels = tokens.filter(({ isLearned }) => isLearned).length;
  return { id: 'a', status: 'learned', tokens, images: [], length: tokens.length, labels, sharedPrefix: 0, ...more };
};
export const viewOf = (...samples: readonly MaskedSample[]): MaskView => ({
  samples,
  length: Math.max(0, ...samples.map(({ tokens }) => tokens.length)),
  paddingSide: 'right',
});
