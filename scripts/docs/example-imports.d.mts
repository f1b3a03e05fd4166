export function freeNames(code: string): Set<string>;
export function importLines(code: string): string;
