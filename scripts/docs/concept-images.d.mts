/** Texts of the images by their paths. */
export const CONCEPT_IMAGES: ReadonlyMap<string, string>;
