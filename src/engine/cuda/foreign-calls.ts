/**
 * Calls into native libraries. The code is that of koffi, from the package that holds its binary for this system alone:
 * koffi itself has an install script, which package managers refuse or ask about, and adds only old names to it.
 */
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { EngineError, reasonOf } from '../../errors.js';

/** What may be an address: a typed array or buffer, an address as a number or bigint. */
type Address = ArrayBufferView | ArrayBufferLike | number | bigint;

/** A function of a library that returns a status. */
export interface ForeignFunction {
  (...values: unknown[]): number;
  /** Runs it on another thread; the last value receives an error or the status. */
  async(...values: unknown[]): void;
}

/** A loaded library. */
export interface ForeignLibrary {
  func(name: string, result: string, parameters: readonly string[]): ForeignFunction;
}

/** The part of koffi's API that is used here (https://koffi.dev). */
interface ForeignCalls {
  readonly version: string;
  load(path: string, options?: { readonly global?: boolean }): ForeignLibrary;
  address(value: Address): bigint;
  /** Memory at an address as an ArrayBuffer that does not own it. */
  view(address: bigint, bytes: number): ArrayBuffer;
  decode(address: Address, type: 'str'): string;
  /** Makes a type known by its name: a value of it is passed as an object, by value. */
  struct(name: string, members: Readonly<Record<string, unknown>>): unknown;
  array(type: string, length: number): unknown;
  /** Sizes of the stacks on which calls run; they are settled with the first load. */
  config(settings: { readonly sync_stack_size: number; readonly async_stack_size: number }): unknown;
}

/** Of the packages in `optionalDependencies`, pinned: what their binaries offer has no promise across versions. */
export const FOREIGN_CALLS_VERSION = '3.3.4';
/** Systems that the cuda engine runs on. */
export const FOREIGN_CALLS_PACKAGES: Readonly<Record<string, string>> = {
  'linux-x64': '@koromix/koffi-linux-x64',
  'linux-arm64': '@koromix/koffi-linux-arm64',
};

let loaded: ForeignCalls | undefined;

/**
 * Loads it when it is first needed.
 * @throws EngineError for a system without CUDA, or if the package is not installed
 */
export function foreignCalls(): ForeignCalls {
  loaded ??= load(`${process.platform}-${process.arch}`, requireFrom);
  return loaded;
}

/** @param require finds a package by its name */
export function load(system: string, require: (name: string) => unknown): ForeignCalls {
  const name = FOREIGN_CALLS_PACKAGES[system];
  if (name === undefined) {
    const systems = Object.keys(FOREIGN_CALLS_PACKAGES).join(' and ');
    throw new EngineError(`the cuda engine runs on ${systems}; this is ${system}`, {
      hint: "Use the cpu engine here: createEngine('cpu').",
    });
  }
  const cure = `Install again without --omit=optional (--no-optional), or add it: npm install ${name}@${FOREIGN_CALLS_VERSION}`;
  let calls: ForeignCalls;
  try {
    calls = require(name) as ForeignCalls;
  } catch (cause) {
    throw new EngineError(
      `the cuda engine needs the optional package ${name}, which cannot be loaded: ${reasonOf(cause).split('\n')[0]}`,
      { hint: `${cure}.`, cause },
    );
  }
  if (calls.version !== FOREIGN_CALLS_VERSION) {
    throw new EngineError(
      `the cuda engine needs version ${FOREIGN_CALLS_VERSION} of the package ${name}, but found ${calls.version}`,
      { hint: `${cure}.` },
    );
  }
  return calls;
}

/** Not imported, so that a bundler leaves it alone; bundles look for it beside themselves, then beside the program. */
function requireFrom(name: string): unknown {
  try {
    return createRequire(import.meta.url)(name);
  } catch (error) {
    const program = process.argv[1];
    if (program === undefined) throw error;
    try {
      return createRequire(pathToFileURL(program))(name);
    } catch {
      throw error;
    }
  }
}
