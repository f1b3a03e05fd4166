/** The two short forms of lists in Slurm's variables. */

/** `2(x3),1` as [2, 2, 2, 1]: tasks of each node; undefined for anything else. */
export function tasksOfNodes(text: string): number[] | undefined {
  const tasks: number[] = [];
  for (const part of text.split(',')) {
    const [, count, times = '1'] = /^(\d{1,6})(?:\(x(\d{1,6})\))?$/.exec(part) ?? [];
    if (count === undefined || Number(count) === 0 || Number(times) === 0) return undefined;
    if (tasks.length + Number(times) > MAX_NODES) return undefined;
    for (let i = 0; i < Number(times); i++) tasks.push(Number(count));
  }
  return tasks;
}

/** `node001` of `node[001-004,7],gpu1`; undefined for what is no list of hosts. */
export function firstHost(text: string): string | undefined {
  // One name, with or without ranges in brackets, then others.
  const name = String.raw`[\w.-]*(?:\[\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*\][\w.-]*)*`;
  const [, first] = new RegExp(`^(${name})(?:,${name})*$`).exec(text) ?? [];
  return first?.replace(/\[(\d+)[^\]]*\]/g, '$1') || undefined;
}

const MAX_NODES = 65_536;
