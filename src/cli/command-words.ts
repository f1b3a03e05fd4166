/** What messages of the package advise to write in a program, in words of the command line. */
import type { TuneError } from '../errors.js';

/** Each text stands in a hint; a test finds them there. */
const WORDS: readonly (readonly [program: string, commandLine: string])[] = [
  [
    'loadAdapter(checkpoint, model), then train() without `resumeFromCheckpoint`, in another `outputDir`',
    '`train --adapter CHECKPOINT` without --resume, in another --output-dir',
  ],
  ["fromPretrained(adapter, { baseModel: 'OWNER/NAME' or a folder })", '--model OWNER/NAME, or --model and its folder'],
  [
    'fromPretrained(folder) loads an adapter with its base model; loadAdapter(folder, model) puts it onto a model that is loaded',
    '--adapter takes an adapter; --model takes a model',
  ],
  ['in HF_TOKEN, by `hf auth login`, or in a program as `token`', 'in HF_TOKEN, or by `hf auth login`'],
  ['an image folder is read by ImageFolder.load or KaggleImageFolder.fromFolder', 'an image folder is given by --data'],
];

/** The same error for somebody who writes commands. */
export function inCommandWords(error: TuneError): TuneError {
  const { hint } = error;
  if (hint === undefined) return error;
  const told = WORDS.reduce((text, [program, commandLine]) => text.replaceAll(program, commandLine), hint);
  return told === hint ? error : error.with({ hint: told } as Partial<TuneError>);
}
