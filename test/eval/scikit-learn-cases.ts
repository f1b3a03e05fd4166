/** The random classifications of scikit-learn-cases.json, which holds their values alone: the same hash makes them. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { counterHash } from '../../src/random.js';

interface Inputs {
  readonly classes: number;
  readonly truth: readonly number[];
  /** null: no class. */
  readonly answers: readonly (number | null)[];
  /** [N][K] Hundredths, so that some are equal. */
  readonly scores: readonly (readonly number[])[];
  readonly bins: number;
}

/** What scikit-learn gave, by name; matrices as place and value of each value that is not 0. */
type Values = Readonly<Record<string, number | readonly number[] | null>>;

/** As `inputs` in scikit-learn-cases.py, draw for draw. */
function inputsOf(number: number): Inputs {
  let counter = 0;
  const below = (bound: number): number => counterHash(number, counter++) % bound;
  const classes = 2 + below(11);
  const count = 1 + below(39);
  const occurring = 1 + below(classes);
  const skill = [0, 50, 90, 100][below(4)]!;
  const invalid = below(4) === 0 ? [0, 0, 20, 100][below(4)]! : [0, 5][below(2)]!;
  const truth: number[] = [];
  const answers: (number | null)[] = [];
  const scores: number[][] = [];
  for (let i = 0; i < count; i++) {
    const own = below(occurring);
    const answer = below(100) < skill ? own : below(classes);
    answers.push(below(100) < invalid ? null : answer);
    truth.push(own);
    scores.push(
      Array.from({ length: classes }, (_, k) => (below(400) + below(400) - 400 + (k === own ? 3 * skill : 0)) / 100),
    );
  }
  return { classes, truth, answers, scores, bins: [5, 10, 15][below(3)]! };
}

export function scikitLearnCases(): { readonly inputs: Inputs; readonly values: Values }[] {
  const path = fileURLToPath(new URL('scikit-learn-cases.json', import.meta.url));
  const { keys, cases } = JSON.parse(readFileSync(path, 'utf8')) as { keys: string[]; cases: Values[string][][] };
  return cases.map((row, i) => ({
    inputs: inputsOf(i),
    values: Object.fromEntries(keys.map((key, k) => [key, row[k]!])),
  }));
}
