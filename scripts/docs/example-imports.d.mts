export function exportOrder(): Map<string, number>;
export function freeNames(code: string): Set<string>;
export function importLines(code: string): string;
