/** What may be downloaded from Kaggle, and how it is called. */

/** A data set. */
export interface KaggleDataset {
  readonly owner: string;
  readonly dataset: string;
  /** Undefined: the current one. */
  readonly version: number | undefined;
}

/** The files of a competition, which have no versions. */
interface KaggleCompetition {
  readonly competition: string;
}

export type KaggleSource = KaggleDataset | KaggleCompetition;

export const KAGGLE = 'https://www.kaggle.com';

/** `owner/dataset`, with `/versions/N` if there is a version, or `competitions/NAME`. */
export function formatKaggleHandle(source: KaggleSource): string {
  if ('competition' in source) return `competitions/${source.competition}`;
  const { owner, dataset, version } = source;
  return `${owner}/${dataset}${version === undefined ? '' : `/versions/${version}`}`;
}

/** Where people look at it. */
export function kagglePage(source: KaggleSource): string {
  if ('competition' in source) return `${KAGGLE}/competitions/${source.competition}`;
  return `${KAGGLE}/datasets/${source.owner}/${source.dataset}`;
}
