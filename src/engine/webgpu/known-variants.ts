import type { Defines } from './kernel-source.js';
import type { Variant } from './kernels.js';

const variants = new Map<object, Map<string, Variant>>();

/**
 * The same object for the same values: a launch finds its program by it.
 * @param of a kernel or a tile; all defines of one have the same names in the same order
 * @param more of the variant: the same for all defines of `of`
 */
export function knownVariant(of: object, defines: Defines, more?: () => Defines): Variant {
  let known = variants.get(of);
  if (!known) {
    known = new Map();
    variants.set(of, known);
  }
  let key = '';
  for (const name in defines) key += `${defines[name]},`;
  let variant = known.get(key);
  if (!variant) {
    variant = { defines: { ...defines, ...more?.() } };
    known.set(key, variant);
  }
  return variant;
}
