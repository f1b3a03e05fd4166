/** The syntax tree of a template, as jinja2's parser has it. */

export interface Arguments {
  readonly args: readonly Expression[];
  readonly kwargs: readonly (readonly [string, Expression])[];
  readonly rest: Expression | undefined;
  readonly keywords: Expression | undefined;
}

export type BinaryOperator = '+' | '-' | '*' | '/' | '//' | '%' | '**';
export type CompareOperator = '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | 'not in';

export type Expression =
  | { readonly kind: 'const'; readonly value: string | number | boolean | null; readonly isFloat?: boolean }
  | { readonly kind: 'name'; readonly name: string; readonly line: number }
  | { readonly kind: 'namespace'; readonly name: string; readonly attribute: string; readonly line: number }
  | { readonly kind: 'tuple' | 'list'; readonly items: readonly Expression[]; readonly line: number }
  | { readonly kind: 'dict'; readonly items: readonly (readonly [Expression, Expression])[] }
  | { readonly kind: 'if'; readonly test: Expression; readonly yes: Expression; readonly no: Expression | undefined }
  | { readonly kind: 'and' | 'or'; readonly left: Expression; readonly right: Expression }
  | { readonly kind: 'not' | 'negative' | 'positive'; readonly operand: Expression }
  | {
      readonly kind: 'binary';
      readonly operator: BinaryOperator;
      readonly left: Expression;
      readonly right: Expression;
    }
  | { readonly kind: 'concat'; readonly items: readonly Expression[] }
  | {
      readonly kind: 'compare';
      readonly first: Expression;
      readonly rest: readonly (readonly [CompareOperator, Expression])[];
    }
  | { readonly kind: 'attribute'; readonly object: Expression; readonly name: string }
  | { readonly kind: 'item'; readonly object: Expression; readonly key: Expression }
  | {
      readonly kind: 'slice';
      readonly object: Expression;
      readonly start: Expression | undefined;
      readonly stop: Expression | undefined;
      readonly step: Expression | undefined;
    }
  | { readonly kind: 'call'; readonly callee: Expression; readonly arguments: Arguments }
  | {
      readonly kind: 'filter';
      /** Absent where a block's text is filtered. */
      readonly operand: Expression | undefined;
      readonly name: string;
      readonly arguments: Arguments;
      readonly line: number;
    }
  | {
      readonly kind: 'test';
      readonly operand: Expression;
      readonly name: string;
      readonly arguments: Arguments;
      readonly line: number;
    };

export type Filter = Extract<Expression, { kind: 'filter' }>;

/** Names and values of a macro's or a call block's parameters; the last parameters have the defaults. */
export interface Signature {
  readonly params: readonly string[];
  readonly defaults: readonly Expression[];
}

export type Statement =
  | { readonly kind: 'output'; readonly items: readonly (string | Expression)[] }
  | {
      readonly kind: 'for';
      readonly target: Expression;
      readonly iterable: Expression;
      readonly test: Expression | undefined;
      readonly isRecursive: boolean;
      readonly body: readonly Statement[];
      readonly orElse: readonly Statement[];
      readonly line: number;
    }
  | If
  | { readonly kind: 'set'; readonly target: Expression; readonly value: Expression }
  | {
      readonly kind: 'set block';
      readonly target: Expression;
      readonly filter: Filter | undefined;
      readonly body: readonly Statement[];
    }
  | {
      readonly kind: 'macro';
      readonly name: string;
      readonly signature: Signature;
      readonly body: readonly Statement[];
    }
  | {
      readonly kind: 'call block';
      readonly signature: Signature;
      readonly call: Extract<Expression, { kind: 'call' }>;
      readonly body: readonly Statement[];
    }
  | { readonly kind: 'generation'; readonly body: readonly Statement[] }
  | { readonly kind: 'filter block'; readonly filter: Filter; readonly body: readonly Statement[] }
  | {
      readonly kind: 'with';
      readonly targets: readonly Expression[];
      readonly values: readonly Expression[];
      readonly body: readonly Statement[];
    }
  | Block
  | { readonly kind: 'break' | 'continue'; readonly line: number };

export interface If {
  readonly kind: 'if';
  readonly test: Expression;
  readonly body: readonly Statement[];
  readonly elifs: readonly If[];
  readonly orElse: readonly Statement[];
}

export interface Block {
  readonly kind: 'block';
  readonly name: string;
  readonly isScoped: boolean;
  readonly body: readonly Statement[];
  readonly line: number;
}
