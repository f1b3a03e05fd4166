/** What goes wrong in a chat template: it raises, as in Python, or it uses what is not supported. */
import { TextError } from '../../errors.js';

/** What jinja2 or Python would raise for the template; the text is near to theirs. */
export class JinjaError extends Error {
  override readonly name = 'JinjaError';
}

/** Values of types that an operation of Python does not take, by Python's names. */
export class OperandError extends JinjaError {
  constructor(
    message: string,
    readonly types: readonly string[],
  ) {
    super(message);
  }
}

/** The bounds of time and memory are hit. */
export class OutOfBoundsError extends TextError {}

/** The template uses something of Jinja or Python that is not supported: it is refused rather than rendered otherwise. */
export function unsupported(what: string): TextError {
  return new TextError(`the chat template uses ${what}, which is not supported`, {
    hint: 'templates render as Python renders them or not at all: write it without, or use a plain template',
  });
}

export function outOfBounds(why: string): OutOfBoundsError {
  return new OutOfBoundsError(`the chat template is out of bounds: ${why}`, {
    hint: 'templates run with limits of time and memory, as they come with untrusted files; use a plain one',
  });
}
