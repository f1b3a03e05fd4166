/** The package that decodes and draws images. */
import { ConfigError, reasonOf } from '../errors.js';

/**
 * Loads it when it is first needed: a program that only imports this package does not wait for it.
 * @throws ConfigError if it cannot be loaded, which is no fault of an image
 */
export async function loadSharp(): Promise<typeof import('sharp').default> {
  try {
    return (await import('sharp')).default;
  } catch (cause) {
    throw new ConfigError(`the package sharp, which decodes and draws images, cannot be loaded: ${reasonOf(cause)}`, {
      hint: 'Reinstall with `npm install`, for this system and without --omit=optional.',
      cause,
    });
  }
}
