/**
 * Reads the signatures of the CUDA kernels and writes a typed constant for each, with named parameters and a type of its
 * own for pointers. So what a kernel and TypeScript must agree on is written once, in the .cu file.
 */

/** C types of scalars, and how a launch packs them. */
const SCALARS = { int: 'i32', u32: 'u32', i64: 'i64', float: 'f32' };

const KERNEL =
  /(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)?(?:#define (\w+)\((\w+)\)\s*)?(?:KERNEL|extern "C" __global__ void)\s+__launch_bounds__\(([^)]*)\)\s+([\w#]+)\(([^)]*)\)\s*\{/g;

/** The kernels of a source: name (without a width), widths, threads of a block if they are fixed, parameters. */
export function kernelsIn(file, source) {
  const text = source.replace(/\\\n/g, '\n');
  const [head] = /^(\/\/.*\n)*/.exec(source);
  const found = new Map();
  for (const [, comment, macro, argument, bounds, name, inside] of text.matchAll(KERNEL)) {
    const widthsOfMacro = macro && [...text.matchAll(new RegExp(`^${macro}\\((\\d+)\\)`, 'gm'))].map(([, w]) => w);
    const names = macro ? widthsOfMacro.map((width) => name.replace(`##${argument}`, width)) : [name];
    const parameters = inside.split(',').map((parameter) => parameterOf(parameter, `${file}: ${name}`));
    const kernel = {
      file,
      block: blockOf(bounds, text),
      parameters,
      launch: launchOf(comment ?? '', name) ?? launchOf(head, name),
    };
    for (const each of names) {
      const [, stem, width] = /^(.*?)(?:_(\d+))?$/.exec(each);
      const known = found.get(stem);
      if (known && JSON.stringify(known.parameters) !== JSON.stringify(parameters)) {
        throw new Error(`${file}: the kernels ${stem}_* have different parameters`);
      }
      if (known) known.widths.push(Number(width));
      else found.set(stem, { ...kernel, name: stem, widths: width ? [Number(width)] : [] });
    }
  }
  return [...found.values()];
}

function parameterOf(text, where) {
  const match = /^(const )?(\w+)(\*)?( __restrict__)?( NULLABLE)? (\w+)$/.exec(text.trim().replace(/\s+/g, ' '));
  if (!match || (!match[3] && !SCALARS[match[2]]))
    throw new Error(
      `${where}: cannot read the parameter "${text.trim()}"; expected "[const] TYPE* [__restrict__] [NULLABLE] name", ` +
        `TYPE one word, or one of ${Object.keys(SCALARS).join(', ')} and a name`,
    );
  const [, constant = '', type, star, , nullable, name] = match;
  return {
    name,
    type: constant + type + (star ?? ''),
    kind: star ? 'pointer' : SCALARS[type],
    isNullable: nullable !== undefined,
  };
}

/** The sentence of a comment behind "Launch:" or "Launch of NAME:". */
function launchOf(comment, name) {
  const lines = comment.split('\n').map((line) => line.replace(/^\s*(\*|\/\/) ?/, ''));
  const sentence = new RegExp(`Launch(?: of ${name})?: ([^\\n]*?)(?:\\.\\s|\\.?\\s*\\n|\\.?$)`);
  return sentence.exec(lines.join('\n').replace(/\n(?!\n)/g, ' '))?.[1];
}

/** Threads of a block: a literal or a macro of the file; undefined where they depend on how the file is compiled. */
function blockOf(bounds, text) {
  const [threads] = bounds.split(',');
  const literal = new RegExp(`#define ${threads} (\\d+)`).exec(text)?.[1] ?? threads;
  return /^\d+$/.test(literal) ? Number(literal) : undefined;
}

const camelCase = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());

/** Neighbours of one kind whose names end with 0 (or 1) to 3 are one list, indexed by these digits. */
function grouped(parameters) {
  const groups = [];
  for (const [at, parameter] of parameters.entries()) {
    const [, stem, digit] = /^(\w*?)([0-3]?)$/.exec(parameter.name);
    const isList = digit !== '' && parameters.some(({ name }) => name === `${stem}3`);
    const last = groups.at(-1);
    if (isList && last?.stem === stem) {
      const isNext = last.from + last.count === Number(digit);
      if (!isNext || last.type !== parameter.type || last.isNullable !== parameter.isNullable) {
        throw new Error(`${parameter.name} does not follow ${stem}${last.from} as the next of its list`);
      }
      last.count++;
    } else if (isList)
      groups.push({ ...parameter, at, stem, property: camelCase(`${stem}s`), from: Number(digit), count: 1 });
    else groups.push({ ...parameter, at, property: camelCase(parameter.name) });
  }
  return groups;
}

function interfaceOf(kernel) {
  const lines = grouped(kernel.parameters).map(({ property, type, kind, isNullable, stem, from, count }) => {
    const plain = kind === 'pointer' ? `DevicePointer${isNullable ? ' | undefined' : ''}` : 'Scalar';
    const text = stem ? `readonly ${plain.includes('|') ? `(${plain})` : plain}[]` : plain;
    const note = stem ? `${type} ${stem}${from}..${from + count - 1}, by index` : type;
    return `  /** ${note} */\n  readonly ${property}: ${text};\n`;
  });
  return `export interface ${typeName(kernel)} {\n${lines.join('')}}\n`;
}

