/** What an audit found, as plain data: `JSON.parse(JSON.stringify(report))` is the same report. */

/** An image of a sample: where it lies, and what it is. */
export interface AuditedImage {
  /** Name of the split. */
  readonly split: string;
  /** Index of the sample in its split. */
  readonly index: number;
  /** Position among the sample's images, from 0. */
  readonly position: number;
  /** Path of its file, below the folder that all files share; where it has none, the sample's `id` or index. Untrusted. */
  readonly name: string;
  /** Class of the sample, or the beginning of its answer in a conversation. Null: none is known. Untrusted. */
  readonly label: string | null;
  /** Pixels, as the image is meant to be seen. 0 where the header cannot be read. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
}

/** How the second image of a pair must be turned to look as the first: degrees are clockwise. */
export type ImageTransform =
  | 'none'
  | 'mirrored'
  | 'rotated by 90°'
  | 'rotated by 180°'
  | 'rotated by 270°'
  | 'mirrored, rotated by 90°'
  | 'mirrored, rotated by 180°'
  | 'mirrored, rotated by 270°';

/** Two images of one group that are copies of each other. */
export interface DuplicatePair {
  /** Position in the group's `images`. */
  readonly a: number;
  /** Position in the group's `images`, above `a`. */
  readonly b: number;
  /** `exact`: equal bytes of the files, or equal pixels of images in memory. `near`: they look the same. */
  readonly kind: 'exact' | 'near';
  /** Normalised correlation of luminance after the best crop and transform, at most 1. 1 for exact copies. */
  readonly correlation: number;
  /** What makes `b` look as `a`. */
  readonly transform: ImageTransform;
  /** Share of the edge of the larger section that the other one shows, 0 to 1: below 1 one of the two is cropped. */
  readonly overlap: number;
}

/**
 * Images that are copies of each other, directly or through others of the group. A file that several samples of a split
 * use counts once there, as an image of the first of them.
 */
export interface DuplicateGroup {
  /** In the order of splits, samples and positions. At least two. */
  readonly images: readonly AuditedImage[];
  /** Between its images. Of `n` exact copies there are `n - 1` pairs, each with the first. */
  readonly pairs: readonly DuplicatePair[];
  /** Whether all of its images are exact copies. */
  readonly isExact: boolean;
  /** Names of the splits of its images, in the order of the report's splits: more than one is a leak. */
  readonly splits: readonly string[];
  /** Labels of its images, each once. */
  readonly labels: readonly string[];
  /** Whether samples of it with the same images and the same question have different labels. */
  readonly isConflict: boolean;
}

/** A sample that has copies. */
export interface AuditedSample {
  /** Name of the split. */
  readonly split: string;
  /** Index of the sample in its split. */
  readonly index: number;
  /** Name of its first image. Untrusted. */
  readonly name: string;
  /** Class, or all of its answer. Null: none is known. Untrusted. */
  readonly label: string | null;
}

/** Two samples of one group that are copies of each other. */
export interface SamplePair {
  /** Position in the group's `samples`. */
  readonly a: number;
  /** Position in the group's `samples`, above `a`. */
  readonly b: number;
  /** `exact` if all of their images are exact copies. */
  readonly kind: 'exact' | 'near';
}

/** Samples that are copies of each other, directly or through others of the group. */
export interface SampleGroup {
  /** In the order of splits and samples. At least two. */
  readonly samples: readonly AuditedSample[];
  /** Of `n` exact copies there are `n - 1` pairs, each with the first. */
  readonly pairs: readonly SamplePair[];
  /** Whether they have different labels. */
  readonly isConflict: boolean;
}

/** Samples of a split that have an exact or near copy of an image in another split. */
export interface SplitLeak {
  /** Split whose samples are counted. */
  readonly split: string;
  /** Split that has the copies. */
  readonly other: string;
  /** Indices of samples in `split`, rising. */
  readonly samples: readonly number[];
  /** For each of `samples` the position in `duplicates` of a group that has the copy. */
  readonly groups: readonly number[];
}

/** What may be wrong with a single image. */
export type ImageIssueKind =
  | 'damaged'
  | 'blank'
  | 'dark'
  | 'bright'
  | 'blurred'
  | 'tiny'
  | 'odd-aspect'
  | 'odd-size'
  | 'odd-mode';

/** An image that is worth a look. */
export interface ImageIssue {
  readonly kind: ImageIssueKind;
  readonly image: AuditedImage;
  /** What was measured, in a few words: `shorter edge 20 px`. Untrusted where an image is damaged. */
  readonly reason: string;
  /** The measure itself, in the unit of the option of its limit; null for damage and modes. */
  readonly value: number | null;
}

/** Samples of a split. */
export interface AuditedSplit {
  readonly name: string;
  readonly samples: number;
  /** Images of all samples. */
  readonly images: number;
  /** Samples of each class, in the order of the report's `classNames`; empty where there are no classes. */
  readonly classCounts: readonly number[];
}

/** Smallest, quartiles and largest of a measure. */
export interface Distribution {
  readonly min: number;
  readonly q1: number;
  readonly median: number;
  readonly q3: number;
  readonly max: number;
}

/** The result of `auditDataset`. */
export interface AuditReport {
  /** Of this form. */
  readonly version: 1;
  /** In the order in which they were given. */
  readonly splits: readonly AuditedSplit[];
  /** Classes, where samples have some; empty for samples with answers of their own. Untrusted. */
  readonly classNames: readonly string[];
  /** Of the images whose header can be read; null without images. */
  readonly sizes: {
    /** Pixels. */
    readonly width: Distribution;
    /** Pixels. */
    readonly height: Distribution;
    /** Longer side by shorter side. */
    readonly aspectRatio: Distribution;
  } | null;
  /** Images by mode, most first: `RGB`, `grey`, `RGBA`, `CMYK`, `16-bit grey`. */
  readonly modes: readonly { readonly name: string; readonly images: number }[];
  /** Images by file format, most first: `jpeg`, `png`; `pixels` for images in memory. */
  readonly formats: readonly { readonly name: string; readonly images: number }[];
  /** Conflicts first, then leaks, then the others; within these in the order of their first images. */
  readonly duplicates: readonly DuplicateGroup[];
  /**
   * Samples with copies of the same images in the same order, and the same question: what `deduplicate` works on. In a
   * set of images with classes these are the groups of `duplicates`.
   */
  readonly duplicateSamples: readonly SampleGroup[];
  /** For each two splits that share copies, in both directions. */
  readonly leaks: readonly SplitLeak[];
  /** Damage first, then in the order of `ImageIssueKind`; within a kind the worst first. */
  readonly issues: readonly ImageIssue[];
  /** What holds for the whole set, a sentence each: classes without samples, limits that were reached. */
  readonly notes: readonly string[];
  /** Options that decided what was found. */
  readonly settings: AuditSettings;
  /** Duration of the audit. */
  readonly seconds: number;
}

/** Limits of an audit; all have defaults. */
export interface AuditSettings {
  /** Look for near duplicates, not for exact copies alone. Default: true. */
  readonly nearDuplicates: boolean;
  /** Look for mirrored and turned copies too. Default: true. */
  readonly transforms: boolean;
  /**
   * Least correlation of near duplicates, 0.3 to 1. Images full of details, and those of a few pixels, need more: 0.95
   * and 0.97. Default: 0.85.
   */
  readonly minCorrelation: number;
  /** An image whose shorter edge has fewer pixels is tiny. Default: 64. */
  readonly tinyEdge: number;
  /** An image whose longer side is more than this many times the shorter one has an odd aspect ratio. Default: 5. */
  readonly maxAspectRatio: number;
  /** An image of this many times more, or fewer, pixels than the median has an odd size. Default: 16. */
  readonly maxSizeFactor: number;
  /**
   * An image is dark if 99 % of its pixels are below this luminance, and bright if 99 % are above 255 less this.
   * Default: 64.
   */
  readonly darkLevel: number;
  /** An image is blank if its luminance spans fewer levels between its 1st and 99th percentile. Default: 10. */
  readonly blankRange: number;
  /**
   * An image is blurred if its blur effect (Crete et al. 2007), from 0 for sharp to 1 without any detail, is above
   * this. Default: 0.75.
   */
  readonly maxBlur: number;
}

/** Data URIs of small images for a page, by `imageKey`. JSON-able. */
export type AuditThumbnails = Readonly<Record<string, string>>;

/** Key of an image in `AuditThumbnails`. */
export function imageKey({ split, index, position }: Pick<AuditedImage, 'split' | 'index' | 'position'>): string {
  return `${split}/${index}/${position}`;
}
