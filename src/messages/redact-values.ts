/** Values and errors without secrets: what has none stays the very thing that it was. */

type Clean = (text: string) => string;

/** Objects of other packages' classes that are looked at, at most, for one error: connections hold whole networks of them. */
const MAX_FOREIGN = 2000;

/**
 * A value with every string and name in it made clean, circles and all. Without anything to hide it is the value
 * itself. An error becomes one of the same class; other objects of a class stay as they are, but for maps, sets and URLs.
 */
export function redactDeep(value: unknown, clean: Clean): unknown {
  try {
    return isClean(value, clean) ? value : cleanCopy(value, clean);
  } catch {
    // A getter or a trap that throws: nothing is known of what is behind it.
    return value instanceof Error ? bareError(value, clean) : '(not readable)';
  }
}

function bareError(error: Error, clean: Clean): Error {
  try {
    return new Error(clean(String(error.message)));
  } catch {
    return new Error('(not readable)');
  }
}

function isClean(root: unknown, clean: Clean): boolean {
  const seen = new Set<object>();
  const open: { value: unknown; inError: boolean }[] = [{ value: root, inError: false }];
  let foreign = 0;
  while (open.length > 0) {
    const { value, inError } = open.pop()!;
    if (typeof value === 'string' && clean(value) !== value) return false;
    if (typeof value !== 'object' || value === null || seen.has(value)) continue;
    seen.add(value);
    if (value instanceof URL && clean(value.href) !== value.href) return false;
    const isError = value instanceof Error;
    const isOther = !isError && !isContainer(value);
    // What an error has beside it is printed with it.
    if (isOther && (!inError || value instanceof Uint8Array)) continue;
    if (isOther && ++foreign > MAX_FOREIGN) return false;
    for (const part of isError ? [...partsOfError(value), ...fieldsOf(value).flat()] : partsOf(value)) {
      open.push({ value: part, inError: inError || isError });
    }
  }
  return true;
}

function isContainer(value: object): boolean {
  if (Array.isArray(value) || value instanceof Map || value instanceof Set) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function partsOf(value: object): unknown[] {
  if (Array.isArray(value) || value instanceof Set) return [...value];
  return value instanceof Map ? [...value].flat() : fieldsOf(value).flat();
}

function partsOfError(error: Error): unknown[] {
  return [
    error.name,
    error.message,
    error.stack,
    error.cause,
    error instanceof AggregateError ? error.errors : undefined,
  ];
}

function fieldsOf(value: object): [string, unknown][] {
  return Object.entries(Object.getOwnPropertyDescriptors(value)).flatMap(([name, { enumerable, get, value: field }]) =>
    enumerable && !get ? [[name, field] as [string, unknown]] : [],
  );
}

function cleanCopy(root: unknown, clean: Clean): unknown {
  const copies = new Map<object, unknown>();
  const fills: (() => void)[] = [];
  // A copy is known before it is filled, so that a circle leads back to it.
  const begin = <T extends object>(of: object, copy: T, fill: (copy: T) => void): T => {
    copies.set(of, copy);
    fills.push(() => fill(copy));
    return copy;
  };
  const set = (target: object, name: string, value: unknown, enumerable = true): void => {
    Object.defineProperty(target, name, { value, enumerable, configurable: true, writable: true });
  };
  const copyOf = (value: unknown): unknown => {
    if (typeof value === 'string') return clean(value);
    if (typeof value !== 'object' || value === null) return value;
    if (copies.has(value)) return copies.get(value);
    if (value instanceof Error) return begin(value, copyOfError(value), (copy) => fillError(copy, value));
    if (value instanceof URL) return clean(value.href) === value.href ? value : clean(value.href);
    if (!isContainer(value)) return value;
    if (Array.isArray(value)) {
      return begin(value, [] as unknown[], (copy) => {
        for (const item of value) copy.push(copyOf(item));
      });
    }
    if (value instanceof Set) {
      return begin(value, new Set<unknown>(), (copy) => {
        for (const item of value) copy.add(copyOf(item));
      });
    }
    if (value instanceof Map) {
      return begin(value, new Map<unknown, unknown>(), (copy) => {
        for (const [key, item] of value) copy.set(copyOf(key), copyOf(item));
      });
    }
    return begin(value, Object.create(Object.getPrototypeOf(value)) as object, (copy) => {
      for (const [name, item] of fieldsOf(value)) set(copy, clean(name), copyOf(item));
    });
  };
  const copyOfError = (error: Error): Error => {
    const message = clean(error.message);
    const copy = error instanceof AggregateError ? new AggregateError([], message) : new Error(message);
    // `instanceof` tells the same of it.
    return Object.setPrototypeOf(copy, Object.getPrototypeOf(error)) as Error;
  };
  const fillError = (copy: Error, error: Error): void => {
    for (const [name, value] of fieldsOf(error)) {
      // Objects of a class may hold anything, such as the request that failed.
      const isOther = typeof value === 'object' && value !== null && !(value instanceof Error) && !isContainer(value);
      if (!isOther && typeof value !== 'function') set(copy, clean(name), copyOf(value));
    }
    set(copy, 'name', clean(error.name), false);
    set(copy, 'message', clean(error.message), false);
    set(copy, 'stack', clean(error.stack ?? ''), false);
    const { code } = error as NodeJS.ErrnoException;
    if (code !== undefined && !Object.hasOwn(copy, 'code')) set(copy, 'code', copyOf(code));
    if (error.cause !== undefined) set(copy, 'cause', copyOf(error.cause), false);
    if (error instanceof AggregateError) set(copy, 'errors', copyOf(error.errors), false);
  };
  const copy = copyOf(root);
  for (let fill = fills.pop(); fill; fill = fills.pop()) fill();
  return copy;
}
