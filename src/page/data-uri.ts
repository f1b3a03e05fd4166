/** Images inside a page. */
export { imageDataUri } from '../data/image-data-uri.js';
