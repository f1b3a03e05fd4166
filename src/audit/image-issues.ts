/** Images that are worth a look, each by what was measured of it alone or beside the others. */
import type { AuditedImage, AuditSettings, Distribution, ImageIssue, ImageIssueKind } from './audit-report.js';
import type { MeasuredImage } from './measure-image.js';

/** In the order of a report. */
export const ISSUE_KINDS: readonly ImageIssueKind[] = [
  ...(['damaged', 'blank', 'dark', 'bright', 'blurred', 'tiny'] as const),
  ...(['odd-aspect', 'odd-size', 'odd-mode'] as const),
];

/** Modes, and colours, that fewer than this share of the images have are odd, where the set has enough images. */
const RARE_SHARE = 0.02;
const ENOUGH_IMAGES = 50;

type Found = Omit<ImageIssue, 'image'> & { /** How bad, the larger the worse. */ readonly rank: number };

/** Issues of all images. @param measured in the order of `images` */
export function findIssues(
  images: readonly AuditedImage[],
  measured: readonly MeasuredImage[],
  settings: AuditSettings,
): ImageIssue[] {
  const areas = measured.map(({ width, height }) => width * height).filter((area) => area > 0);
  const median = areas.length > 0 ? distribution(areas).median : 0;
  const rare = rareKinds(measured);
  const all = measured.flatMap((one, i) => {
    const found = [...ofContent(one, settings), ...ofSize(one, median, settings)];
    const mode = kindsOf(one).find((kind) => rare.has(kind));
    if (mode !== undefined) {
      const reason = `${mode}, as ${rare.get(mode)} of ${measured.length} images`;
      found.push({ kind: 'odd-mode', reason, value: null, rank: 0 });
    }
    return found.map((issue) => ({ ...issue, image: images[i]! }));
  });
  return ISSUE_KINDS.flatMap((kind) =>
    all
      .filter((issue) => issue.kind === kind)
      .sort((a, b) => b.rank - a.rank)
      .map(({ reason, value, image }) => ({ kind, image, reason, value })),
  );
}

function ofContent(image: MeasuredImage, settings: AuditSettings): Found[] {
  const { content, fault, damage } = image;
  if (fault !== undefined) return [{ kind: 'damaged', reason: fault, value: null, rank: 1 }];
  if (damage !== undefined) {
    const reason = `it decodes, and a part of it is wrong: ${damage}`;
    return [{ kind: 'damaged', reason, value: null, rank: 0 }, ...ofContent({ ...image, damage: undefined }, settings)];
  }
  const { low, high, blur } = content!;
  const range = high - low;
  if (range < settings.blankRange) {
    return [{ kind: 'blank', reason: `luminance from ${low} to ${high}`, value: range, rank: -range }];
  }
  const found: Found[] = [];
  if (high < settings.darkLevel) {
    found.push({ kind: 'dark', reason: `99 % of the pixels below ${high + 1} of 255`, value: high, rank: -high });
  }
  if (low > 255 - settings.darkLevel) {
    found.push({ kind: 'bright', reason: `99 % of the pixels above ${low - 1} of 255`, value: 255 - low, rank: low });
  }
  if (blur > settings.maxBlur) {
    found.push({ kind: 'blurred', reason: `blur effect ${blur.toFixed(2)}`, value: blur, rank: blur });
  }
  return found;
}

function ofSize({ width, height }: MeasuredImage, median: number, settings: AuditSettings): Found[] {
  if (width === 0) return [];
  const found: Found[] = [];
  const size = `${width} × ${height} pixels`;
  const shorter = Math.min(width, height);
  if (shorter < settings.tinyEdge) found.push({ kind: 'tiny', reason: size, value: shorter, rank: -shorter });
  const ratio = Math.max(width, height) / shorter;
  if (ratio > settings.maxAspectRatio) {
    found.push({ kind: 'odd-aspect', reason: `${size}, ${ratio.toFixed(1)} to 1`, value: ratio, rank: ratio });
  }
  const share = (width * height) / median;
  const factor = Math.max(share, 1 / share);
  if (factor > settings.maxSizeFactor) {
    const relation = `${factor.toFixed(0)} times ${share > 1 ? 'more' : 'fewer'} pixels than the median`;
    found.push({ kind: 'odd-size', reason: `${size}, ${relation}`, value: factor, rank: factor });
  }
  return found;
}

/** Mode, and whether it shows colours: what most images of a set have in common. */
function kindsOf({ mode, content }: MeasuredImage): string[] {
  const shown = content && (content.isColored ? 'in colour' : 'without colour');
  return [mode, shown].filter((kind) => kind !== undefined);
}

function rareKinds(measured: readonly MeasuredImage[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of measured.flatMap(kindsOf)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  if (measured.length < ENOUGH_IMAGES) return new Map();
  return new Map([...counts].filter(([, count]) => count < RARE_SHARE * measured.length));
}

/** Quartiles as numpy gives them. @param values at least one */
export function distribution(values: readonly number[]): Distribution {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number => {
    const place = share * (sorted.length - 1);
    const low = sorted[Math.floor(place)]!;
    return low + (sorted[Math.ceil(place)]! - low) * (place - Math.floor(place));
  };
  return { min: at(0), q1: at(0.25), median: at(0.5), q3: at(0.75), max: at(1) };
}
