import { describe, expect, it } from 'vitest';
import { beginsTurn, maskSummary, maskTitle, maskWarnings, viewSummary } from '../../src/data/mask-notes.js';
import type { MaskedSample, MaskToken, MaskView } from '../../src/data/mask-view.js';

const token = (more: Partial<MaskToken> = {}) => ({ kind: 'text', position: 1, ...more }) as MaskToken;
const sample = (more: Partial<MaskedSample> = {}) => {
  const usual = { id: 'a', status: 'learned', length: 10, labels: 3, images: [], sharedPrefix: 0 };
  return { ...usual, tokens: Array.from({ length: 10 }, () => token()), ...more } as unknown as MaskedSample;
};
const inspection = (more: object = {}) =>
  sample({ inspection: { openAnswers: 0, spelledTokens: {}, leftOut: [], ...more } as never });
const view = (samples: MaskedSample[], more: Partial<MaskView> = {}) => ({ samples, length: 12, ...more }) as MaskView;

describe('the title of a sample', () => {
  it('ends in the end of a path, whatever its slashes', () => {
    const title = (id: string) => maskTitle(view([sample(), sample({ id })]), 1);
    expect(title('bone-7')).toBe('Sample 2 of 2: bone-7');
    expect(title('/data/x/fracture/Train/7.png')).toBe('Sample 2 of 2: …/fracture/Train/7.png');
    expect(title('C:\\data\\x\\\\fracture\\Train\\7.png')).toBe('Sample 2 of 2: …/fracture/Train/7.png');
    expect(title('data/x/fracture/Train/7.png')).toBe('Sample 2 of 2: data/x/fracture/Train/7.png');
    expect(title('/data/x/fracture//Train//7.png')).toBe('Sample 2 of 2: …/fracture/Train/7.png');
    expect(title('/fracture/Train/7.png')).toBe('Sample 2 of 2: /fracture/Train/7.png');
  });
});

describe('the summary of a sample', () => {
  it('counts what is learned and what else there is', () => {
    expect(maskSummary(sample())).toBe('3 of 10 tokens learned (30.0 %)');
    expect(maskSummary(sample({ length: 1, labels: 1, tokens: [token()] }))).toBe('1 of 1 token learned (100.0 %)');
    expect(maskSummary(sample({ length: 0, tokens: [] }))).toBe('no tokens');
    const tokens = Array.from({ length: 12 }, (_, i) => token(i < 4 ? { cell: {} as never } : {}));
    expect(maskSummary(sample({ tokens, sharedPrefix: 5, images: [{}, {}] as never }))).toBe(
      '3 of 10 tokens learned (30.0 %), 4 for 2 images, the first 5 shared with an earlier sample, 2 padding',
    );
    expect(maskSummary(sample({ tokens, images: [{}] as never }))).toContain('4 for 1 image,');
  });
});

describe('the warnings of a sample', () => {
  it('are none where all is well', () => {
    expect(maskWarnings(sample())).toEqual([]);
    expect(maskWarnings(inspection())).toEqual([]);
  });

  it('say what becomes of it', () => {
    const of = (status: MaskedSample['status']) => maskWarnings(sample({ status, reason: 'too long' }));
    expect([of('empty'), of('failed')]).toEqual([['stops the run: too long'], ['stops the run: too long']]);
    expect([of('dropped'), of('skipped')]).toEqual([['left out: too long'], ['left out: too long']]);
    expect(maskWarnings(sample({ status: 'failed' }))).toEqual(['stops the run: ']);
  });

  it('show how text that was cut off begins, up to 60 characters', () => {
    const cut = (text: string) => maskWarnings(sample({ truncated: { length: 30, text } as never }))[0];
    expect(cut('x')).toBe('cut from 30 to 10 tokens: 1 character of user text are missing, beginning with "x"');
    expect(cut('x'.repeat(60))).toContain(`60 characters of user text are missing, beginning with "${'x'.repeat(60)}"`);
    expect(cut('x'.repeat(61))).toContain(`beginning with "${'x'.repeat(60)}…"`);
  });

  it('say what the template does to it', () => {
    expect(maskWarnings(inspection({ openAnswers: 1 }))).toEqual([
      'the end of the answer is not learned: nothing closes it',
    ]);
    expect(maskWarnings(inspection({ openAnswers: 1, openReason: 'it goes on' }))).toEqual([
      'the end of the answer is not learned: it goes on',
    ]);
    expect(maskWarnings(inspection({ promptFault: 'a space more' }))).toEqual([
      'generation asks in another way than training shows: a space more',
    ]);
    expect(maskWarnings(inspection({ spelledTokens: { '[INST]': 2, '</s>': 1 } }))).toEqual([
      'texts spell control tokens, which stay text: [INST] 2 ×, </s> 1 ×',
    ]);
    expect(maskWarnings(inspection({ leftOut: ['the tools', 'thoughts'] }))).toEqual([
      'the chat template does not show the tools, thoughts',
    ]);
  });
});

describe('a turn', () => {
  it('begins where two control tokens meet, but not at the beginning', () => {
    const control = (position: number) => token({ kind: 'control', position });
    expect(beginsTurn(control(6), control(5))).toBe(true);
    expect(beginsTurn(control(1), control(0))).toBe(false);
    expect(beginsTurn(token(), control(5))).toBe(false);
    expect(beginsTurn(control(6), token())).toBe(false);
    expect(beginsTurn(control(0), undefined)).toBe(false);
  });
});

describe('the summary of a view', () => {
  it('counts over the samples that are learned', () => {
    expect(viewSummary(view([sample()]))).toBe('1 sample, 10 tokens, 3 of them learned (30.0 %)');
    const two = [sample(), sample({ length: 30, labels: 5 }), sample({ status: 'empty', labels: 0 })];
    expect(viewSummary(view(two, { maxLength: 64 }))).toBe(
      '3 samples, 40 tokens, at most 64 a sample, 8 of them learned (20.0 %), rows of 12 with padding; 1 not learned',
    );
    expect(viewSummary(view([]))).toBe('0 samples, 0 tokens, 0 of them learned (0 %)');
  });
});
