/** Questions about a whole piece of a syntax tree. */
import type { Expression, Statement } from './ast.js';
import { JinjaError } from './error.js';
import { childrenOf } from './scope.js';

/** Which of the names are read before they are set, in all that lies in the statements except named blocks. */
export function readNames(statements: readonly Statement[], names: readonly string[]): Set<string> {
  const wanted = new Set(names);
  const found = new Set<string>();
  const read = (node: Expression | undefined): void => {
    if (!node) return;
    if (node.kind === 'name' && wanted.has(node.name)) found.add(node.name);
    for (const child of childrenOf(node)) read(child);
  };
  const store = (target: Expression): void => {
    if (target.kind === 'name') wanted.delete(target.name);
    else if (target.kind === 'tuple') target.items.forEach(store);
  };
  const visit = (node: Statement): void => {
    switch (node.kind) {
      case 'output':
        for (const item of node.items) if (typeof item !== 'string') read(item);
        return;
      case 'for':
        store(node.target);
        read(node.iterable);
        node.body.forEach(visit);
        node.orElse.forEach(visit);
        read(node.test);
        return;
      case 'if':
        read(node.test);
        for (const body of [node.body, node.elifs, node.orElse]) body.forEach(visit);
        return;
      case 'set':
        store(node.target);
        read(node.value);
        return;
      case 'set block':
        store(node.target);
        read(node.filter);
        node.body.forEach(visit);
        return;
      case 'call block':
        read(node.call);
        for (const param of node.signature.params) wanted.delete(param);
        node.signature.defaults.forEach(read);
        node.body.forEach(visit);
        return;
      case 'macro':
        for (const param of node.signature.params) wanted.delete(param);
        node.signature.defaults.forEach(read);
        node.body.forEach(visit);
        return;
      case 'filter block':
        node.body.forEach(visit);
        read(node.filter);
        return;
      case 'with':
        node.targets.forEach(store);
        node.values.forEach(read);
        node.body.forEach(visit);
        return;
      case 'generation':
        node.body.forEach(visit);
        return;
      default:
    }
  };
  statements.forEach(visit);
  return found;
}

export function bodiesOf(node: Statement): (readonly Statement[])[] {
  return ['body' in node ? node.body : [], 'orElse' in node ? node.orElse : [], 'elifs' in node ? node.elifs : []];
}

export function hasScopedBlock(body: readonly Statement[]): boolean {
  return body.some((node) => (node.kind === 'block' && node.isScoped) || bodiesOf(node).some(hasScopedBlock));
}

/** `loop` is the loop's own: neither its target nor its body may set it. */
export function rejectLoopTarget(node: Statement): void {
  const check = (target: Expression): void => {
    if (target.kind === 'tuple') target.items.forEach(check);
    if (target.kind === 'name' && target.name === 'loop') {
      throw new JinjaError("Can't assign to special loop variable in for-loop target");
    }
  };
  if (node.kind === 'for' || node.kind === 'set' || node.kind === 'set block') check(node.target);
  bodiesOf(node).flat().forEach(rejectLoopTarget);
}
