/** What one should know of a sample in a mask view, in sentences. */
import { counted } from '../messages/counted.js';
import { cutText } from '../messages/cut-text.js';
import { oneLine, warningLine } from '../messages/one-line.js';
import type { MaskedSample, MaskToken, MaskView } from './mask-view.js';

/** Of user text that was cut off, so many characters are shown. */
const SHOWN_CUT = 60;

/** Which sample it is, on one line. */
export function maskTitle({ samples }: MaskView, index: number): string {
  return `Sample ${index + 1} of ${samples.length}: ${oneLine(endOfPath(samples[index]!.id))}`;
}

/** Folders of a path that are shown: the class and the split are there. */
const SHOWN_FOLDERS = 2;

/** Of an absolute path its file and the folders that tell samples apart; anything else as it is. */
function endOfPath(id: string): string {
  if (!/^(?:\/|[a-z]:[\\/]|\\\\)/i.test(id)) return id;
  const parts = id.split(/[\\/]+/);
  if (parts.length <= SHOWN_FOLDERS + 2) return id;
  return `…/${parts.slice(-SHOWN_FOLDERS - 1).join('/')}`;
}

/** How much of a sample is learned, and what else its tokens are. */
export function maskSummary(sample: MaskedSample): string {
  const { length, labels, images, sharedPrefix, tokens } = sample;
  if (length === 0) return 'no tokens';
  const parts = [`${labels} of ${counted(length, 'token')} learned (${share(labels, length)})`];
  const ofImages = tokens.filter(({ cell }) => cell).length;
  if (ofImages > 0) parts.push(`${ofImages} for ${counted(images.length, 'image')}`);
  if (sharedPrefix > 0) parts.push(`the first ${sharedPrefix} shared with an earlier sample`);
  const padding = tokens.length - length;
  if (padding > 0) parts.push(`${padding} padding`);
  return parts.join(', ');
}

/** What keeps a sample from being learned as its author meant: one line each, texts of others made printable. */
export function maskWarnings({ status, reason = '', truncated, length, inspection }: MaskedSample): string[] {
  const lines: string[] = [];
  if (status === 'empty' || status === 'failed') lines.push(`stops the run: ${reason}`);
  if (status === 'dropped' || status === 'skipped') lines.push(`left out: ${reason}`);
  if (truncated) {
    const { text } = truncated;
    const start = cutText(text, SHOWN_CUT);
    lines.push(
      `cut from ${truncated.length} to ${counted(length, 'token')}: ${counted(text.length, 'character')} of user text ` +
        `are missing, beginning with "${oneLine(start)}"`,
    );
  }
  if (inspection) {
    const { openAnswers, openReason, promptFault, spelledTokens, leftOut } = inspection;
    if (openAnswers > 0) lines.push(`the end of the answer is not learned: ${openReason ?? 'nothing closes it'}`);
    if (promptFault !== undefined) lines.push(`generation asks in another way than training shows: ${promptFault}`);
    const spelled = Object.entries(spelledTokens).map(([token, count]) => `${token} ${count} ×`);
    if (spelled.length > 0) lines.push(`texts spell control tokens, which stay text: ${spelled.join(', ')}`);
    if (leftOut.length > 0) lines.push(`the chat template does not show ${leftOut.join(', ')}`);
  }
  return lines.map(warningLine);
}

/** Whether a turn begins, as two control tokens meet there, such as `</s>[INST]`. It begins a line. */
export function beginsTurn(token: MaskToken, before: MaskToken | undefined): boolean {
  return token.kind === 'control' && before?.kind === 'control' && before.position > 0;
}

/** Over all samples of a view. */
export function viewSummary({ samples, length, maxLength }: MaskView): string {
  const learned = samples.filter(({ status }) => status === 'learned');
  const tokens = learned.reduce((sum, sample) => sum + sample.length, 0);
  const labels = learned.reduce((sum, sample) => sum + sample.labels, 0);
  const limit = maxLength === undefined ? '' : `, at most ${maxLength} a sample`;
  const missing = samples.length - learned.length;
  return (
    `${counted(samples.length, 'sample')}, ${counted(tokens, 'token')}${limit}, ${labels} of them learned ` +
    `(${share(labels, tokens)})` +
    (learned.length > 1 ? `, rows of ${length} with padding` : '') +
    (missing > 0 ? `; ${missing} not learned` : '')
  );
}

function share(part: number, whole: number): string {
  return whole === 0 ? '0 %' : `${((100 * part) / whole).toFixed(1)} %`;
}
