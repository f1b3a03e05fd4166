export { n as createCudaEngine } from "./cuda-engine-C3P_kk9g.js";
