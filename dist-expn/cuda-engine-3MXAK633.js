import {
  CudaEngine,
  createCudaEngine,
  requireCudaOptions
} from "./chunk-IEMHD55E.js";
import "./chunk-YB7V54UV.js";
import "./chunk-IKTGOZ7X.js";
import "./chunk-TDTBSBKW.js";
import "./chunk-DZ77V5X3.js";
import "./chunk-K6IUIOJN.js";
import "./chunk-VSPP423R.js";
import "./chunk-LWDR4SPD.js";
import "./chunk-N2SAG2IF.js";
import "./chunk-55YTAYRT.js";
export {
  CudaEngine,
  createCudaEngine,
  requireCudaOptions
};
