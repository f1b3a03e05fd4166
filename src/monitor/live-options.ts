/** What a live page is asked for, and what it gives. */
import type { RgbImage } from '../data/types.js';
import type { TrainerCallback } from '../train/callbacks.js';

/** Options of {@link livePage}. */
export interface LivePageOptions {
  /**
   * TCP port; 0 takes any free one. A given port that is in use is an error. Default: the first free one from 7070 to
   * 7089.
   */
  readonly port?: number | undefined;
  /**
   * Address or name to listen on, `0.0.0.0` for all. On any other than a loopback address the page wants a token, and what
   * it shows crosses the network unencrypted: a tunnel (`ssh -L 7070:localhost:7070 machine`) is safer.
   * Default: `127.0.0.1`, which only programs on this machine reach.
   */
  readonly host?: string | undefined;
  /**
   * Whoever opens the page must know it: at least 16 characters, or true for a random one. It is part of the printed
   * address, behind `#`, which browsers do not send. On a loopback address give true if other people have accounts on the
   * machine. Default: true, on a loopback address false.
   */
  readonly token?: string | boolean | undefined;
  /**
   * Names of this machine under which browsers may open the page, e.g. that of a reverse proxy. IP addresses,
   * `localhost`, `host` and the name of the system are always allowed; a page that comes under another name is refused,
   * since a foreign site can have its name lead to this machine. Default: none.
   */
  readonly allowedHosts?: readonly string[] | undefined;
  /** Whether the page may pause, resume and stop the run. Default: true. */
  readonly controls?: boolean | undefined;
  /** Heading of the page. Default: the name of the run's output folder. */
  readonly title?: string | undefined;
  /**
   * Keeps the page after the run, and with it the process, until `close()` is called or the process receives SIGINT
   * (Ctrl-C) or SIGTERM. Default: false, the page is closed when the run is over; what a browser shows stays there.
   */
  readonly keepOpen?: boolean | undefined;
  /** Called with the address, token included, once the page can be opened. Default: prints it on stderr. */
  readonly onOpen?: ((address: string) => void) | undefined;
}

/** A page in the browser that follows a training run: give it to `SftTrainerOptions.callbacks`. */
export interface LivePage extends TrainerCallback {
  /** Where it can be opened, token included; undefined while it is closed. */
  readonly address: string | undefined;
  /**
   * Opens the page now rather than when the run begins, so that a port in use is reported before a model is loaded. Alone
   * it does not keep the process.
   * @returns the address, token included
   * @throws ConfigError if it cannot listen there
   */
  open(): Promise<string>;
  /**
   * Shows answers of the model, the newest first; the last 24 are kept. Call it from `computeMetrics`, for instance with
   * what an `Evaluator` reports. Images are made smaller in the background: nothing is waited for.
   * @throws ConfigError, DataError for what is no sample
   */
  showSamples(samples: readonly LiveSample[]): void;
  /** Ends the page; the run goes on. Calling it again does nothing. */
  close(): Promise<void>;
}

/** An answer of the model, for {@link LivePage.showSamples}. */
export interface LiveSample {
  /** Name of the sample, e.g. its file. */
  readonly id: string;
  /** What the model wrote. */
  readonly answer: string;
  /** The right answer. */
  readonly expected?: string | undefined;
  /** Whether the answer counts as right; not judged if missing. */
  readonly correct?: boolean | undefined;
  /** What the model was asked. */
  readonly prompt?: string | undefined;
  /** RGB, row by row; shown with at most 320 pixels on its longest edge. */
  readonly image?: RgbImage | undefined;
}
