import {
  EngineError,
  reasonOf
} from "./chunk-55YTAYRT.js";

// src/engine/cuda/library-search.ts
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import koffi from "koffi";
function foreignFunctions(library) {
  const known = /* @__PURE__ */ new Map();
  return (name, parameters) => {
    let found = known.get(name);
    if (!found) {
      found = library.func(name, "int", [...parameters]);
      known.set(name, found);
    }
    return found;
  };
}
function outHandle(body) {
  const out = new BigUint64Array(1);
  body(out);
  return Number(out[0]);
}
var LIBRARIES = {
  driver: {
    names: ["libcuda.so.1"],
    cure: "install the NVIDIA driver; in a container, start it with GPU access (docker run --gpus all)"
  },
  nvml: {
    names: ["libnvidia-ml.so.1"],
    cure: "it comes with the NVIDIA driver; in a container, allow the utility capability"
  },
  nvrtc: {
    names: ["libnvrtc.so.13", "libnvrtc.so.12"],
    cure: "install the CUDA toolkit (cuda-nvrtc), or `pip install nvidia-cuda-nvrtc`, or set CUDA_HOME to a toolkit"
  },
  cublasLt: {
    names: ["libcublasLt.so.13", "libcublasLt.so.12"],
    cure: "install the CUDA toolkit (libcublas), or `pip install nvidia-cublas`, or set CUDA_HOME to a toolkit"
  }
};
function libraryNeeds(name) {
  return LIBRARIES[name];
}
function libraryFolders(environment = process.env) {
  const folders = [];
  const add = (...paths) => {
    for (const path of paths) if (existsSync(path) && !folders.includes(path)) folders.push(path);
  };
  const targets = ["targets/x86_64-linux/lib", "targets/sbsa-linux/lib"];
  const toolkit = (root) => add(...["lib64", "lib", ...targets].map((folder) => join(root, folder)));
  for (const name of ["CUDA_HOME", "CUDA_PATH"]) if (environment[name]) toolkit(environment[name]);
  for (const root of list("/usr/local", /^cuda/)) add(...["lib64", ...targets].map((folder) => join(root, folder)));
  add("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/wsl/lib");
  add("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64");
  if (environment.CONDA_PREFIX) toolkit(environment.CONDA_PREFIX);
  for (const root of pythonRoots(environment)) {
    for (const version of list(join(root, "lib"), /^python3/)) {
      for (const packages of ["site-packages", "dist-packages"]) {
        add(...list(join(version, packages, "nvidia"), /./).map((wheel) => join(wheel, "lib")));
      }
    }
  }
  return folders;
}
function pythonRoots(environment) {
  const roots = [environment.VIRTUAL_ENV, environment.CONDA_PREFIX].filter((root) => root !== void 0);
  for (const folder of (environment.PATH ?? "").split(delimiter)) {
    const python = join(folder, "python3");
    if (!existsSync(python)) continue;
    roots.push(dirname(folder), dirname(dirname(realpathSync(python))));
    break;
  }
  return roots;
}
function list(folder, pattern) {
  try {
    const names = readdirSync(folder).filter((name) => pattern.test(name));
    return names.sort().reverse().map((name) => join(folder, name));
  } catch {
    return [];
  }
}
var isStackSet = false;
function enlargeCallStack() {
  if (isStackSet) return;
  isStackSet = true;
  try {
    koffi.config({ sync_stack_size: 16 << 20, async_stack_size: 16 << 20 });
  } catch {
  }
}
function loadLibrary(name) {
  enlargeCallStack();
  const { names, cure } = LIBRARIES[name];
  const attempts = [];
  const folders = libraryFolders();
  const inFolders = folders.flatMap((folder) => names.map((file) => join(folder, file)));
  for (const path of [...names, ...inFolders.filter((candidate) => existsSync(candidate))]) {
    try {
      return { library: koffi.load(path), path };
    } catch (error) {
      attempts.push(`${path}: ${reasonOf(error)}`);
    }
  }
  const tried = attempts.join("\n    ");
  const places = folders.join("\n    ");
  throw new EngineError(
    `the cuda engine needs ${names.join(" or ")}, which was not found.
  tried:
    ${tried}
  looked for it in:
    ${places}`,
    { hint: cure, details: { library: name, attempts, folders } }
  );
}

export {
  foreignFunctions,
  outHandle,
  libraryNeeds,
  loadLibrary
};