const typeName = ({ name }) => camelCase(`_${name}`);

function packerOf(kernel) {
  const lines = grouped(kernel.parameters).map(({ property, kind, at, stem, from, count }) =>
    stem ? `  to.${kind}s(${at}, of.${property}, ${from}, ${count});\n` : `  to.${kind}(${at}, of.${property});\n`,
  );
  return `function ${camelCase(kernel.name)}(to: ParameterBlock, of: ${typeName(kernel)}): void {\n${lines.join('')}}\n`;
}

/** Files that are compiled once for each head size, with macros; all others are one program each. */
const isTemplate = (file) => file.startsWith('attention-');
/** Files that are put before a source, as its first line says; else only common.cu. */
const helpersOf = (source) => /^\/\/ Prepended: (.*)\n/.exec(source)?.[1].split(', ') ?? ['common.cu'];
const programName = (file) => camelCase(file.replace(/\.cu$/, '').replaceAll('-', '_'));

function constantOf(kernel) {
  const type = typeName(kernel);
  const pack = `pack: ${camelCase(kernel.name)}`;
  const key = camelCase(kernel.name);
  if (isTemplate(kernel.file)) return `  ${key}: { name: '${kernel.name}', ${pack} } as KernelTemplate<${type}>,\n`;
  const rest = `program: PROGRAMS.${programName(kernel.file)}, block: ${kernel.block}, ${pack} }`;
  if (kernel.widths.length === 0) return `  ${key}: { name: '${kernel.name}', ${rest} as Kernel<${type}>,\n`;
  const widths = kernel.widths.map((width) => `    ${width}: { name: '${kernel.name}_${width}', ${rest},\n`);
  return `  ${key}: {\n${widths.join('')}  } as KernelFamily<${type}>,\n`;
}

/**
 * The text of generated/kernel-launchers.ts.
 * @param sources texts by file name
 */
export function kernelLaunchers(sources) {
  const kernels = new Map();
  const files = Object.keys(sources).filter((file) => file.endsWith('.cu') && file !== 'common.cu');
  for (const kernel of files.flatMap((file) => kernelsIn(file, sources[file]))) {
    const known = kernels.get(kernel.name);
    if (known && JSON.stringify(known.parameters) !== JSON.stringify(kernel.parameters)) {
      throw new Error(`${kernel.name} has different parameters in ${known.file} and ${kernel.file}`);
    }
    if (!known) kernels.set(kernel.name, kernel);
    if (kernel.block === undefined && !isTemplate(kernel.file)) {
      throw new Error(`${kernel.file}: the block of ${kernel.name} is not a number`);
    }
  }
  const all = [...kernels.values()];
  const programs = files
    .filter((file) => !isTemplate(file))
    .map(
      (file) =>
        `  ${programName(file)}: plainProgram(${[...helpersOf(sources[file]), file].map((name) => `'${name}'`).join(', ')}),\n`,
    );
  return `import {
  type DevicePointer,
  type Kernel,
  type KernelFamily,
  type KernelTemplate,
  type ParameterBlock,
  plainProgram,
  type Scalar,
} from '../engine/cuda/launch.js';

${all.map((kernel) => `${interfaceOf(kernel)}\n${packerOf(kernel)}`).join('\n')}
export const PROGRAMS = {
${programs.join('')}};

/** Every kernel of kernels/*.cu, by its name in camel case. */
export const KERNELS = {
${all.map(constantOf).join('')}};
`;
}

/** Pointers to these need no mark in the tables; scalars are int32 where nothing else is said. */
const SHORT_TYPES = { 'bf16*': '', 'float*': 'f32', 'double*': 'f64', 'void*': 'bf16 or f32', 'int*': 'i32' };

function cellOf({ name, type, kind, isNullable, stem, from, count }) {
  const plain = type.replace('const ', '');
  const mark =
    kind === 'pointer' ? (SHORT_TYPES[plain] ?? plain.replace('*', '').toLowerCase()) : kind.replace('i32', '');
  const label = stem ? `${stem}${from}..${from + count - 1}` : name;
  return `${label}${isNullable ? '?' : ''}${mark && ` ${mark}`}`;
}

/**
 * README.md of the kernels with its tables made new: what lies between `<!-- kernels: FILES -->` and `<!-- end -->`.
 * @param sources texts by file name
 */
export function withTables(readme, sources) {
  return readme.replace(/(<!-- kernels: (.*) -->\n)[\s\S]*?(<!-- end -->)/g, (_, start, files, end) => {
    const kernels = files.split(', ').flatMap((file) => kernelsIn(file, sources[file]));
    const rows = kernels.map(({ name, widths, parameters, launch, block }) => {
      const title = widths.length > 0 ? `${name}_W, W = ${widths.join(', ')}` : name;
      const launches = [launch?.replaceAll('|', '\\|'), !launch?.includes('block') && block && `block ${block}`];
      return `| ${title} | ${grouped(parameters).map(cellOf).join(', ')} | ${launches.filter(Boolean).join(', ')} |\n`;
    });
    return `${start}| kernel | parameters | launch |\n|---|---|---|\n${rows.join('')}${end}`;
  });
}
