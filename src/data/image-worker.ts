/**
 * The program of an image worker: decoded pixels in, processed pixels out, both moved and not copied. It decodes
 * nothing: sharp already decodes on libuv's threads, and a worker made from a string could not find it in every install.
 */
import { MessageChannel, parentPort, workerData } from 'node:worker_threads';
import type { WorkerReply } from '../async/worker-threads.js';
import { type PixelSettings, type ProcessedImage, processPixels } from './process-pixels.js';
import type { RgbImage } from './types.js';

const port = parentPort;
const settings = workerData as PixelSettings;
/** What is moved to a port whose other end is closed is freed at once, and not when garbage is collected. */
const nowhere = new MessageChannel();
nowhere.port2.close();

port?.on('message', (image: RgbImage) => {
  try {
    const result = processPixels(image, settings);
    port.postMessage({ result } satisfies WorkerReply<ProcessedImage>, [result.pixelValues.buffer as ArrayBuffer]);
  } catch (error) {
    port.postMessage({ error } satisfies WorkerReply<ProcessedImage>);
  }
  nowhere.port1.postMessage(undefined, [image.data.buffer as ArrayBuffer]);
});
