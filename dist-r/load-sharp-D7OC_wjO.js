import { m as reasonOf, n as ConfigError } from "./errors-D4G-NQir.js";
// src/data/load-sharp.ts
async function loadSharp() {
	try {
		return (await import("sharp")).default;
	} catch (cause) {
		throw new ConfigError(`the package sharp, which decodes and draws images, cannot be loaded: ${reasonOf(cause)}`, {
			hint: "Reinstall with `npm install`, for this system and without --omit=optional.",
			cause
		});
	}
}
export { loadSharp as t };
